"""Chance of the training: the same model trained with several seeds, on the same patients."""

from __future__ import annotations

import statistics
from collections import defaultdict

from evaluation.protocol import Protocol
from evaluation.variants import trainings
from reports.layout.report_table import ReportColumn, ReportTable, Value
from reports.source.run import RunSource
from reports.source.words import NOT_AVAILABLE, caption, listed


def trainings_table(source: RunSource, protocol: Protocol) -> ReportTable | None:
    """A row for each variant with several seeds: mean, spread, and the interval over patients."""
    frame = source.pick("overall", protocol)
    if frame is None:
        return None
    frame = frame[frame["statistic"] == "entries"]
    groups: dict[str, list[str]] = defaultdict(list)
    for model, training in trainings(source.config.variants).items():
        if training.seed is not None:
            groups[training.variant].append(model)
    rows: list[tuple[Value, ...]] = []
    for variant, models in groups.items():
        settings = source.config.variants[variant]
        for measure in source.measures:
            found = frame[(frame["measure"] == measure.key) & frame["model"].isin(models)]
            found = found[found["value"].notna()].sort_values("value")
            if len(found) < 2:
                continue
            values = [float(measure.scaled(value)) for value in found["value"]]
            middle = found.iloc[(len(found) - 1) // 2]
            low, high = (measure.printed(middle[f"value_{end}"]) for end in ("low", "high"))
            interval = NOT_AVAILABLE
            if low is not None and high is not None:
                interval = measure.between(low, high)
            rows.append(
                (
                    settings.title or variant,
                    measure.head,
                    len(values),
                    statistics.fmean(values),
                    statistics.stdev(values),
                    measure.between(values[0], values[-1]),
                    interval,
                    listed(str(seed) for seed in settings.seeds),
                )
            )
    return ReportTable(
        name=f"trainings{source.suffix(protocol)}",
        title="Chance of the training",
        caption=caption(
            source,
            protocol,
            "One model trained several times with nothing changed but the seed, tested on the same "
            "patients: mean and standard deviation over trainings (n − 1), lowest and highest. "
            "Beside it the 95 % interval over patients of the training in the middle, which "
            "knows nothing of other trainings; neither holds the other.",
            ranked=False,
        ),
        columns=(
            ReportColumn("variant", "Model"),
            ReportColumn("metric", "Metric"),
            ReportColumn("n_trainings", "Trainings", "over trainings", right=True),
            ReportColumn("mean", "Mean", "over trainings", digits=2, right=True),
            ReportColumn("deviation", "Deviation", "over trainings", digits=2, right=True),
            ReportColumn("range", "Lowest, highest", "over trainings", right=True),
            ReportColumn("interval", "95 % interval", "over patients, of one training", right=True),
            ReportColumn("seeds", "Seeds"),
        ),
        rows=tuple(rows),
    )
