"""What a training writes down: one row of `metrics.csv` for a logged step, and the loss curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from evaluation.files.writing import atomic_path
from evaluation.training_folder import kept_rows, write_rows

METRICS_FILE = "metrics.csv"
CURVE_FILE = "loss.png"


@dataclass(frozen=True)
class StepRow:
    """One optimiser step.

    Attributes:
        dataset: entries of the first process's crops.
        parts: `loss`, the mean over all crops of all processes, and the model's parts of it; a
            column each.
        gradient_norm: before clipping.
        prompt_separation: of the first process's last batch, see `evaluation.training.losses`.
        data_seconds: how long the slowest process waited for its crops.
        compute_seconds: the rest of the step: passes, exchange of gradients, optimiser.
        step_seconds: the whole step.
    """

    step: int
    dataset: str
    learning_rate: float
    parts: Mapping[str, float]
    gradient_norm: float
    prompt_separation: float
    data_seconds: float
    compute_seconds: float
    step_seconds: float

    def columns(self) -> dict[str, str]:
        """The row as text."""
        values: dict[str, object] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            values |= value if field.name == "parts" else {field.name: value}
        return {name: str(value) for name, value in values.items()}


class TrainingLog:
    """The rows of a training, with those that an earlier start wrote before step `first`."""

    def __init__(self, work: Path, first: int) -> None:
        self._work = work
        self._rows: list[dict[str, str]] = kept_rows(work / METRICS_FILE, first)

    def add(self, row: StepRow) -> None:
        """Take a step into the log."""
        self._rows.append(row.columns())

    def write(self) -> None:
        """Write `metrics.csv`."""
        columns = list(dict.fromkeys(name for row in self._rows for name in row))
        write_rows(self._work / METRICS_FILE, columns, self._rows)

    def draw(self) -> None:
        """Write `loss.png`."""
        draw_curve(self._rows, self._work / CURVE_FILE)


def draw_curve(rows: Sequence[Mapping[str, object]], path: Path) -> None:
    """Loss, its Dice part if it has one, and the prompt separation against the step, as a PNG."""
    from matplotlib.figure import Figure

    steps = [int(str(row["step"])) for row in rows]
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for column, colour in (("loss", "#999999"), ("dice", "#1b6ca8")):
        values = [float(str(row.get(column, "nan"))) for row in rows]
        axes.plot(steps, values, lw=1, c=colour, label=column)
    other = axes.twinx()
    separation = [float(str(row["prompt_separation"])) for row in rows]
    other.plot(steps, separation, lw=1, c="#c8553d", label="prompt separation")
    axes.set(xlabel="step", ylabel="loss", ylim=(0, None))
    other.set(ylabel="prompt separation", ylim=(0, None))
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)
