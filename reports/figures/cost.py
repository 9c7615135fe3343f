"""Cost against score, and the sizes of models."""

from __future__ import annotations

from typing import Any

from evaluation.protocol import Protocol
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
    cost = cost[cost["model"].isin(source.entrants) & cost["model"].isin(means.index)]
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
        if absent := [source.model_title(str(m)) for m in cost["model"].drop(shown.index)]:
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
        caption=f"Mean over entries against cost, all networks of a model together; {devices}. "
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
    colours = model_looks(source)
    figure, axes = canvas("single", 50)
    for position, (model, (size, networks)) in enumerate(sizes.items()):
        axes.bar(position, size / 1e6, 0.6, **colours[model].bar())
        text = millions(size) + (f"\n{networks} networks" if networks > 1 else "")
        axes.text(position, size / 1e6, text, ha="center", va="bottom", fontsize=6)
    axes.set_xticks(
        range(len(sizes)), [source.model_title(m) for m in sizes], rotation=20, ha="right"
    )
    axes.set_ylabel("parameters (millions)")
    axes.margins(y=0.22)
    axes.set_xlim(-0.8, len(sizes) - 0.2)
    grid_lines(axes)
    return Drawing(
        name="model_size",
        title="Model size",
        caption="Parameters of all networks of a model together, without a frozen text encoder. "
        f"{presets(source)}".rstrip(),
        figure=figure,
        data={m: s[0] / 1e6 for m, s in sizes.items()},
    )
