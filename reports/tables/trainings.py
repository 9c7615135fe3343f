"""Chance of the training: the same model trained with several seeds, on the same patients."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pandas as pd

from evaluation.protocol import Protocol
from reports.layout.report_table import ReportColumn, ReportTable, Value
from reports.source.run import RunSource
from reports.source.trainings import Seeds, mean_and_deviation, seeds_of
from reports.source.words import NOT_AVAILABLE, caption, listed, region_title


def trainings_table(source: RunSource, protocol: Protocol) -> ReportTable | None:
    """Mean and deviation over the trainings of each variant with several seeds.

    Over all entries, by region, by entry and, in a run of one entry, by class.
    """
    groups = seeds_of(source)
    if not groups or source.pick("overall", protocol) is None:
        return None
    rows: list[tuple[Value, ...]] = []
    blocks: dict[int, str] = {}
    for title, frame, name_of in _levels(source, protocol):
        first = len(rows)
        for name, part in frame.groupby("name", sort=False):
            for group in groups:
                rows += _rows(source, group, name_of(str(name)), part)
        if len(rows) > first:
            blocks[first] = title
    return ReportTable(
        name=f"trainings{source.suffix(protocol)}",
        title="Chance of the training",
        caption=caption(
            source,
            protocol,
            "One model trained several times with nothing changed but the seed, tested on the same "
            "patients: mean ± standard deviation over trainings (n − 1), lowest and highest. "
            "Beside it the 95 % interval over patients of the training in the middle, which "
            "knows nothing of other trainings; neither holds the other.",
            ranked=False,
        ),
        columns=(
            ReportColumn("variant", "Model"),
            ReportColumn("of", "Of"),
            ReportColumn("metric", "Metric"),
            ReportColumn("n_trainings", "Trainings", "over trainings", right=True),
            ReportColumn("mean_deviation", "Mean ± SD", "over trainings", right=True),
            ReportColumn("range", "Lowest, highest", "over trainings", right=True),
            ReportColumn("interval", "95 % interval", "over patients, of one training", right=True),
            ReportColumn("seeds", "Seeds"),
        ),
        rows=tuple(rows),
        blocks=blocks,
    )


def _levels(
    source: RunSource, protocol: Protocol
) -> Iterator[tuple[str, pd.DataFrame, Callable[[str], str]]]:
    """A heading, means with a column `name` of what they are of, and how a name is printed."""
    overall = source.pick("overall", protocol)
    if overall is not None:
        entries = overall[overall["statistic"] == "entries"]
        yield "All entries", entries.assign(name=""), lambda _: "all entries"
    regions = source.region_means(protocol)
    if regions is not None:
        yield "By region", regions.assign(name=regions["region"].astype(str)), region_title
    datasets = source.pick("dataset", protocol)
    if datasets is not None:
        named = datasets.assign(name=datasets["dataset"].astype(str))
        yield "By entry", named, source.dataset_title
    classes = source.pick("class", protocol)
    if classes is not None and len(source.dataset_cards) == 1:
        yield "By class", classes.assign(name=classes["class"].astype(str)), str


def _rows(
    source: RunSource, group: Seeds, of: str, frame: pd.DataFrame
) -> Iterator[tuple[Value, ...]]:
    """A row for each measure that at least two of the trainings have."""
    for measure in source.measures:
        found = frame[(frame["measure"] == measure.key) & frame["model"].isin(group.models)]
        found = found[found["value"].notna()].sort_values("value")
        if len(found) < 2:
            continue
        values = [float(measure.scaled(value)) for value in found["value"]]
        middle = found.iloc[(len(found) - 1) // 2]
        low, high = (measure.printed(middle[f"value_{end}"]) for end in ("low", "high"))
        interval = NOT_AVAILABLE
        if low is not None and high is not None:
            interval = measure.between(low, high)
        yield (
            group.title,
            of,
            measure.head,
            len(values),
            mean_and_deviation(values),
            measure.between(values[0], values[-1]),
            interval,
            listed(str(seed) for seed in group.seeds),
        )
