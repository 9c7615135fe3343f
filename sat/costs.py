"""What SAT-Nano costs in a run, for `satbench plan`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from evaluation.config import RunConfig, load_frozen
from evaluation.errors import BenchError
from evaluation.files.reading import json_of
from evaluation.models.presets import preset_in_use
from evaluation.paths import RunPaths
from evaluation.spent import SPENT_FILE, MeasuredWork, measured_preparation, measured_training
from evaluation.training import counting
from evaluation.training.expected import training_work
from evaluation.training.stages import prepare_threads
from evaluation.training.store import read_index, store_folder
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
from evaluation.workflow.loads import VOXEL_MM3, VOXELS, Load
from sat.config import ATLAS_FOLDER, MODEL, NetworkSizes, Preset, load_preset
from sat.knowledge.settings import KnowledgeSettings, text_folder

if TYPE_CHECKING:
    from sat.architecture.network import SatNetwork

# The prepared store is uncompressed: float16 image, and one byte for each label layer; most
# entries need one or two layers, TotalSegmentator five.
STORE_BYTES_PER_VOXEL = 5.0
# A checkpoint holds weights and two moments of AdamW in float32; last and final are kept.
CHECKPOINT_BYTES_PER_WEIGHT = 2 * 12.0
# Definitions have 14 words in the middle, UMLS's are longer: 64 tokens; a step waits for the
# tokenizer and for small kernels, groups of 32 texts one after the other (assumptions).
TOKENS_OF_A_TEXT = 64
PAPER_ATLAS = 321  # scans of e-Anatomy
TEXT_STEP_SECONDS = 0.1
# Interpolating the logits of a class to the native grid, linear: a tenth of the cubic spline.
TO_NATIVE_SECONDS_PER_VOXEL = RESAMPLE_SECONDS_PER_VOXEL / 10


def model_cost(_model: str, config: RunConfig, loads: Sequence[Load]) -> ModelCost:
    """Stages 1 and 2 where the preset has them, one joint training, and all predictions."""
    preset = load_preset(config.presets.get(MODEL))
    training, weights = preset.training, count_weights(preset)
    on_gpu = training.device == "cuda"
    stored = sum(load.n_train * own_voxels(load, preset) for load in loads)
    read = sum(load.n_train * load.voxels for load in loads)
    seconds = SECONDS_PER_JOB + (stored + read) * RESAMPLE_SECONDS_PER_VOXEL
    store = stored * STORE_BYTES_PER_VOXEL
    crops = training.steps * training.accumulate * training.processes * training.batch
    prompts = training.sampling.max_prompts or max((load.n_classes for load in loads), default=1)
    flops = training_flops(forward_flops(preset.network, training.patch, prompts))
    size = weights * CHECKPOINT_BYTES_PER_WEIGHT
    shared = store_folder(RunPaths(Path(config.name)), preset.grid).name
    threads = prepare_threads(preset)
    work = [
        Work("prepare", MODEL, "", 0.0, seconds, store, threads=threads, shared=shared),
        training_work(MODEL, training, flops, crops, training.processes, size),
        *([_volumes(preset)] if preset.atlas and preset.atlas.volumes else []),
        *([_text(preset)] if preset.prompts.trains_text else []),
        *([_atlas(preset)] if preset.trains_atlas else []),
        *(_prediction(load, preset, on_gpu) for load in loads),
    ]
    return ModelCost(tuple(work), 1, float(weights), GPU_NAME if on_gpu else "CPU")


def trained_networks(_model: str, run: Path) -> tuple[int, int]:
    """One network and its weights, without the text encoder."""
    return 1, count_weights(_preset_of(run))


def measured_work(_model: str, run: Path) -> list[MeasuredWork]:
    """What preparing each entry and training took, with stages 1 and 2 where the run has them."""
    preset = _preset_of(run)
    work = RunPaths(run).model_run(MODEL)
    trainings = [work]
    if preset.prompts.trains_text:
        trainings.append(text_folder(work))
    if preset.trains_atlas:
        trainings.append(work / ATLAS_FOLDER)
    prepared = measured_preparation(store_folder(RunPaths(run), preset.grid), _prepared_cases)
    return [*prepared, *(measured_training("", folder / SPENT_FILE) for folder in trainings)]


def _preset_of(run: Path) -> Preset:
    return load_preset(preset_in_use(RunPaths(run), load_frozen(run), MODEL))


def _prepared_cases(store: Path) -> dict[str, tuple[str, ...]]:
    return {entry.dataset: entry.cases for entry in read_index(store).entries}


def _text(preset: Preset) -> Work:
    """Stage 1: a forward pass over all tokens, and a backward pass of the layers that learn."""
    settings = preset.prompts.knowledge
    assert isinstance(settings, KnowledgeSettings)
    on_gpu = settings.device == "cuda"
    layers, width = _encoder_sizes(settings.encoder)
    learns = settings.trainable if isinstance(settings.trainable, int) else layers
    # Of a layer, 12 d^2 weights: each multiplies and adds once for every token.
    per_token = 2 * 12 * width**2 * (layers + 2 * min(learns, layers))
    texts = settings.steps * 2 * settings.batch
    flops = texts * min(TOKENS_OF_A_TEXT, settings.max_tokens) * per_token
    waits = settings.steps * TEXT_STEP_SECONDS
    work = compute_work(MODEL, "train", "", flops, waits, on_gpu, width**2 * layers * 48.0, 1)
    return replace(work, job="text")


def _encoder_sizes(encoder: str) -> tuple[int, int]:
    """Layers and width of a text encoder; of one that is not there yet, BERT's."""
    from sat.text.encoder import minilm_folder

    path = (minilm_folder() if encoder == "minilm" else Path(encoder)) / "config.json"
    if not path.is_file():
        return 12, 768
    try:
        known = json_of(path)
        return int(known["num_hidden_layers"]), int(known["hidden_size"])
    except (LookupError, TypeError, ValueError) as error:
        raise BenchError(
            "not the configuration of a text encoder", file=path, found=error,
            expected="`num_hidden_layers` and `hidden_size`",
        ) from error  # fmt: skip


def _volumes(preset: Preset) -> Work:
    """An atlas of the user's on the own grid, as many volumes as its list has lines."""
    assert preset.atlas is not None
    path = Path(str(preset.atlas.volumes), "volumes.csv")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    count = max(0, len(lines) - 1) or PAPER_ATLAS
    voxels = count * VOXELS["ct"]
    own = voxels * VOXEL_MM3["ct"] / prod(preset.grid.spacing_mm)
    seconds = SECONDS_PER_JOB + (voxels + own) * RESAMPLE_SECONDS_PER_VOXEL
    threads = prepare_threads(preset)
    return Work(
        "prepare", MODEL, "", 0.0, seconds, own * STORE_BYTES_PER_VOXEL, threads=threads,
        job="prepare-atlas",
    )  # fmt: skip


def _atlas(preset: Preset) -> Work:
    """Stage 2: the encoder alone, on one GPU, and the crops that its workers read."""
    assert preset.atlas is not None
    crops = preset.atlas.steps * preset.atlas.batches_per_step * preset.training.batch
    flops = training_flops(encoder_flops(preset.network, preset.training.patch))
    return training_work(MODEL, preset.training, flops, crops, 1, 0.0, job="atlas")


@lru_cache
def encoder_flops(sizes: NetworkSizes, patch: tuple[int, ...]) -> float:
    """One crop through the encoder of the network."""
    encoder = _network(sizes).backbone.encoder
    return counting.forward_flops(encoder, (1, sizes.in_channels, *patch))


def count_weights(preset: Preset) -> int:
    """Number of weights without the text encoder."""
    return counting.count_weights(_network(preset.network))


@lru_cache
def forward_flops(sizes: NetworkSizes, patch: tuple[int, ...], prompts: int) -> float:
    """One window with so many prompts, text encoder not included."""
    queries = (1, prompts, sizes.query_width)
    return counting.forward_flops(_network(sizes), (1, 1, *patch), queries)


@lru_cache
def _network(sizes: NetworkSizes) -> SatNetwork:
    from sat.architecture.network import SatNetwork

    return counting.weightless(lambda: SatNetwork(sizes))


def own_voxels(load: Load, preset: Preset) -> float:
    """Voxels of a scan on the model's own grid."""
    return load.voxels * load.voxel_mm3 / prod(preset.grid.spacing_mm)


def _prediction(load: Load, preset: Preset, on_gpu: bool) -> Work:
    inference = preset.inference
    n_windows = windows(own_voxels(load, preset), inference.patch, inference.overlap)
    flops = load.n_test * n_windows * forward_flops(preset.network, inference.patch, load.n_classes)
    native = load.n_test * load.voxels
    seconds = native * load.n_classes * TO_NATIVE_SECONDS_PER_VOXEL
    seconds += native * RESAMPLE_SECONDS_PER_VOXEL + load.test_shards * SECONDS_PER_JOB
    size = native * PREDICTION_BYTES_PER_VOXEL
    return compute_work(
        MODEL, "predict", load.card.id, flops, seconds, on_gpu, size, load.test_shards
    )
