"""All figures of a run: which there are, and how they are written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from evaluation.files.writing import write_json
from evaluation.protocol import HEADLINE, UNRANKED, Protocol
from reports.figures.annotations import annotation_figures
from reports.figures.cases import case_figures
from reports.figures.ceilings import ceilings_figures
from reports.figures.collection import collection_figures
from reports.figures.comparison import forest_figures, rank_figures, wins_figures
from reports.figures.cost import cost_figure, model_size_figure
from reports.figures.drawing import Drawing
from reports.figures.scatter import agreement_figures, size_figures
from reports.figures.scores import aspects_figures, class_figures, regions_figures
from reports.figures.shares import shares_figures
from reports.figures.stress import stress_figure
from reports.figures.worth import (
    Reason,
    few_classes,
    few_pairs,
    few_ranks,
    few_wins,
    one_dataset,
    one_difference,
    one_model,
    one_region,
    one_volume,
)
from reports.layout.fonts import INSTALL_HINT, replace_missing
from reports.layout.style import FORMATS, MM_PER_INCH, drawing, save
from reports.source.cases import CaseRows
from reports.source.run import RunSource
from reports.source.words import NOT_AVAILABLE, many_entries, short

_MERGED = "classes of several modalities"
_SHARES = "score against the share of patients"
_RATERS, _STRESS = "raters and models", "prompts under stress"
_COMPARISONS = ("differences", "wins and losses", "rank stability")
Result = Drawing | list[Drawing] | None


class Section(StrEnum):
    """Where in the report a figure stands, in this order."""

    RESULTS = "Results"
    OTHER = "Results in the study's protocol"
    DATA = "Models and data"


@dataclass(frozen=True)
class Wanted:
    """A figure that a run may have: what it shows, how it is made, and whether it says anything."""

    what: str
    make: Callable[[RunSource, Protocol, CaseRows], Result]
    nothing: Reason = lambda *_: ""


@dataclass(frozen=True)
class WrittenFigure:
    """A figure on disk; `width_mm` is that of the print."""

    name: str
    title: str
    caption: str
    files: tuple[Path, ...]
    section: Section
    width_mm: float


_SCORES = (
    Wanted("region-wise bars", lambda s, p, _: regions_figures(s, p), one_region),
    Wanted("aspects", lambda s, p, _: aspects_figures(s, p)),
    Wanted("class-wise dot plots", lambda s, p, _: class_figures(s, p)),
    Wanted(_MERGED, lambda s, p, _: class_figures(s, p, merged=True)),
    Wanted("every case", case_figures, many_entries),
    Wanted("differences", lambda s, p, _: forest_figures(s, p), one_difference),
    Wanted("wins and losses", lambda s, p, _: wins_figures(s, p), few_wins),
    Wanted("rank stability", lambda s, p, _: rank_figures(s, p), few_ranks),
    Wanted("score against structure size", size_figures, one_volume),
    Wanted("one measure against another", lambda s, p, _: agreement_figures(s, p), few_pairs),
    Wanted("cost against score", lambda s, p, _: cost_figure(s, p), one_model),
    Wanted(_SHARES, lambda s, p, _: shares_figures(s, p)),
)
_DATA = (
    Wanted(_RATERS, lambda s, *_: ceilings_figures(s)),
    Wanted(_STRESS, lambda s, *_: stress_figure(s)),
    Wanted("model size", lambda s, *_: model_size_figure(s), one_model),
    Wanted("statistics of the collection", lambda s, *_: collection_figures(s), one_dataset),
    Wanted("annotations of the run's scans", lambda s, *_: annotation_figures(s), few_classes),
)


@dataclass(frozen=True)
class Found:
    """What became of a wanted figure; `why` there is none is empty if there is."""

    section: Section
    what: str
    drawings: list[Drawing]
    why: str = ""


def all_figures(source: RunSource, rows: CaseRows) -> Iterator[Found]:
    """Results first, what they are about last; one after the other, so that few are in memory."""
    for protocol in source.protocols:
        section = Section.OTHER if source.suffix(protocol) else Section.RESULTS
        unranked = not source.ranked or protocol.space in UNRANKED
        for wanted in _SCORES:
            left_out = {
                "aspects": not source.aspects,
                _SHARES: not any("share" in v.changes for v in source.config.variants.values()),
                _MERGED: not source.merged_classes,
                # Single cases are shown once, in the headline's protocol.
                "every case": section is not Section.RESULTS,
                **dict.fromkeys(_COMPARISONS, unranked),
            }
            if not left_out.get(wanted.what, False):
                found = _found(source, rows, protocol, wanted)
                what = f"{wanted.what} ({short(source, protocol)})"
                titled = [_titled(source, protocol, item) for item in found[0]]
                yield Found(section, what, titled, found[1])
    for wanted in _DATA:
        table = {_RATERS: "raters", _STRESS: "stress"}.get(wanted.what)
        if table is None or source.table(table) is not None:
            found = _found(source, rows, (*source.protocols, HEADLINE)[0], wanted)
            yield Found(Section.DATA, wanted.what, *found)


def _found(
    source: RunSource, rows: CaseRows, protocol: Protocol, wanted: Wanted
) -> tuple[list[Drawing], str]:
    if why := wanted.nothing(source, protocol, rows):
        return [], why
    result = wanted.make(source, protocol, rows)
    drawings = result if isinstance(result, list) else [result] if result else []
    return drawings, "" if drawings else NOT_AVAILABLE


def _titled(source: RunSource, protocol: Protocol, item: Drawing) -> Drawing:
    """Figures of another protocol than the headline's name it in their titles."""
    if not source.suffix(protocol):
        return item
    return replace(item, title=f"{item.title} ({short(source, protocol)})")


def write_figures(
    source: RunSource, rows: CaseRows, folder: Path, formats: tuple[str, ...] = FORMATS
) -> tuple[list[WrittenFigure], dict[str, str]]:
    """Draw and write every figure; returns those written, and what is not there with why.

    `captions.json` beside them holds title and caption of each.
    """
    written: list[WrittenFigure] = []
    missing: dict[str, str] = {}
    with drawing():
        for found in all_figures(source, rows):
            if found.why:
                missing[f"figure: {found.what}"] = found.why
            for item in found.drawings:
                note = f" Signs shown as ?: {INSTALL_HINT}." * replace_missing(item.figure)
                width_mm = item.figure.get_figwidth() * MM_PER_INCH
                files = tuple(save(item.figure, folder / item.name, formats))
                text = item.caption + note
                written.append(
                    WrittenFigure(item.name, item.title, text, files, found.section, width_mm)
                )
    captions = {w.name: {"title": w.title, "caption": w.caption} for w in written}
    write_json(folder / "captions.json", captions)
    return written, missing
