"""The table `cost` of a run: estimated before it has run, measured by its record afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from evaluation.config import RunConfig, load_frozen
from evaluation.datasets.registry import entry_ids
from evaluation.errors import BenchError
from evaluation.models.card import ModelCard, costs_function, find_model
from evaluation.paths import RunPaths
from evaluation.schema import COST, write_table
from evaluation.workflow.estimate import Estimate, ModelCost
from evaluation.workflow.loads import Load

# What the rules ask for at the first attempt (rules.smk): the most that a job should take.
GPU_MEMORY_MIB = 64000 * 1e6 / 2**20
CPU_MEMORY_MIB = 16000 * 1e6 / 2**20
NOT_KNOWN = float("nan")

MODEL_STEPS = ("prepare", "train", "predict")


def train_seconds(cost: ModelCost) -> float:
    """Training of all networks of a model, one after the other, on its device."""
    return sum(max(w.gpu_seconds, w.cpu_seconds) for w in cost.work if w.stage == "train")


def predict_seconds_per_case(cost: ModelCost, loads: Sequence[Load]) -> float:
    """Prediction of one test case, the mean over the run."""
    cases = sum(load.n_test for load in loads)
    total = sum(max(w.gpu_seconds, w.cpu_seconds) for w in cost.work if w.stage == "predict")
    return total / cases if cases else NOT_KNOWN


def peak_memory_mib(cost: ModelCost) -> float:
    """Memory that the model's largest job asks for."""
    return GPU_MEMORY_MIB if any(w.gpu_seconds for w in cost.work) else CPU_MEMORY_MIB


def write_cost(config: RunConfig, found: Estimate) -> Path:
    """Write `tables/cost.parquet`; the device says that the row is an estimate."""
    rows = [
        [
            config.data_kind,
            name,
            cost.networks,
            cost.parameters,
            train_seconds(cost),
            predict_seconds_per_case(cost, found.loads),
            peak_memory_mib(cost),
            f"estimate, {cost.device}",
        ]
        for name, cost in found.models.items()
    ]
    path = RunPaths(Path("results") / config.name).table("cost")
    write_table(path, pd.DataFrame(rows, columns=COST.names), COST)
    return path


def measured_cost(
    run: Path, runtime: pd.DataFrame, jobs: Sequence[Mapping[str, Any]]
) -> pd.DataFrame:
    """What each model of a run took, as far as it was measured (columns of `COST`).

    Training: the sum over its jobs, stages before the segmentation included. Prediction: the
    median over all test scans with a prediction; files made elsewhere have none. Memory: the
    largest resident memory of a preparing, training or predicting job (on a GPU the memory of the
    host). A model that was not trained by the workflow has neither training nor memory here.

    Args:
        run: folder of the run.
        runtime: its `runtime` table.
        jobs: its jobs with `stage`, `job` (`model/unit`), `peak_memory_mib` and `gpus`.
    """
    config = load_frozen(run)
    rows = []
    for name in config.models:
        card = find_model(name)
        own = runtime[runtime["model"] == name]
        training = own.loc[own["step"] == "train", "seconds"]
        steps = [
            job
            for job in jobs
            if job["stage"] in MODEL_STEPS and str(job["job"]).partition("/")[0] == name
        ]
        device = "GPU" if any(job["gpus"] for job in steps) else "CPU"
        networks, parameters = trained_networks(card, run)
        rows.append(
            [
                config.data_kind,
                name,
                networks,
                parameters,
                training.sum() if len(training) else NOT_KNOWN,
                _median_seconds(run, card),
                max((job["peak_memory_mib"] for job in steps), default=NOT_KNOWN),
                f"measured, {device}" if len(own) else "not measured",
            ]
        )
    return pd.DataFrame(rows, columns=COST.names)


def trained_networks(card: ModelCard, run: Path) -> tuple[int, float]:
    """Networks of a model and their weights together; nan where nobody says how many.

    A model that is trained here counts its own in the module `costs` beside its adapter; of
    others the card says it.
    """
    try:
        say = costs_function(card, "trained_networks")
        networks, parameters = say(run) if say else (int(bool(card.parameters)), card.parameters)
    except (ImportError, BenchError):
        # A machine that only aggregates need not have what the model was trained with.
        networks, parameters = 0, None
    return networks, float(parameters or NOT_KNOWN)


def _median_seconds(run: Path, card: ModelCard) -> float:
    if card.adapter.kind == "prediction-folder":
        return NOT_KNOWN
    paths, entries = RunPaths(run), entry_ids(load_frozen(run).entries)
    files = [p for name in entries if (p := paths.prediction_status(card.id, name)).is_file()]
    if not files:
        return NOT_KNOWN
    cases = pd.concat([pd.read_csv(path) for path in files])
    return float(cases.loc[cases["status"] == "ok", "seconds"].median())
