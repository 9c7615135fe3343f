"""Which metrics there are: every file in `evaluation/metrics/definitions/`, found by itself."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache
from importlib import import_module
from pkgutil import iter_modules

import pandas as pd

from evaluation.errors import BenchError, did_you_mean
from evaluation.metrics import definitions
from evaluation.metrics.metric import Metric

DEFAULT_TOLERANCE_MM = 1.0


@lru_cache
def all_metrics() -> dict[str, Metric]:
    """Every metric by id, in alphabetical order.

    Raises:
        BenchError: a file of the folder holds no `METRIC`, or one of another id than its name.
    """
    found = {}
    for name in sorted(module.name for module in iter_modules(definitions.__path__)):
        module = import_module(f"{definitions.__name__}.{name}")
        metric = getattr(module, "METRIC", None)
        if not isinstance(metric, Metric) or metric.id != name:
            raise BenchError(
                "not a metric's file",
                file=module.__file__,
                found=f"METRIC with the id `{metric.id}`"
                if isinstance(metric, Metric)
                else "no `METRIC` that is a Metric",
                expected=f"METRIC = Metric(id={name!r}, ...)",
            )
        found[name] = metric
    return found


def find_metric(name: str) -> Metric:
    """A metric by id: a file's, or a variant that a file makes, such as `hd90`.

    Raises:
        BenchError: there is no such metric, or the variant's parameter is unusable.
    """
    found = _known(name)
    if found is None:
        known = [*all_metrics(), "hd90", "boundary_iou@2"]
        raise BenchError(f"no metric `{name}`", hint=did_you_mean(name, known))
    return found


def _known(name: str) -> Metric | None:
    metrics = all_metrics()
    if name in metrics:
        return metrics[name]
    for family in metrics:
        if name.startswith(family):
            module = import_module(f"{definitions.__name__}.{family}")
            variant = getattr(module, "variant", None)
            found = variant(name.removeprefix(family)) if variant else None
            if isinstance(found, Metric):
                return found
    return None


def find_metrics(names: Iterable[str]) -> tuple[Metric, ...]:
    """Metrics by their ids, each once.

    Raises:
        BenchError: there is no such metric.
    """
    return tuple(find_metric(name) for name in dict.fromkeys(names))


def metrics_among(columns: Iterable[str]) -> tuple[Metric, ...]:
    """The metrics among the names of a table's columns, in their order."""
    return tuple(metric for name in dict.fromkeys(columns) if (metric := _known(name)))


def asked_metrics(
    names: Iterable[str], tolerances_mm: float | Iterable[float] | None = None
) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Ids of metrics, and the tolerances at which those that have one are measured.

    A name may hold its tolerance, as in `nsd@0.5`, which is measured beside those of
    `tolerances_mm`; a metric that names none and has none there is measured at 1 mm.

    Raises:
        BenchError: there is no such metric, a tolerance is no number from 0 on, or an empty list
            of them is given.
    """
    given = tolerances_mm is not None
    if tolerances_mm is None:
        tolerances_mm = ()
    ids = []
    tolerances = [tolerances_mm] if isinstance(tolerances_mm, int | float) else list(tolerances_mm)
    if given and not tolerances:
        raise BenchError("no tolerance is given", expected="one or more, in mm, such as 1")
    for name in names:
        metric, tolerance = find_at(name, None if given else DEFAULT_TOLERANCE_MM)
        ids.append(metric.id)
        if metric.has_tolerance and tolerance is not None:
            tolerances.append(tolerance)
    return tuple(dict.fromkeys(ids)), tuple(dict.fromkeys(tolerances)) or (DEFAULT_TOLERANCE_MM,)


def find_at(name: str, otherwise: float | None = None) -> tuple[Metric, float | None]:
    """A metric and the tolerance in mm in its name, as in `nsd@0.5`, or `otherwise` without one.

    Raises:
        BenchError: there is no such metric, or the tolerance is no number from 0 on.
    """
    family, at, number = name.partition("@")
    metric = all_metrics().get(family)
    if not at or metric is None or not metric.has_tolerance:
        return find_metric(name), otherwise
    try:
        tolerance = float(number)
    except ValueError:
        tolerance = math.nan
    if not 0 <= tolerance < math.inf:
        raise BenchError(
            f"the parameter of `{name}` is unusable",
            found=number,
            expected=f"a tolerance in mm, such as {family}@1",
        )
    return metric, tolerance


def versions_of(names: Iterable[str]) -> list[tuple[str, int]]:
    """Metrics with their versions, which are part of the identity of score rows."""
    return [(metric.id, metric.version) for metric in find_metrics(names)]


def metrics_table() -> pd.DataFrame:
    """One line for each metric: what it is, and what empty and missing masks count."""
    return pd.DataFrame(
        [
            {
                "metric": metric.id,
                "title": metric.title,
                "range": metric.range_text,
                "better": metric.direction,
                "parameter": metric.parameter,
                "both empty": _counts(metric.both_empty),
                "reference empty": _counts(metric.reference_empty),
                "prediction empty": _counts(metric.prediction_empty),
                "prediction missing": _counts(metric.missing),
                "definition": metric.definition,
            }
            for metric in all_metrics().values()
        ]
    )


def _counts(value: float | None) -> str:
    if value is None:
        return "as measured"
    return "undefined" if math.isnan(value) else f"{value:g}"
