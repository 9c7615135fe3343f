"""Drawing the test patients of an entry without a list, so that its card's counts of scans hold.

Patients come in the order of a hash of seed, dataset and patient id. Counts that must hold exactly
cannot leave a patient's side to that patient alone: it depends on who else is there, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
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
    met by those behind. Where no set of whole patients has the number, the nearest one is taken
    and said. With more or fewer scans than the rule counts, its share of test scans holds.

    Args:
        card: the entry.
        rule: its counts.
        seed: of the draw.
        scans: number of scans of every patient.
        say: called with one sentence for each departure from the card.
        fold: which patient is left out, from 1 on, where the rule leaves one out; with more folds
            than patients they come again.
    """
    total, asked = sum(scans.values()), rule.train + rule.test
    if rule.rule == "none":
        return dict.fromkeys(scans, "test")
    if rule.rule == "leave-one-out":
        left_out = sorted(scans)[(fold - 1) % len(scans)]
        return {patient: "test" if patient == left_out else "train" for patient in scans}
    wanted = round(total * rule.test / max(1, asked))
    if total != asked:
        say(
            f"{card.id}: {total} cases are there, its card counts {asked} ({rule.train} "
            f"train, {rule.test} test): the same share of test cases is {wanted}"
        )
    order = sorted(scans, key=lambda patient: (patient_draw(card.id, patient, seed), patient))
    # Bit k of reachable[i]: patients from the i-th on can have exactly k scans together.
    reachable = [1]
    for patient in reversed(order):
        reachable.append(reachable[-1] | reachable[-1] << scans[patient])
    reachable.reverse()
    least = 1 if rule.test and len(order) > 1 else 0
    most = total - 1 if rule.train and len(order) > 1 else total
    possible = (n for n in range(least, most + 1) if reachable[0] >> n & 1)
    nearest = min(possible, key=lambda n: (abs(n - wanted), n), default=0)
    if nearest != wanted:
        say(
            f"{card.id}: {nearest} test and {total - nearest} training cases drawn instead of "
            f"{wanted} and {total - wanted}: whole patients cannot make the number"
        )
    sides: dict[str, str] = {}
    left = nearest
    for patient, behind in zip(order, reachable[1:], strict=True):
        tests = left >= scans[patient] and behind >> (left - scans[patient]) & 1
        sides[patient] = "test" if tests else "train"
        left -= scans[patient] if tests else 0
    return sides


def patient_draw(dataset: str, patient: str, seed: int) -> float:
    """A number in [0, 1) that a patient always gets, whoever else is there."""
    digest = hashlib.sha256(f"{seed}/{dataset}/{patient}".encode()).digest()
    return int.from_bytes(digest[:7], "big") / 2**56
