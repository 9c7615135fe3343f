"""One variant with one seed: a run of its own beside the run that lends it cases and crops.

`<run>/ablation/<variant>-<seed>` is a run folder like any other: `satbench aggregate --run` and
`satbench sat diagnose --run` read it. Cases, splits and prepared crops are links to the lender's.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from evaluation.classes.synonyms import SETS, read_synonyms
from evaluation.config import RunConfig, freeze, load_frozen
from evaluation.datasets.registry import find_card
from evaluation.datasets.sharding import n_test_shards
from evaluation.files.identity import digest
from evaluation.files.reading import mapping_of
from evaluation.files.writing import write_json, write_text
from evaluation.models.running import predict_shard
from evaluation.paths import RunPaths
from evaluation.protocol import HEADLINE
from evaluation.scoring.shards import measure_shard
from evaluation.tables.aggregate import aggregate
from evaluation.tables.confusions import confusion_table
from evaluation.tables.run_tables import RunGrids, load_grids
from evaluation.training.cases import datasets_of_run
from evaluation.training.checkpoints import FINAL_FILE
from evaluation.training.store import INDEX_FILE, read_index, store_folder
from sat.ablation.confusion import class_confusions
from sat.ablation.files import cpu_seconds
from sat.ablation.synonyms import rename_prompts
from sat.ablation.variants import Variant
from sat.atlas.setup import prepare_atlas
from sat.atlas.training import measure_atlas, train_atlas
from sat.config import ATLAS_FOLDER, MODEL, Preset
from sat.model import load_model
from sat.prompts.choice import encoder_digest
from sat.train import train

RESULT_FILE = "result.json"
RESULT_VERSION = 2


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
        BenchError: the run has no prepared crops on the preset's grid.
    """
    folder = run_folder(run, variant, seed)
    paths, config = RunPaths(run), load_frozen(run)
    store = store_folder(paths, preset.grid)
    read_index(store)
    # The splits name the contents of the test cases, too.
    files = [store / INDEX_FILE, *map(paths.split, datasets_of_run(paths, config))]
    encoder = encoder_digest(preset.prompts, paths.model_run(MODEL))
    texts = [file.read_text(encoding="utf-8") for file in files]
    identity = digest(RESULT_VERSION, seed, preset, encoder, texts)
    done = mapping_of(folder / RESULT_FILE)
    if done.get("identity") == identity:
        return done
    lend(run, folder, preset, seed)
    work = RunPaths(folder).model_run(MODEL)
    _train(work, store, variant, seed, preset)
    result: dict[str, Any] = {
        "version": RESULT_VERSION,
        "identity": identity,
        "variant": variant.name,
        "seed": seed,
        "steps": preset.training.steps,
        "atlas_steps": preset.atlas.steps if preset.atlas else 0,
        "cpu_seconds": cpu_seconds(work),
        "atlas_cpu_seconds": cpu_seconds(work / ATLAS_FOLDER) if variant.atlas else 0.0,
        "retrieval": mapping_of(work / "atlas" / "retrieval.json") or None,
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
    for name in ("cases", "splits", "prepared"):
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


def _train(work: Path, store: Path, variant: Variant, seed: int, preset: Preset) -> None:
    """Both trainings; what is done is done."""
    if variant.atlas and preset.atlas is not None:
        atlas = prepare_atlas(work, store, preset, seed)
        train_atlas(atlas)
        measure_atlas(atlas)
    train(work, store, preset, seed)


def evaluate(folder: Path) -> dict[str, Any]:
    """Predict and measure the test cases with the project's own code, and count confusions."""
    paths, config = RunPaths(folder), load_frozen(folder)
    datasets = datasets_of_run(paths, config)
    for dataset in datasets:
        for shard in range(n_test_shards(find_card(dataset), config)):
            predict_shard(folder, MODEL, dataset, shard)
            measure_shard(folder, MODEL, dataset, shard)
    loaded = load_grids(folder)
    judged = confusion_table(paths, loaded.expected)
    return {
        **_means(loaded, config),
        "sides": _summed(judged, "side"),
        "neighbours": _summed(judged, "neighbour"),
        "classes": class_confusions(paths, config, MODEL, datasets),
    }


def _summed(judged: pd.DataFrame, what: str) -> dict[str, int]:
    columns = ["n_cases", "n_confused", "n_empty"]
    return {name: int(judged.loc[judged["what"] == what, name].sum()) for name in columns}


def _means(loaded: RunGrids, config: RunConfig) -> dict[str, Any]:
    """Mean over entries of the mean over classes, and the mean of each entry.

    As the tables have them: native grid, classes that the reference shows, direct answers.
    """
    tables = aggregate(loaded.all_models[0], loaded.expected)
    entries = HEADLINE.numbers(tables["dataset"])
    return {
        "dsc": float(HEADLINE.numbers(tables["overall"])["value"].item()),
        "entries": {
            str(name): float(value)
            for name, value in zip(entries["dataset"], entries["value"], strict=True)
        },
        "data_kind": config.data_kind,
    }
