"""The prompts that a scan is asked by: made from its reference, the run's seed and its names alone.

They are the same for every model. A class is asked for if the reference shows it; what a kind of
stress cannot say of it (a liver has no other side) is left out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.cases import CaseRecord
from evaluation.classes import vocabulary
from evaluation.classes.modality import Modality
from evaluation.classes.regions import plain_region, region_of
from evaluation.confusions.names import other_side, place_in_row
from evaluation.datasets.card import DatasetCard
from evaluation.stress import wording
from evaluation.stress.kinds import Prompt
from evaluation.volumes.segmentation import Segmentation

MOST_PARTS = 6
"""A general name is asked for up to so many parts (five lumbar vertebrae, not 24 ribs)."""
_FROM_HEAD_TO_FOOT = {
    "brain": 0, "head and neck": 0, "thorax": 1, "abdomen": 2, "pelvis": 3, "lower limb": 4,
}  # fmt: skip


@dataclass(frozen=True)
class ScanFacts:
    """What the making of prompts knows of a scan.

    Attributes:
        modality: of the scan.
        shown: classes that the reference shows, in the card's order.
        absent: classes that the scan does not show.
        neighbours: for a class the one beside it that shares no voxel with it.
    """

    modality: Modality
    shown: tuple[str, ...]
    absent: tuple[str, ...]
    neighbours: Mapping[str, str]


def facts_of(
    card: DatasetCard, record: CaseRecord, reference: Segmentation, scope: Sequence[str]
) -> ScanFacts:
    """The facts of a scan from its reference, on the classes that the run is about.

    Not shown for sure are annotated classes with an empty reference, and classes of the
    vocabulary whose region lies two or more regions away from all that the card names; of an
    entry of whole bodies, the former alone.
    """
    known = [name for name in scope if name in reference.classes]
    masks = {name: reference.mask(name) for name in known}
    shown = tuple(name for name in known if masks[name].any())
    empty = [name for name in known if name not in shown]
    places = [_FROM_HEAD_TO_FOOT.get(plain_region(region)) for region in card.regions]
    far = [
        info.name
        for info in vocabulary()
        if info.modality == record.modality
        and info.organ_or_lesion == "organ"
        and (own := _FROM_HEAD_TO_FOOT.get(region_of(*info.key))) is not None
        and all(place is not None and abs(place - own) > 1 for place in places)
    ]
    centres = {
        name: np.array([axis.mean() for axis in np.nonzero(masks[name])]) * record.spacing_mm
        for name in shown
    }
    neighbours = {name: found for name in shown if (found := _neighbour(name, masks, centres))}
    return ScanFacts(record.modality, shown, tuple(empty or far), neighbours)


def _neighbour(
    name: str, masks: Mapping[str, NDArray[np.bool_]], centres: Mapping[str, NDArray[np.float64]]
) -> str | None:
    """The next member of a row (ribs, vertebrae, discs), else the structure that lies nearest."""
    apart = [other for other in centres if other != name and not (masks[name] & masks[other]).any()]
    place = place_in_row(name)
    if place is not None:
        rows = {other: found for other in apart if (found := place_in_row(other))}
        beside = [o for o, found in rows.items() if found == (place[0], place[1] + 1)]
        beside += [o for o, found in rows.items() if found == (place[0], place[1] - 1)]
        if beside:
            return beside[0]
    apart = [other for other in apart if other != other_side(name)]
    distance = {o: float(np.linalg.norm(centres[o] - centres[name])) for o in apart}
    return min(sorted(distance), key=distance.__getitem__, default=None)


def prompts_of(facts: ScanFacts, case: str, seed: int, most_classes: int) -> list[Prompt]:
    """The prompts of a scan, at most one of a kind for each chosen class.

    Args:
        facts: of the scan.
        case: `<dataset>/<case>`, with the seed the start of its random numbers.
        seed: of the run.
        most_classes: so many of the shown classes are drawn.
    """
    chosen = list(facts.shown)
    if len(chosen) > most_classes:
        drawn = _generator(seed, case).choice(len(chosen), most_classes, replace=False)
        chosen = [chosen[i] for i in sorted(drawn.tolist())]
    # Of its own for each class: its words do not hang on which others were drawn.
    return [p for name in chosen for p in _of_class(facts, name, _generator(seed, case, name))]


def _generator(*about: object) -> np.random.Generator:
    start = hashlib.sha256(" ".join(map(str, about)).encode()).digest()
    return np.random.default_rng(list(start[:16]))


def _of_class(facts: ScanFacts, name: str, generator: np.random.Generator) -> Iterator[Prompt]:
    modality, own = facts.modality, (name,)
    if known := wording.synonyms(modality, name):
        yield Prompt("synonym", known[int(generator.integers(len(known)))], own, own)
    if text := wording.mistyped(modality, name, generator):
        yield Prompt("typing-error", text, own, own)
    if general := _general(facts, name):
        yield general
    text = wording.of_another_modality(modality, name, generator)
    yield Prompt("modality", text, own, own)
    if (other := other_side(name)) in facts.shown:
        yield Prompt("side", other, own, (other,))
    if other := facts.neighbours.get(name):
        yield Prompt("neighbour", other, own, (other,))
    yield Prompt("negation", wording.negated(name, generator), own, ())
    if facts.absent:
        absent = facts.absent[int(generator.integers(len(facts.absent)))]
        yield Prompt("absent", absent, own, ())
    yield Prompt("irrelevant", wording.irrelevant(generator), own, ())


def _general(facts: ScanFacts, name: str) -> Prompt | None:
    """The class without a side or number that contains this one, if the reference has it."""
    merged = {i.name: i.merged for i in vocabulary() if i.modality == facts.modality and i.merged}
    whole = merged.get(name)
    if whole is None or whole not in facts.shown:
        return None
    parts = tuple(part for part in facts.shown if merged.get(part) == whole)
    if not 1 < len(parts) <= MOST_PARTS:
        return None
    return Prompt("general", whole, parts, (whole,))
