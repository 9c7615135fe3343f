"""Published numbers beside ours: which there are, in our keys and printed units, and their heads.

They come from another protocol unless the run was scored in it; they never compete for bold.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from reports.source.measures import Measure
from reports.source.run import RunSource

Lookup = Mapping[tuple[str, str, str, str], float]
"""(key, modality, model, measure) -> published value in the printed unit."""


def published_lookup(source: RunSource, scope: str) -> Lookup:
    """Published values of a scope, as far as they concern the run and one of its measures."""
    at = source.study.protocol.tolerance_mm
    measures = {
        m.metric.id: m
        for m in source.measures
        if not m.metric.has_tolerance or m.tolerance_mm == at
    }
    rows = source.published[source.published["scope"] == scope]
    columns = [rows[c].astype(str) for c in ("key", "modality", "model", "metric")]
    return {
        (key, modality, model, measures[metric].key): measures[metric].scaled(float(value))
        for key, modality, model, metric, value in zip(*columns, rows["value"], strict=True)
        if metric in measures and not np.isnan(value)
    }


def published_models(source: RunSource, printed: Lookup | None = None) -> dict[str, str]:
    """Models of the document, id -> printed name; only those with a value in `printed`."""
    titles = {model: known.title for model, known in source.study.models.items()}
    if printed is None:
        return titles
    known = {key[2] for key in printed}
    return {model: title for model, title in titles.items() if model in known}


def published_head(source: RunSource, model: str | None = None) -> str:
    """Whose protocol published numbers are in, for the head of their columns.

    Args:
        source: the run.
        model: whose numbers, which may be from a grid of its own; None: of the study's protocol.
    """
    protocol, known = source.study.protocol, source.study.models.get(model or "")
    grid = {
        "native": "native",
        "resampled": protocol.grid_title,
        "own": f"own grid of {protocol.grid_title}",
        "cropped": f"{protocol.grid_title} cropped round the reference",
    }[(known.space if known else None) or protocol.space]
    return f"published, real patients, {grid}, {protocol.policy}"


def published_value(
    printed: Lookup, measure: Measure, model: str, key: str, modality: str = "any"
) -> float | None:
    """A published value under the wanted modality, else under any other."""
    found = {at[1]: v for at, v in printed.items() if (at[0], *at[2:]) == (key, model, measure.key)}
    return found.get(modality, found.get("any", next(iter(found.values()), None)))
