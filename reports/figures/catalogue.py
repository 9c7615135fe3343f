"""All figures of a run: which there are, and how they are written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from evaluation.classes import UNASSIGNED
from evaluation.files.writing import write_json
from evaluation.protocol import UNRANKED, Protocol
from reports.figures.annotations import annotation_figures
from reports.figures.ceilings import ceilings_figures
from reports.figures.collection import collection_figures
from reports.figures.comparison import forest_figures, rank_figures, wins_figures
from reports.figures.cost import cost_figure, model_size_figure
from reports.figures.drawing import Drawing
from reports.figures.scatter import agreement_figures, size_figures
from reports.figures.scores import aspects_figures, class_figures, regions_figures
from reports.figures.shares import shares_figures
from reports.figures.stress import stress_figure
from reports.layout.fonts import INSTALL_HINT, replace_missing
from reports.layout.style import FORMATS, drawing, save
from reports.source.cases import CaseRows
from reports.source.run import RunSource
from reports.source.words import NO_REGION, NOT_AVAILABLE, ONE_MODEL, short

_BARS = "region-wise bars"
_MERGED = "classes of several modalities"
_COMPARISONS = ("differences", "wins and losses", "rank stability")
Result = Drawing | list[Drawing] | None


@dataclass(frozen=True)
class WrittenFigure:
    """A figure on disk."""

    name: str
    title: str
    caption: str
    files: tuple[Path, ...]


def all_figures(source: RunSource, rows: CaseRows) -> Iterator[tuple[str, Result]]:
    """(what, figure or figures or None) one after the other, so that few are in memory at once."""
    yield "model size", model_size_figure(source)
    yield "statistics of the collection", collection_figures(source)
    yield "annotations of the run's scans", annotation_figures(source)
    if source.table("raters") is not None:
        yield "raters and models", ceilings_figures(source)
    if source.table("stress") is not None:
        yield "prompts under stress", stress_figure(source)
    makers: dict[str, Callable[[RunSource, Protocol], Result]] = {
        _BARS: regions_figures,
        **({"aspects": aspects_figures} if source.aspects else {}),
        "class-wise dot plots": class_figures,
        _MERGED: partial(class_figures, merged=True),
        **dict(zip(_COMPARISONS, (forest_figures, wins_figures, rank_figures), strict=True)),
        "score against structure size": partial(size_figures, rows=rows),
        "one measure against another": agreement_figures,
        "cost against score": cost_figure,
    }
    if any("share" in variant.changes for variant in source.config.variants.values()):
        makers["score against the share of patients"] = shares_figures
    for protocol in source.protocols:
        for what, maker in makers.items():
            if what in _COMPARISONS and (not source.ranked or protocol.space in UNRANKED):
                continue
            if what == _MERGED and not source.merged_classes:
                continue
            result = _titled(source, protocol, maker(source, protocol))
            yield f"{what} ({short(source, protocol)})", result


def _titled(source: RunSource, protocol: Protocol, result: Result) -> Result:
    """Figures of another protocol than the headline's name it in their titles."""
    if result is None or not source.suffix(protocol):
        return result
    if isinstance(result, Drawing):
        return replace(result, title=f"{result.title} ({short(source, protocol)})")
    return [replace(item, title=f"{item.title} ({short(source, protocol)})") for item in result]


def _why(source: RunSource, what: str) -> str:
    """Why a figure is not there."""
    if what.startswith(_COMPARISONS) and len(source.entrants) < 2:
        return ONE_MODEL
    if what.startswith(_BARS) and not set(source.regions) - {UNASSIGNED}:
        return NO_REGION
    return NOT_AVAILABLE


def write_figures(
    source: RunSource, rows: CaseRows, folder: Path, formats: tuple[str, ...] = FORMATS
) -> tuple[list[WrittenFigure], dict[str, str]]:
    """Draw and write every figure; returns those written and what could not be drawn.

    `captions.json` beside them holds title and caption of each.
    """
    written: list[WrittenFigure] = []
    missing: dict[str, str] = {}
    with drawing():
        for what, result in all_figures(source, rows):
            drawings = result if isinstance(result, list) else [result] if result else []
            if not drawings:
                missing[f"figure: {what}"] = _why(source, what)
            for item in drawings:
                note = f" Signs shown as ?: {INSTALL_HINT}." * replace_missing(item.figure)
                files = save(item.figure, folder / item.name, formats)
                written.append(
                    WrittenFigure(item.name, item.title, item.caption + note, tuple(files))
                )
    write_json(
        folder / "captions.json",
        {w.name: {"title": w.title, "caption": w.caption} for w in written},
    )
    return written, missing
