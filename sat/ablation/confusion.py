"""Predictions that lie in another class of the same entry, whichever it is."""

from __future__ import annotations

from collections.abc import Sequence

from evaluation.cases import PREDICTION_FILE, read_prediction, read_reference
from evaluation.config import RunConfig
from evaluation.datasets.registry import find_card
from evaluation.datasets.scope import classes_in_scope
from evaluation.paths import RunPaths
from sat.neighbours import Confusions, row_confusions
from sat.prepare import cases_of_split


def class_confusions(
    paths: RunPaths, config: RunConfig, model: str, datasets: Sequence[str]
) -> Confusions:
    """Confusions among the annotated classes of each entry, over all test cases.

    A small run has no row of ribs or vertebrae, so all annotated classes of an entry, which do
    not overlap, are taken for one row. `neighbour` and `further` then both mean: mostly in the
    reference of another class.
    """
    total = Confusions()
    for dataset in datasets:
        scope = classes_in_scope(find_card(dataset), config)
        names = [entry.name for entry in scope if entry.kind == "annotated"]
        if len(names) < 2:
            continue
        for case in cases_of_split(paths, dataset, "test"):
            folder = paths.prediction(model, dataset, case)
            if not (folder / PREDICTION_FILE).is_file():
                continue
            _, reference = read_reference(paths.case(dataset, case))
            _, prediction = read_prediction(folder)
            members = {
                name: number
                for number, name in enumerate(names)
                if name in reference.classes and name in prediction.classes
            }
            total += row_confusions(reference, prediction, members)
    return total
