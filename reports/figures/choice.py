"""Which models a figure shows, what they are called there, and how its caption says so.

Every figure of models asks here. As many are shown as keep apart: those that were asked for
(`satbench report --show`), the first model of the configuration, then the best by the leading
measure. All stand in the tables.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from reports.layout.fonts import INSTALL_HINT, missing_signs
from reports.layout.naming import shortened
from reports.source.run import RunSource
from reports.source.words import listed

LABEL_COLUMNS = 32
SERIES = 8
"""As many models as there are colours."""


@dataclass(frozen=True)
class Choice:
    """The models of one figure, in the order of the configuration, and words for its caption."""

    models: list[str]
    words: str


def choose(source: RunSource, most: int = SERIES, of: Iterable[str] | None = None) -> Choice:
    """The models that a figure with room for `most` shows.

    Args:
        source: the run.
        most: how many keep apart in the figure.
        of: models that could be shown; default the entrants (`RunSource.shown`).
    """
    candidates = [m for m in source.shown if of is None or m in set(of)]
    wanted = [m for m in source.asked_for if m in candidates]
    ordered = list(dict.fromkeys([*wanted, *candidates[:1], *_best_first(source, candidates)]))
    kept = set(ordered[:most])
    models = [m for m in candidates if m in kept]
    words = ""
    if len(models) < len(candidates):
        asked = [model_label(source, m) for m in models if m in wanted]
        words = (
            f" Shown: {len(models)} of {len(candidates)} models, "
            + (f"{listed(asked)} as asked for, " if asked else "")
            + "the first of the configuration and the best by "
            f"{source.lead.words}; the tables have all."
        )
    return Choice(models, words + _names(source, models))


def model_label(source: RunSource, model: str) -> str:
    """A model's name in figures: short, unlike any other's; its id where no font has its signs."""
    return _labels(source)[model]


def label(text: str, most: int = 44) -> str:
    """Any other name that people give, short enough for an axis."""
    return shortened({"": text}, most)[""]


def _labels(source: RunSource) -> dict[str, str]:
    titles = {m: source.model_title(m) for m in source.models}
    printed = {m: m if missing_signs(title) else title for m, title in titles.items()}
    return shortened(printed, LABEL_COLUMNS)


def _names(source: RunSource, models: list[str]) -> str:
    """What became of names, as sentences."""
    labels = _labels(source)
    lost = [m for m in models if missing_signs(source.model_title(m))]
    cut = [m for m in models if m not in lost and labels[m] != source.model_title(m)]
    words = " Long names are shortened; the tables have them whole." if cut else ""
    if lost:
        words += f" By their ids, since no font here has the signs of their names: {listed(lost)}"
        words += f" ({INSTALL_HINT})."
    return words


def _best_first(source: RunSource, models: list[str]) -> list[str]:
    """Complete models before others, then by the leading measure's mean over entries."""
    overall = source.pick("overall", source.protocols[0]) if source.protocols else None
    if overall is None:
        return models
    lead = source.lead
    rows = overall[(overall["statistic"] == "entries") & (overall["measure"] == lead.key)]
    good = dict(
        zip(rows["model"].astype(str), lead.goodness(rows["value"].to_numpy()), strict=True)
    )
    complete = dict(zip(rows["model"].astype(str), rows["complete"], strict=True))

    def place(model: str) -> tuple[bool, float]:
        value = float(good.get(model, math.nan))
        return not complete.get(model, False), -value if math.isfinite(value) else math.inf

    return sorted(models, key=place)
