"""Figures that compare models: differences, wins and losses, rank stability."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from reports.figures.parts import Drawing, dot, legend
from reports.figures.scores import model_looks
from reports.figures.style import COLOURS, GRID, INK, MUTED, Look, canvas, contrast
from reports.source import Protocol, RunSource
from reports.tables.parts import METRICS, region_title

MAX_ROWS = 45
METHODS = {
    "mean-then-rank": "mean, then rank",
    "rank-then-mean": "rank, then mean",
    "significance": "significant wins",
}


def forest_figure(source: RunSource, protocol: Protocol) -> Drawing | None:
    """Differences of two models with intervals: overall, by region, by entry.

    With more than two entrants the pairs against the first model of the configuration are drawn.
    """
    frame = source.pick("pairs", protocol)
    if frame is None:
        return None
    entrants = set(source.entrants)
    frame = frame[frame["model_a"].isin(entrants) & frame["model_b"].isin(entrants)]
    if frame.empty:
        return None
    first = source.entrants[0]
    frame = frame[(frame["model_a"] == first) | (frame["model_b"] == first)]
    turned = frame["model_b"] == first
    other = frame["model_b"].where(~turned, frame["model_a"])
    sign = np.where(turned, -1.0, 1.0)
    ends = np.sort(
        100 * np.stack([frame["low"].to_numpy() * sign, frame["high"].to_numpy() * sign]), axis=0
    )
    frame = frame.assign(
        other=other, difference=100 * frame["difference"] * sign, low=ends[0], high=ends[1]
    )
    rows = _forest_rows(source, frame)[:MAX_ROWS]
    others = [m for m in source.entrants if m != first]
    colours = model_looks(source)
    figure, panels = canvas("double", 25 + 4.8 * len(rows), columns=2, sharey=True)
    data: dict[str, Any] = {}
    for axes, metric in zip(panels, METRICS, strict=True):
        axes.axvline(0, color=INK, linewidth=0.7)
        spread = np.linspace(-0.25, 0.25, len(others)) if len(others) > 1 else [0.0]
        for y, (scope, key, _) in enumerate(rows):
            for offset, name in zip(spread, others, strict=True):
                found = frame[
                    (frame["scope"] == scope)
                    & (frame["key"] == key)
                    & (frame["metric"] == metric)
                    & (frame["other"] == name)
                ]
                if len(found):
                    row = found.iloc[0]
                    interval = (float(row["low"]), float(row["high"]))
                    dot(axes, float(row["difference"]), y + offset, colours[name], interval)
                    data[f"{metric}:{key}:{name}"] = float(row["difference"])
        axes.set_xlabel(f"difference in {METRICS[metric]} (percentage points)")
        axes.grid(visible=True, axis="x")
        axes.set_ylim(len(rows) - 0.4, -0.6)
    panels[0].set_yticks(range(len(rows)), [label for _, _, label in rows])
    entries = {
        m: (f"{source.model_title(first)} − {source.model_title(m)}", colours[m], False)
        for m in others
    }
    legend(figure, entries, "dot")
    return Drawing(
        name=f"differences{source.suffix(protocol)}",
        title="Differences between models",
        caption=f"{source.model_title(first)} minus another model, with 95 % intervals over "
        f"patients; right of 0 it is better.{source.few(frame)} {source.how(protocol)}",
        figure=figure,
        data=data,
    )


def wins_figure(source: RunSource, protocol: Protocol) -> Drawing | None:
    """Win/loss matrix: on how many (entry, class) pairs the row's model beats the column's."""
    frame = source.pick("dataset_class", protocol)
    if frame is None:
        return None
    frame = frame[frame["preferred"]]
    models = [m for m in (source.shown) if m in set(frame["model"])]
    if len(models) < 2:
        return None
    figure, panels = canvas("double", 34 + 9 * len(models), columns=2)
    data: dict[str, dict[str, tuple[int, int, int]]] = {}
    for axes, metric in zip(panels, METRICS, strict=True):
        wide = frame.pivot(index=["dataset", "class"], columns="model", values=metric)[models]
        share = np.full((len(models), len(models)), np.nan)
        texts: dict[tuple[int, int], str] = {}
        for i, j in combinations(range(len(models)), 2):
            both = wide[[models[i], models[j]]].dropna().round(6).to_numpy()
            wins = int((both[:, 0] > both[:, 1]).sum())
            losses = int((both[:, 0] < both[:, 1]).sum())
            total = len(both)
            if total:
                share[i, j], share[j, i] = wins / total, losses / total
            texts[i, j], texts[j, i] = f"{wins}/{total}", f"{losses}/{total}"
            data.setdefault(metric, {})[f"{models[i]}>{models[j]}"] = (wins, losses, total)
        _heat(axes, share, texts)
        titles = [source.model_title(m) for m in models]
        axes.set_xticks(range(len(models)), titles, rotation=35, ha="right")
        axes.set_yticks(range(len(models)), titles)
        axes.set_title(METRICS[metric])
    panels[0].set_ylabel("this model wins …")
    panels[0].set_xlabel("… against this one")
    return Drawing(
        name=f"wins_and_losses{source.suffix(protocol)}",
        title="Wins and losses",
        caption="Pairs of entry and class on which the row's model has the higher mean, of those "
        f"that both models scored. {source.how(protocol)}",
        figure=figure,
        data=data,
    )


def rank_figure(source: RunSource, protocol: Protocol) -> Drawing | None:
    """Rank stability: ranks with their bootstrap intervals under three ways of ranking."""
    frame = source.overall_ranks(protocol)
    if frame is None:
        return None
    left_out = sorted(set(frame.loc[~frame["complete"].astype(bool), "model"]))
    frame = frame[frame["complete"]]
    if frame["model"].nunique() < 2:
        return None
    order = (
        frame[(frame["metric"] == "dsc") & (frame["method"] == "mean-then-rank")]
        .sort_values("rank")["model"]
        .tolist()
    ) or sorted(set(frame["model"]))
    styles = {m: Look(COLOURS[i], "", "osD"[i]) for i, m in enumerate(METHODS)}
    figure, panels = canvas("double", 30 + 8 * len(order), columns=2, sharey=True)
    data: dict[str, float] = {}
    for axes, metric in zip(panels, METRICS, strict=True):
        for position, (method, offset) in enumerate(zip(METHODS, (-0.22, 0.0, 0.22), strict=True)):
            part = frame[(frame["metric"] == metric) & (frame["method"] == method)]
            for _, row in part.iterrows():
                y = order.index(row["model"]) + offset
                interval = (float(row["rank_low"]), float(row["rank_high"]))
                dot(axes, float(row["rank"]), y, styles[method], interval)
                data[f"{metric}:{method}:{row['model']}"] = float(row["rank"])
                if position == 0 and np.isfinite(row["first_share"]):
                    axes.text(
                        len(order) + 0.45, y + 0.22, f"{100 * row['first_share']:.0f} %",
                        fontsize=6, color=MUTED, va="center", ha="left", clip_on=False,
                    )  # fmt: skip
        tau = frame[(frame["metric"] == metric) & (frame["method"] == "mean-then-rank")]
        agreement = tau["kendall_tau"].iloc[0] if len(tau) else float("nan")
        axes.set_title(f"{METRICS[metric]}: Kendall's tau {agreement:.2f}")
        axes.set_xlim(0.5, len(order) + 0.4)
        axes.set_xticks(range(1, len(order) + 1))
        shares = frame["first_share"].notna().any()
        axes.set_xlabel("rank" + (" (right: share of bootstraps in first place)" if shares else ""))
        axes.grid(visible=True, axis="x")
        axes.set_ylim(len(order) - 0.5, -0.5)
    panels[0].set_yticks(range(len(order)), [source.model_title(m) for m in order])
    entries = {m: (label, styles[m], False) for m, label in METHODS.items()}
    legend(figure, entries, "dot")
    names = ", ".join(source.model_title(m) for m in left_out)
    unranked = f" Incomplete, not ranked: {names}." if names else ""
    return Drawing(
        name=f"rank_stability{source.suffix(protocol)}",
        title="Rank stability",
        caption="Ranks, 95 % intervals over bootstraps of patients."
        f"{source.few(frame)}{unranked} {source.how(protocol)}",
        figure=figure,
        data=data,
    )


def _forest_rows(source: RunSource, frame: pd.DataFrame) -> list[tuple[str, str, str]]:
    """(scope, key, label) from overall over regions to entries."""
    rows = []
    for scope in ("overall", "region", "dataset"):
        for key in sorted(set(frame[frame["scope"] == scope]["key"])):
            label = {
                "overall": "overall",
                "region": region_title(key),
                "dataset": source.dataset_title(key),
            }[scope]
            rows.append((scope, str(key), label))
    return rows


def _heat(axes: Any, share: Any, texts: dict[tuple[int, int], str]) -> None:
    """A matrix of shares 0..1 in one hue, each cell with its count in readable ink."""
    from matplotlib.colors import LinearSegmentedColormap, to_hex

    shades = LinearSegmentedColormap.from_list("share", ["#FFFFFF", "#56B4E9", "#00456E"], bad=GRID)
    axes.imshow(np.ma.masked_invalid(share), vmin=0, vmax=1, cmap=shades)
    for (i, j), text in texts.items():
        if not np.isfinite(share[i, j]):
            continue
        ground = to_hex(shades(share[i, j]))
        ink = max((INK, "#FFFFFF"), key=lambda colour: contrast(colour, ground))
        axes.text(j, i, text, ha="center", va="center", fontsize=6, color=ink)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0)
