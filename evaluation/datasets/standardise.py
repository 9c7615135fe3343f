"""From a raw case to a case folder: native grid, true spacing, RAS, disjoint integer layers."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evaluation.cases import CASE_FILE, CaseRecord, read_case_record, write_case
from evaluation.classes.entry import ClassEntry
from evaluation.datasets.card import DatasetCard
from evaluation.datasets.readers.base import LazyMasks, RawCase, RawScan, Reader
from evaluation.errors import BenchError
from evaluation.files.expressions import within_patience
from evaluation.files.identity import CASE, FileHashes, digest
from evaluation.files.reading import mapping_of
from evaluation.files.sums import discard, remember_folder
from evaluation.files.writing import TEMPORARY_PREFIX, write_json
from evaluation.volumes.axes import order_of, orders_among
from evaluation.volumes.headers import companions
from evaluation.volumes.image_files import Array, Volume, orientation_of, to_ras
from evaluation.volumes.segmentation import ClassPlace, Part, Segmentation, pack_masks, union_place

SOURCES_FILE = "sources.json"
"""Size, time of change and SHA-256 of the source files, so that few are read to be compared."""

# A folder's name carries the identity of a case: no separators, nothing hidden.
_CASE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


def standardise_case(
    card: DatasetCard,
    reader: Reader,
    raw: RawCase,
    scope: Sequence[ClassEntry],
    folder: Path,
) -> CaseRecord:
    """Write one case folder, whole or not at all.

    Args:
        card: the entry.
        reader: the entry's reader.
        raw: the case as it lies in the raw folder.
        scope: classes to keep, annotated and generated.
        folder: the case's folder to be; an older one is replaced.

    Returns:
        The record that was written. Spacing is the true one in mm; the orientation of the
        source is recorded.

    Raises:
        BenchError: unreadable files, another grid, unknown label values, NaN.
    """
    patient = patient_of(card, raw.case)
    scan = reader.read(raw)
    image, segmentation, not_annotated = standardised(card, raw, scan, scope)
    x, y, z = image.array.shape
    hashes = FileHashes()
    sources = source_hashes(raw, hashes)
    record = CaseRecord(
        dataset=card.id,
        case=raw.case,
        patient=patient,
        modality=card.modality_of(raw.case),
        shape=(x, y, z),
        spacing_mm=image.spacing_mm,
        source_orientation=orientation_of(scan.image.affine),
        n_layers=len(segmentation.layers),
        classes=dict(segmentation.classes),
        not_annotated=not_annotated,
        source_sha256=sources,
        sequence=card.sequence_of(raw.case, raw.sequence),
        grid_axes=order_of(card.grid_axes, image.spacing_mm),
        geometry=scan.image.remark,
        made_from=made_from(card, scope, raw, sources),
    )
    temporary = folder.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-{folder.name}")
    try:
        record = write_case(temporary, image, segmentation, record)
        write_json(temporary / SOURCES_FILE, hashes.used)
        remove_case(folder)
        temporary.rename(folder)
        remember_folder(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return record


def remove_case(folder: Path) -> None:
    """Delete a case folder; its record goes first, so that a half-deleted one is not taken."""
    (folder / CASE_FILE).unlink(missing_ok=True)
    discard(folder)


def kept_case(
    card: DatasetCard, raw: RawCase, scope: Sequence[ClassEntry], folder: Path
) -> CaseRecord | None:
    """The record of a case folder that is whole and made from this source and card, else None.

    Contents decide. A source file is read again only if its size or time of change is another.
    """
    try:
        record = read_case_record(folder)
        known = folder / SOURCES_FILE
        stored = mapping_of(known)
        hashes = FileHashes(stored)
        sources = source_hashes(raw, hashes)
    except (BenchError, OSError, ValueError):
        return None
    if record.made_from != made_from(card, scope, raw, sources):
        return None
    if hashes.used != stored:
        write_json(known, hashes.used)
    return record


def made_from(
    card: DatasetCard,
    scope: Sequence[ClassEntry],
    raw: RawCase,
    sources: Mapping[str, str],
) -> str:
    """What a case is made from: hashes of the source files, card (not its prose), and classes."""
    fields = {"reader", "reader_args", "classes", "ignore_values", "patient_pattern", "grid_axes"}
    names = [entry.name for entry in scope]
    scan = [card.modality_of(raw.case), card.sequence_of(raw.case, raw.sequence)]
    kept = card.model_dump(mode="json", include=fields)
    kept["grid_axes"] = orders_among(card.grid_axes)
    return digest(CASE, kept, names, scan, sources)


def standardised(
    card: DatasetCard, raw: RawCase, scan: RawScan, scope: Sequence[ClassEntry]
) -> tuple[Volume, Segmentation, tuple[str, ...]]:
    """Image in RAS and compact type, label layers with the classes in scope, classes not annotated.

    A label map stays one layer with its raw values; mask files are packed into as few layers as
    they need, one file at a time.
    """
    stored = np.asarray(scan.image.affine, dtype=np.float32).astype(np.float64)
    # NIfTI keeps the affine in single precision: what is recorded is what a reader will find.
    image = to_ras(Volume(compact(scan.image.array, raw.image[0]), stored))
    annotated = [entry for entry in scope if entry.kind == "annotated"]
    if scan.label_map is not None:
        segmentation = _from_label_map(card, raw, scan.label_map, stored, annotated)
        missing: set[str] = set()
    else:
        segmentation = _from_masks(scan, stored, annotated)
        missing = {e.name for e in annotated} - set(segmentation.classes)
    classes = dict(segmentation.classes)
    for entry in scope:
        parts = entry.union_of or ()
        if entry.kind == "annotated":
            continue
        if missing.intersection(parts):
            missing.add(entry.name)
        else:
            classes[entry.name] = union_place([classes[part] for part in parts], "generated")
    return (
        image,
        Segmentation(segmentation.layers, image.affine, classes),
        tuple(entry.name for entry in scope if entry.name in missing),
    )


def _from_label_map(
    card: DatasetCard,
    raw: RawCase,
    label_map: Array,
    affine: NDArray[np.float64],
    annotated: Sequence[ClassEntry],
) -> Segmentation:
    from evaluation.metrics.values import distinct_values  # numba: only where voxels are read

    present = distinct_values(label_map)
    known = {0, *card.ignore_values}.union(*(entry.values or () for entry in card.annotated))
    if unknown := sorted(present - known):
        raise BenchError(
            f"case `{raw.case}`: unknown label values",
            file=next(iter(raw.labels.values()))[0],
            found=unknown[:20],
            expected=f"values among {sorted(known)}",
            hint=f"compare the release with the card `{card.id}` (classes, ignore_values), "
            "or name the case under `exclude`",
        )
    kind = np.uint8 if max(known) < 256 else np.int16
    layer = to_ras(Volume(label_map.astype(kind), affine))
    classes = {
        entry.name: ClassPlace(
            kind="annotated", parts=(Part(layer=0, values=tuple(entry.values or ())),)
        )
        for entry in annotated
    }
    return Segmentation((layer.array,), layer.affine, classes)


def _from_masks(
    scan: RawScan, affine: NDArray[np.float64], annotated: Sequence[ClassEntry]
) -> Segmentation:
    file_of = {e.name: e.file for e in annotated if e.file is not None and e.file in scan.masks}

    def load(name: str) -> Array:
        mask = scan.masks[file_of[name]]
        # nibabel knows no booleans; the view costs nothing.
        return to_ras(Volume(mask.view(np.uint8), affine)).array.view(bool)

    packed = pack_masks(LazyMasks(list(file_of), load), affine, "annotated")
    if packed.layers:
        return packed
    empty = to_ras(Volume(np.zeros(scan.image.array.shape, dtype=np.uint8), affine))
    return Segmentation((empty.array,), affine, packed.classes)


def compact(array: Array, file: Path) -> Array:
    """The image in the smallest type that holds it exactly: uint8, int16, otherwise float32.

    Works slab by slab, so that a large float volume needs no second copy to be looked at.

    Raises:
        BenchError: the image holds NaN or infinity.
    """
    low, high, integral = np.inf, -np.inf, True
    for index in range(array.shape[-1]):
        slab = array[..., index]
        low, high = min(low, float(slab.min())), max(high, float(slab.max()))
        if np.issubdtype(array.dtype, np.floating):
            if not np.isfinite(slab).all():
                raise BenchError(
                    "image holds NaN or infinity",
                    file=file,
                    found=f"{int((~np.isfinite(slab)).sum())} such voxels in slice {index}",
                    expected="finite numbers",
                    hint="download the file again, or name the case under `exclude` in the card",
                )
            integral = integral and bool((slab == np.rint(slab)).all())
    if integral and low >= 0 and high <= 255:
        return array.astype(np.uint8, copy=False)
    if integral and low >= -32768 and high <= 32767:
        return array.astype(np.int16, copy=False)
    return array.astype(np.float32, copy=False)


def patient_of(card: DatasetCard, case: str) -> str:
    """The patient of a case, by the card's rule.

    Raises:
        BenchError: the rule does not fit, or the id cannot name a folder.
    """
    with within_patience(card.patient_pattern):
        match = re.match(card.patient_pattern, case)
    if match is None or not match[1]:
        raise BenchError(
            f"card `{card.id}`: patient_pattern does not fit a case",
            found=case,
            expected=card.patient_pattern,
            hint="correct `patient_pattern` in the card, or rename the file",
        )
    if _CASE_ID.fullmatch(case) is None or case == "shards":
        raise BenchError(
            "case id cannot be the name of a folder",
            found=case,
            expected="letters, digits and . _ + -",
            hint="rename the file, or choose another `case` in the card's reader_args",
        )
    return str(match[1])


def source_hashes(raw: RawCase, sha256: Callable[[Path], str]) -> dict[str, str]:
    """SHA-256 of the source files by their path under the dataset's folder.

    A series of many files has one digest, over names and contents in order of the names.

    Args:
        raw: the case as it lies in the raw folder.
        sha256: gives the hash of a file.
    """
    groups = [("", raw.image), *raw.labels.items()]
    hashes: dict[str, str] = {}
    for _, files in groups:
        existing = sorted(file for file in files if file.is_file())
        if len(existing) > 1:
            lines = "".join(f"{file.name}\0{sha256(file)}\n" for file in existing)
            name = _relative(existing[0].parent, raw.roots)
            hashes[name] = hashlib.sha256(lines.encode()).hexdigest()
        for file in existing if len(existing) == 1 else ():
            for part in companions(file):
                hashes[_relative(part, raw.roots)] = sha256(part)
    return hashes


def _relative(path: Path, roots: Sequence[Path]) -> str:
    for index, root in enumerate(roots):
        if path.is_relative_to(root):
            # A second root is another dataset's folder: its name says which.
            inside = path.relative_to(root)
            return str(inside if index == 0 else root.name / inside)
    return path.name
