"""Writing the virtual patients of a cohort, so that a kill loses little.

A patient's numbers depend on the seed, the dataset and the patient's index alone, never on which
other patients were written before.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import psutil

from evaluation import __version__
from evaluation.datasets.phantoms.entries import ENTRIES
from evaluation.datasets.phantoms.layouts import decathlon_json
from evaluation.datasets.phantoms.patients import DECATHLON, RECIPE
from evaluation.datasets.phantoms.rosters import find_entry, patient_of, roster
from evaluation.errors import BenchError
from evaluation.files.identity import is_outdated, listing, made_again
from evaluation.files.reading import mapping_of
from evaluation.files.writing import TEMPORARY_PREFIX, visible, write_json

COHORT_FILE = "cohort.json"
RECIPE_FILE = ".cohort-recipe.json"
STATES_FILE = ".cohort-files.json"

Progress = Callable[[str, int], None]


def write_cohort(
    root: Path,
    datasets: Sequence[str],
    n_patients: int,
    seed: int,
    progress: Progress | None = None,
    jobs: int = 1,
) -> None:
    """Write all patients of the datasets below `root`, then `root/cohort.json`.

    A patient that is whole is kept, so a killed run goes on where it stopped and a larger cohort
    keeps its first patients. A cohort of another seed or recipe, or of more patients, is deleted
    first. `progress` is called with (dataset, index) after each patient; `jobs`
    processes draw at once, which changes no voxel.

    Raises:
        BenchError: `root` holds other data.
    """
    for dataset in datasets:
        find_entry(dataset)
    # Clocks of file systems tick in steps.
    started = time.time_ns() - 10**9
    _claim(root, seed, n_patients)
    _remove_leftovers(root)
    tasks = [(dataset, index) for dataset in datasets for index in range(n_patients)]
    for task in _written(tasks, root, seed, jobs):
        if progress is not None:
            progress(*task)
    for dataset in datasets:
        _write_dataset_files(dataset, root, n_patients)
    listed = {
        dataset: {
            "folder": ENTRIES[dataset].folder,
            "cases": [row.case for row in roster(dataset, n_patients, 0)],
        }
        for dataset in datasets
    }
    versions = {"satbench": __version__, "numpy": np.__version__}
    content = {"seed": seed, "recipe": RECIPE, "patients": n_patients, "versions": versions}
    _write_states(root, datasets, started)
    write_json(root / COHORT_FILE, {**content, "datasets": listed})
    made_again(root / COHORT_FILE)


def _write_states(root: Path, datasets: Sequence[str], started: int) -> None:
    """Keep the states of the files; of those that this call did not write, as they are known.

    So a file that was changed since it was written still counts as changed after the next call.
    """
    path = root / STATES_FILE
    known = mapping_of(path)
    for dataset in datasets:
        folder, before = ENTRIES[dataset].folder, known.get(dataset, {})
        found = {f"{folder}/{name}": state for name, state in listing(root / folder).items()}
        known[dataset] = {
            name: state if state[1] >= started else before.get(name, state)
            for name, state in found.items()
        }
    write_json(path, known)


def goes_on(root: Path, seed: int, n_patients: int) -> bool:
    """Whether the patients below `root`, if there are any, stay in such a cohort."""
    path = root / RECIPE_FILE
    if not path.is_file():
        return True
    found = mapping_of(path)
    same = (found.get("seed"), found.get("recipe")) == (seed, RECIPE)
    return same and found.get("patients", 0) <= n_patients


def written_files(root: Path, dataset: str) -> dict[str, list[int]]:
    """The state of an entry's files as they were written, by path below `root`.

    Empty before the cohort is there.
    """
    files: dict[str, list[int]] = mapping_of(root / STATES_FILE).get(dataset, {})
    return files


def _written(
    tasks: Sequence[tuple[str, int]], root: Path, seed: int, jobs: int
) -> Iterator[tuple[str, int]]:
    """Write the patients and yield each when it is there."""
    if jobs == 1:
        for dataset, index in tasks:
            write_patient(dataset, root, index, seed)
            yield dataset, index
        return
    # Processes are spawned: a fork of a process that has threads may stand still.
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(write_patient, d, root, i, seed): (d, i) for d, i in tasks}
        for future in as_completed(futures):
            future.result()
            yield futures[future]


def write_patient(dataset: str, root: Path, index: int, seed: int) -> None:
    """Draw one patient and write it in the dataset's raw layout, unless it is already whole.

    The files are written into a temporary folder below `root` and moved; what says that the
    patient is whole (the subject's folder, or the image beside its labels) moves last.
    """
    entry = find_entry(dataset)
    if entry.is_whole(root, index):
        return
    with _temporary_folder(root, f"{dataset}-{index}") as scratch:
        for path in entry.write(scratch, patient_of(dataset, index, seed)):
            target = root / entry.folder / path.relative_to(scratch)
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.is_dir():
                # A second process at the same patient was faster; its bytes are the same.
                path.replace(target)


def _write_dataset_files(dataset: str, root: Path, n_patients: int) -> None:
    """Files that describe a dataset as a whole."""
    if dataset in DECATHLON:
        title, values = DECATHLON[dataset]
        cases = [row.case for row in roster(dataset, n_patients, 0)]
        content = decathlon_json(title, "CT", values, cases)
        write_json(root / ENTRIES[dataset].folder / "dataset.json", content)


def _claim(root: Path, seed: int, n_patients: int) -> None:
    """Mark `root` as this cohort's, so that two cohorts, or real data, are never mixed."""
    path = root / RECIPE_FILE
    wanted = {"seed": seed, "recipe": RECIPE, "patients": n_patients}
    if not path.is_file():
        if occupied := [found.name for found in visible(root) if found.name != COHORT_FILE]:
            raise BenchError(
                f"the folder of the virtual patients holds other data, or lost its {RECIPE_FILE}",
                file=root,
                found=", ".join(occupied[:8]),
                expected="an empty folder, or a cohort that was written before",
                hint="give the synthetic configuration a raw_root of its own; if all in this "
                "folder are virtual patients, delete it and they are drawn again",
            )
    elif not goes_on(root, seed, n_patients) or is_outdated(path, root / COHORT_FILE):
        # The mark says that these are virtual patients, which cost minutes at most.
        for entry in ENTRIES.values():
            shutil.rmtree(root / entry.folder, ignore_errors=True)
        (root / STATES_FILE).unlink(missing_ok=True)
    write_json(path, wanted)


@contextmanager
def _temporary_folder(root: Path, name: str) -> Iterator[Path]:
    folder = root / f"{TEMPORARY_PREFIX}{os.getpid()}-{name}"
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_leftovers(root: Path) -> None:
    """Remove temporary folders of processes that are gone."""
    for folder in root.glob(f"{TEMPORARY_PREFIX}*"):
        owner = folder.name.removeprefix(TEMPORARY_PREFIX).split("-")[0]
        if not (owner.isdigit() and psutil.pid_exists(int(owner))):
            shutil.rmtree(folder, ignore_errors=True)
