"""Raters against each other: how well people agree, by the engine that scores models.

A rater is a folder of label maps; no image is needed. Every two raters are a pair, the one named
first is the reference (which counts only for metrics that tell the sides apart). The mean over
pairs of each class of each case is the human line: rows of one model, to stand beside a model's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from evaluation.errors import BenchError
from evaluation.metrics.catalogue import metrics_among
from evaluation.scoring.folder_pairs import Settings
from evaluation.scoring.folders import evaluate

HUMAN = "raters"
_ROW = ["dataset", "case", "class", "kind", "tolerance_mm", "space"]
# What a mean over pairs says, first of these that any pair has.
_ORDER = ("scored", "reference_empty", "prediction_empty", "both_empty")
_SPREAD = "hd95"


@dataclass(frozen=True)
class Agreement:
    """How raters agree.

    Args:
        pairs: score rows of each pair of raters, `model` being `<first> ~ <second>`.
        human: their mean over pairs, one row for each class of each case and tolerance.
        lacking: what a rater has not got, in words; such a case counts for the others' pairs.
        tolerances: class, tolerance_mm (the mean over cases and pairs of HD95 between raters),
            n_cases: beyond that people do not agree, so no model need be asked to.
    """

    pairs: pd.DataFrame
    human: pd.DataFrame
    lacking: tuple[str, ...]
    tolerances: pd.DataFrame


def score_raters(
    raters: Sequence[Path],
    settings: Settings,
    labels: Path | None = None,
    patient_pattern: str = r"^(.*)$",
    jobs: int = 1,
) -> Agreement:
    """Score every two raters against each other.

    Args:
        raters: at least two folders (or files) of label maps, cases matched by name.
        settings: metrics, tolerances in mm and the name of the entry; HD95 is always measured.
        labels: as of `satbench evaluate --labels`.
        patient_pattern: its first group in a case's name is the patient.
        jobs: cases at once.

    Raises:
        BenchError: fewer than two raters, two of one name, or folders that cannot be used.
    """
    names = [path.resolve().name for path in raters]
    if len(names) < 2 or len(set(names)) < len(names):
        raise BenchError(
            "raters cannot be compared",
            found=", ".join(names) or "none",
            expected="at least two folders of different names, one for each rater",
        )
    if _SPREAD not in settings.metrics:
        settings = replace(settings, metrics=(*settings.metrics, _SPREAD))
    parts, lacking = [], []
    for first, second in combinations(range(len(raters)), 2):
        named = replace(settings, model=f"{names[first]} ~ {names[second]}")
        with TemporaryDirectory() as folder:
            found = evaluate(
                raters[first],
                raters[second],
                Path(folder) / "rows.parquet",
                named,
                labels,
                jobs,
                patient_pattern,
            )
        parts.append(found.rows)
        lacking += [f"{named.model}: {case}: {why}" for case, why in found.missing.items()]
        lacking += [f"{named.model}: {case}: {why}" for case, why in found.failed.items()]
        lacking += [f"{named.model}: only the second has {case}" for case in found.unmatched]
    pairs = pd.concat(parts, ignore_index=True)
    # A case that a rater did not draw is no disagreement.
    pairs = pairs[pairs["status"].isin(_ORDER)].reset_index(drop=True)
    if pairs.empty:
        raise BenchError("no case that two raters have drawn", hint="cases are matched by name")
    return Agreement(pairs, human_rows(pairs), tuple(lacking), _tolerances(pairs))


def human_rows(pairs: pd.DataFrame) -> pd.DataFrame:
    """The mean over pairs of raters: score rows of the model `raters`.

    A class that all leave out is empty on both sides; one that some leave out counts what the
    metric says of an empty side in their pairs.
    """
    metrics = [metric.id for metric in metrics_among(pairs.columns)]
    place = pairs["status"].map({name: i for i, name in enumerate(_ORDER)})
    ordered = pairs.assign(_place=place).sort_values("_place", kind="stable")
    groups = ordered.groupby(_ROW, sort=False, dropna=False)
    rows: pd.DataFrame = groups.first().reset_index()
    sizes = [name for name in pairs.columns if name.endswith("_voxels")]
    means = groups[[*metrics, *sizes]].mean().reset_index()
    rows[metrics] = means[metrics]
    rows[sizes] = np.ceil(means[sizes]).astype(np.int64)
    rows["model"] = HUMAN
    n_pairs = groups.size().reset_index(drop=True)
    rows["reason"] = "mean over " + n_pairs.astype(str) + " pairs of raters"
    return rows[list(pairs.columns)].sort_values(_ROW, ignore_index=True)


def _tolerances(pairs: pd.DataFrame) -> pd.DataFrame:
    once = pairs.drop_duplicates(["model", "dataset", "case", "class", "kind", "space"])
    known = once[once[_SPREAD].notna() & once["status"].eq("scored")]
    by_case = known.groupby(["class", "case"], sort=True)[_SPREAD].mean()
    found = by_case.groupby("class").agg(["mean", "size"]).reset_index()
    found.columns = pd.Index(["class", "tolerance_mm", "n_cases"])
    return found
