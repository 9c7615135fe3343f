"""Is a probability of 0.5 the right threshold, and do probabilities mean what they say?

Both are measured on a part of the training patients, never on test cases. The whole probability
scale is kept as a histogram for each class and case, so that every threshold costs one pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from evaluation.training.predict import blended_probabilities
from evaluation.training.store import PreparedRecord, read_known
from evaluation.training.tasks import class_mask
from evaluation.training.validation import read_case
from sat.model import SatModel

BINS = 100
RELIABILITY_BINS = 10
# Background is right by the million; the calibration error is about voxels in question.
IN_QUESTION = 0.05


@dataclass(frozen=True)
class Histogram:
    """Probabilities of one class in one case: voxels inside and outside the reference, by bin."""

    dataset: str
    name: str
    inside: NDArray[np.int64]
    outside: NDArray[np.int64]

    @property
    def dice(self) -> NDArray[np.float64] | None:
        """DSC at each threshold i / BINS, i from 1 to BINS - 1; None without reference voxels."""
        reference = int(self.inside.sum())
        if not reference:
            return None
        hits = self.inside[::-1].cumsum()[::-1][1:]
        found = hits + self.outside[::-1].cumsum()[::-1][1:]
        dice: NDArray[np.float64] = 2 * hits / (found + reference)
        return dice


def case_histograms(model: SatModel, store: Path, record: PreparedRecord) -> Iterator[Histogram]:
    """Histograms of all trained and annotated classes of a prepared case, on the own grid."""
    crop, layers = read_case(store, record)
    known = model.tasks.annotated(record)
    names = list(known)
    if not names:
        return
    with torch.inference_mode():
        queries = model.prompts(torch.tensor(list(known.values())))
    for number, probability in blended_probabilities(model, crop, queries):
        mask = class_mask(layers, record, names[number])
        bins = np.minimum((probability.numpy() * BINS).astype(np.int64), BINS - 1)
        inside = np.bincount(bins[mask], minlength=BINS)
        everything = np.bincount(bins.ravel(), minlength=BINS)
        yield Histogram(record.dataset, names[number], inside, everything - inside)


def histograms(
    model: SatModel, store: Path, cases: Mapping[str, Sequence[str]]
) -> Iterator[Histogram]:
    """Histograms of the cases of each dataset.

    Raises:
        BenchError: a case is not in the prepared store.
    """
    for dataset, names in cases.items():
        for case in names:
            yield from case_histograms(model, store, read_known(store, dataset, case))


def summarise(found: Sequence[Histogram]) -> dict[str, Any]:
    """Best threshold of every class and of all together, and the reliability of probabilities.

    Means are over cases, then over classes, as in the benchmark's tables; cases without the class
    count for the reliability only.
    """
    classes = []
    curves = []
    for key in sorted({(h.dataset, h.name) for h in found}):
        dice = [h.dice for h in found if (h.dataset, h.name) == key]
        present = [curve for curve in dice if curve is not None]
        if not present:
            continue
        curve = np.mean(present, axis=0)
        curves.append(curve)
        classes.append(
            {"dataset": key[0], "class": key[1], "n_cases": len(present), **_best(curve)}
        )
    everything = _best(np.mean(curves, axis=0)) if curves else None
    inside = sum((h.inside for h in found), np.zeros(BINS, np.int64))
    outside = sum((h.outside for h in found), np.zeros(BINS, np.int64))
    return {
        "classes": classes,
        "one_threshold_for_all": everything,
        **_reliability(inside, outside),
    }


def _best(curve: NDArray[np.float64]) -> dict[str, float]:
    """The threshold with the largest DSC; of equal ones the nearest to a half."""
    thresholds = np.arange(1, BINS) / BINS
    top = np.flatnonzero(curve >= curve.max() - 1e-9)
    best = int(top[np.abs(thresholds[top] - 0.5).argmin()])
    return {
        "dsc_at_half": round(float(curve[BINS // 2 - 1]), 5),
        "best_threshold": float(thresholds[best]),
        "dsc_at_best": round(float(curve[best]), 5),
    }


def _reliability(inside: NDArray[np.int64], outside: NDArray[np.int64]) -> dict[str, Any]:
    centres = (np.arange(BINS) + 0.5) / BINS
    voxels = inside + outside
    width = BINS // RELIABILITY_BINS
    table = []
    for start in range(0, BINS, width):
        part = slice(start, start + width)
        n = int(voxels[part].sum())
        table.append(
            {
                "from": start / BINS,
                "to": (start + width) / BINS,
                "voxels": n,
                "mean_probability": float((centres * voxels)[part].sum() / n) if n else None,
                "observed": float(inside[part].sum() / n) if n else None,
            }
        )
    asked = centres >= IN_QUESTION
    total = int(voxels[asked].sum())
    gap = np.abs(inside - centres * voxels)[asked].sum()
    return {
        "reliability": table,
        "expected_calibration_error": float(gap / total) if total else None,
        "calibration_error_from_probability": IN_QUESTION,
    }
