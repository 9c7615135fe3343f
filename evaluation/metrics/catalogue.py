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
    """A metric by id.

    Raises:
        BenchError: there is no such metric.
    """
    metrics = all_metrics()
    if name not in metrics:
        raise BenchError(f"no metric `{name}`", hint=did_you_mean(name, list(metrics)))
    return metrics[name]


def find_metrics(names: Iterable[str]) -> tuple[Metric, ...]:
    """Metrics by their ids, each once.

    Raises:
        BenchError: there is no such metric.
    """
    return tuple(find_metric(name) for name in dict.fromkeys(names))


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
