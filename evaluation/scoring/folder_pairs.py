"""Pairs of masks in two folders: read both sides of a case and bring them onto one grid."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from evaluation import __version__
from evaluation.errors import BenchError, in_one_line
from evaluation.files.sums import state_of
from evaluation.metrics import EngineName
from evaluation.metrics.catalogue import versions_of
from evaluation.metrics.distances.definitions import DEFAULT_DEFINITION, DefinitionName
from evaluation.metrics.instances.rules import DEFAULT_MATCHING, Matching
from evaluation.protocol import DEFAULT_METRICS
from evaluation.scoring.comparing import Asked, Comparison, Measuring
from evaluation.scoring.inputs import PairedFiles, Source
from evaluation.scoring.labels import Label, Labels
from evaluation.scoring.pipeline import read_once, thread_memory
from evaluation.scoring.segmentations import on_one_grid, read_segmentation, unnamed_in
from evaluation.volumes.image_files import GEOMETRY_TOLERANCE_MM, geometry_remark
from evaluation.volumes.segmentation import Segmentation

NO_PREDICTION = "no prediction of this name"
GEOMETRY = "geometry of the reference: "
REFERENCE = "reference: "
"""Before what belongs to no class in a reference."""
RESAMPLED = "prediction resampled (nearest) to the reference's grid"


@dataclass(frozen=True)
class Settings:
    """What decides a case's rows, apart from its files.

    `answered` are the classes for which the prediction has a mask in at least one case: a mask
    that lacks in another case is then missing, not unsupported. Where the reference's label map
    holds an `ignored` value, nothing counts.
    """

    labels: Labels
    answered: frozenset[str]
    tolerances_mm: tuple[float, ...] = (1.0,)
    metrics: tuple[str, ...] = DEFAULT_METRICS
    engine: EngineName = "sweep"
    definition: DefinitionName = DEFAULT_DEFINITION
    matching: Matching = DEFAULT_MATCHING
    resample: Literal["refuse", "nearest"] = "refuse"
    grid_tolerance_mm: float = GEOMETRY_TOLERANCE_MM
    model: str = "prediction"
    dataset: str = "reference"
    modality: str = "unknown"
    ignored: tuple[int, ...] = ()

    @property
    def measuring(self) -> Measuring:
        """What all rows have in common."""
        return Measuring(
            self.model,
            self.dataset,
            self.tolerances_mm,
            self.metrics,
            self.engine,
            self.definition,
            matching=self.matching,
        )


def pairs_of(case: PairedFiles, settings: Settings) -> Iterator[Comparison]:
    """The one comparison of a case.

    A prediction that is missing, unreadable or on another grid is none, for a reason.

    Raises:
        BenchError: the reference cannot be used, so that there is nothing to score.
    """
    within = settings.grid_tolerance_mm
    # Several models share a reference.
    reference, unnamed = read_once(
        (case.reference, settings.labels, settings.ignored, within),
        lambda: _reference(case.reference, settings),
    )
    prediction: Segmentation | None = None
    missing, resampled = NO_PREDICTION, False
    if case.prediction is not None:
        try:
            memory = thread_memory("prediction")[0]
            answer = read_segmentation(case.prediction, settings.labels, memory, within, reference)
            unnamed += _unnamed(case.prediction, answer, settings)
            reference, prediction, resampled = on_one_grid(
                reference,
                answer,
                case.prediction.path,
                within,
                settings.resample == "nearest",
            )
            if settings.ignored:
                prediction = _blank(prediction, np.isin(reference.layers[0], settings.ignored))
        except Exception as error:
            # Whatever a prediction raises: a case without it would make n smaller.
            missing = in_one_line(error)
    if settings.ignored:
        reference = _blank(reference, np.isin(reference.layers[0], settings.ignored))
    yield Comparison(
        case.name,
        "",
        settings.modality,
        "native",
        reference,
        prediction,
        [_asked(name, reference, prediction, settings) for name in settings.labels],
        missing,
        "; ".join(filter(None, [RESAMPLED if resampled else "", _geometry(case)])),
        unnamed,
        lasting=prediction is not None or case.prediction is None,
    )


def _reference(source: Source, settings: Settings) -> tuple[Segmentation, tuple[str, ...]]:
    """A reference, and what no class names in it."""
    memory = thread_memory("reference")[0]
    found = read_segmentation(source, settings.labels, memory, settings.grid_tolerance_mm)
    return found, _unnamed(source, found, settings, REFERENCE)


def _unnamed(
    source: Source, segmentation: Segmentation, settings: Settings, side: str = ""
) -> tuple[str, ...]:
    """What no class names, nor is ignored; `side` stands before it."""
    ignored = Label(values=settings.ignored)
    found = unnamed_in(source, segmentation, settings.labels | {"": ignored})
    return tuple(side + what for what in found)


def _blank(segmentation: Segmentation, ignored: NDArray[np.bool_]) -> Segmentation:
    """Without the voxels that the reference does not annotate: they count on neither side."""
    layers = tuple(np.where(ignored, 0, layer) for layer in segmentation.layers)
    return replace(segmentation, layers=layers)


def _geometry(case: PairedFiles) -> str:
    """How the reference's geometry was decided, where its header says two things."""
    remarks = (geometry_remark(file) for file in case.reference.files())
    return next((f"{GEOMETRY}{remark}" for remark in remarks if remark), "")


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


def key_of(case: PairedFiles, settings: Settings) -> str:
    """Names a case's inputs (path and state of every file) and its settings."""
    known = asdict(settings) | {"answered": sorted(settings.answered)}
    parts: list[Any] = [__version__, case.name, known, versions_of(settings.metrics)]
    for source in (case.reference, case.prediction):
        try:
            files = source.files() if source else ()
            parts += [[str(file), *(state_of(file) if file.is_file() else [])] for file in files]
        except (BenchError, OSError):
            # A header that cannot be read: the case's rows say so, and are of this call alone.
            parts.append(secrets.token_hex())
        parts.append(source.problem if source else "missing")
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
