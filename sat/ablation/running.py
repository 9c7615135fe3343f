"""One variant with one seed: a run of its own beside the run that lends it cases and crops.

`<run>/ablation/<variant>-<seed>` is a run folder like any other: `satbench aggregate --run` and
`satbench sat diagnose --run` read it. Cases, splits and prepared crops are links to the lender's.
"""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from evaluation.config import RunConfig, freeze, load_frozen
from evaluation.datasets.registry import find_card
from evaluation.datasets.sharding import n_test_shards
from evaluation.errors import BenchError
from evaluation.files.identity import digest
from evaluation.files.writing import write_json, write_text
from evaluation.models.running import predict_shard
from evaluation.paths import RunPaths
from evaluation.protocol import HEADLINE
from evaluation.scoring.shards import measure_shard
from evaluation.tables.aggregate import aggregate
from evaluation.tables.run_tables import load_grids
from sat.ablation.confusion import class_confusions
from sat.ablation.files import cpu_seconds, read_json
from sat.ablation.synonyms import SETS, read_synonyms, rename_prompts
from sat.ablation.variants import Variant
from sat.atlas.settings import FOLDER as ATLAS_FOLDER
from sat.atlas.setup import prepare_atlas
from sat.atlas.training import measure_atlas, train_atlas
from sat.config import Preset
from sat.diagnosis.report import confusion_counts
from sat.model import load_model
from sat.text.choice import encoder_digest
from sat.training.checkpoints import FINAL_FILE
from sat.training.prepare import datasets_of_run
from sat.training.store import INDEX_FILE, read_index
from sat.training.train import train

MODEL = "sat-nano"
RESULT_FILE = "result.json"
# Intervals are not shown here.
BOOTSTRAPS = 100


def run_folder(run: Path, variant: Variant, seed: int) -> Path:
    """Folder of one variant with one seed."""
    return run / "ablation" / f"{variant.name}-{seed}"


def run_variant(run: Path, variant: Variant, seed: int, preset: Preset) -> dict[str, Any]:
    """Train, predict the test cases, measure, and ask again by synonyms.

    What is finished is kept: a whole run with the same settings is not repeated, and a killed one
    goes on in the middle of its training.

    Args:
        run: folder of the run that lends its cases, splits and prepared crops.
        variant: which of the ways.
        seed: of the training.
        preset: from `variant_preset`.

    Returns:
        What `result.json` holds.

    Raises:
        BenchError: the run has no prepared crops, or they lie on another grid.
    """
    folder = run_folder(run, variant, seed)
    store = RunPaths(run).model_run(MODEL) / "prepared"
    if read_index(store).grid != preset.grid:
        raise BenchError("the prepared cases lie on another grid than the preset's", file=store)
    # The splits name the contents of the test cases, too.
    paths, config = RunPaths(run), load_frozen(run)
    files = [store / INDEX_FILE, *map(paths.split, datasets_of_run(paths, config))]
    encoder = encoder_digest(preset.prompts, store.parent)
    identity = digest(seed, preset, encoder, [file.read_text(encoding="utf-8") for file in files])
    done = read_json(folder / RESULT_FILE)
    if done.get("identity") == identity:
        return done
    lend(run, folder, preset, seed)
    work = RunPaths(folder).model_run(MODEL)
    _train(work, variant, seed, preset)
    result: dict[str, Any] = {
        "identity": identity,
        "variant": variant.name,
        "seed": seed,
        "steps": preset.training.steps,
        "atlas_steps": preset.atlas.steps if preset.atlas else 0,
        "cpu_seconds": cpu_seconds(work),
        "atlas_cpu_seconds": cpu_seconds(work / ATLAS_FOLDER) if variant.atlas else 0.0,
        "retrieval": read_json(work / "atlas" / "retrieval.json") or None,
        **evaluate(folder),
        "synonyms": {},
    }
    for name in SETS if variant.encoder != "class-id" else ():
        asked = folder / f"asked-by-{name}"
        lend(run, asked, preset, seed)
        target = RunPaths(asked).model_run(MODEL) / FINAL_FILE
        rename_prompts(load_model(work / FINAL_FILE), read_synonyms(name), target)
        result["synonyms"][name] = evaluate(asked)
    write_json(folder / RESULT_FILE, result)
    return result


def lend(run: Path, folder: Path, preset: Preset, seed: int) -> None:
    """Make a run folder that shares cases, splits and prepared crops with another run."""
    source, target = RunPaths(run), RunPaths(folder)
    target.model_run(MODEL).mkdir(parents=True, exist_ok=True)
    prepared = Path("runs") / MODEL / "prepared"
    for name in (Path("cases"), Path("splits"), prepared):
        link = folder / name
        if not link.is_symlink():
            link.symlink_to(os.path.relpath(source.root / name, link.parent))
    file = folder / "preset.yaml"
    write_text(file, yaml.safe_dump(preset.model_dump(mode="json"), sort_keys=False))
    config = load_frozen(run).model_copy(
        update={"models": [MODEL], "presets": {MODEL: str(file)}, "seed": seed, "space": ["native"]}
    )
    freeze(config, target.config)
    not_run = source.not_run
    if not_run.is_file():
        write_text(target.not_run, not_run.read_text(encoding="utf-8"))


def _train(work: Path, variant: Variant, seed: int, preset: Preset) -> None:
    """Both trainings; what is done is done."""
    if variant.atlas and preset.atlas is not None:
        atlas = prepare_atlas(work, preset, seed)
        train_atlas(atlas)
        measure_atlas(atlas)
    train(work, preset, seed)


def evaluate(folder: Path) -> dict[str, Any]:
    """Predict and measure the test cases with the project's own code, and count confusions."""
    paths, config = RunPaths(folder), load_frozen(folder)
    datasets = datasets_of_run(paths, config)
    for dataset in datasets:
        for shard in range(n_test_shards(find_card(dataset), config)):
            predict_shard(folder, MODEL, dataset, shard)
            measure_shard(folder, MODEL, dataset, shard)
    sides, neighbours = confusion_counts(paths, config, MODEL, datasets)
    return {
        **_means(folder, config),
        "sides": sides,
        "neighbours": neighbours,
        "classes": asdict(class_confusions(paths, config, MODEL, datasets)),
    }


def _means(folder: Path, config: RunConfig) -> dict[str, Any]:
    """Mean over entries of the mean over classes, and the mean of each entry.

    As the tables have them: native grid, classes that the reference shows, direct answers.
    """
    loaded = load_grids(folder)
    tables = aggregate(loaded.all_models[0], loaded.expected, BOOTSTRAPS, config.seed)
    entries = HEADLINE.numbers(tables["dataset"])
    return {
        "dsc": float(HEADLINE.numbers(tables["overall"])["value"].item()),
        "entries": {
            str(name): float(value)
            for name, value in zip(entries["dataset"], entries["value"], strict=True)
        },
        "data_kind": config.data_kind,
    }
