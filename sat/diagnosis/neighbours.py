"""Neighbours confused: a rib, vertebra or disc found where the next one of its row is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from evaluation.volumes.image_files import Array
from evaluation.volumes.segmentation import ClassPlace, Segmentation

_RIB = re.compile(r"^(left|right) rib (\d+)$")
_VERTEBRA = re.compile(r"^(?:cervical|thoracic|lumbar) vertebrae \d+ \(([ctl])(\d+)\)$")
_CODE = re.compile(r"\(([ctl])(\d+)\)")
_DISC = "intervertebral disc between "
# Vertebrae above the first of each part of the spine.
_ABOVE = {"c": 0, "t": 7, "l": 19}


def place_in_row(name: str) -> tuple[str, int] | None:
    """The row of like structures that a class stands in, and its number from the head down."""
    if found := _RIB.match(name):
        return f"{found[1]} ribs", int(found[2])
    if found := _VERTEBRA.match(name):
        return "vertebrae", _ABOVE[found[1]] + int(found[2])
    if name.startswith(_DISC) and (codes := _CODE.findall(name)):
        return "intervertebral discs", min(_ABOVE[part] + int(n) for part, n in codes)
    return None


def rows_of(names: Sequence[str]) -> dict[str, dict[str, int]]:
    """Row -> class -> number, for rows with at least two of the classes."""
    rows: dict[str, dict[str, int]] = {}
    for name in names:
        place = place_in_row(name)
        if place is not None:
            rows.setdefault(place[0], {})[name] = place[1]
    return {row: members for row, members in rows.items() if len(members) > 1}


@dataclass(frozen=True)
class Confusions:
    """Where predictions of a row's classes lie, counted over (case, class)s with a reference.

    Attributes:
        right: most of what overlaps the row's references lies in the right one.
        neighbour: most of it lies in the one before or after.
        further: most of it lies further along the row.
        nowhere: the prediction overlaps no member of the row.
        empty: there is no prediction.
    """

    right: int = 0
    neighbour: int = 0
    further: int = 0
    nowhere: int = 0
    empty: int = 0

    @property
    def rate(self) -> float:
        """Part in another member, of the predictions that overlap the row; NaN without any."""
        hits = self.right + self.neighbour + self.further
        return (self.neighbour + self.further) / hits if hits else float("nan")

    def __add__(self, other: Confusions) -> Confusions:
        """Counts of both together."""
        return Confusions(
            *(getattr(self, f.name) + getattr(other, f.name) for f in fields(Confusions))
        )


def confusions(reference: Segmentation, prediction: Segmentation) -> dict[str, Confusions]:
    """Confusions of one case for each row with two or more classes that both know."""
    shared = [name for name in reference.classes if name in prediction.classes]
    return {
        row: row_confusions(reference, prediction, members)
        for row, members in rows_of(shared).items()
    }


def row_confusions(
    reference: Segmentation, prediction: Segmentation, members: dict[str, int]
) -> Confusions:
    """Confusions of one case among classes that do not overlap, each with its number in a row."""
    total = Confusions()
    whole = [_counts(layer, None) for layer in reference.layers]
    for name, number in members.items():
        if not _size(whole, reference.classes[name]):
            continue
        mask = prediction.mask(name)
        if not mask.any():
            total += Confusions(empty=1)
            continue
        inside = [_counts(layer, mask) for layer in reference.layers]
        overlaps = {other: _size(inside, reference.classes[other]) for other in members}
        # On a tie the right one, which `max` meets first.
        best = max((name, *members), key=lambda other: overlaps[other])
        step = abs(members[best] - number)
        if not overlaps[best]:
            total += Confusions(nowhere=1)
        elif step == 0:
            total += Confusions(right=1)
        elif step == 1:
            total += Confusions(neighbour=1)
        else:
            total += Confusions(further=1)
    return total


def _counts(layer: Array, mask: Array | None) -> Array:
    """Voxels of each label value, under the mask if there is one."""
    return np.bincount((layer if mask is None else layer[mask]).ravel())


def _size(counts: Sequence[Array], place: ClassPlace) -> int:
    return sum(
        int(counts[part.layer][value])
        for part in place.parts
        for value in part.values
        if value < len(counts[part.layer])
    )
