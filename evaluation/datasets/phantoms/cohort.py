"""Virtual patients of five datasets: who they are, and writing them so that a kill loses little.

A patient's numbers depend on the seed, the dataset and the patient's index alone, never on which
other patients were written before.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import numpy as np
import psutil

from evaluation import __version__
from evaluation.datasets.phantoms import layouts
from evaluation.datasets.phantoms.canvas import FieldOfView
from evaluation.datasets.phantoms.heart import LEFT, MUSCLE, RIGHT, draw_heart
from evaluation.datasets.phantoms.prostate import draw_pelvis
from evaluation.datasets.phantoms.shapes import Triple
from evaluation.datasets.phantoms.torso import draw_torso
from evaluation.errors import BenchError, did_you_mean
from evaluation.files.identity import is_outdated, listing, made_again
from evaluation.files.writing import TEMPORARY_PREFIX, write_json

RECIPE = 1
"""Number of the recipe; another one means that the same seed gives other patients."""

COHORT_FILE = "cohort.json"
RECIPE_FILE = ".cohort-recipe.json"
STATES_FILE = ".cohort-files.json"
SPLEEN_VALUES = {"spleen": 1}
ACDC_VALUES = {RIGHT: 1, MUSCLE: 2, LEFT: 3}

Progress = Callable[[str, int], None]


@dataclass(frozen=True)
class RosterRow:
    """One case of a cohort."""

    case: str
    patient: str
    split: Literal["train", "test"]


@dataclass(frozen=True)
class _Entry:
    """A dataset's folder below the raw root, its grid, and its cases by patient index.

    `shift_mm` is how far the field of view may lie off its nominal centre, +- along x, y, z.
    """

    folder: str
    shape: tuple[int, int, int]
    spacing_mm: tuple[tuple[float, float], tuple[float, float]]
    isotropic: bool
    centre_mm: Triple
    shift_mm: Triple
    cases: Callable[[int], tuple[str, list[str]]]
    orientations: tuple[str, ...] = ("RAS",)
    oblique_degrees: float = 0.0


def _contracted_frame(index: int) -> int:
    return 9 + index % 5


def _acdc_cases(index: int) -> tuple[str, list[str]]:
    patient = f"patient{index + 1:03d}"
    return patient, [f"{patient}_frame{n:02d}" for n in (1, _contracted_frame(index))]


def _alone(pattern: str, first: int = 0) -> Callable[[int], tuple[str, list[str]]]:
    return lambda index: (pattern.format(index + first), [pattern.format(index + first)])


ENTRIES: dict[str, _Entry] = {
    "totalsegmentator": _Entry(
        folder="TotalSegmentator",
        shape=(46, 36, 44),
        spacing_mm=((6.0, 0.2), (6.0, 0.2)),
        isotropic=True,
        centre_mm=(0, 0, 30),
        shift_mm=(16, 12, 32),
        cases=_alone("s{:04d}"),
        orientations=("RAS", "LAS", "LPS"),
    ),
    "chaos_ct": _Entry(
        folder="CHAOS/Train_Sets/CT",
        shape=(48, 38, 34),
        spacing_mm=((5.8, 0.2), (5.5, 0.5)),
        isotropic=False,
        centre_mm=(0, 0, 45),
        shift_mm=(26, 18, 80),
        cases=_alone("{}", first=1),
    ),
    "msd_spleen": _Entry(
        folder="MSD_Spleen/Task09_Spleen",
        shape=(48, 38, 34),
        spacing_mm=((5.8, 0.2), (5.5, 0.5)),
        isotropic=False,
        centre_mm=(0, 0, 45),
        shift_mm=(18, 14, 60),
        cases=_alone("spleen_{}", first=1),
        orientations=("LAS", "RAS", "LPS"),
    ),
    "acdc": _Entry(
        folder="ACDC/database/training",
        shape=(44, 40, 14),
        spacing_mm=((3.5, 0.3), (6.0, 0.0)),
        isotropic=False,
        centre_mm=(0, 0, 0),
        shift_mm=(26, 26, 10),
        cases=_acdc_cases,
        orientations=("LPS", "RAS", "LAS"),
        oblique_degrees=12.0,
    ),
    "promise12": _Entry(
        folder="PROMISE12/TrainingData_Part1",
        shape=(44, 40, 24),
        spacing_mm=((3.6, 0.3), (4.5, 0.0)),
        isotropic=False,
        centre_mm=(0, 0, 0),
        shift_mm=(22, 22, 18),
        cases=_alone("Case{:02d}"),
        orientations=("LPS", "LPI", "RAS"),
        oblique_degrees=8.0,
    ),
}

DATASETS: tuple[str, ...] = tuple(ENTRIES)
"""Ids of the entries that have virtual patients."""


def roster(dataset: str, n_patients: int, n_test: int) -> list[RosterRow]:
    """Cases of a cohort in the order of patients, without drawing anything.

    Args:
        dataset: one of `DATASETS`.
        n_patients: number of virtual patients.
        n_test: how many of them, the last ones, are the test split.

    Raises:
        BenchError: no such cohort, or a split that leaves nothing to train on.
    """
    entry = _entry(dataset)
    if not 0 <= n_test < n_patients:
        raise BenchError(
            f"cohort `{dataset}` cannot be split",
            found=f"{n_test} test patients of {n_patients}",
            expected="at least one patient left for training",
        )
    rows = []
    for index in range(n_patients):
        patient, cases = entry.cases(index)
        split: Literal["train", "test"] = "train" if index < n_patients - n_test else "test"
        rows += [RosterRow(case, patient, split) for case in cases]
    return rows


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
        _entry(dataset)
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
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
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
    found = json.loads(path.read_text(encoding="utf-8"))
    same = (found.get("seed"), found.get("recipe")) == (seed, RECIPE)
    return same and found.get("patients", 0) <= n_patients


def written_files(root: Path, dataset: str) -> dict[str, list[int]]:
    """The state of an entry's files as they were written, by path below `root`.

    Empty before the cohort is there.
    """
    path = root / STATES_FILE
    if not path.is_file():
        return {}
    files: dict[str, list[int]] = json.loads(path.read_text(encoding="utf-8")).get(dataset, {})
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
    entry = _entry(dataset)
    home = root / entry.folder
    if _whole(dataset, home, index):
        return
    with _temporary_folder(root, f"{dataset}-{index}") as scratch:
        for path in _draw_and_write(dataset, scratch, index, seed):
            target = home / path.relative_to(scratch)
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.is_dir():
                # A second process at the same patient was faster; its bytes are the same.
                path.replace(target)


def _draw_and_write(dataset: str, folder: Path, index: int, seed: int) -> list[Path]:
    """Write one patient below `folder`; gives what must be moved, the decisive one last."""
    entry = ENTRIES[dataset]
    rng = np.random.default_rng([seed, zlib.crc32(dataset.encode()), index])
    grid = _field_of_view(entry, rng)
    pose = layouts.Pose(
        str(rng.choice(entry.orientations)), _triple(rng.uniform(-1, 1, 3) * entry.oblique_degrees)
    )
    patient, cases = entry.cases(index)
    if dataset == "totalsegmentator":
        return layouts.write_totalsegmentator(folder, cases[0], draw_torso(rng, grid), pose)
    if dataset == "chaos_ct":
        uid_seed = f"satbench-{RECIPE}-{seed}-{index}"
        return layouts.write_chaos_ct(folder, cases[0], draw_torso(rng, grid), uid_seed)
    if dataset == "msd_spleen":
        torso = draw_torso(rng, grid)
        return layouts.write_decathlon(folder, cases[0], torso, pose, SPLEEN_VALUES)
    if dataset == "promise12":
        return layouts.write_promise12(folder, cases[0], draw_pelvis(rng, grid), pose)
    anatomy = int(rng.integers(2**62))
    frames = (1, _contracted_frame(index))
    for number in frames:
        heart = draw_heart(anatomy, grid, contracted=number != 1, noise=rng)
        layouts.write_acdc_frame(folder, patient, number, heart, pose, ACDC_VALUES)
    (folder / patient / "Info.cfg").write_text(layouts.acdc_info(*frames), encoding="utf-8")
    return [folder / patient]


def _field_of_view(entry: _Entry, rng: np.random.Generator) -> FieldOfView:
    """Spacing rounded to 0.01 mm and a centre shifted by up to the entry's limits."""
    (plane, plane_range), (step, step_range) = entry.spacing_mm
    in_plane = round(plane + rng.uniform(-1, 1) * plane_range, 2)
    along = in_plane if entry.isotropic else round(step + rng.uniform(-1, 1) * step_range, 2)
    shift = rng.uniform(-1, 1, 3) * entry.shift_mm
    centre = _triple(np.round(np.array(entry.centre_mm) + shift, 2))
    return FieldOfView(entry.shape, (in_plane, in_plane, along), centre)


def _triple(values: Any) -> Triple:
    x, y, z = (float(v) for v in values)
    return x, y, z


def _whole(dataset: str, home: Path, index: int) -> bool:
    """Whether the part that is moved last is there."""
    patient, cases = ENTRIES[dataset].cases(index)
    last = {
        "msd_spleen": home / "imagesTr" / f"{cases[0]}.nii.gz",
        "promise12": home / f"{cases[0]}.mhd",
    }
    return last.get(dataset, home / patient).exists()


def _write_dataset_files(dataset: str, root: Path, n_patients: int) -> None:
    """Files that describe a dataset as a whole."""
    if dataset == "msd_spleen":
        cases = [row.case for row in roster(dataset, n_patients, 0)]
        content = layouts.decathlon_json("Spleen", "CT", SPLEEN_VALUES, cases)
        write_json(root / ENTRIES[dataset].folder / "dataset.json", content)


def _entry(dataset: str) -> _Entry:
    if dataset not in ENTRIES:
        raise BenchError(
            f"there are no virtual patients of `{dataset}`", hint=did_you_mean(dataset, DATASETS)
        )
    return ENTRIES[dataset]


def _claim(root: Path, seed: int, n_patients: int) -> None:
    """Mark `root` as this cohort's, so that two cohorts, or real data, are never mixed."""
    path = root / RECIPE_FILE
    wanted = {"seed": seed, "recipe": RECIPE, "patients": n_patients}
    occupied = [name for name in (e.folder for e in ENTRIES.values()) if (root / name).exists()]
    if not path.is_file():
        if occupied:
            raise BenchError(
                "the folder of the virtual patients holds other data",
                file=root,
                found=occupied,
                expected="an empty folder, or a cohort that was written before",
                hint="give the synthetic configuration a raw_root of its own",
            )
    else:
        if not goes_on(root, seed, n_patients) or is_outdated(path, root / COHORT_FILE):
            # The mark says that these are virtual patients, which cost minutes at most.
            for name in occupied:
                shutil.rmtree(root / name)
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
