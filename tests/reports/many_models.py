"""Runs with as many models as one likes, whose titles are as people write them."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from evaluation.paths import RunPaths
from evaluation.schema import COST, STRESS, write_table
from evaluation.stress.kinds import KINDS
from tests.bench.score_rows import synthetic_scores
from tests.reports.conftest import shape_of, write_run

LONG = (
    "Hierarchical attentive residual encoder of heterogeneous scans, trained on all entries, v1.2"
)
TITLES = (
    LONG,
    "多器官分割网络（腹部与胸部的通用模型，第二版）",
    "Δίκτυο κατάτμησης ιατρικών εικόνων",
    "Сеть для сегментации медицинских изображений",
    "Twin & Sons 100 %_#{net}",
    "Twin & Sons 100 %_#{net}",
    # As far as its 90th letter like the first.
    LONG.replace("v1.2", "v1.3"),
    "Übergroße-Zusammensetzung-ohne-ein-einziges-Leerzeichen-im-Namen",
)


def many_titles(number: int) -> dict[str, str]:
    """Ids and titles of so many models: the odd ones first, then plain ones."""
    titles = (*TITLES, *(f"Network {i}" for i in range(number)))[:number]
    return {f"model-{i:02d}": title for i, title in enumerate(titles)}


def write_many(root: Path, number: int) -> RunPaths:
    """A run of three entries with so many models; the later a model, the better it is."""
    entries = {"msd_spleen": 12, "chaos_ct": 12, "word": 5}
    titles = many_titles(number)
    shares = {name: 0.2 * i / number for i, name in enumerate(titles)}
    cards = RunPaths(root).cards / "models"
    cards.mkdir(parents=True)
    for name, title in titles.items():
        card = {
            "id": name, "title": title, "description": "made up", "citation": "none",
            "licence": "none", "parameters": 10**6 * (1 + int(name[-2:])),
            "adapter": {"kind": "prediction-folder", "folder": "predictions"},
        }  # fmt: skip
        (cards / f"{name}.yaml").write_text(json.dumps(card), encoding="utf-8")
    scores = synthetic_scores(shares, shape_of(entries), seed=3)
    rows = scores.rows
    rows[["dsc", "nsd"]] = rows[["dsc", "nsd"]].clip(0, 1)
    size = 10 ** (2 + 4 * pd.util.hash_array(rows["class"].astype(str).to_numpy()) / 2.0**64)
    rows["reference_voxels"] = (rows["reference_voxels"].gt(0) * size).astype(int)
    paths = write_run(root, scores, list(entries))
    _write_costs_and_stress(paths, list(titles))
    return paths


def _write_costs_and_stress(paths: RunPaths, models: list[str]) -> None:
    """Costs that grow, and promptable models of which each ignores some of its words."""
    about = {"data_kind": "synthetic"}
    costs = [
        about | {
            "model": model, "networks": 1 + number % 3, "parameters": 1e6 * (1 + number),
            "train_seconds": 3600.0 * (1 + number), "predict_seconds_per_case": 1 + 0.7 * number,
            "peak_memory_mib": 4000.0, "device": "GPU",
        }
        for number, model in enumerate(models)
    ]  # fmt: skip
    write_table(paths.table("cost"), pd.DataFrame(costs), COST)
    counts = {"n_prompts": 60, "n_refused": 0, "n_cases": 12, "n_failed": 0, "n_patients": 12,
              "n_classes": 5, "verdict": "follows"}  # fmt: skip
    stress = [
        about | counts | {
            "model": model, "kind": kind.id, "wanted": kind.wanted, "quantity": quantity,
            "value": value, "value_low": value - 0.05, "value_high": value + 0.05,
        }
        for number, model in enumerate(models)
        for kind in KINDS.values()
        for quantity in ("named", "dsc", "lost", "meant", "unchanged", "alarm", "alarm_ml")
        for value in [0.1 + 0.8 * number / len(models)]
    ]  # fmt: skip
    write_table(paths.table("stress"), pd.DataFrame(stress), STRESS)
