"""A run's training cases to the prepared store of a grid, read crop by crop later.

`index.json` is written when all cases are there; a killed run goes on with the next case. Two
models that want one store at once take turns, and the second finds everything done.
"""

from __future__ import annotations

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
from evaluation.config import RunConfig
from evaluation.datasets.registry import find_card
from evaluation.datasets.scope import classes_in_scope
from evaluation.errors import BenchError
from evaluation.files.identity import digest, is_outdated, made_again
from evaluation.files.writing import write_text
from evaluation.paths import RunPaths
from evaluation.spent import SPENT_FILE, Meter
from evaluation.training.cases import cases_of_split, datasets_of_run, patients_of_split
from evaluation.training.grid import GridMap
from evaluation.training.prepared_case import prepare_case
from evaluation.training.settings import Grid, Triple
from evaluation.training.side_by_side import in_processes
from evaluation.training.store import (
    FORMAT,
    INDEX_FILE,
    RECORD_FILE,
    PreparedEntry,
    PreparedIndex,
    read_known,
    read_record,
    store_folder,
)
from evaluation.volumes.axes import along_ras, slice_axis
from evaluation.volumes.image_files import read_volume

LOCK_FILE = ".lock"
_log = logging.getLogger(__name__)


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
        _check_disk(store, _estimated_bytes(paths, cases, grid))
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


def _estimated_bytes(paths: RunPaths, cases: Mapping[str, Sequence[str]], grid: Grid) -> int:
    """Upper estimate: float16 image and uint8 layers of the uncropped own grid."""
    return sum(
        int(np.prod(_own_shape(record, grid))) * (2 + record.n_layers)
        for record in _records(paths, cases)
    )


def _own_shape(record: CaseRecord, grid: Grid) -> Triple:
    order = record.grid_axes
    sides = along_ras(grid.sides_for(record.spacing_mm[slice_axis(order)]), order)
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
