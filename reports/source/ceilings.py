"""How raters agree, beside how models agree with the reference, by entry and class."""

from __future__ import annotations

from dataclasses import dataclass

from evaluation.protocol import HEADLINE
from evaluation.scoring.run_raters import ALL_CLASSES
from reports.source.run import Rows, RunSource, rows_by


@dataclass(frozen=True)
class Ceilings:
    """What a run knows of raters.

    Args:
        raters: rows of the table `raters` by (measure, entry, class).
        models: rows of a model on the native grid by (measure, model, entry, class).
        places: entry and class in order; the class `*` is the mean over an entry's classes.
    """

    raters: Rows
    models: Rows
    places: list[tuple[str, str]]

    def title(self, source: RunSource, entry: str, name: str) -> str:
        """Such as `Liver tumours, liver`."""
        return f"{source.dataset_title(entry)}, {'mean' if name == ALL_CLASSES else name}"


def ceilings_of(source: RunSource) -> Ceilings | None:
    """None: the cards of the run's entries name no raters."""
    frame = source.table("raters")
    if frame is None or frame.empty:
        return None
    pairs = frame[["dataset", "class"]].astype(str).drop_duplicates()
    n_classes = pairs.groupby("dataset")["class"].transform("size")
    # The mean over one class is that class.
    pairs = pairs[(pairs["class"] != ALL_CLASSES) | (n_classes > 2)]
    models: dict[tuple[str, ...], object] = {}
    if (by_class := source.pick("dataset_class", HEADLINE)) is not None:
        models |= rows_by(by_class[by_class["preferred"]], "model", "dataset", "class")
    if (by_entry := source.pick("dataset", HEADLINE)) is not None:
        means = by_entry.assign(**{"class": ALL_CLASSES})
        models |= rows_by(means, "model", "dataset", "class")
    places = list(pairs.itertuples(index=False, name=None))
    return Ceilings(rows_by(frame, "dataset", "class"), models, places)  # type: ignore[arg-type]
