"""Training cases to the prepared store of a grid, read crop by crop later.

`index.json` is written when all cases are there; a killed run goes on with the next case. Two
models that want one store at once take turns, and the second finds everything done.
"""

from __future__ import annotations

import hashlib
import io
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from tqdm import tqdm

from evaluation.cases import CaseRecord, read_case_record, read_reference
from evaluation.classes.modality import Modality
from evaluation.config import RunConfig
from evaluation.datasets.registry import find_card
from evaluation.datasets.scope import classes_in_scope
from evaluation.errors import BenchError
from evaluation.files.identity import digest, is_outdated, made_again
from evaluation.files.writing import atomic_path, write_text
from evaluation.paths import RunPaths
from evaluation.spent import SPENT_FILE, Meter
from evaluation.training.cases import cases_of_split, datasets_of_run, patients_of_split
from evaluation.training.grid import (
    GridMap,
    bounding_box,
    crop_and_normalise,
    resample_image,
    resample_labels,
    triple,
)
from evaluation.training.points import EMPTY, Points, box_of, paint_points, points_on
from evaluation.training.settings import Grid, Millimetres, Triple
from evaluation.training.side_by_side import in_processes
from evaluation.training.store import (
    FORMAT,
    INDEX_FILE,
    RECORD_FILE,
    ClassPoints,
    PreparedEntry,
    PreparedIndex,
    PreparedRecord,
    read_known,
    read_record,
    store_folder,
)
from evaluation.volumes.axes import (
    AS_STORED,
    AxisOrder,
    along_ras,
    turned,
    turned_masks,
    turned_points,
)
from evaluation.volumes.image_files import Array, Volume, read_volume
from evaluation.volumes.segmentation import ClassPlace, Segmentation, union_place

POINTS_PER_CLASS = 1000
LOCK_FILE = ".lock"
_log = logging.getLogger(__name__)


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
    points: Points = EMPTY,
    axes: AxisOrder = AS_STORED,
    sequence: str | None = None,
) -> PreparedRecord:
    """Put one case on the own grid and write it.

    Args:
        folder: where the case's files go.
        dataset: id of the dataset.
        case: id of the case.
        modality: which intensities it has.
        image: the image (x, y, z) in RAS.
        reference: label layers on the same grid.
        settings: grid and intensities.
        not_annotated: classes that this case has no annotation for.
        source: fingerprint of what the case is made from.
        points: of classes that are known at single places; the crop holds them all.
        axes: axis order of the own grid.
        sequence: of the scan, such as T1.

    Raises:
        BenchError: the image cannot be normalised (see `crop_and_normalise`).
    """
    image, reference = turned(image, axes), turned_masks(reference, axes)
    grid = GridMap(triple(image.array.shape), image.spacing_mm, settings.spacing_mm)
    marked = points_on(grid, {n: turned_points(found, axes) for n, found in points.items()})
    resampled = resample_image(image.array, grid)
    normalised, box = crop_and_normalise(resampled, modality, settings, keep=box_of(marked))
    parts = [resample_labels(layer, grid)[box] for layer in reference.layers]
    start = np.array([side.start for side in box])
    inside = {name: voxels - start for name, voxels in marked.items()}
    painted, pointed = paint_points(inside, triple(normalised.shape), len(parts))
    classes = dict(reference.classes)
    for name, place in pointed.items():
        both = [classes[name], place] if name in classes else [place]
        classes[name] = union_place(both, "annotated")
    layers = np.stack([_small(layer) for layer in (*parts, *painted)])
    sampled, places = _sample_points(layers, classes, case)
    foreground = bounding_box(np.asarray((layers > 0).any(axis=0)))
    record = PreparedRecord(
        source=source,
        dataset=dataset,
        case=case,
        modality=modality,
        sequence=sequence,
        shape=triple(normalised.shape),
        classes=classes,
        not_annotated=tuple(not_annotated),
        points=places,
        label_size=triple([s.stop - s.start for s in foreground] if foreground else [0, 0, 0]),
    )
    # A case that is killed between its arrays must not count as the whole one that it was.
    (folder / RECORD_FILE).unlink(missing_ok=True)
    _write_array(folder / "image.npy", normalised.astype(np.float16))
    _write_array(folder / "layers.npy", layers)
    _write_array(folder / "points.npy", sampled)
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
    # Not into the file itself: there numpy does not notice when a disk is full at the very end.
    content = io.BytesIO()
    np.save(content, np.ascontiguousarray(array))
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.getbuffer())


def prepare_run(paths: RunPaths, config: RunConfig, grid: Grid, *, jobs: int = 1) -> PreparedIndex:
    """Prepare the training and validation cases of a run on a grid.

    They lie in the folder `store_folder(paths, grid)`; what was prepared from the same source is
    kept. Free disk space is compared with an estimate first. While another process prepares the
    same store, this one waits.

    Args:
        paths: of the run.
        config: of the run.
        grid: what is prepared.
        jobs: cases at once, each in a process of its own.

    Raises:
        BenchError: a case cannot be read or normalised, or the disk is too small.
    """
    store = store_folder(paths, grid)
    datasets = datasets_of_run(paths, config)
    cases = {
        dataset: [
            *cases_of_split(paths, dataset, "train"),
            *cases_of_split(paths, dataset, "validation"),
        ]
        for dataset in datasets
    }
    with _alone(store):
        _check_disk(store, _estimated_bytes(paths, cases, grid.spacing_mm))
        return _prepare_cases(paths, config, store, grid, cases, jobs)


@contextmanager
def _alone(store: Path) -> Iterator[None]:
    """Hold the store's lock; the system releases it if its holder is killed."""
    store.mkdir(parents=True, exist_ok=True)
    lock = FileLock(store / LOCK_FILE)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _log.warning("another process is preparing %s: waiting for it", store)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _prepare_cases(
    paths: RunPaths,
    config: RunConfig,
    store: Path,
    grid: Grid,
    cases: Mapping[str, Sequence[str]],
    jobs: int,
) -> PreparedIndex:
    entries = []
    sources: dict[str, dict[str, str]] = {dataset: {} for dataset in cases}
    todo = [(dataset, case) for dataset in cases for case in cases[dataset]]
    made = in_processes(partial(_prepare_from_run, paths, store, grid), todo, jobs)
    for dataset, case in tqdm(todo, desc="prepare", unit="case"):
        try:
            sources[dataset][case] = next(made)
        except BenchError as error:
            raise BenchError(
                f"training case `{case}` of `{dataset}` cannot be prepared: {error.one_line}",
                file=paths.case(dataset, case), hint=error.hint,
            ) from error  # fmt: skip
    for dataset, names in cases.items():
        card = find_card(dataset)
        scope = tuple(entry.name for entry in classes_in_scope(card, config))
        patients = patients_of_split(paths, dataset, "train")
        if not scope or not patients:
            continue
        entries.append(
            PreparedEntry(
                dataset=dataset,
                modality=card.modality,
                classes=scope,
                specialists=card.subsets,
                cases=tuple(name for name in names if name in patients),
                validation=tuple(name for name in names if name not in patients),
                patients=patients,
                sources=sources[dataset],
                sequences=_sequences(store, dataset, names),
            )
        )
    index = PreparedIndex(format=FORMAT, grid=grid, entries=tuple(entries))
    write_text(store / INDEX_FILE, index.model_dump_json(indent=1) + "\n")
    made_again(store / INDEX_FILE)
    return index


def _sequences(store: Path, dataset: str, cases: Sequence[str]) -> tuple[str, ...]:
    known = (read_known(store, dataset, case).sequence for case in cases)
    return tuple(sorted({sequence for sequence in known if sequence}))


def _prepare_from_run(paths: RunPaths, store: Path, settings: Grid, dataset: str, case: str) -> str:
    """Prepare a case unless it is there, made from the same; returns what it is made from."""
    source_folder, folder = paths.case(dataset, case), store / dataset / case
    known, record = read_record(folder), read_case_record(source_folder)
    scan = [record.image, record.labels, record.modality, record.sequence, record.grid_axes]
    source = digest(FORMAT, scan, settings)
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
        axes=record.grid_axes,
        sequence=record.sequence,
    )
    meter.write()
    return source


def _records(paths: RunPaths, cases: Mapping[str, Sequence[str]]) -> Iterator[CaseRecord]:
    for dataset, names in cases.items():
        for case in names:
            yield read_case_record(paths.case(dataset, case))


def _estimated_bytes(
    paths: RunPaths, cases: Mapping[str, Sequence[str]], own_mm: Millimetres
) -> int:
    """Upper estimate: float16 image and uint8 layers of the uncropped own grid."""
    return sum(
        int(np.prod(_own_shape(record, own_mm))) * (2 + record.n_layers)
        for record in _records(paths, cases)
    )


def _own_shape(record: CaseRecord, own_mm: Millimetres) -> Triple:
    sides = along_ras(own_mm, record.grid_axes)
    return GridMap(record.shape, record.spacing_mm, sides).own_shape


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
