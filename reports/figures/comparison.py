"""Figures that compare models: differences, wins and losses, rank stability.

Only measures with a direction are here: by no other is a model better than another.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, product
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from evaluation.protocol import Protocol
from reports.figures.choice import SERIES, choose, label, model_label
from reports.figures.drawing import (
    Drawing,
    dot,
    fit_texts,
    legend,
    model_looks,
    offsets,
    pages_of,
    row_height,
    side_by_side,
    whole_numbers,
)
from reports.layout.style import COLOURS, GRID, INK, MUTED, Look, contrast
from reports.source.run import RunSource, rows_by
from reports.source.words import METHODS, few, few_of, how, listed, region_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text

ROWS_MM = 210.0
"""Height of the rows of a page."""


def forest_figures(source: RunSource, protocol: Protocol) -> list[Drawing]:
    """Differences of two models with intervals: overall, by region, by entry.

    With more than two entrants the pairs against the first model of the configuration are drawn.
    """
    frame = source.pick("pairs", protocol)
    if frame is None or len(source.entrants) < 2:
        return []
    first, *_ = source.entrants
    choice = choose(source, SERIES + 1)
    others = [m for m in choice.models if m != first]
    frame = _against(frame, first)
    frame = frame[frame["other"].isin(others)]
    height = row_height(len(others), 4.8)
    length = int(ROWS_MM / height)
    places = _places(source, frame)
    parts = [places[i : i + length] for i in range(0, len(places), length)]
    rows = rows_by(frame, "scope", "key", "other")
    colours = model_looks(source)
    entries = [
        (f"{model_label(source, first)} − {model_label(source, m)}", colours[m], False)
        for m in others
    ]
    drawings = []
    for page, (number, places) in product(pages_of(source.ranked), enumerate(parts, 1)):
        figure, panels = side_by_side(page, 25 + height * len(places), sharey=True)
        data: dict[str, float] = {}
        for axes, measure in panels:
            axes.axvline(0, color=INK, linewidth=0.7)
            for y, (scope, key, _) in enumerate(places):
                for offset, name in zip(offsets(len(others), 0.25), others, strict=True):
                    row = rows.get((measure.key, scope, key, name))
                    if row is not None:
                        value, low, high = (
                            measure.scaled(row[c]) for c in ("difference", "low", "high")
                        )
                        dot(axes, value, y + offset, colours[name], (low, high))
                        data[f"{measure.key}:{key}:{name}"] = value
            what = "less" if measure.better == "lower" else "difference in"
            gap = "\n" if len(page.measures) > 2 else " "
            unit = f"{gap}({measure.points})" if measure.points else ""
            axes.set_xlabel(f"{what} {measure.words}{unit}")
            axes.grid(visible=True, axis="x")
            axes.set_ylim(len(places) - 0.4, -0.6)
        panels[0][0].set_yticks(range(len(places)), [label for _, _, label in places])
        legend(figure, entries, "dot")
        lower = listed(m.words for m in page.measures if m.better == "lower")
        turned = f" (in {lower}, that other model minus it)" if lower else ""
        drawings.append(
            Drawing(
                name=f"differences{source.suffix(protocol)}{page.suffix}"
                + f"_part{number}" * (number > 1),
                title=f"Differences between models{page.words}"
                + f" ({number} of {len(parts)})" * (len(parts) > 1),
                caption=f"{model_label(source, first)} minus another model, with 95 % intervals "
                f"over patients{turned}; right of 0 it is better."
                f"{few(frame)}{choice.words} {how(source, protocol)}",
                figure=figure,
                data=data,
            )
        )
    return drawings


def _against(frame: pd.DataFrame, first: str) -> pd.DataFrame:
    """Comparisons of one model with each `other`: by how much it is better."""
    frame = frame[(frame["model_a"] == first) | (frame["model_b"] == first)]
    turned = frame["model_b"] == first
    sign = np.where(turned, -1.0, 1.0)
    ends = np.sort(frame[["low", "high"]].to_numpy() * sign[:, None], axis=1)
    return frame.assign(
        other=frame["model_b"].where(~turned, frame["model_a"]),
        difference=frame["difference"] * sign,
        low=ends[:, 0],
        high=ends[:, 1],
    )


def _places(source: RunSource, frame: pd.DataFrame) -> list[tuple[str, str, str]]:
    """(scope, key, label) from overall over regions to entries."""
    titles: dict[str, Callable[[str], str]] = {
        "overall": lambda _: "overall",
        "region": region_title,
        "dataset": lambda name: label(source.dataset_title(name)),
    }
    return [
        (scope, str(key), title(str(key)))
        for scope, title in titles.items()
        for key in sorted(set(frame[frame["scope"] == scope]["key"]))
    ]


def wins_figures(source: RunSource, protocol: Protocol) -> list[Drawing]:
    """Win/loss matrix: on how many (entry, class) pairs the row's model beats the column's."""
    frame = source.pick("dataset_class", protocol)
    if frame is None:
        return []
    frame = frame[frame["preferred"]]
    choice = choose(source, 12, of=frame["model"])
    models = choice.models
    if len(models) < 2:
        return []
    titles = [model_label(source, m) for m in models]
    drawings = []
    for page in pages_of(source.ranked, 3 if len(models) < 5 else 1):
        figure, panels = side_by_side(page, 44 + 9 * len(models), sharey=len(page.measures) > 2)
        data: dict[str, dict[str, tuple[int, int, int]]] = {}
        cells: list[tuple[Axes, list[Text]]] = []
        for axes, measure in panels:
            part = frame[frame["measure"] == measure.key]
            wide = part.pivot(index=["dataset", "class"], columns="model", values="value")
            share = np.full((len(models), len(models)), np.nan)
            texts: dict[tuple[int, int], str] = {}
            won = data[measure.key] = {}
            for i, j in combinations(range(len(models)), 2):
                both = wide.reindex(columns=[models[i], models[j]]).dropna().round(6).to_numpy()
                good = measure.goodness(both)
                wins = int((good[:, 0] > good[:, 1]).sum())
                losses = int((good[:, 0] < good[:, 1]).sum())
                if total := len(both):
                    share[i, j], share[j, i] = wins / total, losses / total
                texts[i, j], texts[j, i] = f"{wins}/{total}", f"{losses}/{total}"
                won[f"{models[i]}>{models[j]}"] = (wins, losses, total)
            drawn = _heat(axes, share, texts)
            axes.set_xticks(range(len(models)), titles, rotation=35, ha="right")
            axes.set_yticks(range(len(models)), titles)
            axes.set_title(measure.title)
            cells.append((axes, drawn))
        panels[0][0].set_ylabel("this model wins …")
        panels[0][0].set_xlabel("… against this one")
        for axes, drawn in cells:
            fit_texts(axes, drawn)
        drawings.append(
            Drawing(
                name=f"wins_and_losses{source.suffix(protocol)}{page.suffix}",
                title=f"Wins and losses{page.words}",
                caption="Pairs of entry and class on which the row's model has the better mean, of "
                f"those that both models scored.{choice.words} {how(source, protocol)}",
                figure=figure,
                data=data,
            )
        )
    return drawings


def rank_figures(source: RunSource, protocol: Protocol) -> list[Drawing]:
    """Rank stability: ranks with their bootstrap intervals under three ways of ranking."""
    frame = source.overall_ranks(protocol)
    if frame is None:
        return []
    left_out = sorted(set(frame.loc[~frame["complete"].astype(bool), "model"]))
    frame = frame[frame["complete"]]
    order = frame[(frame["measure"] == source.lead.key) & (frame["method"] == "mean-then-rank")]
    ranked = order.sort_values("rank")["model"].tolist()
    choice = choose(source, 20, of=ranked)
    models = [m for m in ranked if m in choice.models]
    if len(models) < 2:
        return []
    names = few_of([model_label(source, m) for m in left_out])
    unranked = f" Incomplete, not ranked: {names}." if names else ""
    styles = {m: Look(COLOURS[i], "", "osD"[i]) for i, m in enumerate(METHODS)}
    drawings = []
    for page in pages_of(source.ranked):
        figure, panels = side_by_side(page, 34 + 8 * len(models), sharey=True)
        data: dict[str, float] = {}
        for axes, measure in panels:
            part = frame[frame["measure"] == measure.key]
            data |= {
                f"{measure.key}:{name}": rank
                for name, rank in _ranks(axes, part, models, styles, len(ranked)).items()
            }
            tau = part.loc[part["method"] == "mean-then-rank", "kendall_tau"]
            agreement = tau.iloc[0] if len(tau) else float("nan")
            axes.set_title(f"{measure.title}\nKendall's tau {agreement:.2f}")
        panels[0][0].set_yticks(range(len(models)), [model_label(source, m) for m in models])
        legend(figure, [(label, styles[m], False) for m, label in METHODS.items()], "dot")
        drawings.append(
            Drawing(
                name=f"rank_stability{source.suffix(protocol)}{page.suffix}",
                title=f"Rank stability{page.words}",
                caption="Ranks, 95 % intervals over bootstraps of patients."
                f"{few(frame)}{unranked}{choice.words} {how(source, protocol)}",
                figure=figure,
                data=data,
            )
        )
    return drawings


def _ranks(
    axes: Any, frame: pd.DataFrame, models: list[str], styles: dict[str, Look], worst: int
) -> dict[str, float]:
    """Draw the ranks by one measure; returns them by `method:model`."""
    data = {}
    first = frame["first_share"].notna().any()
    for method, offset in zip(METHODS, offsets(len(METHODS), 0.22), strict=True):
        for _, row in frame[(frame["method"] == method) & frame["model"].isin(models)].iterrows():
            y = models.index(row["model"]) + offset
            interval = (float(row["rank_low"]), float(row["rank_high"]))
            dot(axes, float(row["rank"]), y, styles[method], interval)
            data[f"{method}:{row['model']}"] = float(row["rank"])
            if method == "mean-then-rank" and np.isfinite(row["first_share"]):
                axes.text(
                    worst + 0.45, y + 0.22, f"{100 * row['first_share']:.0f} %",
                    fontsize=6, color=MUTED, va="center", ha="left", clip_on=False,
                )  # fmt: skip
    axes.set_xlim(0.5, worst + 0.4)
    whole_numbers(axes, "x")
    axes.set_xlabel("rank" + ("\n(right: share of bootstraps in first place)" if first else ""))
    axes.grid(visible=True, axis="x")
    axes.set_ylim(len(models) - 0.5, -0.5)
    return data


def _heat(axes: Any, share: Any, texts: dict[tuple[int, int], str]) -> list[Text]:
    """A matrix of shares 0..1 in one hue, each cell with its count in readable ink."""
    from matplotlib.colors import LinearSegmentedColormap, to_hex

    shades = LinearSegmentedColormap.from_list("share", ["#FFFFFF", "#56B4E9", "#00456E"], bad=GRID)
    axes.imshow(np.ma.masked_invalid(share), vmin=0, vmax=1, cmap=shades)
    drawn: list[Text] = []
    for (i, j), text in texts.items():
        if not np.isfinite(share[i, j]):
            continue
        ground = to_hex(shades(share[i, j]))
        ink = max((INK, "#FFFFFF"), key=lambda colour: contrast(colour, ground))
        drawn.append(axes.text(j, i, text, ha="center", va="center", fontsize=6, color=ink))
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0)
    return drawn
