"""Incremental learning and answers without training: what they cost the entries concerned."""

from __future__ import annotations

import statistics

import pandas as pd

from evaluation.protocol import Protocol
from reports.layout.report_table import ReportColumn, ReportTable, Value
from reports.source.cases import load_case_rows
from reports.source.downstream import after_upstream, answering
from reports.source.run import RunSource, rows_by
from reports.source.words import NOT_RUN, caption

_NOTHING_PUBLISHED = "The recipe is this project's own; nothing published stands beside it."


def old_entries_table(source: RunSource, protocol: Protocol) -> ReportTable | None:
    """A row for each entry of an upstream training and each later training: before and after."""
    frame = source.pick("dataset", protocol)
    if frame is None:
        return None
    values = rows_by(frame, "model", "dataset")
    every = load_case_rows(source.paths).rows
    every = every[every["space"] == protocol.space]
    rows: list[tuple[Value, ...]] = []
    for measure in source.measures:
        for before, models in after_upstream(source):
            for dataset in source.dataset_cards:
                old = values.get((measure.key, before, dataset))
                first = None if old is None else measure.printed(old["value"])
                if first is None:  # the upstream does not know it
                    continue
                of_entry = every[every["dataset"] == dataset]
                for model in models:
                    row = values.get((measure.key, model, dataset))
                    later = None if row is None else measure.printed(row["value"])
                    changed, n = _changed_scans(of_entry, measure.metric.id, before, model)
                    rows.append(
                        (
                            source.dataset_title(dataset),
                            source.model_title(model),
                            measure.head,
                            first,
                            NOT_RUN if later is None else later,
                            None if later is None else later - first,
                            f"{changed} of {n}",
                        )
                    )
    return ReportTable(
        name=f"old_entries{source.suffix(protocol)}",
        title="Old entries after further training",
        caption=caption(
            source,
            protocol,
            "The mean of an entry of the upstream training, by the upstream as it is and after a "
            "training on other entries that started from it. A scan is changed if, of any of its "
            "classes, the score or the number of voxels answered is another, be it in the last "
            f"bit: with all but the new tokens frozen none may be. {_NOTHING_PUBLISHED}",
            ranked=False,
        ),
        columns=(
            ReportColumn("dataset", "Old entry"),
            ReportColumn("model", "After"),
            ReportColumn("metric", "Metric"),
            ReportColumn("before", "Before", digits=2, right=True),
            ReportColumn("after", "After", digits=2, right=True),
            ReportColumn("difference", "Difference", digits=2, right=True),
            ReportColumn("changed", "Changed scans", right=True),
        ),
        rows=tuple(rows),
    )


def _changed_scans(rows: pd.DataFrame, metric: str, before: str, after: str) -> tuple[int, int]:
    """Scans of which two models have not the same rows, to the bit; and all scans.

    Args:
        rows: score rows of an entry.
        metric: whose column is compared, besides the status and the voxels of the answer.
        before: a model.
        after: the other.
    """
    keys, compared = ["case", "class", "tolerance_mm"], ["status", "prediction_voxels", metric]
    frame = rows.astype({"case": str, "class": str, "status": str})
    first, later = (
        frame[frame["model"] == model].set_index(keys)[compared] for model in (before, after)
    )
    first, later = first.align(later, join="outer")
    same = (first == later) | (first.isna() & later.isna())
    by_scan = same.all(axis=1).groupby("case").all()
    return int((~by_scan).sum()), len(by_scan)


def without_training_table(source: RunSource, protocol: Protocol) -> ReportTable | None:
    """A row for each model and class: on the entry that it never saw, and on the one it learnt."""
    frame = source.pick("dataset_class", protocol)
    if frame is None:
        return None
    values = rows_by(frame[frame["preferred"]], "model", "dataset", "class")
    rows: list[tuple[Value, ...]] = []
    for measure in source.measures:
        for model, dataset, other in answering(source):
            title = source.model_title(model)
            start = title, source.dataset_title(dataset), source.dataset_title(other)
            pairs: list[tuple[float, float | None]] = []
            for key in values:
                if key[:3] != (measure.key, model, dataset):
                    continue
                here = measure.printed(values[key]["value"])
                if here is None:
                    continue
                there = values.get((measure.key, model, other, key[3]))
                learnt = None if there is None else measure.printed(there["value"])
                pairs.append((here, learnt))
                rows.append((*start, key[3], measure.head, here, learnt))
            if len(pairs) > 1:
                learnt_all = [value for _, value in pairs if value is not None]
                whole = len(learnt_all) == len(pairs)
                mean = statistics.fmean(here for here, _ in pairs)
                beside = statistics.fmean(learnt_all) if whole else None
                rows.append((*start, "mean of these", measure.head, mean, beside))
    return ReportTable(
        name=f"without_training{source.suffix(protocol)}",
        title="Entries without training",
        caption=caption(
            source,
            protocol,
            "Scores on an entry that a model was never trained on, answered by what it learnt for "
            "the classes of the same name of another entry, whose own test scans stand beside: "
            f"other scans, so that the difference is no loss alone. {_NOTHING_PUBLISHED}",
            ranked=False,
        ),
        columns=(
            ReportColumn("model", "Model"),
            ReportColumn("dataset", "Entry"),
            ReportColumn("answers", "Answered as"),
            ReportColumn("class", "Class"),
            ReportColumn("metric", "Metric"),
            ReportColumn("value", "Without training", digits=2, right=True),
            ReportColumn("value_where_trained", "Where trained", digits=2, right=True),
        ),
        rows=tuple(rows),
    )
