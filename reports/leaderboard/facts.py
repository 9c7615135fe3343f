"""What the leaderboard says of a model beside its scores: card, cost, contamination, run record."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from evaluation.runs.provenance import code_version
from reports.leaderboard.rows import BoardIds
from reports.source.run import RunSource


def model_facts(source: RunSource, name: str, ids: BoardIds) -> dict[str, Any]:
    """Facts of a model: card, cost, contamination, run record."""
    card = source.model_cards.get(name)
    cost = _cost(source, name)
    trained = card.trained_on if card else ()
    own = set(ids.datasets) if "run" in trained else set(trained)
    contamination, linked = _contamination(source, own, ids)
    words = ["training splits of this run"] if "run" in trained else []
    words += [source.dataset_title(d) for d in trained if d != "run"]
    parameters, networks = source.parameters(name) or (None, 1)
    words += filter(None, [source.preset_words(name)])
    preset = source.config.presets.get(name)
    return {
        "id": name,
        "title": source.model_title(name),
        "role": "control" if source.is_control(name) else "entrant",
        "parameters": parameters,
        "networks": networks,
        "preset": preset or "",
        "trained": ", ".join(words) if card else "no card",
        "contamination": contamination,
        "linked": linked,
        "tta": card.test_time_augmentation if card else "no card",
        "licence": card.licence if card else "no card",
        "citation": card.citation if card else "",
        "trainHours": cost.get("train_hours"),
        "seconds": cost.get("seconds"),
        "memory": cost.get("memory"),
        "record": _record(source),
    }


def _cost(source: RunSource, name: str) -> dict[str, Any]:
    """Hours, seconds for a scan and MiB of a model, from the cost table; empty without one."""
    table = source.table("cost")
    if table is None or not (table["model"] == name).any():
        return {}
    row = table[table["model"] == name].iloc[0]
    return {
        "train_hours": _number(row["train_seconds"], 3600),
        "seconds": _number(row["predict_seconds_per_case"]),
        "memory": _number(row["peak_memory_mib"]),
    }


def _contamination(
    source: RunSource, trained: set[str], ids: BoardIds
) -> tuple[dict[int, str], str]:
    """By entry: trained on its training split, or test scans linked to a training scan.

    A model is linked where the audit joins a test scan of an entry to a training scan of an entry
    that the model was trained on. Without an audit table the answer is "not audited".
    """
    marks = {
        index: "trained on the training split of this dataset"
        for dataset, index in ids.datasets.items()
        if dataset in trained
    }
    audit = source.table("audit")
    if audit is None:
        return marks, "not audited"
    accepted = audit[audit["accepted"]]
    one = accepted[(accepted["split"] == "test") & (accepted["other_split"] == "train")]
    two = accepted[(accepted["split"] == "train") & (accepted["other_split"] == "test")]
    pairs = pd.concat(
        [
            one[["dataset", "case", "other_dataset"]],
            two[["other_dataset", "other_case", "dataset"]].set_axis(
                ["dataset", "case", "other_dataset"], axis=1
            ),
        ]
    )
    pairs = pairs[pairs["other_dataset"].isin(trained)].drop_duplicates(["dataset", "case"])
    for dataset, count in pairs["dataset"].value_counts().items():
        if dataset in ids.datasets:
            marks[ids.datasets[str(dataset)]] = (
                f"linked: {count} test scans of {source.dataset_title(str(dataset))} appear in "
                "training data"
            )
    return marks, f"{len(pairs)} test scans" if len(pairs) else "none found"


def _record(source: RunSource) -> str:
    """Run and code version that made the scores (`run.json` beside the tables has all of it)."""
    path = source.paths.root / "run.json"
    if path.is_file():
        code = json.loads(path.read_text(encoding="utf-8")).get("code", "not recorded")
    else:
        code = code_version()
    return f"run {source.config.name}, code {code}"


def _number(value: Any, unit: float = 1.0) -> float | None:
    return None if value is None or pd.isna(value) else float(f"{float(value) / unit:.4g}")
