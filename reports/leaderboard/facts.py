"""What the leaderboard says of a model beside its scores: card, cost, contamination, run record."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from evaluation.datasets.splits import read_split_file
from evaluation.files.reading import mapping_of
from evaluation.models.training_sets import TrainingSets, dataset_of, training_sets
from evaluation.runs.provenance import code_version
from reports.leaderboard.rows import BoardIds
from reports.source.run import RunSource


def model_facts(source: RunSource, name: str, ids: BoardIds) -> dict[str, Any]:
    """Facts of a model: card, cost, contamination, run record."""
    card = source.model_cards.get(name)
    cost = _cost(source, name)
    trained = card.trained_on if card else ()
    own = training_sets(trained, source.study, list(ids.datasets))
    contamination, linked = contamination_of(source, own, ids)
    words = ["training splits of this run"] if "run" in trained else []
    words += [source.dataset_title(dataset_of(name)) for name in trained if name != "run"]
    parameters, networks = source.parameters(name) or (None, 1)
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


def contamination_of(
    source: RunSource, trained: TrainingSets, ids: BoardIds
) -> tuple[dict[int, str], str]:
    """By entry: what of it, or of the scans it shares with others, the model was trained on.

    The gravest that is known: its training split; test scans that are training scans of another
    study's split; test scans that the audit links to a scan that the model was trained on; and,
    where the audit cannot know, since the other dataset is no entry of the run, an overlap that a
    card announces. Without an audit table the answer is "not audited".
    """
    marks = {
        ids.datasets[dataset]: f"may have been trained on its scans: {words}"
        for dataset, words in _announced(source, trained, ids).items()
    }
    for dataset, index in ids.datasets.items():
        if dataset in trained.entries:
            marks[index] = "trained on the training split of this dataset"
        elif dataset in trained.unlisted:
            marks[index] = "trained on scans of this dataset; another study drew which"
        elif dataset in trained.datasets:
            marks[index] = _of_another_study(source, trained, dataset)
    audit = source.table("audit")
    if audit is None:
        return marks, "not audited"
    accepted = audit[audit["accepted"]]
    side, other = ["dataset", "case", "patient", "split"], ["dataset", "patient", "split"]
    pairs = pd.concat(
        [
            accepted[[*side, *(f"other_{name}" for name in other)]],
            accepted[[*(f"other_{name}" for name in side), *other]].set_axis(
                [*side, *(f"other_{name}" for name in other)], axis=1
            ),
        ]
    )
    pairs = pairs[pairs["split"] == "test"]
    seen = [trained.has(*map(str, r)) for r in pairs[[f"other_{n}" for n in other]].to_numpy()]
    pairs = pairs[np.array(seen, dtype=bool)].drop_duplicates(["dataset", "case"])
    for name, count in pairs["dataset"].astype(str).value_counts().items():
        if name in ids.datasets:
            marks[ids.datasets[str(name)]] = (
                f"linked: {count} test scans of {source.dataset_title(str(name))} appear in "
                "training data"
            )
    return marks, f"{len(pairs)} test scans" if len(pairs) else "none found"


def _of_another_study(source: RunSource, trained: TrainingSets, dataset: str) -> str:
    """How many test scans of an entry are training scans of another study."""
    path = source.paths.split(dataset)
    rows = read_split_file(path) if path.is_file() else []
    tests = [row for row in rows if row.split == "test"]
    n = sum(trained.has(dataset, row.patient, row.split) for row in tests)
    return f"trained on {n} of {len(tests)} test scans of this dataset, by another study's split"


def _announced(source: RunSource, trained: TrainingSets, ids: BoardIds) -> dict[str, str]:
    """Entry -> overlap with a dataset that was trained on and is no entry, as a card says it."""
    found: dict[str, str] = {}
    for dataset, card in source.dataset_cards.items():
        for overlap in card.overlaps if dataset in ids.datasets else ():
            other = overlap.dataset
            strangers = overlap.not_linked == "all"
            if other in trained.datasets and other not in ids.datasets and not strangers:
                found[dataset] = f"{source.dataset_title(other)} ({overlap.relation})"
    return found


def _record(source: RunSource) -> str:
    """Run and code version that made the scores (`run.json` beside the tables has all of it)."""
    path = source.paths.root / "run.json"
    code = mapping_of(path).get("code", "not recorded") if path.is_file() else code_version()
    return f"run {source.config.name}, code {code}"


def _number(value: Any, unit: float = 1.0) -> float | None:
    return None if value is None or pd.isna(value) else float(f"{float(value) / unit:.4g}")
