"""Where the predictions of one case lie: in their own reference, or in one with a similar name.

A pair of sides is judged once: it is exchanged if the prediction of either side overlaps the
other side's reference more than its own. A member of a row (ribs, vertebrae, discs) lies in the
member whose reference holds most of it; on a tie in its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evaluation.confusions.names import rows_of, side_pairs, without_side
from evaluation.confusions.overlaps import VoxelOverlaps, count_overlaps
from evaluation.volumes.segmentation import Segmentation

OWN, OTHER, NOWHERE, EMPTY, MISSING = "own", "other", "nowhere", "empty", "missing"
SIDE, NEIGHBOUR = "side", "neighbour"


@dataclass(frozen=True)
class Judgement:
    """What became of a pair of sides (under its left class), or of a class of a row, in one case.

    Attributes:
        what: `side` or `neighbour`.
        group: the structure without its side, or the row.
        class_name: the class.
        outcome: `own` or `other`: there the prediction lies; `nowhere`: it overlaps no member of
            the row; `empty`: nothing is predicted; `missing`: the model gave no answer.
        found_in: the class whose reference it lies in; empty if in none.
    """

    what: str
    group: str
    class_name: str
    outcome: str
    found_in: str = ""


def judge(
    reference: Segmentation, prediction: Segmentation | None, names: Sequence[str]
) -> list[Judgement]:
    """Judgements of one case on the structures that its reference shows.

    Args:
        reference: of the case.
        prediction: on the same grid; None: there is none.
        names: classes that the model supports; those that nobody annotated here are left out.
    """
    known = [name for name in names if name in reference.classes]
    # Without a prediction nothing is answered, and nothing is counted.
    there = prediction or Segmentation((), reference.affine, {})
    answered = [name for name in known if name in there.classes]
    found = count_overlaps(reference, there, answered)
    shown = {name for name, n in zip(answered, found.reference, strict=True) if n}
    shown |= {name for name in known if name not in answered and reference.mask(name).any()}
    judged = [
        _side(left, right, found)
        for left, right in side_pairs(known)
        if left in shown and right in shown
    ]
    for row, members in rows_of(known).items():
        judged += judge_row(row, [name for name in members if name in shown], found)
    return judged


def _side(left: str, right: str, found: VoxelOverlaps) -> Judgement:
    group = without_side(left)
    if not {left, right} <= set(found.names):
        return Judgement(SIDE, group, left, MISSING)
    a, b = found.names.index(left), found.names.index(right)
    if not found.prediction[a] and not found.prediction[b]:
        return Judgement(SIDE, group, left, EMPTY)
    if found.both[a, b] > found.both[a, a] or found.both[b, a] > found.both[b, b]:
        return Judgement(SIDE, group, left, OTHER, right)
    return Judgement(SIDE, group, left, OWN, left)


def judge_row(row: str, members: Sequence[str], found: VoxelOverlaps) -> list[Judgement]:
    """Judgements on classes that do not overlap and of which the reference shows each."""
    position = {name: i for i, name in enumerate(found.names)}
    others = [name for name in members if name in position]
    judged = []
    for name in members:
        if name not in position:
            judged.append(Judgement(NEIGHBOUR, row, name, MISSING))
        elif not found.prediction[position[name]]:
            judged.append(Judgement(NEIGHBOUR, row, name, EMPTY))
        else:
            shared = {other: found.both[position[name], position[other]] for other in others}
            # On a tie its own, which `max` meets first.
            best = max((name, *others), key=shared.__getitem__)
            if not shared[best]:
                judged.append(Judgement(NEIGHBOUR, row, name, NOWHERE))
            else:
                outcome = OWN if best == name else OTHER
                judged.append(Judgement(NEIGHBOUR, row, name, outcome, best))
    return judged
