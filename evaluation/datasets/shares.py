"""Smaller training sides: what a model learns from a part of an entry's training patients."""

from __future__ import annotations

from collections.abc import Collection
from math import floor

from evaluation.datasets.draw import patient_draw


def share_of(dataset: str, patients: Collection[str], part: float, draw: int = 0) -> list[str]:
    """The patients of a share, sorted; those of a smaller share of the same draw are among them.

    Args:
        dataset: entry id.
        patients: of the training side.
        part: of them, in (0, 1], rounded down, at least one patient.
        draw: number of the draw; another one gives other patients.
    """
    known = set(patients)
    order = sorted(known, key=lambda patient: (patient_draw(dataset, patient, draw), patient))
    return sorted(order[: max(1, floor(part * len(order) + 1e-9))])
