"""Training cases as nnU-Net wants them: `imagesTr`, `labelsTr` and, last, `dataset.json`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from baselines.nnunet.specialists import SpecialistPlan
from evaluation.cases import CaseRecord, ImageCase, read_case_record, read_reference
from evaluation.classes.leaves import leaf_map
from evaluation.datasets.registry import find_card
from evaluation.errors import BenchError
from evaluation.files.reading import json_of
from evaluation.files.sums import remember
from evaluation.files.writing import atomic_path, write_json
from evaluation.volumes.axes import AS_STORED, SLICES_LAST, AxisOrder, turned
from evaluation.volumes.image_files import Volume, read_volume, write_volume

# Number of nnU-Net's data folder for a specialist that is not in Table 7.
OTHER_NUMBER = 900
# Beside the images, a file for each case that is whole: voxels of its labels.
COUNTS_FOLDER = "counts"
# The reader that SAT-DS's specialists use: RAS orientation, axes z, y, x.
READER = "NibabelIOWithReorient"
# float32 image and int16 labels, once as nnU-Net's raw copy and once preprocessed.
_BYTES_PER_VOXEL = 2 * (4 + 2)


@dataclass(frozen=True)
class Exported:
    """What was written, for the record of the preparation."""

    dataset_name: str
    n_cases: int
    leaf_voxels: tuple[int, ...]
    resolved_voxels: int


def dataset_number(plan: SpecialistPlan) -> int:
    """Number of nnU-Net's data folder: the row of Table 7."""
    return plan.pinned.number if plan.pinned else OTHER_NUMBER


def dataset_name(plan: SpecialistPlan) -> str:
    """Name of nnU-Net's data folder, such as `Dataset020_msd_hippocampus`."""
    return f"Dataset{dataset_number(plan):03d}_{plan.id.replace('-', '_')}"


def estimated_bytes(records: Sequence[CaseRecord], spacing_mm: Sequence[float] | None) -> int:
    """Disk space of nnU-Net's raw and preprocessed copies, before compression.

    With a pinned spacing, voxels are counted after resampling to it.
    """
    total = 0.0
    for record in records:
        voxels = float(np.prod(record.shape))
        if spacing_mm is not None:
            voxels = max(voxels, voxels * float(np.prod(record.spacing_mm) / np.prod(spacing_mm)))
        total += voxels
    return int(total * _BYTES_PER_VOXEL)


def check_disk(folder: Path, needed: int) -> None:
    """Stop before the work if the disk cannot hold it.

    Raises:
        BenchError: less than `needed` bytes are free.
    """
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise BenchError(
            "not enough disk space for the prepared training cases",
            file=folder,
            found=f"{free / 1e9:.1f} GB free",
            expected=f"{needed / 1e9:.1f} GB",
            hint="free some space, or put the run's folder on a larger disk",
        )


def export_cases(
    cases: Sequence[Path], plan: SpecialistPlan, raw: Path, *, unit_spacing: bool
) -> Exported:
    """Write the training cases of a specialist that are not there yet.

    Args:
        cases: case folders of the training split.
        plan: the specialist, with its leaf labels.
        raw: nnU-Net's raw folder; what is in it is of the same cases and labels.
        unit_spacing: give nnU-Net's copies a spacing of 1 mm; otherwise images are hard links.

    Raises:
        BenchError: no training case, or none with a voxel of the specialist's classes.
    """
    if not cases:
        raise BenchError(f"specialist `{plan.id}` has no training case")
    folder = raw / dataset_name(plan)
    for name in ("imagesTr", COUNTS_FOLDER):
        (folder / name).mkdir(parents=True, exist_ok=True)
    counts = np.zeros(len(plan.leaves) + 1, dtype=np.int64)
    resolved = 0
    for case in tqdm(cases, desc=f"export {plan.id}", unit="case", disable=None):
        path = folder / COUNTS_FOLDER / f"{case.name}.json"
        whole = all(file.is_file() for file in _files(folder, case.name))
        kept = _kept_counts(path, len(counts)) if whole else None
        if kept is None:
            kept = _export_case(case, plan, folder, len(counts), unit_spacing)
            write_json(path, kept)
        counts += kept[0]
        resolved += kept[1]
    if not counts[1:].any():
        raise BenchError(
            f"no training case of specialist `{plan.id}` has a voxel of its classes",
            file=cases[0].parent,
            expected=", ".join(plan.classes),
        )
    modality = read_case_record(cases[0]).modality
    description = {
        "channel_names": {"0": "CT" if modality == "ct" else "MR"},
        "labels": {"background": 0} | {leaf.name: leaf.value for leaf in plan.leaves},
        "numTraining": len(cases),
        "file_ending": ".nii.gz",
        "overwrite_image_reader_writer": READER,
    }
    write_json(folder / "dataset.json", description)
    return Exported(folder.name, len(cases), tuple(counts[1:].tolist()), resolved)


def _files(folder: Path, case: str) -> tuple[Path, Path]:
    """Image and labels of a case in the way that nnU-Net names them."""
    return folder / "imagesTr" / f"{case}_0000.nii.gz", folder / "labelsTr" / f"{case}.nii.gz"


def _export_case(
    case: Path, plan: SpecialistPlan, folder: Path, n_labels: int, unit_spacing: bool
) -> tuple[list[int], int]:
    """Write image and labels; returns the voxels of each label, and those that two claimed."""
    record, reference = read_reference(case)
    leaves = leaf_map(reference, plan.leaves, plan.classes)
    affine = np.eye(4) if unit_spacing else reference.affine
    image, labels = _files(folder, record.case)
    order = slice_order(record)
    if unit_spacing or order != AS_STORED:
        array = read_volume(case / "image.nii.gz").array
        write_volume(image, slices_last(Volume(array, affine), order))
    else:
        image.unlink(missing_ok=True)
        link_or_copy(case / "image.nii.gz", image)
    write_volume(labels, slices_last(Volume(leaves.labels, affine), order))
    return np.bincount(leaves.labels.ravel(), minlength=n_labels).tolist(), leaves.resolved_voxels


def _kept_counts(path: Path, n_labels: int) -> tuple[list[int], int] | None:
    """Voxels of each label and of overlaps of an exported case; None: they are counted anew."""
    try:
        voxels, more = json_of(path)
        counted = [int(number) for number in voxels], int(more)
    except (BenchError, TypeError, ValueError):
        return None
    return counted if len(counted[0]) == n_labels else None


def slice_order(case: CaseRecord | ImageCase) -> AxisOrder:
    """In which axis order nnU-Net reads a scan: as stored, but where slices lie by the scan.

    Its plan has one spacing and patch for an axis, which must be across the slices in all scans.
    """
    slices = find_card(case.dataset).grid_axes == SLICES_LAST
    return case.grid_axes if slices else AS_STORED


def slices_last(volume: Volume, order: AxisOrder) -> Volume:
    """A volume in another axis order, with an affine by which nnU-Net's reader leaves it so."""
    if order == AS_STORED:
        return volume
    again = turned(volume, order)
    return Volume(again.array, np.diag([*again.spacing_mm, 1.0]))


def link_or_copy(source: Path, target: Path) -> None:
    """Hard link, or a copy where the file system has none."""
    try:
        os.link(source, target)
        remember([target])
    except OSError:
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)
