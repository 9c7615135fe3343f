"""The table `cost` of a run before it has run; `evaluation.runs.measured` has it afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from evaluation.config import RunConfig
from evaluation.paths import RunPaths
from evaluation.schema import COST, write_table
from evaluation.workflow.estimate import Estimate, ModelCost
from evaluation.workflow.loads import Load

# What the rules ask for at the first attempt (rules.smk): the most that a job should take.
GPU_MEMORY_MIB = 64000 * 1e6 / 2**20
CPU_MEMORY_MIB = 16000 * 1e6 / 2**20
NOT_KNOWN = float("nan")


def train_seconds(cost: ModelCost) -> float:
    """Training of all networks of a model, one after the other, on its device."""
    return sum(w.held_gpu_seconds or w.cpu_seconds for w in cost.work if w.stage == "train")


def predict_seconds_per_case(cost: ModelCost, loads: Sequence[Load]) -> float:
    """Prediction of one test case, the mean over the run."""
    cases = sum(load.n_test for load in loads)
    total = sum(w.held_gpu_seconds or w.cpu_seconds for w in cost.work if w.stage == "predict")
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
