"""Prompts under stress as dots: masks before and after, DSC lost, false alarms."""

from __future__ import annotations

import numpy as np

from evaluation.stress.kinds import KINDS
from reports.figures.choice import SERIES, choose, label, model_label
from reports.figures.drawing import Drawing, dot, legend, model_looks, offsets
from reports.layout.style import GRID, INK, MUTED, canvas, looks
from reports.source.run import RunSource
from reports.source.words import listed

_PANELS = (
    ("unchanged", "mask unchanged (DSC)"),
    ("lost", "DSC lost"),
    ("alarm_ml", "false alarms, ml a prompt"),
)
_WANTED = {"unchanged": {"same": 1.0, "other": 0.0, "none": 0.0}, "lost": {"same": 0.0},
           "alarm_ml": {"none": 0.0}}  # fmt: skip


def stress_figure(source: RunSource) -> Drawing | None:
    """One row for each kind of stress, one dot for each model; None: no model was asked."""
    frame = source.table("stress")
    if frame is None or frame.empty:
        return None
    asked = set(frame["model"])
    choice = choose(source, SERIES, of=asked)
    # Models outside the run, and controls, can be asked, too.
    rest = [m for m in (*source.models, *sorted(asked - set(source.models)))
            if m in asked and m not in source.shown]  # fmt: skip
    models = [*choice.models, *rest[: SERIES - len(choice.models)]]
    kinds = [kind for kind in KINDS.values() if kind.id in set(frame["kind"])]
    places = {kind.id: -float(row) for row, kind in enumerate(kinds)}
    rows = frame[["model", "kind", "quantity", "value", "value_low", "value_high"]]
    values = {(m, k, q): tuple(map(float, found)) for m, k, q, *found in rows.to_numpy().tolist()}
    # Models of the run keep their looks, others have those behind them.
    dressed = looks(list(dict.fromkeys([*model_looks(source), *models])))
    figure, panels = canvas(
        "double", 24 + 7.5 * len(kinds), columns=len(_PANELS), sharey=True, squeeze=False
    )
    for axes, (quantity, title) in zip(panels[0], _PANELS, strict=True):
        for kind in kinds:
            axes.axhline(places[kind.id], color=GRID, linewidth=0.5, zorder=0)
            wanted = _WANTED[quantity].get(kind.wanted)
            if wanted is not None:
                y = places[kind.id]
                axes.plot([wanted, wanted], [y - 0.4, y + 0.4], color=INK, linewidth=2.2, zorder=1)
        for shift, model in zip(offsets(len(models)), models, strict=True):
            for kind in kinds:
                if (quantity != "unchanged") and kind.wanted not in _WANTED[quantity]:
                    continue
                value, low, high = values[model, kind.id, quantity]
                if np.isfinite(value):
                    dot(axes, value, places[kind.id] - shift, dressed[model], (low, high))
        axes.set_xlabel(title)
        axes.set_ylim(-len(kinds) + 0.4, 0.6)
    panels[0][0].set_xlim(-0.05, 1.05)
    panels[0][0].set_yticks(list(places.values()), [kind.title for kind in kinds])
    for axes in panels[0]:
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_color(MUTED)
    titles = {m: model_label(source, m) if m in source.models else label(m) for m in models}
    legend(figure, [(title, dressed[m], False) for m, title in titles.items()], "dot")
    left = len(rest) - (len(models) - len(choice.models))
    return Drawing(
        name="stress",
        title="Prompts under stress",
        caption=f"Changed words to {listed(titles.values())}, against the plain names of "
        "classes: DSC of the masks before and after; DSC lost where the words mean the same; "
        "volume found where they mean nothing in the scan. Bars mark what is wanted, lines are "
        "95 % intervals over patients. A model that ignores its text stands at 1 on every row of "
        "the first panel." + choice.words + f" {left} more are in the table only." * bool(left),
        figure=figure,
        data={"kinds": [kind.id for kind in kinds], "models": models},
    )
