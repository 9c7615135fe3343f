"""Everything that `satbench sat diagnose` reports about a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from evaluation.config import RunConfig
from evaluation.paths import RunPaths
from evaluation.training.cases import datasets_of_run, patients_of_split
from evaluation.training.checkpoints import FINAL_FILE
from evaluation.training.store import INDEX_FILE, read_index, store_folder
from evaluation.training.validation import held_out_cases, validation_patients
from sat.diagnosis.calibration import histograms, summarise
from sat.model import load_model


def diagnose_run(
    paths: RunPaths,
    config: RunConfig,
    model: str,
    checkpoint: Path | None = None,
    part: float = 0.2,
    most: int = 40,
) -> dict[str, Any]:
    """How well the probabilities of a run's SAT-Nano are calibrated, on training cases.

    Args:
        paths: the run.
        config: its configuration.
        model: whose checkpoint, unless one is named.
        checkpoint: a checkpoint to calibrate instead, for example one trained without the part.
        part: part of each entry's training patients that thresholds are tried on. If the
            checkpoint's training held patients out (`training.validation`), these are taken.
        most: at most so many cases of each entry.

    Returns:
        The model, the run and `calibration`, as plain values for a JSON file.
    """
    datasets = datasets_of_run(paths, config)
    return {
        "model": model,
        "run": config.name,
        "data_kind": config.data_kind,
        "calibration": _calibrate(paths, model, datasets, checkpoint, part, most),
    }


def _calibrate(
    paths: RunPaths,
    model: str,
    datasets: Sequence[str],
    checkpoint: Path | None,
    part: float,
    most: int,
) -> dict[str, Any]:
    work = paths.model_run(model)
    file = checkpoint or work / FINAL_FILE
    if checkpoint is None and not file.is_file():
        return {"available": False, "reason": "no checkpoint of this model"}
    loaded = load_model(file)
    store, held_out = store_folder(paths, loaded.preset.grid), loaded.preset.training.validation
    if not (store / INDEX_FILE).is_file():
        return {"available": False, "reason": "no prepared training cases on this model's grid"}
    index = read_index(store)
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
    patients = patients_of_split(paths, dataset, "train")
    chosen = validation_patients(sorted(patients.values()), part)
    return sorted(case for case, patient in patients.items() if patient in chosen)


def report_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """A few lines for the terminal."""
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
