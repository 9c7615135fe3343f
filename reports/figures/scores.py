"""Figures of scores: bars by region, dot plots by class, DSC against NSD, score against size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from evaluation.classes.modality import MODALITIES, MODALITY_TITLES, find_modality
from reports.figures.parts import Drawing, bar, dot, legend, log_axis, score_axis
from reports.figures.style import MUTED, Look, canvas, grid_lines, looks
from reports.per_case import CaseRows
from reports.source import Protocol, RunSource
from reports.tables.parts import (
    METRICS,
    REGION_ORDER,
    published_group,
    published_lookup,
    published_models,
    published_titles,
    region_title,
)

ROWS_OF_A_PAGE = 42


def model_looks(source: RunSource) -> dict[str, Look]:
    """Looks of the run's models; entrants come first, so they get the most distinct ones.

    Published models take the look of ours where the run has them.
    """
    controls = [m for m in source.models if source.is_control(m)]
    known = set(source.published["model"])
    published = [m for m in published_titles(source) if m in known and m not in source.models]
    return looks([*source.entrants, *published, *controls])


def regions_figure(source: RunSource, protocol: Protocol) -> Drawing | None:
    """Grouped bars by region (the manner of Fig. 6 a, b), published values beside ours."""
    frame = source.pick("region", protocol)
    if frame is None:
        return None
    frame = frame[(frame["scheme"] == "anatomical") & (frame["composition"] == "all")]
    printed = published_lookup(source, "region")
    regions = [r for r in REGION_ORDER if r in set(frame["region"])]
    models = source.shown
    colours = model_looks(source)
    series = [(m, False) for m in models] + [(m, True) for m in published_models(source, printed)]
    figure, panels = canvas("double", 105, rows=2, sharex=True)
    data: dict[str, dict[str, list[float]]] = {}
    width = 0.84 / len(series)
    for axes, metric in zip(panels, METRICS, strict=True):
        for index, (model, published) in enumerate(series):
            heights = []
            for position, region in enumerate(regions):
                x = position + (index - (len(series) - 1) / 2) * width
                if published:
                    value = 100 * _of_region(printed, region, model, metric)
                    interval = None
                else:
                    found = frame[(frame["model"] == model) & (frame["region"] == region)]
                    row = found.iloc[0] if len(found) else None
                    value = float("nan") if row is None else 100 * float(row[metric])
                    interval = None if row is None else _interval(row, metric)
                heights.append(value)
                if np.isfinite(value):
                    bar(axes, x, value, width * 0.94, colours[model], interval, published)
                elif not published:
                    axes.text(
                        x,
                        1,
                        "not run",
                        rotation=90,
                        ha="center",
                        va="bottom",
                        fontsize=5,
                        color=MUTED,
                    )
            data.setdefault(metric, {})[f"{model}:published" if published else model] = heights
        score_axis(axes, metric)
        grid_lines(axes)
    sizes = frame.groupby("region")["n_classes"].max()
    labels = [f"{region_title(r, short=True)}\n{int(sizes[r])} classes" for r in regions]
    panels[-1].set_xticks(range(len(regions)), labels)
    entries = {
        f"{m}{p}": (
            f"{published_titles(source)[m]} ({published_group(source)})"
            if p
            else source.model_title(m),
            colours[m],
            p,
        )
        for m, p in series
    }
    legend(figure, entries, "bar")
    return Drawing(
        name=f"regions{source.suffix(protocol)}",
        title="Region-wise results",
        caption=f"Mean over the classes of a region. {source.how(protocol)} Bars: 95 % intervals "
        f"over patients.{source.few(frame[frame['model'].isin(models)])}"
        + f" {source.left_out_of_regions}".rstrip()
        + " Dashed pale bars: published, on real patients, in the paper's own protocol and "
        "composition." * bool(printed),
        figure=figure,
        data=data,
    )


def class_figures(source: RunSource, protocol: Protocol) -> list[Drawing]:
    """Per-class dot plots with intervals, a page per 42 classes, ordered by region."""
    frame = source.pick("class", protocol)
    if frame is None:
        return []
    frame = frame[frame["modality"] != "any"]
    order = {r: i for i, r in enumerate(REGION_ORDER)}
    keys = sorted(
        {(str(r.region), str(r.modality), str(c)) for r, c in
         zip(frame.itertuples(), frame["class"], strict=True)},
        key=lambda k: (order.get(k[0], 99), k[2], k[1]),
    )  # fmt: skip
    printed = published_lookup(source, "class")
    colours = model_looks(source)
    models = source.shown
    indexed: Any = frame.set_index(["model", "modality", "class"])
    drawings = []
    pages = [keys[i : i + ROWS_OF_A_PAGE] for i in range(0, len(keys), ROWS_OF_A_PAGE)]
    for number, page in enumerate(pages, 1):
        figure, panels = canvas("double", 22 + 4.6 * len(page), columns=2, sharey=True)
        data: dict[str, list[tuple[str, str, float]]] = {"dsc": [], "nsd": []}
        for axes, metric in zip(panels, METRICS, strict=True):
            for y, (_, modality, name) in enumerate(page):
                spread = np.linspace(-0.26, 0.26, len(models)) if len(models) > 1 else [0.0]
                for offset, model in zip(spread, models, strict=True):
                    if (model, modality, name) not in indexed.index:
                        continue
                    row = indexed.loc[(model, modality, name)]
                    value = 100 * float(row[metric])
                    dot(axes, value, y + offset, colours[model], _interval(row, metric))
                    data[metric].append((name, model, value))
                for model in published_titles(source):
                    value = printed.get((name, modality, model, metric), float("nan"))
                    if np.isfinite(value):
                        dot(axes, 100 * value, y, colours[model], published=True)
            score_axis(axes, metric, axis="x")
            axes.grid(visible=True, axis="both", linewidth=0.4)
            axes.set_ylim(len(page) - 0.4, -0.6)
        panels[0].set_yticks(range(len(page)), [_class_label(k) for k in page])
        for edge in _region_edges(page):
            for axes in panels:
                axes.axhline(edge, color=MUTED, linewidth=0.6)
        entries = {m: (source.model_title(m), colours[m], False) for m in models}
        entries |= {
            f"{m}:p": (f"{published_titles(source)[m]} (published)", colours[m], True)
            for m in published_titles(source)
            if any((k[2], k[1], m, "dsc") in printed for k in page)
        }
        legend(figure, entries, "dot")
        of = f" ({number} of {len(pages)})" if len(pages) > 1 else ""
        drawings.append(
            Drawing(
                name=f"classes{source.suffix(protocol)}_{number}",
                title=f"Class-wise results{of}",
                caption="Mean per class over entries with 95 % intervals."
                f"{source.few(frame[frame['model'].isin(models)])} {source.how(protocol)}"
                + " Hollow: published, in the paper's protocol."
                * bool(printed),
                figure=figure,
                data=data,
            )
        )
    return drawings


def agreement_figure(source: RunSource, protocol: Protocol) -> Drawing | None:
    """DSC against NSD, one point per entry and class."""
    frame = source.pick("dataset_class", protocol)
    if frame is None:
        return None
    frame = frame[frame["preferred"]]
    colours = model_looks(source)
    models = source.shown
    figure, axes = canvas("single", 85)
    data: dict[str, Any] = {}
    axes.plot([0, 100], [0, 100], color=MUTED, linewidth=0.6, linestyle=":")
    for model in models:
        part = frame[frame["model"] == model]
        look = colours[model]
        axes.scatter(
            100 * part["dsc"], 100 * part["nsd"], s=9, marker=look.marker, color=look.colour,
            edgecolors="#1A1A1A", linewidths=0.3, alpha=0.8,
        )  # fmt: skip
        data[model] = (100 * part[["dsc", "nsd"]]).to_numpy().tolist()
    axes.set_xlim(0, 102)
    axes.set_xlabel("DSC (%)")
    axes.set_ylim(0, 102)
    axes.set_ylabel(f"NSD at {protocol.tolerance_mm:g} mm (%)")
    axes.set_aspect("equal")
    axes.grid(visible=True, axis="both")
    entries = {m: (source.model_title(m), colours[m], False) for m in models}
    legend(figure, entries, "dot")
    return Drawing(
        name=f"dsc_against_nsd{source.suffix(protocol)}",
        title="DSC against NSD",
        caption=f"One point per entry and class. {source.how(protocol)}",
        figure=figure,
        data=data,
    )


def size_figure(source: RunSource, protocol: Protocol, rows: CaseRows) -> Drawing | None:
    """Score against the volume of the structure: medians and quartiles in bins of volume."""
    frame = rows.frame(protocol)
    frame = frame[(frame["reference_ml"] > 0) & frame["dsc"].notna()]
    frame = frame[frame["model"].isin(source.shown)]
    if frame.empty:
        return None
    low, high = np.log10(frame["reference_ml"].quantile([0.002, 0.998]).to_numpy())
    if high - low < 0.5:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, 9)
    centres = 10 ** ((edges[:-1] + edges[1:]) / 2)
    place = np.clip(np.digitize(np.log10(frame["reference_ml"]), edges) - 1, 0, 7)
    frame = frame.assign(bin=place)
    colours = model_looks(source)
    models = [m for m in source.shown if m in set(frame["model"])]
    figure, panels = canvas("double", 75, columns=2)
    data: dict[str, dict[str, list[float]]] = {"dsc": {}, "nsd": {}}
    for axes, metric in zip(panels, METRICS, strict=True):
        for index, model in enumerate(models):
            grouped = frame[frame["model"] == model].groupby("bin")[metric]
            quartiles = 100 * grouped.quantile(np.array([0.25, 0.5, 0.75])).unstack()
            quartiles = quartiles[grouped.size() >= 3]
            shift = 1.0 + 0.06 * (index - (len(models) - 1) / 2)
            x = centres[quartiles.index.to_numpy()] * shift
            look = colours[model]
            axes.vlines(x, quartiles[0.25], quartiles[0.75], color=look.colour, linewidth=0.9)
            axes.plot(
                x, quartiles[0.5], color=look.colour, marker=look.marker, markersize=3.5,
                markeredgecolor="#1A1A1A", markeredgewidth=0.3,
            )  # fmt: skip
            data[metric][model] = quartiles[0.5].tolist()
        log_axis(axes)
        axes.set_xlabel("volume of the reference (ml)")
        score_axis(axes, metric)
        grid_lines(axes)
    entries = {m: (source.model_title(m), colours[m], False) for m in models}
    legend(figure, entries, "dot")
    return Drawing(
        name=f"score_against_size{source.suffix(protocol)}",
        title="Score against structure size",
        caption="Medians (lines: quartiles) of class x scan scores in bins of the reference's "
        f"volume with at least 3 of them; {len(frame):,} scores of {len(models)} models. "
        f"{source.how(protocol)}",
        figure=figure,
        data=data,
    )


def _interval(row: pd.Series, metric: str) -> tuple[float, float]:
    return 100 * float(row[f"{metric}_low"]), 100 * float(row[f"{metric}_high"])


def _of_region(printed: Mapping[tuple[str, ...], float], *key: str) -> float:
    region, model, metric = key
    for modality in ("any", *MODALITIES):
        if (region, modality, model, metric) in printed:
            return printed[region, modality, model, metric]
    return float("nan")


def _class_label(key: tuple[str, str, str]) -> str:
    return f"{key[2]} ({MODALITY_TITLES[find_modality(key[1])]})"


def _region_edges(page: list[tuple[str, str, str]]) -> list[float]:
    return [i - 0.5 for i in range(1, len(page)) if page[i][0] != page[i - 1][0]]
