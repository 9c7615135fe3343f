"""Whether published numbers may stand beside a run's, and which: the one place that decides it.

A published number is a mean over certain classes of certain entries, on real patients. It stands
beside a run that has all of them: a dataset's mean where the run holds that entry with all of
its classes, a class's mean where it holds every entry of the study that has the class, a region's
where it holds every entry with a class of that region. Virtual patients are nobody's published
data.
"""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from evaluation.classes.regions import region_of
from evaluation.config import RunConfig
from evaluation.datasets.regions import class_regions
from evaluation.datasets.registry import entry_ids, find_card
from evaluation.datasets.scope import classes_in_scope
from evaluation.files.reading import frame_of
from evaluation.published.numbers import published
from evaluation.schema import CLAIMS
from evaluation.studies.record import Study, find_study


def published_entries(config: RunConfig) -> list[str]:
    """Entries of a run of which its study's document speaks: the study's, with real patients."""
    known = find_study(config.study).entries
    return [e for e in entry_ids(config) if e in known and config.data_kind == "real"]


def reproduces_paper(config: RunConfig) -> bool:
    """Whether a run is its study's whole comparison: real patients of all of its entries there.

    Only such a run has the document's table numbers, its claims, and places for what was not run.
    """
    return set(published_entries(config)) >= set(find_study(config.study).compared)


def published_for(config: RunConfig) -> pd.DataFrame:
    """The published numbers that may stand beside a run's, as `published` gives them."""
    study = find_study(config.study)
    held = {
        (name, c.name)
        for name in published_entries(config)
        for c in classes_in_scope(find_card(name), config)
    }
    slots = _slots(study)
    frame = published(study)
    keys = list(frame[["scope", "key", "modality"]].itertuples(index=False, name=None))
    kept = {key: _made_of(study, slots, *key) <= held for key in set(keys)}
    return frame[[kept[key] for key in keys]].reset_index(drop=True)


def claims_for(config: RunConfig) -> pd.DataFrame:
    """The table `claims`: what its study's document says of its numbers, in a run of the whole."""
    study = find_study(config.study)
    if study.published.claims is None or not reproduces_paper(config):
        return CLAIMS.empty()
    path = study.file(study.published.claims)
    frame = frame_of(path, dtype={"holds": bool}, keep_default_na=False)
    return frame.assign(source=study.document.id)[CLAIMS.names]


class _Slot(NamedTuple):
    entry: str
    name: str
    modality: str
    region: str


def _slots(study: Study) -> list[_Slot]:
    """Every class of every entry of a study, once for each modality of the entry's scans."""
    cards = [find_card(name) for name in study.entries]
    own = class_regions(cards)
    return [
        _Slot(card.id, c.name, modality, region_of(modality, c.name, own=own))
        for card in cards
        for c in card.classes
        if c.name in study.classes.get(card.id, (c.name,))
        for modality in card.modalities
    ]


def _made_of(
    study: Study, slots: list[_Slot], scope: str, key: str, modality: str
) -> set[tuple[str, str]]:
    """(entry, class) behind a published number; no document names a region's classes."""
    aspect = study.aspects.get(key) if scope in ("aspect", "average") else None

    def belongs(slot: _Slot) -> bool:
        if scope == "dataset":
            return slot.entry == key
        if scope == "region":
            return slot.region == key
        if scope in ("class", "lesion"):
            return slot.name == key and modality in (slot.modality, "any")
        if aspect is not None:
            return aspect.holds(slot.entry, slot.name, slot.modality, slot.region)
        return True  # an average over everything, or over what no card tells apart

    return {(slot.entry, slot.name) for slot in slots if belongs(slot)}
