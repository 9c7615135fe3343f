"""Names that are easily confused: the two sides of a structure, the members of a row."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_OTHER = {"left": "right", "right": "left"}
_RIB = re.compile(r"^(left|right) rib (\d+)$")
_VERTEBRA = re.compile(r"^(?:cervical|thoracic|lumbar) vertebrae \d+ \(([ctl])(\d+)\)$")
_CODE = re.compile(r"\(([ctl])(\d+)\)")
_DISC = "intervertebral disc between "
# Vertebrae above the first of each part of the spine.
_ABOVE = {"c": 0, "t": 7, "l": 19}


def other_side(name: str) -> str | None:
    """The name of the other side's structure, or None for a name without a side."""
    words = name.split(" ")
    sides = [i for i, word in enumerate(words) if word in _OTHER]
    if len(sides) != 1:
        return None
    words[sides[0]] = _OTHER[words[sides[0]]]
    return " ".join(words)


def side_pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    """(left, right) pairs among class names, in their order."""
    known = set(names)
    return [
        (name, other)
        for name in names
        if (other := other_side(name)) in known and other is not None and "left" in name.split(" ")
    ]


def without_side(name: str) -> str:
    """What a pair of sides is called: `left kidney` and `right kidney` are `kidney`."""
    return " ".join(word for word in name.split(" ") if word not in _OTHER)


def place_in_row(name: str) -> tuple[str, int] | None:
    """The row of like structures that a class stands in, and its number from the head down."""
    if found := _RIB.match(name):
        return f"{found[1]} ribs", int(found[2])
    if found := _VERTEBRA.match(name):
        return "vertebrae", _ABOVE[found[1]] + int(found[2])
    if name.startswith(_DISC) and (codes := _CODE.findall(name)):
        return "intervertebral discs", min(_ABOVE[part] + int(n) for part, n in codes)
    return None


def rows_of(names: Iterable[str]) -> dict[str, dict[str, int]]:
    """Row -> class -> number, for rows with at least two of the classes."""
    rows: dict[str, dict[str, int]] = {}
    for name in names:
        place = place_in_row(name)
        if place is not None:
            rows.setdefault(place[0], {})[name] = place[1]
    return {row: members for row, members in rows.items() if len(members) > 1}


def confusable(names: Sequence[str]) -> list[str]:
    """Those of the classes that have another side or a row among them."""
    paired = {name for pair in side_pairs(names) for name in pair}
    in_rows = {name for members in rows_of(names).values() for name in members}
    return [name for name in names if name in paired or name in in_rows]
