"""Regions of the classes that a user's cards bring: the vocabulary knows only its own."""

from __future__ import annotations

from collections.abc import Iterable

from evaluation.classes.regions import (
    LESION,
    REGIONS,
    UNASSIGNED,
    Regions,
    plain_region,
    region_of,
)
from evaluation.datasets.card import DatasetCard
from evaluation.errors import BenchError


def class_regions(cards: Iterable[DatasetCard]) -> Regions:
    """Region of every class of some cards that the vocabulary does not have.

    A class belongs to the region that a card names for it, else to the only one of the card's
    `regions`. It has none (and is not listed) where a card has several regions, where its region
    is none of the eight, or where several cards have the class and their regions differ.

    Raises:
        BenchError: two cards name different regions for one class.
    """
    named: dict[tuple[str, str], dict[str, str]] = {}
    usual: dict[tuple[str, str], set[str]] = {}
    for card in cards:
        places = {plain_region(region) for region in card.regions}
        for entry in card.classes:
            for key in ((modality, entry.name) for modality in card.modalities):
                if region_of(*key) != UNASSIGNED:
                    continue
                if entry.region is not None:
                    named.setdefault(key, {})[entry.region] = card.id
                usual.setdefault(key, set()).update(places)
    for (modality, name), regions in named.items():
        if len(regions) > 1:
            raise BenchError(
                f"two cards put the {modality} class `{name}` into different regions",
                found=", ".join(f"{region} in card `{card}`" for region, card in regions.items()),
                expected="one region for a class, since its mean is taken over all entries",
                hint="change `region` of the class in one of the cards, or the class's name",
            )
    found = {key: next(iter(places)) for key, places in usual.items() if len(places) == 1}
    found = {key: region for key, region in found.items() if region in REGIONS}
    return found | {key: next(iter(regions)) for key, regions in named.items()}


def counted_one_by_one(card: DatasetCard) -> frozenset[str]:
    """Classes of a card whose structures are counted one by one.

    Those that the card says so of, and lesions unless it says no.
    """
    own = class_regions([card])
    lesions = {
        entry.name
        for entry in card.classes
        for modality in card.modalities
        if region_of(modality, entry.name, own=own) == LESION
    }
    said = {entry.name: entry.instances for entry in card.classes if entry.instances is not None}
    return frozenset(
        entry.name for entry in card.classes if said.get(entry.name, entry.name in lesions)
    )
