"""Predictions that lie in another class of the same entry, whichever it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from evaluation.cases import PREDICTION_FILE, read_prediction, read_reference
from evaluation.config import RunConfig
from evaluation.confusions.judging import EMPTY, NOWHERE, OTHER, OWN, judge_row
from evaluation.confusions.overlaps import count_overlaps
from evaluation.datasets.registry import find_card
from evaluation.datasets.scope import classes_in_scope
from evaluation.paths import RunPaths
from evaluation.training.cases import cases_of_split


def class_confusions(
    paths: RunPaths, config: RunConfig, model: str, datasets: Sequence[str]
) -> dict[str, int]:
    """Confusions among the annotated classes of each entry, over all test cases.

    A small run has no row of ribs or vertebrae, so all annotated classes of an entry, which do
    not overlap, are taken for one row.

    Returns:
        `n_cases`, `n_confused`, `n_nowhere` and `n_empty` as in the table `confusions`.
    """
    total = Counter[str]()
    for dataset in datasets:
        scope = classes_in_scope(find_card(dataset), config)
        names = [entry.name for entry in scope if entry.kind == "annotated"]
        for case in cases_of_split(paths, dataset, "test") if len(names) > 1 else ():
            folder = paths.prediction(model, dataset, case)
            if not (folder / PREDICTION_FILE).is_file():
                continue
            _, reference = read_reference(paths.case(dataset, case))
            _, prediction = read_prediction(folder)
            known = [n for n in names if n in reference.classes and n in prediction.classes]
            found = count_overlaps(reference, prediction, known)
            shown = [n for n, voxels in zip(known, found.reference, strict=True) if voxels]
            total.update(judged.outcome for judged in judge_row(dataset, shown, found))
    return {
        "n_cases": total[OWN] + total[OTHER],
        "n_confused": total[OTHER],
        "n_nowhere": total[NOWHERE],
        "n_empty": total[EMPTY],
    }
