"""Training cases to SAT-Nano's prepared store: its own grid, read crop by crop.

`index.json` is written when all cases are there; a killed run goes on with the next case.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from tqdm import tqdm

from evaluation.cases import CaseRecord, read_case_record, read_reference
from evaluation.classes.modality import Modality
from evaluation.config import RunConfig
from evaluation.datasets.registry import entry_ids, find_card
from evaluation.datasets.scope import classes_in_scope
from evaluation.datasets.sharding import read_split
from evaluation.errors import BenchError
from evaluation.files.identity import digest, is_outdated, made_again
from evaluation.files.writing import atomic_path, write_text
from evaluation.paths import RunPaths
from evaluation.spent import SPENT_FILE, Meter
from evaluation.volumes.image_files import Array, Volume, read_volume
from evaluation.volumes.segmentation import ClassPlace, Segmentation
from sat.config import Grid, Millimetres, Preset
from sat.grid import (
    GridMap,
    bounding_box,
    crop_and_normalise,
    resample_image,
    resample_labels,
    triple,
)
from sat.training.store import (
    FORMAT,
    INDEX_FILE,
    RECORD_FILE,
    ClassPoints,
    PreparedEntry,
    PreparedIndex,
    PreparedRecord,
    read_record,
)

POINTS_PER_CLASS = 1000


def prepare_case(
    folder: Path,
    dataset: str,
    case: str,
    modality: Modality,
    image: Volume,
    reference: Segmentation,
    settings: Grid,
    *,
    not_annotated: Sequence[str] = (),
    source: str = "",
) -> PreparedRecord:
    """Put one case on the model's own grid and write it.

    Args:
        folder: where the case's files go.
        dataset: id of the dataset.
        case: id of the case.
        modality: `ct` or `mri`.
        image: the image (x, y, z) in RAS.
        reference: label layers on the same grid.
        settings: grid and intensities.
        not_annotated: classes that this case has no annotation for.
        source: fingerprint of what the case is made from.

    Raises:
        BenchError: the image cannot be normalised (see `crop_and_normalise`).
    """
    grid = GridMap(triple(image.array.shape), image.spacing_mm, settings.spacing_mm)
    normalised, box = crop_and_normalise(resample_image(image.array, grid), modality, settings)
    layers = np.stack([_small(resample_labels(layer, grid)[box]) for layer in reference.layers])
    points, places = _sample_points(layers, reference.classes, case)
    foreground = bounding_box(np.asarray((layers > 0).any(axis=0)))
    record = PreparedRecord(
        source=source,
        dataset=dataset,
        case=case,
        modality=modality,
        shape=triple(normalised.shape),
        classes=dict(reference.classes),
        not_annotated=tuple(not_annotated),
        points=places,
        label_size=triple([s.stop - s.start for s in foreground] if foreground else [0, 0, 0]),
    )
    # A case that is killed between its arrays must not count as the whole one that it was.
    (folder / RECORD_FILE).unlink(missing_ok=True)
    _write_array(folder / "image.npy", normalised.astype(np.float16))
    _write_array(folder / "layers.npy", layers)
    _write_array(folder / "points.npy", points)
    write_text(folder / RECORD_FILE, record.model_dump_json() + "\n")
    return record


def _sample_points(
    layers: Array, classes: Mapping[str, ClassPlace], case: str
) -> tuple[Array, dict[str, ClassPoints]]:
    chosen: list[Array] = []
    places: dict[str, ClassPoints] = {}
    start = 0
    for name, place in sorted(classes.items()):
        mask = np.zeros(layers.shape[1:], dtype=bool)
        for part in place.parts:
            mask |= np.isin(layers[part.layer], part.values)
        voxels = np.argwhere(mask)
        if not len(voxels):
            continue
        seed = hashlib.sha256(f"{case}/{name}".encode()).digest()[:8]
        random = np.random.default_rng(int.from_bytes(seed, "little"))
        picked = random.permutation(len(voxels))[:POINTS_PER_CLASS]
        places[name] = ClassPoints(start=start, count=len(picked), voxels=len(voxels))
        chosen.append(voxels[np.sort(picked)].astype(np.uint16))
        start += len(picked)
    return np.concatenate([np.zeros((0, 3), np.uint16), *chosen]), places


def _small(layer: Array) -> Array:
    """Label layers as uint8 where their values allow it."""
    return layer.astype(np.uint8 if layer.max(initial=0) < 256 else np.uint16)


def _write_array(path: Path, array: Array) -> None:
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.save(stream, np.ascontiguousarray(array))


Side = Literal["train", "test"]


def cases_of_split(paths: RunPaths, dataset: str, split: Side) -> list[str]:
    """Cases of one side of a dataset's split, sorted."""
    return sorted(patients_of_split(paths, dataset, split))


def patients_of_split(paths: RunPaths, dataset: str, split: Side) -> dict[str, str]:
    """The patient of each case of one side of a dataset's split."""
    return {row.case: row.patient for row in read_split(paths, dataset) if row.split == split}


def datasets_of_run(paths: RunPaths, config: RunConfig) -> list[str]:
    """Entries of the configuration that have a split in this run, in alphabetical order."""
    found = sorted(find_card(entry).id for entry in entry_ids(config))
    found = [dataset for dataset in found if paths.split(dataset).is_file()]
    if not found:
        raise BenchError(
            "no entry of this run has a split", file=paths.root / "splits",
            hint="standardise and split the data first",
        )  # fmt: skip
    return found


def prepare_run(paths: RunPaths, config: RunConfig, model: str, preset: Preset) -> PreparedIndex:
    """Prepare all training cases of a run for SAT-Nano.

    Cases already prepared from the same source with the same grid are kept. Free disk space is
    compared with an estimate first.

    Raises:
        BenchError: a case cannot be read or normalised, or the disk is too small.
    """
    store = paths.model_run(model) / "prepared"
    datasets = datasets_of_run(paths, config)
    cases = {dataset: cases_of_split(paths, dataset, "train") for dataset in datasets}
    _check_disk(store, _estimated_bytes(paths, cases, preset.grid.spacing_mm))
    entries = []
    sources: dict[str, dict[str, str]] = {dataset: {} for dataset in datasets}
    todo = [(dataset, case) for dataset in datasets for case in cases[dataset]]
    for dataset, case in tqdm(todo, desc="prepare", unit="case"):
        try:
            source = _prepare_from_run(paths, store, dataset, case, preset.grid)
            sources[dataset][case] = source
        except BenchError as error:
            raise BenchError(
                f"training case `{case}` of `{dataset}` cannot be prepared: {error.one_line}",
                file=paths.case(dataset, case), hint=error.hint,
            ) from error  # fmt: skip
    for dataset in datasets:
        card = find_card(dataset)
        scope = tuple(entry.name for entry in classes_in_scope(card, config))
        if not scope or not cases[dataset]:
            continue
        entries.append(
            PreparedEntry(
                dataset=dataset,
                modality=card.modality,
                classes=scope,
                specialists=card.subsets,
                cases=tuple(cases[dataset]),
                patients=patients_of_split(paths, dataset, "train"),
                sources=sources[dataset],
            )
        )
    index = PreparedIndex(format=FORMAT, grid=preset.grid, entries=tuple(entries))
    write_text(store / INDEX_FILE, index.model_dump_json(indent=1) + "\n")
    made_again(store / INDEX_FILE)
    return index


def _prepare_from_run(paths: RunPaths, store: Path, dataset: str, case: str, settings: Grid) -> str:
    """Prepare a case unless it is there, made from the same; returns what it is made from."""
    source_folder, folder = paths.case(dataset, case), store / dataset / case
    known, record = read_record(folder), read_case_record(source_folder)
    source = digest(FORMAT, record.image, record.labels, record.modality, settings)
    outdated = known is not None and is_outdated(folder / RECORD_FILE, store / INDEX_FILE)
    if known is not None and known.source == source and not outdated:
        return source
    # From here until all cases are there again, nothing may train from this store.
    (store / INDEX_FILE).unlink(missing_ok=True)
    meter = Meter(folder / SPENT_FILE, source, on_gpu=False)
    record, reference = read_reference(source_folder)
    prepare_case(
        folder,
        dataset,
        case,
        record.modality,
        read_volume(source_folder / "image.nii.gz"),
        reference,
        settings,
        not_annotated=record.not_annotated,
        source=source,
    )
    meter.write()
    return source


def _records(paths: RunPaths, cases: dict[str, list[str]]) -> Iterator[CaseRecord]:
    for dataset, names in cases.items():
        for case in names:
            yield read_case_record(paths.case(dataset, case))


def _estimated_bytes(paths: RunPaths, cases: dict[str, list[str]], own_mm: Millimetres) -> int:
    """Upper estimate: float16 image and uint8 layers of the uncropped own grid."""
    return sum(
        int(np.prod(GridMap(record.shape, record.spacing_mm, own_mm).own_shape))
        * (2 + record.n_layers)
        for record in _records(paths, cases)
    )


def _check_disk(store: Path, needed: int) -> None:
    store.mkdir(parents=True, exist_ok=True)
    held = sum(f.stat().st_size for f in store.rglob("*.npy"))
    free = shutil.disk_usage(store).free + held
    if needed > free:
        raise BenchError(
            "not enough disk space for the prepared training data",
            file=store,
            found=f"{free / 2**30:.1f} GiB",
            expected=f"up to {needed / 2**30:.1f} GiB",
            hint="free some space, or point the run folder to a larger disk",
        )
