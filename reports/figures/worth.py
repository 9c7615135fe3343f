"""Which figures would say nothing of a run, and why: one bar, one region, a handful of points."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from evaluation.classes import UNASSIGNED
from evaluation.protocol import Protocol
from reports.source.cases import CaseRows
from reports.source.run import RunSource
from reports.source.words import INCOMPLETE, NO_REGION, ONE_MODEL, count

FEWEST_POINTS = 6
FEWEST_CLASSES = 4
VOLUME_SPAN = 2.0
Reason = Callable[[RunSource, Protocol, CaseRows], str]
"""Why the figure says nothing; empty if it does say something."""


def one_dataset(source: RunSource, *_: object) -> str:
    """Statistics of a collection need one."""
    n = len(source.dataset_cards.keys() - source.not_run)
    return "one dataset is no collection" if n < 2 else ""


def few_classes(source: RunSource, *_: object) -> str:
    """Counts of so few classes are a table's matter."""
    n = len(source.asked_classes)
    return f"the run asks for {count(n, 'class', 'classes')}" if n < FEWEST_CLASSES else ""


def one_model(source: RunSource, *_: object) -> str:
    """Nothing to compare."""
    return ONE_MODEL if len(source.entrants) < 2 else ""


def one_region(source: RunSource, protocol: Protocol, *_: object) -> str:
    """The mean of the only region is the overall one."""
    if not set(source.regions) - {UNASSIGNED}:
        return NO_REGION
    frame = source.region_means(protocol)
    found = set() if frame is None else set(frame["region"].astype(str))
    return f"all scored classes are of one region, {min(found)}" if len(found) == 1 else ""


def one_difference(source: RunSource, protocol: Protocol, *_: object) -> str:
    """Overall, region and dataset are one and the same number."""
    if why := one_model(source):
        return why
    pairs = source.pick("pairs", protocol)
    if pairs is None:
        return ""
    most = pairs[["scope", "key"]].drop_duplicates().groupby("scope", observed=True).size().max()
    return "one dataset of one region: the table of paired comparisons has it" * bool(most == 1)


def few_pairs(source: RunSource, protocol: Protocol, *_: object) -> str:
    """Points or wins over (entry, class)."""
    frame = source.pick("dataset_class", protocol)
    if frame is None:
        return ""
    n = len(frame.loc[frame["preferred"], ["dataset", "class"]].drop_duplicates())
    return f"{count(n, 'pair', 'pairs')} of entry and class" if n < FEWEST_POINTS else ""


def few_wins(source: RunSource, protocol: Protocol, *_: object) -> str:
    """Wins need models and pairs of entry and class."""
    return one_model(source) or few_pairs(source, protocol)


def few_ranks(source: RunSource, protocol: Protocol, *_: object) -> str:
    """Ranks need complete models, and bootstraps enough patients to draw from."""
    if why := one_model(source):
        return why
    frame = source.overall_ranks(protocol)
    if frame is None or frame.loc[frame["complete"].astype(bool), "model"].nunique() < 2:
        return INCOMPLETE
    marked = bool((frame["note"] != "").all())
    return "too few patients to draw ranks from them again" if marked else ""


def one_volume(source: RunSource, protocol: Protocol, rows: CaseRows) -> str:
    """Structures of the same size."""
    volumes = rows.frame(protocol, source.lead)["reference_ml"].to_numpy(dtype=float)
    volumes = volumes[volumes > 0]
    if not len(volumes):
        return ""
    low, high = np.quantile(volumes, [0.05, 0.95])
    same = high < VOLUME_SPAN * low
    return f"the structures are of one size, {low:.3g} to {high:.3g} ml" if same else ""
