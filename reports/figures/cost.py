"""Cost against score, and the sizes of models."""

from __future__ import annotations

from typing import Any

from evaluation.protocol import Protocol
from reports.figures.choice import choose, model_label
from reports.figures.drawing import (
    Drawing,
    dot,
    legend,
    log_axis,
    millions,
    model_entries,
    model_looks,
    score_axis,
)
from reports.layout.style import canvas, grid_lines
from reports.source.run import RunSource
from reports.source.words import how, presets


def cost_figure(source: RunSource, protocol: Protocol) -> Drawing | None:
    """The leading measure against training time, prediction time and number of parameters."""
    cost, overall = source.table("cost"), source.pick("overall", protocol)
    if cost is None or overall is None or cost.empty:
        return None
    lead = source.lead
    of_lead = overall[(overall["statistic"] == "entries") & (overall["measure"] == lead.key)]
    means = lead.scaled(of_lead.set_index("model")["value"])
    known = set(cost["model"]) & set(means.index)
    choice = choose(source, 12, of=known.intersection(source.entrants))
    cost = cost[cost["model"].isin(choice.models)]
    if cost.empty:
        return None
    panels_of = {
        "train_seconds": _training_unit(cost["train_seconds"].max()),
        "predict_seconds_per_case": ("prediction (seconds a scan)", 1.0),
        "parameters": ("parameters (millions)", 1e6),
    }
    drawn = {c: v for c, v in panels_of.items() if (cost[c] > 0).any()}
    if not drawn:
        return None
    colours = model_looks(source)
    figure, panels = canvas("double", 62, columns=len(drawn), sharey=True, squeeze=False)
    data: dict[str, Any] = {}
    gaps = []
    for axes, (column, (label, unit)) in zip(panels[0], drawn.items(), strict=True):
        shown = cost[cost[column] > 0]
        if absent := [model_label(source, str(m)) for m in cost["model"].drop(shown.index)]:
            gaps.append(f"{label.partition(' (')[0]} of {', '.join(absent)}")
        for _, row in shown.iterrows():
            value = float(row[column]) / unit
            score = float(means[row["model"]])
            dot(axes, value, score, colours[str(row["model"])])
            data[f"{column}:{row['model']}"] = (value, score)
        # At least a factor of four, so that small differences look small and ticks keep apart.
        axes.set_xlim(shown[column].min() / unit / 2, shown[column].max() / unit * 2)
        log_axis(axes)
        axes.set_xlabel(label)
        axes.grid(visible=True, axis="both")
    score_axis(panels[0][0], lead)
    names = [str(m) for m in cost["model"]]
    legend(figure, model_entries(source, names), "dot")
    devices = ", ".join(sorted({str(d) for d in cost["device"] if d})) or "device not recorded"
    return Drawing(
        name=f"cost_against_score{source.suffix(protocol)}",
        title="Cost against score",
        caption=f"Mean over entries against cost, all networks of a model together; {devices}."
        f"{choice.words} "
        + (f"Not measured: {'; '.join(gaps)}. " if gaps else "")
        + how(source, protocol),
        figure=figure,
        data=data,
    )


def _training_unit(longest_seconds: float) -> tuple[str, float]:
    return ("training (hours)", 3600.0) if longest_seconds > 3600 else ("training (minutes)", 60.0)


def model_size_figure(source: RunSource) -> Drawing | None:
    """Model sizes (the manner of Fig. 6 c): parameters of all networks of a model together."""
    found = {m: source.parameters(m) for m in source.entrants}
    sizes = {m: size for m, size in found.items() if size is not None}
    if not sizes:
        return None
    choice = choose(source, 30, of=sizes)
    sizes = {m: sizes[m] for m in choice.models}
    colours = model_looks(source)
    figure, axes = canvas("middle", 16 + 6 * len(sizes))
    for position, (model, (size, networks)) in enumerate(sizes.items()):
        axes.barh(position, size / 1e6, 0.7, **colours[model].bar())
        text = f" {millions(size)}" + (f", {networks} networks" if networks > 1 else "")
        axes.text(size / 1e6, position, text, ha="left", va="center", fontsize=6)
    axes.set_yticks(range(len(sizes)), [model_label(source, m) for m in sizes])
    axes.set_xlabel("parameters (millions)")
    axes.set_xlim(0, 1.4 * max(size for size, _ in sizes.values()) / 1e6)
    axes.set_ylim(len(sizes) - 0.4, -0.6)
    grid_lines(axes, "x")
    return Drawing(
        name="model_size",
        title="Model size",
        caption="Parameters of all networks of a model together, without a frozen text encoder. "
        f"{presets(source)}".rstrip()
        + choice.words,
        figure=figure,
        data={m: s[0] / 1e6 for m, s in sizes.items()},
    )
