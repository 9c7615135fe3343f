"""`score`: the metrics of every class of one case, by a named engine."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from importlib.metadata import version
from typing import Literal, get_args

import numpy as np

from evaluation import __version__
from evaluation.errors import BenchError, did_you_mean
from evaluation.metrics.catalogue import find_metrics
from evaluation.metrics.distances.definitions import (
    DEFAULT_DEFINITION,
    DefinitionName,
    find_definition,
)
from evaluation.metrics.distances.distribution import field_diagonal_mm
from evaluation.metrics.instances.rules import DEFAULT_MATCHING, Matching
from evaluation.metrics.metric import Further, Metric
from evaluation.metrics.records import ClassPair, ClassScore, Engine, Scoring, class_scores
from evaluation.protocol import DEFAULT_METRICS
from evaluation.volumes.image_files import Array
from evaluation.volumes.segmentation import ClassPlace, Segmentation

EngineName = Literal["sweep", "surface-distance", "monai"]
ENGINES: tuple[str, ...] = get_args(EngineName)


def score(
    reference: Segmentation,
    prediction: Segmentation | None,
    spacing_mm: Sequence[float],
    tolerances_mm: Sequence[float],
    classes: Sequence[str],
    engine: EngineName = "sweep",
    metrics: Sequence[str] = DEFAULT_METRICS,
    definition: DefinitionName = DEFAULT_DEFINITION,
) -> list[ClassScore]:
    """Score classes of one case: one record per class and tolerance, classes in the given order.

    A class that is not in `reference.classes` gives `not_annotated`; else, without a prediction,
    `prediction_missing`; else, where it is not in `prediction.classes`, `unsupported`. These
    records have NaN values but keep what is known of the other side, so that policies can fill
    them in later. What a class is made of (values, layers, unions) is read from the two
    `ClassPlace`s, so the same name may live in different values and layers on the two sides.

    Args:
        reference: layers (x, y, z) and classes of the reference.
        prediction: layers of the same shape, or None if there is no prediction.
        spacing_mm: voxel size along x, y, z in mm (`spacing_of` rounds it).
        tolerances_mm: one or more NSD tolerances in mm, each at least 0.
        classes: names to score.
        engine: `sweep` (all classes at once; the default), `surface-distance` or `monai`.
        metrics: ids of the metrics (`satbench metrics` lists them).
        definition: of surfaces and their distances (see `distances.definitions`).

    Raises:
        BenchError: shapes differ, a spacing or tolerance is unusable, a metric is unknown, or
            the engine is unknown or not installed.
    """
    pairs = [
        ClassPair(
            name,
            reference.classes.get(name),
            None if prediction is None else prediction.classes.get(name),
        )
        for name in classes
    ]
    layers = None if prediction is None else prediction.layers
    return score_pairs(
        reference.layers, layers, pairs, spacing_mm, tolerances_mm, engine, metrics, definition
    )


def score_pairs(
    reference: Sequence[Array],
    prediction: Sequence[Array] | None,
    pairs: Sequence[ClassPair],
    spacing_mm: Sequence[float],
    tolerances_mm: Sequence[float],
    engine: EngineName = "sweep",
    metrics: Sequence[str] = DEFAULT_METRICS,
    definition: DefinitionName = DEFAULT_DEFINITION,
    instances: Collection[str] | None = None,
    matching: Matching = DEFAULT_MATCHING,
) -> list[ClassScore]:
    """As `score`, for pairs of places: one class may occur twice, say as direct and as union.

    Args:
        reference: integer layers (x, y, z).
        prediction: integer layers of the same shape, or None if there is no prediction.
        pairs: what to compare with what.
        spacing_mm: voxel size along x, y, z in mm.
        tolerances_mm: NSD tolerances in mm.
        engine: the engine's name.
        metrics: ids of the metrics.
        definition: of surfaces and their distances.
        instances: names of the classes whose structures are counted one by one where a metric needs
            it; None = all.
        matching: how they are told apart and matched.
    """
    asked = find_metrics(metrics)
    spacing = _checked_spacing(spacing_mm)
    tolerances = checked_tolerances(tolerances_mm)
    find_definition(definition)
    measure, implementation, release = find_engine(engine)
    if engine != "sweep":
        _refuse_what_is_ours(engine, asked, definition)
    a = [_labels(layer) for layer in reference]
    b = [_labels(layer) for layer in prediction or ()]
    shapes = {layer.shape for layer in (*a, *b)}
    if len(shapes) != 1 or len(a[0].shape) != 3 or 0 in a[0].shape:
        raise BenchError(
            "reference and prediction are not volumes of one shape",
            found=sorted(shapes),
            expected="the same three numbers of voxels everywhere",
        )
    for pair in pairs:
        _check_place(pair.name, pair.reference, len(a))
        _check_place(pair.name, pair.prediction, len(b))
    if 1 in a[0].shape:
        implementation += "-2d"
    scoring = Scoring(
        asked,
        spacing,
        tolerances,
        prediction is None,
        implementation,
        release,
        definition,
        field_diagonal_mm(a[0].shape, spacing),
    )
    if engine == "sweep":
        from evaluation.metrics.further import measure_all

        counts, further = measure_all(a, b, pairs, scoring, instances, matching)
    else:
        counts = measure(a, b, pairs, spacing, tolerances)
        further = [Further()] * len(pairs)
    return [
        record
        for pair, found, more in zip(pairs, counts, further, strict=True)
        for record in class_scores(pair, found, scoring, more)
    ]


def _refuse_what_is_ours(engine: str, asked: Sequence[Metric], definition: str) -> None:
    """Other engines measure overlaps and areas within tolerances alone."""
    ours = [metric for metric in asked if metric.needs_more]
    if ours:
        raise BenchError(
            f"the engine `{engine}` measures no distances, borders or single lesions",
            found=", ".join(metric.id for metric in ours),
            hint="leave these metrics out, or take the engine `sweep`",
        )
    if definition != DEFAULT_DEFINITION:
        raise BenchError(
            f"the engine `{engine}` has one definition",
            found=definition,
            expected=DEFAULT_DEFINITION,
            hint="take the engine `sweep`",
        )


def find_engine(name: str) -> tuple[Engine, str, str]:
    """An engine, its name and its version.

    Raises:
        BenchError: no engine has that name, or its package is not installed.
    """
    from evaluation.metrics import peers

    if name == "sweep":
        from evaluation.metrics.engine import measure_sweep

        return measure_sweep, name, __version__
    others: dict[str, Callable[..., object]] = {
        "surface-distance": peers.measure_surface_distance,
        "monai": peers.measure_monai,
    }
    if name not in others:
        raise BenchError(f"no engine `{name}`", hint=did_you_mean(name, ENGINES))
    try:
        release = version(name)
    except ModuleNotFoundError as error:
        raise BenchError(
            f"the engine `{name}` is not installed",
            hint="pip install 'satbench[train]' brings MONAI; the engine `sweep` is always there",
        ) from error
    return others[name], name, release  # type: ignore[return-value]


def _checked_spacing(spacing_mm: Sequence[float]) -> tuple[float, float, float]:
    spacing = tuple(float(s) for s in spacing_mm)
    if len(spacing) != 3 or not all(np.isfinite(s) and s > 0 for s in spacing):
        raise BenchError(
            "voxel spacing is unusable", found=spacing, expected="three positive numbers in mm"
        )
    return spacing[0], spacing[1], spacing[2]


def checked_tolerances(tolerances_mm: Sequence[float]) -> tuple[float, ...]:
    """The tolerances as numbers in mm.

    Raises:
        BenchError: there is none, or one is negative or not finite.
    """
    tolerances = tuple(float(t) for t in tolerances_mm)
    if not tolerances or not all(np.isfinite(t) and t >= 0 for t in tolerances):
        raise BenchError(
            "NSD tolerances are unusable", found=tolerances, expected="numbers >= 0 in mm"
        )
    return tolerances


def _labels(layer: Array) -> Array:
    """The layer as integers, without a copy where it holds integers already."""
    if layer.dtype == bool:
        return layer.view(np.uint8)
    if np.issubdtype(layer.dtype, np.integer):
        return layer
    raise BenchError(
        "label maps must hold integers", found=layer.dtype, hint="cast them after a check"
    )


def _check_place(name: str, place: ClassPlace | None, n_layers: int) -> None:
    for part in place.parts if place else ():
        if not 0 <= part.layer < n_layers:
            raise BenchError(
                f"class `{name}` names a layer that is not there",
                found=part.layer,
                expected=f"0 to {n_layers - 1}",
            )
