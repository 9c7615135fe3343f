"""Raters against each other: how well people agree, by the engine that scores models.

No image is needed. Every two raters are a pair, the one named first is the reference (which counts
only for metrics that tell the sides apart). The mean over pairs of each class of each case is the
human line: rows of one model, to stand beside a model's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from evaluation.datasets.raters import RaterFiles, RaterMasks, find_raters
from evaluation.errors import BenchError
from evaluation.metrics.catalogue import metrics_among
from evaluation.scoring.folder_pairs import Settings
from evaluation.scoring.folders import Matched, evaluate_matched
from evaluation.scoring.inputs import PairedFiles, Source, one_file, readable
from evaluation.scoring.known_classes import labels_in
from evaluation.scoring.labels import Labels, find_labels, without_ignored
from evaluation.scoring.layouts import references_in
from evaluation.scoring.rater_distances import tolerances_of
from evaluation.volumes.image_files import stem_of

HUMAN = "raters"
_ROW = ["dataset", "case", "class", "kind", "tolerance_mm", "space"]
# What a mean over pairs says, first of these that any pair has.
_ORDER = ("scored", "prediction_empty", "both_empty")

Raters = Mapping[str, Mapping[str, Source]]
"""Case -> rater -> where the masks lie."""


@dataclass(frozen=True)
class Agreement:
    """How raters agree.

    Args:
        pairs: score rows of each pair of raters, `model` being `<first> ~ <second>`.
        human: their mean over pairs, one row for each class of each case and tolerance.
        lacking: what a rater has not got, in words; such a case counts for the others' pairs.
        tolerances: see `tolerances_of`.
    """

    pairs: pd.DataFrame
    human: pd.DataFrame
    lacking: tuple[str, ...]
    tolerances: pd.DataFrame


def raters_in_folders(
    folders: Sequence[Path], labels: Labels | None = None
) -> tuple[Raters, Labels | None]:
    """A folder (or file) for each rater, in any layout of `satbench evaluate`.

    Args:
        folders: at least two; cases are matched by name, two files are one case.
        labels: the classes; None: of a `dataset.json` beside the first, if there is one.

    Raises:
        BenchError: fewer than two raters, two of one name, or a folder that cannot be used.
    """
    names = [stem_of(path.resolve()) for path in folders]
    if len(names) < 2 or len(set(names)) < len(names):
        raise BenchError(
            "raters cannot be compared",
            found=", ".join(names) or "none",
            expected="at least two folders of different names, one for each rater",
            hint="of one folder with all raters, say by --masks how its files are named",
        )
    for path in folders:
        if not path.exists():
            raise BenchError("no such file or folder", file=path.absolute())
    if labels is None and (known := find_labels(folders[0])):
        labels = known[0]
    classes = without_ignored(labels)[0] if labels else None
    found: dict[str, dict[str, Source]] = {}
    if all(path.is_file() for path in folders):
        cases = {readable(stem_of(folders[0])): list(map(one_file, folders))}
        return {case: dict(zip(names, own, strict=True)) for case, own in cases.items()}, labels
    alone = [Source(path, "masks") for path in folders]
    by_file = classes is not None and all(label.file for label in classes.values())
    if classes and by_file and all(s.path.is_dir() and s.holds_a_mask(classes) for s in alone):
        return {"case": dict(zip(names, alone, strict=True))}, labels
    for number, (name, folder) in enumerate(zip(names, folders, strict=True)):
        if not folder.is_dir():
            raise BenchError(
                "one rater is a file and another a folder",
                file=folder,
                expected="a folder for each",
            )
        other = folders[number - 1]
        for case, source in references_in(folder, other, classes)[0].items():
            found.setdefault(case, {})[name] = source
    return {case: found[case] for case in sorted(found)}, labels


def raters_by_pattern(folder: Path, statement: RaterMasks) -> Raters:
    """As a file pattern says (`evaluation.datasets.raters`).

    Raises:
        BenchError: no file fits.
    """
    return {
        readable(case): {readable(rater): _source(files) for rater, files in raters.items()}
        for case, raters in find_raters(folder, statement).items()
    }


def _source(files: RaterFiles) -> Source:
    if files.masks:
        return Source(files.path, "masks", files.problem, named=files.masks, frame=files.frame)
    if files.frame is None and not files.problem:
        return one_file(files.path)
    return Source(files.path, "label maps", files.problem, frame=files.frame)


def score_raters(
    raters: Raters,
    where: Path,
    settings: Settings,
    named: tuple[Labels, str] | None = None,
    patient_pattern: str = r"^(.*)$",
    jobs: int = 1,
) -> Agreement:
    """Score every two raters against each other.

    Args:
        raters: of each case.
        where: the folder that they lie in, for messages.
        settings: metrics, tolerances in mm and the name of the entry.
        named: the classes, and where they come from; None: whatever the raters' masks hold.
        patient_pattern: its first group in a case's name is the patient.
        jobs: cases at once.

    Raises:
        BenchError: no case has masks of two raters that can be compared.
    """
    names = list(dict.fromkeys(name for own in raters.values() for name in own))
    if named is None:
        every = [
            PairedFiles(case, source, None)
            for case, own in raters.items()
            for source in own.values()
        ]
        named = labels_in(where, every, jobs)
    pairs = {
        f"{first} ~ {second}": [
            PairedFiles(case, own[first], own[second])
            for case, own in raters.items()
            if first in own and second in own
        ]
        for first, second in combinations(names, 2)
    }
    pairs = {pair: cases for pair, cases in pairs.items() if cases}
    lacking = [
        f"{case}: no masks of {', '.join(absent)}"
        for case, own in raters.items()
        if (absent := [name for name in names if name not in own])
    ]
    if not pairs:
        raise BenchError(
            "no case that two raters have drawn", file=where,
            found=f"{len(raters)} cases of raters {', '.join(names[:5])}",
            hint="cases are matched by name",
        )  # fmt: skip
    with TemporaryDirectory() as folder:
        models = [
            Matched(cases, [], Path(folder) / f"{n}.parquet", replace(settings, model=pair))
            for n, (pair, cases) in enumerate(pairs.items())
        ]
        done = evaluate_matched(where, models, named, jobs, patient_pattern)
    for pair, found in zip(pairs, done, strict=True):
        lacking += [f"{pair}: {case}: {why}" for case, why in found.missing.items()]
        lacking += [f"{pair}: {case}: {why}" for case, why in found.failed.items()]
    rows = pd.concat([found.rows for found in done], ignore_index=True)
    # A case or class that a rater did not draw is no disagreement.
    rows = rows[rows["status"].isin((*_ORDER, "reference_empty"))].reset_index(drop=True)
    if rows.empty:
        raise BenchError("no masks of two raters can be compared", file=where, found=lacking[0])
    labels, ignored = without_ignored(named[0])
    full = replace(settings, labels=labels, ignored=ignored)
    tolerances = tolerances_of([case for cases in pairs.values() for case in cases], full, jobs)
    return Agreement(rows, human_rows(rows), tuple(lacking), tolerances)


def human_rows(pairs: pd.DataFrame) -> pd.DataFrame:
    """The mean over pairs of raters: score rows of the model `raters`.

    Neither rater is the truth: a class that one of two leaves out counts what the metric says of
    an empty prediction, whichever is named first. One that all leave out is empty on both sides.
    """
    metrics = [metric.id for metric in metrics_among(pairs.columns)]
    turned = pairs["status"].eq("reference_empty")
    ordered = pairs.assign(status=pairs["status"].mask(turned, "prediction_empty"))
    for name in [name for name in pairs.columns if "reference_" in name]:
        other = name.replace("reference", "prediction")
        ordered[name] = pairs[name].mask(turned, pairs[other])
        ordered[other] = pairs[other].mask(turned, pairs[name])
    for metric in metrics_among(pairs.columns):
        if metric.prediction_empty is not None:
            ordered[metric.id] = pairs[metric.id].mask(turned, metric.prediction_empty)
    place = ordered["status"].map({name: i for i, name in enumerate(_ORDER)})
    ordered = ordered.assign(_place=place).sort_values("_place", kind="stable")
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
