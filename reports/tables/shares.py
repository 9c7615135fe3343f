"""Transfer: what variants reach that were trained on a share of the patients, from what start."""

from __future__ import annotations

import statistics

from evaluation.protocol import Protocol
from reports.layout.report_table import ReportColumn, ReportTable, Value
from reports.source.downstream import share_points
from reports.source.run import RunSource
from reports.source.words import NOT_RUN, caption


def shares_table(source: RunSource, protocol: Protocol) -> ReportTable | None:
    """A row for each start and share: mean and spread over its trainings."""
    rows: list[tuple[Value, ...]] = []
    for measure in source.measures:
        for point in share_points(source, protocol, measure):
            n = len(point.values)
            rows.append(
                (
                    source.dataset_title(point.dataset),
                    point.start,
                    f"{point.percent:g}",
                    measure.head,
                    n,
                    statistics.fmean(point.values) if n else NOT_RUN,
                    statistics.stdev(point.values) if n > 1 else None,
                )
            )
    return ReportTable(
        name=f"shares{source.suffix(protocol)}",
        title="Shares of the training patients",
        caption=caption(
            source,
            protocol,
            "The mean of an entry after a training on a share of its training patients, a smaller "
            "share within a larger of the same draw. Mean and standard deviation (n − 1) are over "
            "trainings, that is over draws of patients and seeds, not over test patients. The "
            "recipe is this project's own; nothing published stands beside it.",
            ranked=False,
        ),
        columns=(
            ReportColumn("dataset", "Dataset"),
            ReportColumn("start", "Start"),
            ReportColumn("share", "Share (%)", right=True),
            ReportColumn("metric", "Metric"),
            ReportColumn("n_trainings", "Trainings", right=True),
            ReportColumn("mean", "Mean", digits=2, right=True),
            ReportColumn("deviation", "Deviation over trainings", digits=2, right=True),
        ),
        rows=tuple(rows),
    )
