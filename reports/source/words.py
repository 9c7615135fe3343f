"""How things are called in print: protocols, regions, modalities, counts, and whole captions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from evaluation.classes import LESION, REGIONS, UNASSIGNED
from evaluation.classes.modality import MODALITY_TITLES
from evaluation.protocol import UNRANKED, Protocol
from evaluation.tables.comparison import MIN_PATIENTS, TOO_SMALL
from reports.source.measures import Measure
from reports.source.run import RunSource

NOT_RUN = "not run"
NOT_AVAILABLE = "not available"
NOT_MEASURED = "not measured"
ONE_MODEL = "fewer than two models compete, there is nothing to compare"
INCOMPLETE = "fewer than two models answered every class of every scan, there is nobody to rank"
NO_REGION = "no class of the run has a region (`region` of a class in the dataset's card)"
MOST_ENTRIES = 8
"""Of which a report has every case; of more, the board and the export have them."""
REGION_ORDER = (*REGIONS, LESION, UNASSIGNED)
SHORT_REGION = {"head and neck": "H&N", "lower limb": "LL", "upper limb": "UL"}
VIEW = {"paper": "all test cases", "clean": "test cases without a link to a training scan"}
COVERAGE = {
    "supported": "",
    "common": "; only classes that every model supports",
    "zero": "; unsupported classes count as missing",
}
STATISTICS = {
    "entries": "mean over entries of mean over classes",
    "classes": "mean over (modality, class)",
    "regions": "mean over regions and lesions",
}
METHODS = {
    "mean-then-rank": "mean, then rank",
    "rank-then-mean": "rank, then mean",
    "significance": "significant wins",
}
BOLD_IS_BEST = "Bold: best of the measured entrants."
NEVER_RANKED = "Published numbers are never ranked."


def modality_title(modality: str) -> str:
    """A modality as printed; one that is not known as it is."""
    titles: Mapping[Any, str] = MODALITY_TITLES
    return titles.get(modality, modality.upper())


def region_title(name: str, short: bool = False) -> str:
    """A region as printed."""
    if name == UNASSIGNED:
        return "No region"
    return SHORT_REGION.get(name, name.capitalize()) if short else name.capitalize()


def count(n: int, one: str, many: str) -> str:
    """`1 entry`, `2 entries`."""
    return f"{n:,} {one if n == 1 else many}"


def counts(values: Iterable[Any], to: str = "–") -> str:
    """One count if all models agree, otherwise the range."""
    found = sorted({int(v) for v in values})
    if not found:
        return "0"
    low, high = f"{found[0]:,}", f"{found[-1]:,}"
    return low if low == high else f"{low}{to}{high}"


def listed(names: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    found = list(names)
    return " and ".join(filter(None, [", ".join(found[:-1]), *found[-1:]]))


def few_of(names: list[str], most: int = 6) -> str:
    """All names, or the first and how many more there are."""
    more = len(names) - most
    return ", ".join(names) if more <= 1 else f"{', '.join(names[:most])} and {more} more"


def grid_title(source: RunSource, space: str) -> str:
    """A space as printed in a head: the study says on which grid `resampled` is."""
    grid = source.study.protocol.grid_title
    return {
        "native": "native",
        "resampled": grid,
        "own": "own grid",
        "cropped": f"{grid} cropped round the reference",
    }[space]


def short(source: RunSource, protocol: Protocol) -> str:
    """For a column head: `native, present-only`."""
    return f"{grid_title(source, protocol.space)}, {protocol.policy}"


def spoken(source: RunSource, protocol: Protocol) -> str:
    """A protocol as a sentence."""
    space = {
        "native": "native grid",
        "resampled": f"{grid_title(source, 'resampled')} grid",
        "own": "the model's own grid",
        "cropped": f"{grid_title(source, 'cropped')}, where nobody is ranked",
    }[protocol.space]
    at: dict[str, list[str]] = {}
    for m in source.measures:
        if m.metric.has_tolerance:
            at.setdefault(m.metric.title, []).append(f"{m.tolerance_mm:g}")
    tolerances = "".join(
        f"{name} {'tolerance' if len(values) == 1 else 'tolerances'} {listed(values)} mm, "
        for name, values in at.items()
    )
    return (
        f"Scored on {space}, empty-mask policy {protocol.policy}, {tolerances}"
        f"{VIEW[protocol.view]}{COVERAGE[protocol.coverage]}."
    )


def units_of(measures: Iterable[Measure], percent: str = "percent") -> str:
    """In which units values are: `in percent`, or `DSC in percent, volume difference in ml`."""
    by_unit: dict[str, list[str]] = {}
    for m in measures:
        by_unit.setdefault(percent if m.metric.percent else m.unit, []).append(m.words)
    if len(by_unit) == 1:
        return "".join(f"in {unit}" for unit in by_unit if unit)
    return ", ".join(f"{listed(names)} in {unit}" for unit, names in by_unit.items() if unit)


def kind(source: RunSource) -> str:
    """That patients are virtual, as a sentence (empty for real scans)."""
    synthetic = source.config.data_kind == "synthetic"
    return "Virtual patients (phantoms), not real scans. " if synthetic else ""


def presets(source: RunSource) -> str:
    """Which models ran under a preset, as a sentence (empty if none)."""
    named = source.config.presets
    words = []
    for model in dict.fromkeys([*named, *source.models]):
        more = source.preset_words(model)
        if model in named or more:
            preset = named.get(model, "by default")
            words.append(f"{source.model_title(model)} {preset}" + f" ({more})" * bool(more))
    return f"Presets: {', '.join(words)}. " if words else ""


def left_out_of_regions(source: RunSource) -> str:
    """How many classes no mean over regions holds, as a sentence (empty if none)."""
    lost = [key for key in source.asked_classes if source.region_of(*key) == UNASSIGNED]
    return (
        f"Means over regions leave out {len(lost)} of {len(source.asked_classes)} classes, "
        "which have no region."
        if lost
        else ""
    )


def few(rows: pd.DataFrame) -> str:
    """How many of these intervals or ranks rest on too few patients."""
    marked = int((rows["note"] != "").sum())
    if not marked:
        return ""
    size = "" if marked == len(rows) else f": {marked} of {len(rows)}"
    return f" {TOO_SMALL.capitalize()} (below {MIN_PATIENTS} independent patients){size}."


def caption(
    source: RunSource,
    protocol: Protocol,
    what: str,
    *,
    measures: Iterable[Measure] | None = None,
    ranked: bool = True,
    published: bool = False,
) -> str:
    """For a table: what the numbers are, how they were made, by which code, of how much.

    Args:
        source: the run.
        protocol: of the numbers.
        what: what they are.
        measures: those that the table shows; default all.
        ranked: they are scores, the best in bold.
        published: published numbers stand beside them.
    """
    units = units_of(source.measures if measures is None else measures) if ranked else ""
    units = f"{units[0].upper()}{units[1:]}. " if units else ""
    links = f"{source.notes['links']} " if source.notes["links"] else ""
    competes = ranked and source.ranked and protocol.space not in UNRANKED
    closing = f" {BOLD_IS_BEST}" * bool(competes) + f" {not_alike(source)}" * published
    entries = len(source.dataset_cards)
    return (
        f"{what} {units}{kind(source)}{spoken(source, protocol)} {presets(source)}"
        f"{entries - len(source.not_run)} of {entries} entries of the run {source.config.name} "
        f"have data. {links}Measured by {source.implementation}.{closing}"
    )


def not_alike(source: RunSource) -> str:
    """Why published numbers are no part of a ranking, and what differs nevertheless."""
    caveat = source.study.protocol.caveat
    return f"{NEVER_RANKED} {caveat[:1].upper()}{caveat[1:]}{'.' * bool(caveat)}".rstrip()


def cases_left_out(source: RunSource) -> str:
    """Which cases no worst one is chosen from, as a sentence (empty if there are none)."""
    if not source.measures or not source.lead.metric.needs_distances:
        return ""
    return f"A missed structure has no {source.lead.words} and is not among them."


def how(source: RunSource, protocol: Protocol) -> str:
    """For a figure: data kind, protocol, and how much stands behind it."""
    overall = source.pick("overall", protocol)
    size = ""
    if overall is not None:
        rows = overall[(overall["statistic"] == "entries") & overall["model"].isin(source.shown)]
        names = ("n_cases", "n_cases_expected", "n_patients", "n_classes", "n_classes_expected")
        n = {name: counts(rows[name], " to ") for name in names}
        size = (
            f" n: {n['n_cases']} of {n['n_cases_expected']} scans, {n['n_patients']} patients, "
            f"{n['n_classes']} of {n['n_classes_expected']} classes of entries."
        )
    links = f" {source.notes['links']}" if source.notes["links"] else ""
    return f"{kind(source)}{presets(source)}{spoken(source, protocol)}{size}{links}"


def many_entries(source: RunSource, *_: object) -> str:
    """Why a report does not show every case; empty if it does."""
    n = len(source.dataset_cards.keys() - source.not_run)
    if n <= MOST_ENTRIES:
        return ""
    return f"{n} entries (at most {MOST_ENTRIES}); the leaderboard and the export have every case"
