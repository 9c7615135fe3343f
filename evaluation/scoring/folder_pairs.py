"""Pairs of masks in two folders: read both sides of a case and bring them onto one grid."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from evaluation import __version__
from evaluation.errors import BenchError
from evaluation.files.identity import state_of
from evaluation.metrics import EngineName
from evaluation.metrics.catalogue import versions_of
from evaluation.protocol import DEFAULT_METRICS
from evaluation.scoring.comparing import Asked, Comparison, Measuring
from evaluation.scoring.inputs import Case
from evaluation.scoring.labels import Labels
from evaluation.scoring.pipeline import thread_memory
from evaluation.scoring.segmentations import on_one_grid, read_segmentation, unnamed_in
from evaluation.volumes.image_files import GEOMETRY_TOLERANCE_MM
from evaluation.volumes.segmentation import Segmentation

NO_PREDICTION = "no prediction of this name"
RESAMPLED = "prediction resampled (nearest) to the reference's grid"


@dataclass(frozen=True)
class Settings:
    """What decides a case's rows, apart from its files.

    `answered` are the classes for which the prediction has a mask in at least one case: a mask
    that lacks in another case is then missing, not unsupported.
    """

    labels: Labels
    answered: frozenset[str]
    tolerances_mm: tuple[float, ...] = (1.0,)
    metrics: tuple[str, ...] = DEFAULT_METRICS
    engine: EngineName = "sweep"
    resample: Literal["refuse", "nearest"] = "refuse"
    grid_tolerance_mm: float = GEOMETRY_TOLERANCE_MM
    model: str = "prediction"
    dataset: str = "reference"
    modality: str = "unknown"

    @property
    def measuring(self) -> Measuring:
        """What all rows have in common."""
        return Measuring(self.model, self.dataset, self.tolerances_mm, self.metrics, self.engine)


def pairs_of(case: Case, settings: Settings) -> Iterator[Comparison]:
    """The one comparison of a case.

    A prediction that is missing, unreadable or on another grid is none, for a reason.

    Raises:
        BenchError: the reference cannot be used, so that there is nothing to score.
    """
    memory = thread_memory("reference")[0], thread_memory("prediction")[0]
    reference = read_segmentation(case.reference, settings.labels, memory[0])
    prediction: Segmentation | None = None
    missing, resampled = NO_PREDICTION, False
    unnamed: tuple[str, ...] = ()
    if case.prediction is not None:
        try:
            answer = read_segmentation(case.prediction, settings.labels, memory[1])
            unnamed = unnamed_in(case.prediction, answer, settings.labels)
            reference, prediction, resampled = on_one_grid(
                reference,
                answer,
                case.prediction.path,
                settings.grid_tolerance_mm,
                settings.resample == "nearest",
            )
        except BenchError as error:
            missing = error.one_line
    yield Comparison(
        case.name,
        "",
        settings.modality,
        "native",
        reference,
        prediction,
        [_asked(name, reference, prediction, settings) for name in settings.labels],
        missing,
        RESAMPLED if resampled else "",
        unnamed,
    )


def _asked(
    name: str, reference: Segmentation, prediction: Segmentation | None, settings: Settings
) -> Asked:
    """A class; what the reference does not annotate, nobody has to answer."""
    wanted = reference.classes.get(name)
    if prediction is None or name in prediction.classes:
        answer = None if prediction is None else prediction.classes[name]
        return Asked(name, wanted, answer)
    if name not in settings.answered:
        return Asked(name, wanted, None, unsupported="the prediction has no mask of this class")
    lacking = "mask file of this class is missing" if wanted is not None else ""
    return Asked(name, wanted, None, missing=lacking)


def key_of(case: Case, settings: Settings) -> str:
    """Names a case's inputs (path and state of every file) and its settings."""
    known = asdict(settings) | {"answered": sorted(settings.answered)}
    parts: list[Any] = [__version__, case.name, known, versions_of(settings.metrics)]
    for source in (case.reference, case.prediction):
        files = source.files() if source else ()
        parts += [[str(file), *(state_of(file) if file.is_file() else [])] for file in files]
        parts.append(source.problem if source else "missing")
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
