"""Everything that `satbench sat diagnose` reports about a run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from evaluation.config import RunConfig
from evaluation.datasets.registry import find_card
from evaluation.datasets.scope import classes_in_scope
from evaluation.datasets.sharding import read_split
from evaluation.errors import BenchError
from evaluation.paths import RunPaths
from sat.diagnosis.calibration import histograms, summarise, validation_patients
from sat.diagnosis.neighbours import Confusions, confusions, rows_of
from sat.diagnosis.sides import SideSwaps, answered, side_pairs, side_swaps
from sat.model import load_model
from sat.training.checkpoints import FINAL_FILE
from sat.training.prepare import cases_of_split, datasets_of_run
from sat.training.store import INDEX_FILE, read_index
from sat.training.validation import held_out_cases


def diagnose_run(
    paths: RunPaths,
    config: RunConfig,
    model: str,
    checkpoint: Path | None = None,
    part: float = 0.2,
    most: int = 40,
) -> dict[str, Any]:
    """Side swaps and confused neighbours of a model's test predictions, and its calibration.

    Args:
        paths: the run.
        config: its configuration.
        model: whose predictions, and whose checkpoint unless one is named.
        checkpoint: a checkpoint to calibrate instead, for example one trained without the part.
        part: part of each entry's training patients that thresholds are tried on. If the
            checkpoint's training held patients out (`training.validation`), these are taken.
        most: at most so many cases of each entry.

    Returns:
        `sides`, `neighbours` and `calibration`, as tables of plain values for a JSON file.
    """
    datasets = datasets_of_run(paths, config)
    sides, neighbours = confusion_counts(paths, config, model, datasets)
    return {
        "model": model,
        "run": config.name,
        "data_kind": config.data_kind,
        "sides": sides,
        "neighbours": neighbours,
        "calibration": _calibrate(paths, model, datasets, checkpoint, part, most),
    }


def confusion_counts(
    paths: RunPaths, config: RunConfig, model: str, datasets: Sequence[str]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Side swaps of each entry with pairs, and confusions of each row, on the test cases."""
    sides, neighbours = [], []
    for dataset in datasets:
        scope = [entry.name for entry in classes_in_scope(find_card(dataset), config)]
        if not side_pairs(scope) and not rows_of(scope):
            continue
        swaps, rows = SideSwaps(0, 0, 0), {row: Confusions() for row in rows_of(scope)}
        cases = tqdm(cases_of_split(paths, dataset, "test"), desc=dataset, unit="case")
        for reference, prediction in answered(paths, model, dataset, cases):
            swaps += side_swaps(reference, prediction)
            for row, counts in confusions(reference, prediction).items():
                rows[row] = rows.get(row, Confusions()) + counts
        if side_pairs(scope):
            sides.append({"dataset": dataset, **asdict(swaps), "rate": _number(swaps.rate)})
        neighbours += [
            {"dataset": dataset, "row": row, **asdict(counts), "rate": _number(counts.rate)}
            for row, counts in rows.items()
        ]
    return sides, neighbours


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 5)


def _calibrate(
    paths: RunPaths,
    model: str,
    datasets: Sequence[str],
    checkpoint: Path | None,
    part: float,
    most: int,
) -> dict[str, Any]:
    work = paths.model_run(model)
    store, file = work / "prepared", checkpoint or work / FINAL_FILE
    if not (store / INDEX_FILE).is_file():
        return {"available": False, "reason": "no prepared training cases of this model"}
    if checkpoint is None and not file.is_file():
        return {"available": False, "reason": "no checkpoint of this model"}
    loaded = load_model(file)
    index, held_out = read_index(store), loaded.preset.training.validation
    if index.grid != loaded.preset.grid:
        raise BenchError(
            "the prepared cases lie on another grid than the checkpoint's", file=store,
            hint="run `satbench sat prepare` with the preset of the checkpoint",
        )  # fmt: skip
    if held_out is not None:
        part, chosen = held_out.part, held_out_cases(index, held_out)
        cases = {dataset: sorted(chosen.get(dataset, ()))[:most] for dataset in datasets}
    else:
        cases = {dataset: _validation_cases(paths, dataset, part)[:most] for dataset in datasets}
    found = list(tqdm(histograms(loaded, store, cases), desc="calibrate", unit="mask"))
    return {
        "available": True,
        "checkpoint": str(file),
        # A run without validation trains on every training case: such thresholds flatter
        # themselves. With validation, the same cases chose the checkpoint, which flatters less.
        "seen_in_training": checkpoint is None and held_out is None,
        "chose_the_checkpoint": held_out is not None,
        "grid": "the model's own",
        "part_of_training_patients": part,
        "cases": {dataset: len(names) for dataset, names in cases.items()},
        **summarise(found),
    }


def _validation_cases(paths: RunPaths, dataset: str, part: float) -> list[str]:
    rows = [row for row in read_split(paths, dataset) if row.split == "train"]
    chosen = validation_patients([row.patient for row in rows], part)
    return sorted(row.case for row in rows if row.patient in chosen)


def report_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """A few lines for the terminal."""
    for item in found["sides"]:
        yield (
            f"sides, {item['dataset']}: {item['swapped']} of {item['pairs']} (case, pair)s have "
            f"left and right exchanged, {item['empty']} more are empty"
        )
    for item in found["neighbours"]:
        hits = item["right"] + item["neighbour"] + item["further"]
        yield (
            f"{item['row']}, {item['dataset']}: of {hits} found, {item['neighbour']} lie in the "
            f"next one and {item['further']} further along; {item['nowhere']} lie in none, "
            f"{item['empty']} are empty"
        )
    calibration = found["calibration"]
    if not calibration["available"]:
        yield f"calibration: not available, {calibration['reason']}"
        return
    best = calibration["one_threshold_for_all"]
    if best is None:
        yield "calibration: no case of the chosen part shows a trained class"
        return
    yield (
        f"threshold: {best['best_threshold']:.2f} would give {100 * best['dsc_at_best']:.2f} DSC "
        f"on the own grid, 0.50 gives {100 * best['dsc_at_half']:.2f} "
        f"({sum(calibration['cases'].values())} training cases"
        + (
            ", seen in training: `training.validation` of a preset holds some out)"
            if calibration["seen_in_training"]
            else ")"
        )
    )
    yield f"expected calibration error: {calibration['expected_calibration_error']:.4f}"
