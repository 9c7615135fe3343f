"""Drawing the patients of the sides of an entry without a list, so that its counts of scans hold.

Patients come in the order of a hash of seed, dataset and patient id. Counts that must hold exactly
cannot leave a patient's side to that patient alone: it depends on who else is there, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evaluation.datasets.card import DatasetCard, Split

Say = Callable[[str], None]


def silent(_message: str) -> None:
    """Say nothing."""


def drawn_sides(
    card: DatasetCard,
    rule: Split,
    seed: int,
    scans: Mapping[str, int],
    say: Say = silent,
    fold: int = 1,
) -> dict[str, str]:
    """Side of every patient where no list exists, so that the rule's counts of scans hold.

    Patients test in the order of `patient_draw`, each unless the count could then no longer be
    met by those behind; those that come next are for validation. Where no set of whole patients
    has the number, the nearest one is taken and said. With more or fewer scans than the rule
    counts, its shares hold.

    Args:
        card: the entry.
        rule: its counts.
        seed: of the draw.
        scans: number of scans of every patient.
        say: called with one sentence for each departure from the card.
        fold: which patient is left out, from 1 on, where the rule leaves one out; with more folds
            than patients they come again.
    """
    total, asked = sum(scans.values()), sum(rule.sides.values())
    if rule.rule == "none":
        return dict.fromkeys(scans, "test")
    if rule.rule == "leave-one-out":
        left_out = sorted(scans)[(fold - 1) % len(scans)]
        return {patient: "test" if patient == left_out else "train" for patient in scans}
    wanted = {
        side: round(total * rule.sides[side] / max(1, asked)) for side in ("test", "validation")
    }
    shares = ", ".join(
        f"of {side} cases is {n}" for side, n in wanted.items() if side == "test" or n
    )
    if total != asked:
        counted = ", ".join(
            f"{n} {side}" for side, n in rule.sides.items() if side != "validation" or n
        )
        say(
            f"{card.id}: {total} cases are there, its card counts {asked} ({counted}): the same "
            f"share {shares}"
        )
    order = sorted(scans, key=lambda patient: (patient_draw(card.id, patient, seed), patient))
    sides = dict.fromkeys(scans, "train")
    for side, n in wanted.items():
        left = [patient for patient in order if sides[patient] == "train"]
        numbers = [scans[patient] for patient in left]
        least = 1 if rule.sides[side] and len(left) > 1 else 0
        most = sum(numbers) - 1 if rule.train and len(left) > 1 else sum(numbers)
        found = _nearest(numbers, n, least, most) if rule.sides[side] or side == "test" else 0
        if found != n:
            rest = sum(numbers)
            say(
                f"{card.id}: {found} {side} and {rest - found} training cases drawn instead of "
                f"{n} and {rest - n}: whole patients cannot make the number"
            )
        chosen = _chosen(numbers, found)
        sides |= {patient: side for patient, taken in zip(left, chosen, strict=True) if taken}
    return sides


def _sums(numbers: Sequence[int]) -> list[int]:
    """For each position the sums that the numbers from there on can make, as bits."""
    reachable = [1]
    for number in reversed(numbers):
        reachable.append(reachable[-1] | reachable[-1] << number)
    return reachable[::-1]


def _nearest(numbers: Sequence[int], wanted: int, least: int, most: int) -> int:
    """The sum of some of the numbers, within bounds, that is nearest to what is wanted."""
    all_sums = _sums(numbers)[0]
    possible = (n for n in range(least, most + 1) if all_sums >> n & 1)
    return min(possible, key=lambda n: (abs(n - wanted), n), default=0)


def _chosen(numbers: Sequence[int], total: int) -> list[bool]:
    """The first numbers that, each taken if the rest can still make it, have a sum."""
    chosen = []
    for number, behind in zip(numbers, _sums(numbers)[1:], strict=True):
        chosen.append(total >= number and bool(behind >> (total - number) & 1))
        total -= number if chosen[-1] else 0
    return chosen


def patient_draw(dataset: str, patient: str, seed: int) -> float:
    """A number in [0, 1) that a patient always gets, whoever else is there."""
    digest = hashlib.sha256(f"{seed}/{dataset}/{patient}".encode()).digest()
    return int.from_bytes(digest[:7], "big") / 2**56
