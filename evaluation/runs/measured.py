"""The tables `runtime` and `cost` of a run, from what its units of work say that they took.

A training, a prepared case and a prediction each keep their own seconds (`evaluation.spent`), so
that a job that resumed, added one case or had nothing to do changes no other unit's. What was not
measured is NaN, never 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from evaluation.config import load_frozen
from evaluation.datasets.registry import entry_ids, find_card
from evaluation.datasets.sharding import n_test_shards
from evaluation.errors import BenchError
from evaluation.models.card import ModelCard, find_model, function_of
from evaluation.models.running import read_status
from evaluation.paths import RunPaths
from evaluation.schema import COST, RUNTIME
from evaluation.spent import NOT_MEASURED, MeasuredWork, read_spent

Works = Mapping[str, Sequence[MeasuredWork]]


def measured_works(run: Path) -> dict[str, list[MeasuredWork]]:
    """What preparing, training and predicting took, by model, for all models of a run."""
    config = load_frozen(run)
    works = {}
    for name in config.models:
        card = find_model(name)
        predictions = [_prediction(run, card, dataset) for dataset in entry_ids(config)]
        works[name] = [*_training(run, card), *(work for work in predictions if work)]
    return works


def runtime_table(run: Path, works: Works) -> pd.DataFrame:
    """Time of each model's steps on each entry (`dataset` is empty for joint training)."""
    kind = load_frozen(run).data_kind
    rows = []
    for model in sorted(works):
        steps: dict[tuple[str, str], list[MeasuredWork]] = {}
        for work in works[model]:
            steps.setdefault((work.dataset, work.step), []).append(work)
        for (dataset, step), own in sorted(steps.items()):
            cases = _case_seconds(own)
            rows.append([kind, model, dataset, step, _total(own), _median(cases), len(cases)])
    return pd.DataFrame(rows, columns=RUNTIME.names)


def measured_cost(run: Path, works: Works) -> pd.DataFrame:
    """What each model of a run took, as far as it was measured (columns of `COST`).

    Training: the sum over its networks and stages, all resumes together. Prediction: the median
    over all test scans with a prediction; files made elsewhere have none. Memory: the largest
    resident memory of a process that prepared, trained or predicted (on a GPU the memory of the
    host).
    """
    kind = load_frozen(run).data_kind
    rows = []
    for name, own in works.items():
        networks, parameters = trained_networks(find_model(name), run)
        seconds = _total([work for work in own if work.step == "train"])
        per_case = _median(_case_seconds([work for work in own if work.step == "predict"]))
        peaks = [w.peak_memory_mib for w in own if not math.isnan(w.peak_memory_mib)]
        peak = max(peaks, default=NOT_MEASURED)
        rows.append([kind, name, networks, parameters, seconds, per_case, peak, _device(own)])
    return pd.DataFrame(rows, columns=COST.names)


def trained_networks(card: ModelCard, run: Path) -> tuple[int, float]:
    """Networks of a model and their weights together; nan where nobody says how many.

    A model that is trained here counts its own in the module `costs` beside its adapter; of
    others the card says it.
    """
    try:
        say = function_of(card, "costs", "trained_networks")
        networks, parameters = (
            say(card.id, run) if say else (int(bool(card.parameters)), card.parameters)
        )
    except (ImportError, BenchError):
        # A machine that only aggregates need not have what the model was trained with.
        networks, parameters = 0, None
    return networks, float(parameters or NOT_MEASURED)


def _training(run: Path, card: ModelCard) -> list[MeasuredWork]:
    """As the module `costs` beside the adapter of a model that is trained here says."""
    if not card.trains:
        return []
    try:
        say = function_of(card, "costs", "measured_work")
        return list(say(card.id, run)) if say else [MeasuredWork("train", "", NOT_MEASURED)]
    except (ImportError, BenchError):
        return [MeasuredWork("train", "", NOT_MEASURED)]


def _prediction(run: Path, card: ModelCard, dataset: str) -> MeasuredWork | None:
    """Of the predictions that are there; reading files that were made elsewhere is not measured."""
    paths = RunPaths(run)
    status = paths.prediction_status(card.id, dataset)
    if not status.is_file():
        return None
    if card.adapter.kind == "prediction-folder":
        return MeasuredWork("predict", dataset, NOT_MEASURED)
    seconds = [row.seconds for row in read_status(status) if row.status == "ok"]
    shards = range(n_test_shards(find_card(dataset), load_frozen(run)))
    found = [read_spent(paths.prediction_spent(card.id, dataset, k)) for k in shards]
    calls = [spent for spent in found if spent is not None]
    return MeasuredWork(
        "predict",
        dataset,
        math.fsum(seconds) if seconds else NOT_MEASURED,
        max((spent.peak_memory_mib for spent in calls), default=NOT_MEASURED),
        max((spent.device for spent in calls), default=""),
        seconds,
    )


def _case_seconds(works: Sequence[MeasuredWork]) -> list[float]:
    return [s for work in works for s in work.case_seconds if not math.isnan(s)]


def _median(seconds: Sequence[float]) -> float:
    return float(np.median(seconds)) if seconds else NOT_MEASURED


def _total(works: Sequence[MeasuredWork]) -> float:
    """NaN where a part of it was not measured: a sum of the others would pass for the whole."""
    return math.fsum(work.seconds for work in works) if works else NOT_MEASURED


def _device(works: Sequence[MeasuredWork]) -> str:
    devices = {w.device for w in works if w.step != "prepare" and not math.isnan(w.seconds)}
    # `GPU` for a model that was trained or predicts on one; preparing is a CPU's work.
    return f"measured, {max(devices)}" if devices - {""} else "not measured"
