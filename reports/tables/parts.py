"""What the tables and figures of scores share: names, columns, published values, captions.

Every group of columns names its space and policy. Published numbers come from another protocol
(1x1x3 mm grid, the authors' policy) unless the run was scored in it, and never compete for bold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from evaluation.classes.modality import MODALITIES
from evaluation.classes.regions import LESION, REGIONS, UNASSIGNED
from reports.source import Protocol, RunSource
from reports.tables.tabular import NOT_RUN, Cell, Column, Value

METRICS = {"dsc": "DSC", "nsd": "NSD"}
REGION_ORDER = (*REGIONS, LESION, UNASSIGNED)
SHORT_REGION = {"head and neck": "H&N", "lower limb": "LL", "upper limb": "UL"}
BOLD_IS_BEST = "Bold: best of the measured entrants."
NEVER_RANKED = "Published numbers are never ranked."

Lookup = Mapping[tuple[str, ...], float]


def region_title(name: str, short: bool = False) -> str:
    """A region as printed."""
    if name == UNASSIGNED:
        return "No region"
    return SHORT_REGION.get(name, name.capitalize()) if short else name.capitalize()


def percent(value: Any) -> float | None:
    """0..1 → percent; NaN and None stay nothing."""
    return None if value is None or pd.isna(value) else 100.0 * float(value)


def counts(values: Iterable[Any]) -> str:
    """One count if all models agree, otherwise the range."""
    found = sorted({int(v) for v in values})
    if not found:
        return "0"
    return f"{found[0]}" if len(found) == 1 else f"{found[0]}–{found[-1]}"


def count(n: int, one: str, many: str) -> str:
    """`1 entry`, `2 entries`."""
    return f"{n:,} {one if n == 1 else many}"


def of_expected(frame: pd.DataFrame, what: str) -> str:
    """`k of n` of `n_<what>` over the models."""
    return f"{counts(frame[f'n_{what}'])} of {counts(frame[f'n_{what}_expected'])}"


def published_lookup(source: RunSource, scope: str) -> Lookup:
    """(key, modality, model, metric) → published value in 0..1, as far as it concerns the run."""
    frame = source.published
    rows = frame[frame["scope"] == scope]
    names = rows[["key", "modality", "model", "metric"]].astype(str)
    keys = names.itertuples(index=False, name=None)
    values = rows["value"].to_numpy(dtype=float)
    return {key: float(v) for key, v in zip(keys, values, strict=True) if not np.isnan(v)}


def published_titles(source: RunSource) -> dict[str, str]:
    """Model → printed name, as the run's study has them."""
    return {model: known.title for model, known in source.study.models.items()}


def published_group(source: RunSource) -> str:
    """Head of published columns: whose patients, and the protocol of their document."""
    protocol = source.study.protocol
    grid = protocol.grid_title if protocol.space == "resampled" else protocol.space
    return f"published, real patients, {grid}, {protocol.policy}"


def published_models(source: RunSource, printed: Lookup) -> dict[str, str]:
    """Model → printed name of those that have a published value here."""
    known = {key[-2] for key in printed}
    return {model: title for model, title in published_titles(source).items() if model in known}


def score_columns(source: RunSource, protocol: Protocol, printed: Lookup) -> list[Column]:
    """Columns of both metrics: our models, then those with a published value."""
    columns = []
    for metric, name in METRICS.items():
        columns += [
            Column(
                key=f"{metric}:{model}",
                label=source.model_title(model),
                group=f"{name}, {protocol.short}",
                digits=2,
                ranked="" if source.is_control(model) else metric,
                right=True,
            )
            for model in source.shown
        ]
        columns += [
            Column(
                key=f"{metric}:{model}:published",
                label=title,
                group=f"{name}, {published_group(source)}",
                digits=2,
                right=True,
            )
            for model, title in published_models(source, printed).items()
        ]
    return columns


def score_values(
    source: RunSource, rows: pd.DataFrame, printed: Lookup, key: tuple[str, str]
) -> list[Value | Cell]:
    """The values of `score_columns` for the rows (one per model) of one key (key, modality)."""
    by_model = {str(r["model"]): r for _, r in rows.iterrows()}
    values: list[Value | Cell] = []
    for metric in METRICS:
        for model in source.shown:
            row = by_model.get(model)
            if row is None:
                values.append(NOT_RUN)
            else:
                missing = int(row["n_missing"])
                note = f"{missing} missing" if missing else ""
                number = percent(row[metric])
                values.append(Cell(number, note) if note else number)
        values += [
            percent(printed.get((*key, m, metric))) for m in published_models(source, printed)
        ]
    return values


def caption(
    source: RunSource, protocol: Protocol, what: str, ranked: bool = True, published: bool = False
) -> str:
    """What the numbers are, how they were made, by which code, and how much of the run is in.

    Args:
        source: the run.
        protocol: of the numbers.
        what: what they are.
        ranked: they are scores in percent, the best in bold.
        published: published numbers stand beside them.
    """
    closing = f" {BOLD_IS_BEST}" * ranked + f" {NEVER_RANKED}" * published
    entries = len(source.dataset_cards)
    run = entries - len(source.not_run)
    return (
        f"{what} {'In percent. ' if ranked else ''}{source.kind}{protocol.words} {source.presets}"
        f"{run} of {entries} entries of the run {source.config.name} have data. "
        f"{f'{links} ' if (links := source.notes['links']) else ''}"
        f"Measured by {source.implementation}.{closing}"
    )


def of_any_modality(
    printed: Lookup, key: str, model: str, metric: str, modality: str = "any"
) -> float | None:
    """A published value in percent under the wanted modality, else under any other."""
    for candidate in (modality, "any", *MODALITIES):
        if (key, candidate, model, metric) in printed:
            return percent(printed[key, candidate, model, metric])
    return None


Row = tuple[Value | Cell, ...]


def blocks_by_metric(
    source: RunSource,
    protocol: Protocol,
    sizes: Sequence[Value],
    size_label: str,
    ours: Callable[[str, str], list[Value]],
    printed: Callable[[str, str], list[float | None]],
) -> tuple[tuple[Row, ...], dict[int, str], frozenset[int]]:
    """Rows of a table with a column for each key: sizes, then a block for each metric.

    Args:
        source: the run.
        protocol: what the run's own numbers were made with.
        sizes: how much stands behind each column.
        size_label: what the sizes count.
        ours: (model, metric) -> values of the columns.
        printed: the same for published models; None where nothing was published.

    Returns:
        Rows, names of blocks, and the rows that never compete for bold.
    """
    rows: list[Row] = [(size_label, "", *sizes)]
    unranked, blocks = {0}, {0: "Size"}
    for metric, name in METRICS.items():
        blocks[len(rows)] = name
        for model in source.shown:
            if source.is_control(model):
                unranked.add(len(rows))
            rows.append((source.model_title(model), protocol.short, *ours(model, metric)))
        for model, title in published_titles(source).items():
            found = printed(model, metric)
            if any(v is not None for v in found):
                unranked.add(len(rows))
                rows.append((f"{title} (published)", published_group(source), *found))
    return tuple(rows), blocks, frozenset(unranked)
