"""What the tables of scores share: a column or block of rows for each measure.

Every group of columns names its space and policy. Published numbers come from another protocol
unless the run was scored in it, and never compete for bold.
"""

from __future__ import annotations

import pandas as pd

from evaluation.protocol import Protocol
from reports.layout.report_table import ReportCell, ReportColumn, Value
from reports.source.measures import Measure
from reports.source.published import Lookup, published_head, published_models
from reports.source.run import Rows, RunSource
from reports.source.words import NOT_RUN, counts, short

Line = tuple[Value | ReportCell, ...]


def of_expected(frame: pd.DataFrame, what: str) -> str:
    """`k of n` of `n_<what>` over the models."""
    return f"{counts(frame[f'n_{what}'])} of {counts(frame[f'n_{what}_expected'])}"


def marked(text: str, note: str) -> str:
    """A number with the mark that it rests on too few patients, if it does."""
    return f"{text} ({note})" if note else text


def value_of(rows: Rows, measure: Measure, *key: str) -> Value:
    """A value by measure and key in its printed unit."""
    row = rows.get((measure.key, *key))
    return NOT_RUN if row is None else measure.printed(row["value"])


def of_whole_classes(source: RunSource) -> list[Measure]:
    """All measures but those of single lesions, which the table of lesions shows."""
    return [measure for measure in source.measures if not measure.metric.needs_instances]


def mean_cell(
    source: RunSource, rows: Rows, measure: Measure, model: str, *key: str, note: str = ""
) -> Value | ReportCell:
    """A mean in its printed unit, with how many values are in it where some are undefined.

    A missed structure has no distance, and nothing that was found has no precision: such a mean is
    over fewer values than that of another measure or model, so their number stands beside it and it
    is never the best.

    Args:
        source: the run.
        rows: by (measure, model, *key).
        measure: what the mean is of.
        model: whose it is.
        key: of what.
        note: what stands beside a mean of all values.
    """
    value = value_of(rows, measure, model, *key)
    row = rows.get((measure.key, model, *key))
    if row is not None and measure.better:
        others = (
            rows.get((other.key, name, *key))
            for other in source.alike(measure)
            for name in source.models
        )
        most = max(int(other["n_scores"]) for other in others if other)
        if row["n_scores"] < most:
            return ReportCell(value, f"{int(row['n_scores'])} of {most} values", competes=False)
    return ReportCell(value, note) if note else value


def score_columns(source: RunSource, protocol: Protocol, printed: Lookup) -> list[ReportColumn]:
    """Columns of every measure: our models, those on their own grid, then published values."""
    columns = []
    for measure in of_whole_classes(source):
        columns += [
            ReportColumn(
                key=f"{measure.key}:{model}",
                label=source.model_title(model),
                group=f"{measure.head}, {short(source, protocol)}",
                digits=2,
                ranked="" if source.is_control(model) or not measure.better else measure.key,
                lower=measure.better == "lower",
                right=True,
            )
            for model in source.shown
        ]
        own, models = source.own_grid(protocol)
        columns += [
            ReportColumn(
                key=f"{measure.key}:{model}:own",
                label=source.model_title(model),
                group=f"{measure.head}, {short(source, own)}",
                digits=2,
                right=True,
            )
            for model in models
        ]
        columns += [
            ReportColumn(
                key=f"{measure.key}:{model}:published",
                label=title,
                group=f"{measure.head}, {published_head(source, model)}",
                digits=2,
                right=True,
            )
            for model, title in _beside(source, printed, measure).items()
        ]
    return columns


def _beside(source: RunSource, printed: Lookup, measure: Measure) -> dict[str, str]:
    """Models with a published value of this measure, id -> printed name."""
    return published_models(source, {k: v for k, v in printed.items() if k[-1] == measure.key})


def score_values(
    source: RunSource,
    protocol: Protocol,
    rows: tuple[Rows, Rows],
    printed: Lookup,
    key: tuple[str, ...],
    printed_key: tuple[str, str] | None = None,
) -> list[Value | ReportCell]:
    """The values of `score_columns` for one key.

    Args:
        source: the run.
        protocol: of the columns.
        rows: by (measure, model, *key), in the protocol and on the models' own grids.
        printed: published values.
        key: of the row.
        printed_key: (key, modality) of the published values; default the key.
    """
    values: list[Value | ReportCell] = []
    for measure in of_whole_classes(source):
        for model in source.shown:
            row = rows[0].get((measure.key, model, *key), {})
            note = f"{missing} missing" if (missing := row.get("n_missing")) else ""
            values.append(mean_cell(source, rows[0], measure, model, *key, note=note))
        values += [
            value_of(rows[1], measure, model, *key) for model in source.own_grid(protocol)[1]
        ]
        at = printed_key or key
        values += [
            printed.get((at[0], at[1], model, measure.key))
            for model in _beside(source, printed, measure)
        ]
    return values
