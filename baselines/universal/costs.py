"""What a universal system costs in a run, for `satbench plan`, and what it took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from baselines.universal.config import ONE_FOR_EACH_ENTRY, Preset, load_preset, system_of
from baselines.universal.entries import Catalogue, Entry, catalogue
from evaluation.config import RunConfig, load_frozen
from evaluation.datasets.registry import entry_ids, find_card
from evaluation.datasets.scope import classes_in_scope
from evaluation.datasets.splits import has_training_side
from evaluation.models.presets import preset_in_use
from evaluation.paths import RunPaths
from evaluation.spent import SPENT_FILE, MeasuredWork, measured_preparation, measured_training
from evaluation.training import counting
from evaluation.training.counting import weightless
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
from evaluation.workflow.loads import Load

if TYPE_CHECKING:
    from baselines.universal.model import UniversalModel

# Weights and the optimiser's two moments in the resume point, weights alone in the final file.
CHECKPOINT_BYTES_PER_WEIGHT = 16.0
# float16 image and a byte for each label layer, mostly one.
BYTES_PER_VOXEL = 3


def model_cost(model: str, config: RunConfig, loads: Sequence[Load]) -> ModelCost:
    """The store, the training or trainings, and the prediction of each entry's test cases."""
    preset = load_preset(config.presets.get(model)).of(system_of(model))
    on_gpu, training = preset.training.device == "cuda", preset.training
    known = {load.card.id: load for load in loads}
    networks = networks_of(preset, config, list(known))
    own_mm3 = prod(preset.grid.spacing_mm)
    own = sum(load.n_train * load.voxels * load.voxel_mm3 / own_mm3 for load in loads)
    read = sum(load.n_train * load.voxels for load in loads)
    seconds = SECONDS_PER_JOB + (read + own) * RESAMPLE_SECONDS_PER_VOXEL
    store, threads = own * BYTES_PER_VOXEL, prepare_threads(preset)
    shared = store_folder(RunPaths(Path(config.name)), preset.grid).name
    work = [Work("prepare", model, "", 0.0, seconds, store, threads=threads, shared=shared)]
    weights = 0
    crops = training.steps * training.accumulate * training.processes * training.batch
    for unit, network in networks.items():
        count = count_weights(preset, network)
        flops = [forward_flops(preset, network, entry.dataset) for entry in network.entries]
        step = training_flops(sum(flops) / len(flops))
        weights += count
        size = count * CHECKPOINT_BYTES_PER_WEIGHT
        if preset.upstream is None or preset.upstream.trains != "nothing":
            trained = training_work(model, training, step, crops, training.processes, size)
            work.append(replace(trained, unit=unit))
        work += [
            _prediction(model, preset, network, known[entry.dataset], on_gpu)
            for entry in network.entries
        ]
    device = GPU_NAME if on_gpu else "CPU"
    return ModelCost(tuple(work), len(networks), float(weights), device)


def _prediction(model: str, preset: Preset, network: Catalogue, load: Load, on_gpu: bool) -> Work:
    inference = preset.inference
    voxels = load.voxels * load.voxel_mm3 / prod(preset.grid.spacing_mm)
    n_windows = windows(voxels, inference.patch, inference.overlap)
    flops = load.n_test * n_windows * forward_flops(preset, network, load.card.id)
    native, answers = load.n_test * load.voxels, load.n_classes + 1
    # Probabilities go to the native grid one by one, linear: a tenth of the spline.
    cpu = native * (1 + answers / 10) * RESAMPLE_SECONDS_PER_VOXEL
    cpu += load.test_shards * SECONDS_PER_JOB
    size = native * PREDICTION_BYTES_PER_VOXEL
    return compute_work(model, "predict", load.card.id, flops, cpu, on_gpu, size, load.test_shards)


def trained_networks(model: str, run: Path) -> tuple[int, int]:
    """Networks of a model and their weights together."""
    config = load_frozen(run)
    preset = _preset_of(model, run)
    networks = networks_of(preset, config, [find_card(name).id for name in entry_ids(config)])
    return len(networks), sum(count_weights(preset, network) for network in networks.values())


def measured_work(model: str, run: Path) -> list[MeasuredWork]:
    """What preparing each entry and each training took."""
    paths, preset = RunPaths(run), _preset_of(model, run)
    work = paths.model_run(model)
    prepared = measured_preparation(store_folder(paths, preset.grid), _prepared_cases)
    if preset.system not in ONE_FOR_EACH_ENTRY:
        return [*prepared, measured_training("", work / SPENT_FILE)]
    entries = [d for d in map(_id_of, entry_ids(load_frozen(run))) if paths.split(d).is_file()]
    return [*prepared, *(measured_training(d, work / d / SPENT_FILE) for d in entries)]


def _id_of(name: str) -> str:
    return find_card(name).id


def _prepared_cases(store: Path) -> dict[str, tuple[str, ...]]:
    return {entry.dataset: entry.cases for entry in read_index(store).entries}


def _preset_of(model: str, run: Path) -> Preset:
    values = preset_in_use(RunPaths(run), load_frozen(run), model)
    return load_preset(values).of(system_of(model))


def networks_of(preset: Preset, config: RunConfig, datasets: Sequence[str]) -> dict[str, Catalogue]:
    """What each network of a system knows: one for each entry, or "" for all together."""
    # The store has its entries in alphabetical order.
    cards = [card for card in map(find_card, sorted(datasets)) if has_training_side(card, config)]
    scope = {card.id: [c.name for c in classes_in_scope(card, config)] for card in cards}
    sequences = {card.id: sorted(card.sequences) for card in cards}
    joint = catalogue(scope, preset.shares, sequences, preset.sequences)
    if preset.system in ONE_FOR_EACH_ENTRY:
        return {e.dataset: catalogue({e.dataset: scope[e.dataset]}, {}) for e in joint.entries}
    if preset.system == "clip-driven":
        from baselines.universal.text import text_width

        joint = joint.model_copy(update={"text_width": text_width(preset)})
    return {"": joint} if joint.entries else {}


def count_weights(preset: Preset, known: Catalogue) -> int:
    """Weights of a network; frozen vectors of text are none."""
    return counting.count_weights(_network(_Alike(preset, known)))


def forward_flops(preset: Preset, known: Catalogue, dataset: str) -> float:
    """One window of the training's patch, asked for all that it may be asked of an entry."""
    asked = _Alike(preset, known)
    sizes = [_size(entry) for entry in known.entries]
    names = [entry.dataset for entry in known.entries]
    return _counted(asked, sizes.index(sizes[names.index(dataset)]))


class _Alike:
    """A preset and what its network knows; those of equal sizes are equal.

    What a network is called with decides neither its weights nor its operations, so 41 networks
    of one entry each are counted by the few sizes that they have.
    """

    def __init__(self, preset: Preset, known: Catalogue) -> None:
        self.preset, self.known = preset, known
        tables = known.n_tokens, len(known.modalities), len(known.prompts), known.text_width
        self.sizes = preset.model_dump_json(), tuple(map(_size, known.entries)), tables

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Alike) and self.sizes == other.sizes

    def __hash__(self) -> int:
        return hash(self.sizes)


def _size(entry: Entry) -> tuple[int, int]:
    return len(entry.classes), len(entry.labels)


@lru_cache(maxsize=256)
def _network(asked: _Alike) -> UniversalModel:
    from baselines.universal.systems import new_model

    return weightless(lambda: new_model(asked.preset, asked.known))


@lru_cache(maxsize=1024)
def _counted(asked: _Alike, place: int) -> float:
    """Operations of one window, for the first entry of a size."""
    model = _network(asked)
    entry = model.known.entries[place]
    rows = model.rows_of(entry.dataset)
    return counting.forward_flops(
        lambda image: model.entry_answers(image, entry, rows, entry.modality),
        (1, 1, *asked.preset.training.patch),
    )
