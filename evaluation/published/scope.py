"""Whether published numbers may stand beside a run's, and which: the one place that decides it.

A published number is a mean over certain classes of certain entries, on real patients. It stands
beside a run that has all of them: a dataset's mean where the run holds that entry with all of
its classes, a class's mean where it holds every entry that has the class, a region's where it
holds every entry with a class of that region. Virtual patients are nobody's published data.
"""

from __future__ import annotations

from collections.abc import Set
from functools import lru_cache

import pandas as pd

from evaluation.classes.vocabulary import ClassInfo, vocabulary
from evaluation.config import RunConfig
from evaluation.datasets.registry import CARD_FOLDER, entry_ids, load_cards
from evaluation.datasets.scope import classes_in_scope
from evaluation.published.claims import check_claims
from evaluation.published.numbers import published

SOURCE = "sat-v1"
"""The document whose comparison the benchmark's own 32 entries make up."""


def published_entries(config: RunConfig) -> list[str]:
    """Entries of a run of which the paper speaks: the benchmark's own, with real patients."""
    own = load_cards(CARD_FOLDER)
    return [e for e in entry_ids(config.entries) if e in own and config.data_kind == "real"]


def reproduces_paper(config: RunConfig) -> bool:
    """Whether a run is the paper's comparison: real patients of all of its entries.

    Only such a run has the paper's table numbers, its claims, and places for what was not run.
    """
    return set(published_entries(config)) >= set(load_cards(CARD_FOLDER))


def published_for(config: RunConfig) -> pd.DataFrame:
    """The published numbers that may stand beside a run's, as `published` gives them."""
    cards = load_cards(CARD_FOLDER)
    held = {
        (entry, c.name)
        for entry in published_entries(config)
        for c in classes_in_scope(cards[entry], config)
    }
    frame = published(source=SOURCE)
    kept = [
        _made_of(*key) <= held
        for key in frame[["scope", "key", "modality"]].itertuples(index=False, name=None)
    ]
    return frame[kept].reset_index(drop=True)


def claims_for(config: RunConfig) -> pd.DataFrame:
    """The table `claims` of a run: the paper's, in the run that is the paper's comparison."""
    claims = check_claims()
    kept = claims["source"].eq(SOURCE) & reproduces_paper(config)
    return claims[kept].reset_index(drop=True)


@lru_cache(maxsize=1024)
def _made_of(scope: str, key: str, modality: str) -> Set[tuple[str, str]]:
    """(entry, class) behind a published number; the paper does not name a region's classes."""
    if scope == "dataset":
        return {(key, c.name) for c in load_cards(CARD_FOLDER)[key].classes}
    return {
        (entry, info.name)
        for info in vocabulary()
        if _is_in(info, scope, key, modality)
        for entry in (*info.annotated_in, *info.generated_in)
    }


def _is_in(info: ClassInfo, scope: str, key: str, modality: str) -> bool:
    if scope == "region":
        return info.region == key
    return info.name == key and modality in (info.modality, "any")
