"""Transfer: what variants reach that were trained on a share of the patients, from what start."""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import dataclass

from evaluation.protocol import Protocol
from evaluation.variants import trainings
from reports.layout.report_table import ReportColumn, ReportTable, Value
from reports.source.measures import Measure
from reports.source.run import RunSource
from reports.source.words import NOT_RUN, caption


@dataclass(frozen=True)
class SharePoint:
    """One start at one share on one entry: values of all its draws and seeds, in printed units."""

    model: str
    upstream: bool
    dataset: str
    percent: float
    values: tuple[float, ...]

    @property
    def start(self) -> str:
        """In words, for rows and legends."""
        return f"{self.model}, {'from upstream' if self.upstream else 'from scratch'}"


def share_points(source: RunSource, protocol: Protocol, measure: Measure) -> list[SharePoint]:
    """Every start, entry and share of a run's variants with the change `share`."""
    frame = source.pick("dataset", protocol)
    if frame is None:
        return []
    frame = frame[frame["measure"] == measure.key]
    groups: dict[tuple[str, bool, str, float], list[float]] = defaultdict(list)
    for model, training in trainings(source.config.variants).items():
        changes = training.settings.changes
        if "share" not in changes:
            continue
        trained = changes.get("entries") or list(source.dataset_cards)
        part = 100 * float(changes["share"]["part"])
        for dataset in trained:
            found = frame[(frame["model"] == model) & (frame["dataset"] == dataset)]["value"]
            key = training.settings.model, "upstream" in changes, dataset, part
            groups[key] += [float(measure.scaled(v)) for v in found.dropna()]
    points = [SharePoint(*key, tuple(values)) for key, values in groups.items()]
    return sorted(points, key=lambda p: (p.dataset, p.model, not p.upstream, p.percent))


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
            "recipe is this project's own.",
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
