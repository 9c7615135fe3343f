"""Scores of what is in memory: masks, label maps, segmentations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evaluation.errors import BenchError
from evaluation.metrics import ClassScore, EngineName
from evaluation.metrics import score as score_segmentations
from evaluation.metrics.catalogue import DEFAULT_TOLERANCE_MM, asked_metrics, find_at
from evaluation.metrics.distances.definitions import DEFAULT_DEFINITION, DefinitionName
from evaluation.metrics.metric import Metric
from evaluation.metrics.reading import as_labels
from evaluation.metrics.values import distinct_values
from evaluation.protocol import DEFAULT_METRICS
from evaluation.volumes.segmentation import ClassPlace, Kind, Part, Segmentation, pack_masks

Side = ArrayLike | Mapping[str, ArrayLike] | Segmentation
Values = Mapping[str, int | Sequence[int]]
Scores = dict[str, float]
_MASK = "mask"


@overload
def score(
    reference: Side,
    prediction: Side | None,
    spacing_mm: Sequence[float],
    tolerances_mm: float | Sequence[float],
    classes: Values | Sequence[str] | Sequence[int],
    metrics: Sequence[str] = ...,
    engine: EngineName = ...,
    definition: DefinitionName = ...,
) -> list[ClassScore]: ...
@overload
def score(
    reference: Side,
    prediction: Side | None,
    spacing_mm: Sequence[float],
    tolerances_mm: None = ...,
    classes: None = ...,
    metrics: Sequence[str] = ...,
    engine: EngineName = ...,
    definition: DefinitionName = ...,
) -> Scores: ...
@overload
def score(
    reference: Side,
    prediction: Side | None,
    spacing_mm: Sequence[float],
    tolerances_mm: None = ...,
    classes: Values | Sequence[str] | Sequence[int] = ...,
    metrics: Sequence[str] = ...,
    engine: EngineName = ...,
    definition: DefinitionName = ...,
) -> dict[str, Scores] | dict[int, Scores]: ...
def score(
    reference: Side,
    prediction: Side | None,
    spacing_mm: Sequence[float],
    tolerances_mm: float | Sequence[float] | None = None,
    classes: Values | Sequence[str] | Sequence[int] | None = None,
    metrics: Sequence[str] = DEFAULT_METRICS,
    engine: EngineName = "sweep",
    definition: DefinitionName = DEFAULT_DEFINITION,
) -> list[ClassScore] | Scores | dict[str, Scores] | dict[int, Scores]:
    """Score one case that is in memory: two masks, or all classes of two label maps in one pass.

    Args:
        reference: boolean mask (x, y, z); label map of whole numbers; class -> mask, which may
            overlap; or a `Segmentation`.
        prediction: the same on the same grid, or None if there is none.
        spacing_mm: voxel size along x, y, z in mm.
        tolerances_mm: with them, the answer has all that is known (see below).
        classes: class -> value or values in the label maps, or a list of values; names are enough
            for masks by name. None: both sides are one mask.
        metrics: ids of metrics (`satbench metrics` lists them), percentiles such as `hd95` and
            `hd99`, tolerances in mm such as `nsd@0.5`, bands in voxels such as `boundary_iou@2`.
        engine: `sweep` (all classes at once), `surface-distance` or `monai`.
        definition: of surfaces and their distances: `surface-element`, `voxel-larger` or
            `voxel-pooled`.

    Returns:
        Metric -> value, by the names in `metrics`; with `classes`, such a dict for each class. NaN
        is undefined: both sides are empty, or the metric is a distance and one side is. With
        `tolerances_mm`, one record for each class and tolerance instead, with its status, metrics
        by id, voxels and surfaces.

    Raises:
        BenchError: shapes differ, a spacing, tolerance, metric or definition cannot be used, or a
            label map is given and a class has no value.

    >>> import numpy as np, satbench
    >>> reference, prediction = np.zeros((2, 10, 10, 10), dtype=np.uint8)
    >>> reference[2:6, 2:6, 2:6], prediction[3:7, 2:6, 2:6] = 1, 1
    >>> metrics = ["dsc", "hd95", "nsd@0.5"]
    >>> satbench.score(reference == 1, prediction == 1, spacing_mm=(1, 1, 3), metrics=metrics)
    {'dsc': 0.75, 'hd95': 1.0, 'nsd@0.5': 0.595...}
    >>> satbench.score(reference, prediction, (1, 1, 3), classes={"liver": 1, "spleen": 2})
    {'liver': {'dsc': 0.75, 'nsd': 1.0}, 'spleen': {'dsc': nan, 'nsd': nan}}
    >>> found = satbench.score(reference, prediction, (1, 1, 3), 1, {"liver": 1, "spleen": 2})
    >>> [(one.class_name, one.status, one["dsc"], one["nsd"]) for one in found]
    [('liver', 'scored', 0.75, 1.0), ('spleen', 'both_empty', nan, nan)]
    """
    values, names = _named(classes, reference, prediction)
    ids, tolerances = asked_metrics(metrics, tolerances_mm)
    records = score_segmentations(
        _segmentation(reference, spacing_mm, values, "annotated"),
        None if prediction is None else _segmentation(prediction, spacing_mm, values, "direct"),
        spacing_mm,
        tolerances,
        [str(name) for name in names],
        engine,
        ids,
        definition,
    )
    if tolerances_mm is not None:
        return records
    found = {(record.class_name, record.tolerance_mm): record for record in records}
    asked = {name: find_at(name) for name in metrics}

    def value(name: str | int, metric: Metric, at: float | None) -> float:
        own = DEFAULT_TOLERANCE_MM if at is None else at
        return found[str(name), own if metric.has_tolerance else tolerances[0]][metric.id]

    by_class = {
        name: {text: value(name, metric, at) for text, (metric, at) in asked.items()}
        for name in names
    }
    return by_class[_MASK] if classes is None else by_class  # type: ignore[return-value]


def score_instances(
    reference: ArrayLike,
    prediction: ArrayLike,
    spacing_mm: Sequence[float],
    protocol: str = "panoptic",
) -> Scores:
    """Scores of the lesions (or other single structures) of one scan by a named protocol.

    Args:
        reference: boolean mask (x, y, z), whose connected components are the lesions; for
            `f1-iou50` also a map of whole numbers that holds lesions as they were drawn.
        prediction: the same, of the same shape.
        spacing_mm: voxel size along x, y, z in mm.
        protocol: `panoptic` (one to one with the best sum, at IoU 0.5), `f1-iou50`,
            `brats-2023-gli`, `brats-2023-men`, `brats-2023-met`, `brats-2026`, `brats-2026-mets`,
            `cc-metrics` (Voronoi regions of the components), `autopet`, `wmh-2017`, `isles-2022`.

    Returns:
        Name -> value, as the protocol computes it; NaN is undefined.

    Raises:
        BenchError: arrays or spacing are unusable, or there is no such protocol.

    >>> import numpy as np, satbench
    >>> reference, prediction = np.zeros((2, 20, 20, 20), dtype=bool)
    >>> reference[2:6, 2:6, 2:6] = reference[12:15, 12:15, 12:15] = True
    >>> prediction[2:6, 2:6, 2:7] = True
    >>> found = satbench.score_instances(reference, prediction, spacing_mm=(1, 1, 1))
    >>> found["tp"], found["fn"], found["recall"], found["pq"]
    (1, 1, 0.5, 0.533...)
    """
    from evaluation.metrics.instances import protocols  # compiled code, loaded only where used

    sides = [
        side if side.dtype == bool else as_labels(side, "label map")
        for side in (np.asarray(reference), np.asarray(prediction))
    ]
    return protocols.score_instances(sides[0], sides[1], spacing_mm, protocol)


def _named(
    classes: Values | Sequence[str] | Sequence[int] | None, *sides: Side | None
) -> tuple[Values | None, Sequence[str] | Sequence[int]]:
    """The values of each class in a label map, where they are given, and the classes' names."""
    if classes is None:
        for side in sides:
            if isinstance(side, Mapping | Segmentation) or (
                side is not None and np.asarray(side).dtype != bool
            ):
                raise BenchError(
                    "without classes both sides are masks",
                    found=f"an array of {np.asarray(side).dtype}"
                    if not isinstance(side, Mapping | Segmentation)
                    else "classes by name",
                    expected="two boolean arrays",
                    hint="name the classes with classes=, or compare the map with a value (==)",
                )
        return {_MASK: 1}, [_MASK]
    if isinstance(classes, Mapping):
        return classes, [str(name) for name in classes]
    numbers = [int(value) for value in classes if isinstance(value, int | np.integer)]
    if numbers and len(numbers) == len(classes):
        return {str(value): value for value in numbers}, numbers
    return None, [str(name) for name in classes]


def _segmentation(
    side: Side, spacing_mm: Sequence[float], values: Values | None, kind: Kind
) -> Segmentation:
    if isinstance(side, Segmentation):
        return side
    affine = np.eye(4)
    if len(spacing_mm) == 3:
        affine = np.diag([*spacing_mm, 1.0])
    if isinstance(side, Mapping):
        masks = {name: _mask(name, np.asarray(mask)) for name, mask in side.items()}
        if len(shapes := {mask.shape for mask in masks.values()}) > 1:
            raise BenchError("masks of one side have different shapes", found=sorted(shapes))
        return pack_masks(masks, affine, kind)
    if values is None:
        raise BenchError(
            "a label map needs the value of each class",
            expected="a mapping such as {'liver': 1, 'kidney': [2, 3]}, or a list of values",
        )
    places = {
        name: ClassPlace(
            kind=kind, parts=(Part(layer=0, values=tuple(np.atleast_1d(value).tolist())),)
        )
        for name, value in values.items()
    }
    return Segmentation((as_labels(np.asarray(side), "label map"),), affine, places)


def _mask(name: str, array: NDArray[Any]) -> NDArray[np.bool_]:
    """A mask; several values would be a label map, and exchanged classes would score 1."""
    labels = as_labels(array, f"mask `{name}`") if array.size else array
    if len(values := sorted(distinct_values(labels) - {0})) > 1:
        raise BenchError(
            f"the mask `{name}` holds several values", found=", ".join(map(str, values[:8])),
            expected="0 and one other value",
        )  # fmt: skip
    mask: NDArray[np.bool_] = labels != 0
    return mask
