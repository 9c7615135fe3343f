"""Scores of plain arrays: two masks or two label maps, a spacing, and names of metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.errors import BenchError, did_you_mean
from evaluation.metrics.distances.definitions import (
    DEFAULT_DEFINITION,
    DefinitionName,
    find_definition,
)
from evaluation.metrics.distances.distribution import SurfaceDistances
from evaluation.metrics.distances.elements import PairDistances, element_distances
from evaluation.metrics.distances.voxels import boundary_ious, voxel_distances
from evaluation.metrics.records import ClassPair
from evaluation.volumes.image_files import Array
from evaluation.volumes.segmentation import ClassPlace, Part

# What may follow the name after an `@`, and what is meant without it.
_PARAMETERS: Mapping[str, float | None] = {"nsd": None, "boundary_iou": 1.0}
_PLAIN = ("dsc", "iou", "hd", "assd", "masd", "volume_difference", "relative_volume_error")


@dataclass(frozen=True)
class AskedMetric:
    """A metric with its parameter: a percentile, a tolerance in mm, a distance in voxels."""

    name: str
    parameter: float = math.nan

    @classmethod
    def of(cls, text: str) -> AskedMetric:
        """Read `hd95` (a percentile of the Hausdorff distance), `nsd@0.5`, `boundary_iou@2`, ...

        Raises:
            BenchError: there is no such metric, or its parameter is missing or unusable.
        """
        name, _, number = text.partition("@")
        parameter: str | float | None
        if name in _PLAIN and not number:
            return cls(name)
        if name.startswith("hd") and name[2:].replace(".", "", 1).isdigit():
            parameter, name, low, high = name[2:], "hd_percentile", 0.0, 100.0
        elif name in _PARAMETERS:
            parameter, low, high = number or _PARAMETERS[name], 0.0, math.inf
        else:
            known = (*_PLAIN, "hd95", "nsd@1", "boundary_iou@1")
            raise BenchError(
                f"no metric `{text}`", expected=", ".join(known), hint=did_you_mean(text, known)
            )
        try:
            value = float(parameter) if parameter is not None else math.nan
        except ValueError:
            value = math.nan
        if not (low <= value <= high and math.isfinite(value)) or (name, value) == (
            "boundary_iou",
            0.0,
        ):
            raise BenchError(
                f"the parameter of `{text}` is unusable",
                found=parameter,
                expected={
                    "hd_percentile": "a percentile from 0 to 100, such as hd95",
                    "nsd": "a tolerance in mm, such as nsd@1",
                    "boundary_iou": "a distance in voxels, such as boundary_iou@2",
                }[name],
            )
        return cls(name, value)


def mask_distances(
    reference: NDArray[np.bool_],
    prediction: NDArray[np.bool_],
    spacing_mm: Sequence[float],
    definition: DefinitionName = DEFAULT_DEFINITION,
) -> SurfaceDistances:
    """Distances between the surfaces of two masks (x, y, z), in a named definition."""
    layers, pairs = _as_layers(reference, prediction, None)
    x, y, z = (float(s) for s in spacing_mm)
    if definition == "surface-element":
        return element_distances(*layers, pairs, (x, y, z))[0].surface
    return voxel_distances(*layers, pairs, (x, y, z), definition)[0]


def score_masks(
    reference: NDArray[np.bool_],
    prediction: NDArray[np.bool_],
    spacing_mm: Sequence[float],
    metrics: Sequence[str],
    definition: DefinitionName = DEFAULT_DEFINITION,
) -> dict[str, float]:
    """Metrics of two masks; NaN where one is undefined.

    Args:
        reference: boolean mask (x, y, z).
        prediction: boolean mask of the same shape.
        spacing_mm: voxel size along x, y, z in mm.
        metrics: `dsc`, `iou`, `hd`, percentiles such as `hd95`, `assd`, `masd`, `nsd@1` (tolerance
            in mm), `boundary_iou@2` (distance in voxels), `volume_difference` (ml, prediction
            minus reference), `relative_volume_error`.
        definition: of surfaces and their distances (see `definitions`).

    Raises:
        BenchError: arrays, spacing, a metric or the definition is unusable.
    """
    return _score(*_as_layers(reference, prediction, None), spacing_mm, metrics, definition)[0]


def score_label_maps(
    reference: Array,
    prediction: Array,
    spacing_mm: Sequence[float],
    metrics: Sequence[str],
    classes: Sequence[int],
    definition: DefinitionName = DEFAULT_DEFINITION,
) -> dict[int, dict[str, float]]:
    """As `score_masks`, for several values of two label maps, all in one pass.

    Args:
        reference: integers (x, y, z).
        prediction: integers of the same shape.
        spacing_mm: voxel size along x, y, z in mm.
        metrics: as for `score_masks`.
        classes: the values to score.
        definition: of surfaces and their distances.
    """
    layers, pairs = _as_layers(reference, prediction, classes)
    found = _score(layers, pairs, spacing_mm, metrics, definition)
    return dict(zip(classes, found, strict=True))


def _as_layers(
    reference: Array, prediction: Array, classes: Sequence[int] | None
) -> tuple[tuple[list[Array], list[Array]], list[ClassPair]]:
    sides = []
    for array in (np.asarray(reference), np.asarray(prediction)):
        if array.dtype != bool and (classes is None or not np.issubdtype(array.dtype, np.integer)):
            raise BenchError(
                "array has an unusable type",
                found=array.dtype,
                expected="booleans" if classes is None else "integers",
            )
        sides.append(array.view(np.uint8) if array.dtype == bool else array)
    if sides[0].shape != sides[1].shape or sides[0].ndim != 3 or 0 in sides[0].shape:
        raise BenchError(
            "reference and prediction are not volumes of one shape",
            found=tuple(side.shape for side in sides),
            expected="the same three numbers of voxels",
        )
    pairs = []
    for value in (1,) if classes is None else classes:
        place = ClassPlace(kind="direct", parts=(Part(layer=0, values=(int(value),)),))
        pairs.append(ClassPair(str(value), place, place))
    return ([sides[0]], [sides[1]]), pairs


def _score(
    layers: tuple[list[Array], list[Array]],
    pairs: Sequence[ClassPair],
    spacing_mm: Sequence[float],
    metrics: Sequence[str],
    definition: DefinitionName,
) -> list[dict[str, float]]:
    spacing = tuple(float(s) for s in spacing_mm)
    if len(spacing) != 3 or not all(math.isfinite(s) and s > 0 for s in spacing):
        raise BenchError(
            "voxel spacing is unusable", found=spacing, expected="three positive numbers in mm"
        )
    find_definition(definition)
    asked = {text: AskedMetric.of(text) for text in metrics}
    measured = element_distances(*layers, pairs, (spacing[0], spacing[1], spacing[2]))
    surfaces = [one.surface for one in measured]
    if definition != "surface-element":
        surfaces = voxel_distances(*layers, pairs, (spacing[0], spacing[1], spacing[2]), definition)
    bands = {
        one.parameter: boundary_ious(*layers, pairs, one.parameter)
        for one in asked.values()
        if one.name == "boundary_iou"
    }
    voxel_ml = math.prod(spacing) / 1000
    return [
        {
            text: bands[one.parameter][i]
            if one.name == "boundary_iou"
            else metric_value(one, measured[i], surfaces[i], voxel_ml)
            for text, one in asked.items()
        }
        for i in range(len(pairs))
    ]


def metric_value(
    asked: AskedMetric, counts: PairDistances, surface: SurfaceDistances, voxel_ml: float
) -> float:
    """One metric of what was measured of a pair; NaN where it is undefined."""
    r, p, both = counts.reference_voxels, counts.prediction_voxels, counts.intersection_voxels
    match asked.name:
        case "dsc":
            return 2 * both / (r + p) if r + p else math.nan
        case "iou":
            return both / (r + p - both) if r + p else math.nan
        case "volume_difference":
            return (p - r) * voxel_ml
        case "relative_volume_error":
            return abs(p - r) / r if r else math.nan
        case "hd":
            return surface.hd()
        case "hd_percentile":
            return surface.hd_percentile(asked.parameter)
        case "assd":
            return surface.assd()
        case "masd":
            return surface.masd()
        case "nsd":
            return surface.nsd(asked.parameter)
    raise ValueError(asked.name)
