"""An atlas of the user's for stage 2: volumes with segmentations and points, in one folder.

    volumes.csv                 volume,modality[,patient]; modality is ct, mri or pet
    <volume>/image.nii.gz
    <volume>/labels.nii.gz      whole numbers on the image's grid, with
    <volume>/labels.csv         value,concept; rows of one concept are joined
    <volume>/points.csv         concept,x,y,z in millimetres, as the image's affine counts (RAS)

A volume has labels, points or both. Concepts are free text: what stage 1 embeds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from evaluation.classes.modality import Modality, find_modality
from evaluation.errors import BenchError
from evaluation.files.identity import digest, file_digest, made_again
from evaluation.files.writing import write_text
from evaluation.training.points import Points
from evaluation.training.prepared_case import prepare_case
from evaluation.training.settings import Grid
from evaluation.training.side_by_side import in_processes
from evaluation.training.store import FORMAT, INDEX_FILE, PreparedEntry, PreparedIndex, read_record
from evaluation.volumes.image_files import Volume, read_volume, same_grid, to_ras
from evaluation.volumes.segmentation import ClassPlace, Part, Segmentation
from sat.config import atlas_entry
from sat.knowledge.records import read_rows, refuse_faults

FILES = ("image.nii.gz", "labels.nii.gz", "labels.csv", "points.csv")


@dataclass(frozen=True)
class AtlasVolume:
    """A row of `volumes.csv`."""

    folder: Path
    modality: Modality
    patient: str

    @property
    def source(self) -> str:
        """A hash of its files."""
        paths = [self.folder / name for name in FILES]
        return digest(FORMAT, [file_digest(path) if path.is_file() else "" for path in paths])

    def read(self) -> tuple[Volume, Segmentation, Points]:
        """Image (x, y, z) in RAS, its segmentation, and native voxel indices of its points.

        Raises:
            BenchError: a file is missing or does not fit: another grid, an unknown value, a point
                outside of the image.
        """
        image = to_ras(read_volume(self.folder / "image.nii.gz"))
        segmentation, points = self._labels(image), self._points(image)
        if not segmentation.classes and not points:
            raise BenchError(
                "the volume of the atlas has neither labels nor points", file=self.folder,
                expected="labels.nii.gz with labels.csv, or points.csv",
            )  # fmt: skip
        return image, segmentation, points

    def _labels(self, image: Volume) -> Segmentation:
        path, table = self.folder / "labels.nii.gz", self.folder / "labels.csv"
        if not path.is_file() and not table.is_file():
            empty = np.zeros(image.array.shape, np.uint8)
            return Segmentation((empty,), image.affine, {})
        labels = to_ras(read_volume(path))
        if difference := same_grid(image, labels):
            raise BenchError("labels and image lie on other grids", file=path, found=difference)
        values: dict[str, set[int]] = {}
        faults = []
        for line, row in read_rows(table, ("value", "concept")):
            if not row["value"].isdecimal() or not 0 < int(row["value"]) < 65536:
                faults.append(f"line {line}: `{row['value']}` is no value from 1 to 65535")
            else:
                values.setdefault(row["concept"], set()).add(int(row["value"]))
        refuse_faults(table, faults)
        known = {0}.union(*values.values())
        if unknown := sorted(set(np.unique(labels.array).tolist()) - known):
            raise BenchError(
                "the label map holds values that have no concept", file=path,
                found=", ".join(f"{value:g}" for value in unknown[:8]), expected=f"rows in {table}",
            )  # fmt: skip
        places = {
            name: ClassPlace(kind="annotated", parts=(Part(layer=0, values=tuple(sorted(found))),))
            for name, found in values.items()
        }
        return Segmentation((labels.array.astype(np.uint16),), image.affine, places)

    def _points(self, image: Volume) -> Points:
        path = self.folder / "points.csv"
        if not path.is_file():
            return {}
        inverse, last = np.linalg.inv(image.affine), np.array(image.array.shape) - 1
        found: dict[str, list[NDArray[np.float64]]] = {}
        faults = []
        for line, row in read_rows(path, ("concept", "x", "y", "z")):
            try:
                place = [float(row[axis]) for axis in "xyz"]
            except ValueError:
                faults.append(f"line {line}: {row['x']}, {row['y']}, {row['z']} is no place")
                continue
            voxel = (inverse @ [*place, 1.0])[:3]
            # Half a voxel beyond the outermost centres is still inside.
            if not (np.isfinite(voxel).all() and ((voxel >= -0.5) & (voxel <= last + 0.5)).all()):
                faults.append(f"line {line}: `{row['concept']}` lies outside of the image")
            found.setdefault(row["concept"], []).append(voxel)
        refuse_faults(path, faults)
        return {name: np.stack(voxels) for name, voxels in found.items()}


def atlas_volumes(folder: Path) -> list[AtlasVolume]:
    """The volumes of an atlas, in the order of `volumes.csv`; none of them is opened.

    Raises:
        BenchError: the list is missing or faulty, or a volume is not there or there twice.
    """
    table = folder / "volumes.csv"
    volumes: dict[str, AtlasVolume] = {}
    faults = []
    for line, row in read_rows(table, ("volume", "modality")):
        name = row["volume"]
        if name in volumes or Path(name).name != name or name.startswith("."):
            faults.append(f"line {line}: `{name}` is there twice, or no name of a folder")
        elif not (folder / name / "image.nii.gz").is_file():
            faults.append(f"line {line}: there is no {folder / name / 'image.nii.gz'}")
        else:
            modality = find_modality(row["modality"])
            volumes[name] = AtlasVolume(folder / name, modality, row.get("patient") or name)
    refuse_faults(table, faults)
    return list(volumes.values())


def prepare_volumes(store: Path, folder: Path, grid: Grid, *, jobs: int = 1) -> PreparedIndex:
    """Put an atlas on a grid: one entry for each modality, all concepts its classes.

    Volumes already prepared from the same files are kept.

    Args:
        store: what is written.
        folder: the atlas.
        grid: of the model.
        jobs: volumes at once, each in a process of its own.

    Raises:
        BenchError: see `atlas_volumes` and `AtlasVolume.read`.
    """
    volumes = atlas_volumes(folder)
    (store / INDEX_FILE).unlink(missing_ok=True)
    tasks = [(store, grid, volume) for volume in volumes]
    records = list(tqdm(in_processes(_prepare, tasks, jobs), "atlas", len(tasks), unit="volume"))
    entries = []
    for modality in dict.fromkeys(volume.modality for volume in volumes):
        own = [
            (v, made) for v, made in zip(volumes, records, strict=True) if v.modality == modality
        ]
        concepts = sorted({name for _, (names, _) in own for name in names})
        entries.append(
            PreparedEntry(
                dataset=atlas_entry(modality), modality=modality, classes=tuple(concepts),
                specialists={}, cases=tuple(v.folder.name for v, _ in own),
                patients={v.folder.name: v.patient for v, _ in own},
                sources={v.folder.name: source for v, (_, source) in own},
            )
        )  # fmt: skip
    index = PreparedIndex(format=FORMAT, grid=grid, entries=tuple(entries))
    write_text(store / INDEX_FILE, index.model_dump_json(indent=1) + "\n")
    made_again(store / INDEX_FILE)
    return index


def _prepare(store: Path, grid: Grid, volume: AtlasVolume) -> tuple[tuple[str, ...], str]:
    """Concepts and source of a volume, prepared now or before."""
    dataset, name = atlas_entry(volume.modality), volume.folder.name
    source = digest(volume.source, grid)
    record = read_record(store / dataset / name)
    if record is None or record.source != source:
        image, segmentation, points = volume.read()
        record = prepare_case(
            store / dataset / name, dataset, name, volume.modality, image, segmentation, grid,
            source=source, points=points,
        )  # fmt: skip
    return tuple(record.classes), source


def describe(folder: Path) -> Iterator[str]:
    """What an atlas holds, line by line; every volume is read.

    Raises:
        BenchError: see `AtlasVolume.read`.
    """
    from sat.knowledge.open_set import open_set
    from sat.knowledge.records import plain

    regions: set[str] = set()
    marked: set[str] = set()
    points = 0
    volumes = atlas_volumes(folder)
    for volume in volumes:
        _, segmentation, found = volume.read()
        regions |= set(segmentation.classes)
        marked |= set(found)
        points += sum(map(len, found.values()))
    yield f"{len(volumes)} volumes, {len({v.patient for v in volumes})} patients"
    yield f"{len(regions)} concepts with segmentations, {len(marked)} with points ({points} points)"
    defined = {plain(pair.name) for pair in open_set().pairs}
    lacking = sorted(name for name in regions | marked if plain(name) not in defined)
    yield (
        f"{len(lacking)} of {len(regions | marked)} concepts have no definition in the open set"
        + (f": {', '.join(lacking[:5])}, ..." if lacking else "")
        + "; name your own in `sources.definitions` of a knowledge preset" * bool(lacking)
    )
