"""What the multi-decoder costs in a run, for `satbench plan`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from math import prod
from pathlib import Path

from baselines.universal.multi_decoder.config import MODEL, Network, Triple, load_preset
from baselines.universal.multi_decoder.network import MultiDecoderNet, count_weights
from baselines.universal.multi_decoder.prepare import BYTES_PER_VOXEL, read_index, trained_classes
from evaluation.classes.leaves import leaves_of
from evaluation.config import RunConfig, load_frozen
from evaluation.datasets.card import DatasetCard
from evaluation.datasets.registry import entry_ids, find_card
from evaluation.paths import RunPaths
from evaluation.spent import SPENT_FILE, MeasuredWork, measured_preparation, measured_training
from evaluation.training import counting
from evaluation.training.counting import weightless
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

# Weights and AdamW's two moments in the resume point, weights alone in the final file.
CHECKPOINT_BYTES_PER_WEIGHT = 16.0


def model_cost(config: RunConfig, loads: Sequence[Load]) -> ModelCost:
    """One joint training, and the prediction of each entry's test cases."""
    preset = load_preset(config.presets.get(MODEL))
    on_gpu = preset.device == "cuda"
    outputs = outputs_of([load.card for load in loads], config)
    weights = count_weights(preset.network, outputs)
    training = preset.training
    labels = sum(outputs.values()) / max(1, len(outputs))
    step = (
        training_flops(forward_flops(preset.network, training.patch, round(labels)))
        * training.batch
    )
    own_mm3 = prod(preset.grid.spacing_mm)
    own = sum(load.n_train * load.voxels * load.voxel_mm3 / own_mm3 for load in loads)
    read = sum(load.n_train * load.voxels for load in loads)
    seconds = SECONDS_PER_JOB + (read + own) * RESAMPLE_SECONDS_PER_VOXEL
    work = [
        Work("prepare", MODEL, "", 0.0, seconds, own * BYTES_PER_VOXEL),
        compute_work(
            MODEL, "train", "", training.steps * step, SECONDS_PER_JOB, on_gpu,
            weights * CHECKPOINT_BYTES_PER_WEIGHT, 1,
        ),
    ]  # fmt: skip
    for load in loads:
        if load.card.id not in outputs:
            continue
        channels = outputs[load.card.id]
        n_windows = windows(load.voxels * load.voxel_mm3 / own_mm3, training.patch, preset.overlap)
        flops = load.n_test * n_windows * forward_flops(preset.network, training.patch, channels)
        native = load.n_test * load.voxels
        # Probabilities go to the native grid label by label, linear: a tenth of the spline.
        cpu = native * (1 + channels / 10) * RESAMPLE_SECONDS_PER_VOXEL
        cpu += load.test_shards * SECONDS_PER_JOB
        size = native * PREDICTION_BYTES_PER_VOXEL
        work.append(
            compute_work(MODEL, "predict", load.card.id, flops, cpu, on_gpu, size, load.test_shards)
        )
    return ModelCost(tuple(work), 1, float(weights), GPU_NAME if on_gpu else "CPU")


def trained_networks(run: Path) -> tuple[int, int]:
    """One network and its weights, all decoders together."""
    config = load_frozen(run)
    outputs = outputs_of([find_card(name) for name in entry_ids(config)], config)
    return 1, count_weights(load_preset(config.presets.get(MODEL)).network, outputs)


def measured_work(run: Path) -> list[MeasuredWork]:
    """What preparing each entry and the joint training took."""
    work = RunPaths(run).model_run(MODEL)
    prepared = measured_preparation(work / "prepared", _prepared_cases)
    return [*prepared, measured_training("", work / SPENT_FILE)]


def _prepared_cases(store: Path) -> dict[str, list[str]]:
    return {entry.dataset: [x.case for x in entry.cases] for entry in read_index(store).entries}


def outputs_of(cards: Iterable[DatasetCard], config: RunConfig) -> dict[str, int]:
    """Output channels of each entry's decoder; entries without a class have none."""
    counts = {card.id: n_labels(card, config) for card in cards}
    return {name: count for name, count in counts.items() if count > 1}


def n_labels(card: DatasetCard, config: RunConfig) -> int:
    """Output channels of an entry's decoder, background included."""
    names = trained_classes(card, config)
    return len(leaves_of([card.class_entry(name) for name in names], card.id)) + 1


@lru_cache
def forward_flops(sizes: Network, patch: Triple, channels: int) -> float:
    """One patch through the encoder and one decoder with so many output channels."""
    entry = "any"
    network = weightless(lambda: MultiDecoderNet(sizes, {entry: channels}))
    return counting.forward_flops(lambda image: network(image, [entry]), (1, 1, *patch))
