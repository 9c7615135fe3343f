"""Choice of the checkpoint on patients that are held out of training.

Never on test cases. Whole cases are predicted with sliding windows on the model's own grid.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
import torch

from evaluation.errors import BenchError
from evaluation.files.reading import array_of
from evaluation.training.model import SegmentationModel
from evaluation.training.predict import blended_probabilities
from evaluation.training.processes import Team
from evaluation.training.settings import Validation
from evaluation.training.store import PreparedEntry, PreparedIndex, PreparedRecord, read_known
from evaluation.training.tasks import class_mask
from evaluation.training_folder import kept_rows, write_rows
from evaluation.volumes.image_files import Array

VALIDATION_FILE = "validation.csv"
COLUMNS = ("step", "dataset", "n_cases", "mean_dsc")
ALL = "(all)"  # no dataset has such an id


@dataclass(frozen=True)
class Score:
    """DSC of one class in one case on the own grid."""

    dataset: str
    case: str
    name: str
    dsc: float


def validation_patients(patients: Sequence[str], part: float) -> set[str]:
    """A fixed part of the patients, chosen by a hash of their names, at least one."""
    unique = sorted(set(patients), key=lambda p: hashlib.sha256(p.encode()).hexdigest())
    return set(unique[: max(1, math.ceil(part * len(unique)))])


def held_out_cases(index: PreparedIndex, settings: Validation | None) -> dict[str, tuple[str, ...]]:
    """For each dataset the cases that choose the checkpoint; none is trained on.

    Those of the split's own validation side, or else all cases of some of the training patients.
    A patient is on one side with all its cases. An entry with a single patient keeps it for
    training.
    """
    if settings is None:
        return {}
    return {entry.dataset: _held_out(entry, settings.part) for entry in index.entries}


def _held_out(entry: PreparedEntry, part: float) -> tuple[str, ...]:
    if entry.validation:
        return entry.validation
    patients = [entry.patients.get(case, case) for case in entry.cases]
    chosen = validation_patients(patients, part)
    if chosen >= set(patients):
        return ()
    return tuple(case for case, p in zip(entry.cases, patients, strict=True) if p in chosen)


def validate(
    model: SegmentationModel,
    store: Path,
    held_out: Mapping[str, Sequence[str]],
    most: int,
    team: Team,
) -> list[Score]:
    """Scores of the first `most` held-out cases of each dataset, shared out to the processes.

    The model is in the same mode before and after.
    """
    todo = [(dataset, case) for dataset, cases in held_out.items() for case in cases[:most]]
    was_training = model.training
    model.eval()
    mine = [
        score
        for dataset, case in todo[team.rank :: team.size]
        for score in case_scores(model, store, read_known(store, dataset, case))
    ]
    model.train(was_training)
    return sorted(
        (score for scores in team.gather(mine) for score in scores),
        key=lambda s: (s.dataset, s.name, s.case),
    )


def case_scores(model: SegmentationModel, store: Path, record: PreparedRecord) -> Iterator[Score]:
    """Scores of all trained and annotated classes that a prepared case shows."""
    crop, layers = read_case(store, record)

    def ask(rows: torch.Tensor) -> Iterator[tuple[int, torch.Tensor]]:
        with torch.inference_mode():
            prompts = model.prompts(rows, record.sequence)
        return blended_probabilities(model, crop, prompts)

    for name, found in model.tasks.masks(record, ask):
        truth = class_mask(layers, record, name)
        size = int(truth.sum())
        if size:
            dsc = 2 * int((found & truth).sum()) / (int(found.sum()) + size)
            yield Score(record.dataset, record.case, name, dsc)


def read_case(store: Path, record: PreparedRecord) -> tuple[torch.Tensor, Array]:
    """The image (X, Y, Z) float32 and the label layers (L, X, Y, Z) of a prepared case."""
    folder = store / record.dataset / record.case
    image = torch.from_numpy(array_of(folder / "image.npy").astype(np.float32))
    return image, array_of(folder / "layers.npy")


def dataset_means(scores: Sequence[Score]) -> dict[str, float]:
    """Mean over the cases of each class, then over the classes of each dataset."""
    by_class: dict[str, dict[str, list[float]]] = {}
    for score in scores:
        by_class.setdefault(score.dataset, {}).setdefault(score.name, []).append(score.dsc)
    return {
        dataset: fmean(fmean(values) for values in classes.values())
        for dataset, classes in by_class.items()
    }


def mean_dsc(scores: Sequence[Score]) -> float:
    """Unweighted mean over the datasets: what the best checkpoint is the best in.

    Raises:
        BenchError: no held-out case shows a trained class.
    """
    if not scores:
        raise BenchError(
            "no validation case shows any class",
            hint="raise training.validation.part or .most, or leave the validation out",
        )
    return fmean(dataset_means(scores).values())


class ValidationLog:
    """`validation.csv`: one row for each validation and dataset, and one for their mean."""

    def __init__(self, work: Path, first: int) -> None:
        self._path = work / VALIDATION_FILE
        self._rows: list[Mapping[str, object]] = list(kept_rows(self._path, first))

    def add(self, step: int, scores: Sequence[Score]) -> None:
        """Take the validation after step `step` into the log and write it."""
        for dataset, mean in dataset_means(scores).items():
            cases = {score.case for score in scores if score.dataset == dataset}
            self._rows.append(_row(step, dataset, len(cases), mean))
        everything = {(score.dataset, score.case) for score in scores}
        self._rows.append(_row(step, ALL, len(everything), mean_dsc(scores)))
        write_rows(self._path, COLUMNS, self._rows)


def _row(step: int, dataset: str, n_cases: int, mean: float) -> dict[str, object]:
    return dict(zip(COLUMNS, (step, dataset, n_cases, f"{mean:.6f}"), strict=True))
