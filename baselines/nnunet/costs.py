"""What the nnU-Net specialists cost in a run, for `satbench plan`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from baselines.nnunet.architecture import Architecture, architecture_of, counted
from baselines.nnunet.config import NnunetPreset, load_preset
from baselines.nnunet.jobs import MODEL
from baselines.nnunet.specialists import SpecialistPlan, specialists_of
from evaluation.config import RunConfig, load_frozen
from evaluation.datasets.registry import entry_ids, find_card
from evaluation.files.reading import json_of
from evaluation.paths import RunPaths
from evaluation.spent import NOT_MEASURED, MeasuredWork
from evaluation.workflow.estimate import (
    GPU_NAME,
    PREDICTION_BYTES_PER_VOXEL,
    RESAMPLE_SECONDS_PER_VOXEL,
    SECONDS_PER_JOB,
    ModelCost,
    Work,
    compute_work,
    training_flops,
    windows,
)
from evaluation.workflow.loads import Load

# nnU-Net's own trainer: 1000 epochs of 250 iterations, 50 validation batches (a forward pass each,
# a third of a training iteration) after every epoch.
STOCK_EPOCHS = 1000
STOCK_ITERATIONS = 250
STOCK_VALIDATION = 50
MIRRORED_PASSES = 8
# float32 image and int16 labels, once as nnU-Net's raw copy and once preprocessed; uncompressed.
PREPARED_BYTES_PER_VOXEL = 12.0
# Weights and SGD's momentum: 8 bytes a weight; best and final are kept, AdamW has one more.
CHECKPOINT_BYTES_PER_WEIGHT = 2 * 12.0
# Fixed parts of one specialist, CPU seconds: plan and preprocess 14 to 20, nearly all imports.
PREPARE_SECONDS = 20.0
# Resampling softmax to the native grid happens for every label, linear: a tenth of the spline.
EXPORT_SECONDS_PER_VOXEL = RESAMPLE_SECONDS_PER_VOXEL / 10


def model_cost(_model: str, config: RunConfig, loads: Sequence[Load]) -> ModelCost:
    """One training of each specialist and fold, and the prediction of its entry's test cases."""
    preset = load_preset(config.presets.get(MODEL))
    work: list[Work] = []
    networks, weights = 0, 0.0
    for load in loads:
        for plan in specialists_of(load.card, config):
            sizes = architecture_of(plan, preset)
            work += _specialist(plan, load, preset, sizes)
            networks += len(preset.folds)
            weights += counted(sizes)[0] * len(preset.folds)
    return ModelCost(tuple(work), networks, weights, GPU_NAME if preset.device == "cuda" else "CPU")


def trained_networks(_model: str, run: Path) -> tuple[int, int]:
    """Networks of a run's trained specialists and their weights, as nnU-Net built them."""
    records = [record for _, record in _records(run, "model.json") if record]
    networks = sum(len(record["folds"]) for record in records)
    return networks, sum(record["parameters"] * len(record["folds"]) for record in records)


def measured_work(_model: str, run: Path) -> list[MeasuredWork]:
    """What preparing and training took, for each specialist of the run."""
    return [
        MeasuredWork(
            step,
            dataset,
            record.get("seconds") or NOT_MEASURED,
            record.get("peak_memory_mib") or NOT_MEASURED,
            "GPU" if record.get("device") == "cuda" else "CPU",
        )
        for step, name in (("prepare", "prepared.json"), ("train", "model.json"))
        for dataset, record in _records(run, name)
    ]


def _records(run: Path, name: str) -> list[tuple[str, dict[str, Any]]]:
    """Entry and record of each specialist of the run; empty where it is not done."""
    config, work = load_frozen(run), RunPaths(run).model_run(MODEL)
    found = []
    for card in map(find_card, entry_ids(config)):
        if not RunPaths(run).split(card.id).is_file():
            continue  # no data
        for plan in specialists_of(card, config):
            path = work / plan.id / name
            found.append((card.id, json_of(path) if path.is_file() else {}))
    return found


def _specialist(
    plan: SpecialistPlan, load: Load, preset: NnunetPreset, sizes: Architecture
) -> list[Work]:
    weights, forward = counted(sizes)
    on_gpu = preset.device == "cuda"
    folds = len(preset.folds)
    if preset.schedule is None:
        epochs, iterations, validation = STOCK_EPOCHS, STOCK_ITERATIONS, STOCK_VALIDATION
    else:
        epochs = preset.schedule.epochs(len(plan.leaves))
        iterations = preset.schedule.iterations_per_epoch
        validation = preset.schedule.validation_iterations
    step = training_flops(forward) * sizes.batch
    training = folds * epochs * (iterations * step + validation * forward * sizes.batch)
    train_voxels, test_voxels = load.n_train * load.voxels, load.n_test * load.voxels
    seconds = PREPARE_SECONDS + train_voxels * RESAMPLE_SECONDS_PER_VOXEL
    passes = folds * (MIRRORED_PASSES if preset.test_time_mirroring else 1)
    prediction = load.n_test * windows(load.voxels, sizes.patch) * passes * forward
    export = test_voxels * (len(plan.leaves) + 1) * EXPORT_SECONDS_PER_VOXEL
    export += test_voxels * RESAMPLE_SECONDS_PER_VOXEL + load.test_shards * SECONDS_PER_JOB
    disk = folds * weights * CHECKPOINT_BYTES_PER_WEIGHT
    layers = test_voxels * PREDICTION_BYTES_PER_VOXEL
    store = train_voxels * PREPARED_BYTES_PER_VOXEL
    start = SECONDS_PER_JOB * folds
    return [
        Work("prepare", MODEL, plan.id, 0.0, seconds, store, threads=preset.workers),
        compute_work(MODEL, "train", plan.id, training, start, on_gpu, disk, 1),
        compute_work(
            MODEL, "predict", plan.id, prediction, export, on_gpu, layers, load.test_shards
        ),
    ]
