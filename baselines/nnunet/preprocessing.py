"""nnU-Net's preprocessing case by case, so that a killed one goes on with the next case."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from evaluation.training.side_by_side import in_processes

DONE_FOLDER = ".done"


def preprocess(
    preprocessor: Any, folder: Path, raw: Path, plans: Any, plan: Any, workers: int
) -> int:
    """Preprocess the training cases that are not done yet; returns how many are there in the end.

    Args:
        preprocessor: nnU-Net's own.
        folder: of the dataset in nnU-Net's preprocessed data, with the plan and `dataset.json`.
        raw: of the dataset in its raw data.
        plans: nnU-Net's plans manager.
        plan: its configuration.
        workers: cases at once, each in a process of its own.
    """
    from nnunetv2.utilities.utils import get_filenames_of_train_images_and_targets

    target, marks = folder / plan.data_identifier, folder / DONE_FOLDER
    target.mkdir(parents=True, exist_ok=True)
    marks.mkdir(exist_ok=True)
    description = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    cases = get_filenames_of_train_images_and_targets(str(raw), description)
    tasks = [
        (preprocessor, marks / case, str(target / case), files["images"], files["label"],
         plans, plan, description)
        for case, files in cases.items()
        if not (marks / case).is_file()
    ]  # fmt: skip
    for _ in in_processes(_preprocess_case, tasks, workers):
        pass
    return sum((marks / case).is_file() for case in cases)


def _preprocess_case(preprocessor: Any, mark: Path, start: str, *arguments: Any) -> None:
    for ending in (".b2nd", "_seg.b2nd", ".pkl"):  # of a killed one; they are not overwritten
        Path(start + ending).unlink(missing_ok=True)
    preprocessor.run_case_save(start, *arguments)
    mark.touch()


def keep_fingerprint(folder: Path) -> bool:
    """Whether the dataset's fingerprint is whole and can be used again; half of one is removed."""
    path = folder / "dataset_fingerprint.json"
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        path.unlink(missing_ok=True)
        return False
    return True


def clear_other_plan(folder: Path, path: Path, plan: dict[str, Any]) -> None:
    """Drop cases that were preprocessed by another plan than this one."""
    try:
        same = json.loads(path.read_text(encoding="utf-8")) == json.loads(json.dumps(plan))
    except (OSError, ValueError):
        same = False
    if not same:
        shutil.rmtree(folder / DONE_FOLDER, ignore_errors=True)
