"""Model cards with results in the form that model hubs' leaderboards read.

The YAML between `---` lines has a `model-index`: for each entry the values of the headline's
protocol. Nobody has verified them but who ran the benchmark, and the file says so.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from evaluation import __version__
from evaluation.files.writing import write_text
from evaluation.protocol import HEADLINE
from reports.source.measures import Measure
from reports.source.run import RunSource

FOLDER = "model_cards"
_TASK = "image-segmentation"


def write_hub_cards(source: RunSource, folder: Path) -> list[Path]:
    """One `model_cards/<model>.md` for each entrant that has a number; returns them."""
    frame = source.pick("dataset", HEADLINE)
    if frame is None:
        return []
    written = []
    for model in source.entrants:
        rows = frame[(frame["model"] == model) & frame["value"].notna()]
        if rows.empty:
            continue
        results = [
            _result(source, str(dataset), part.to_dict("records"))
            for dataset, part in rows.groupby("dataset", observed=True, sort=False)
        ]
        path = folder / FOLDER / f"{model}.md"
        write_text(path, _card(source, model, results))
        written.append(path)
    return written


def _result(source: RunSource, dataset: str, rows: list[dict[Hashable, Any]]) -> dict[str, Any]:
    measures = {measure.key: measure for measure in source.measures}
    return {
        "task": {"type": _TASK, "name": "3D medical image segmentation"},
        "dataset": {
            "name": source.dataset_title(dataset),
            "type": dataset,
            "config": source.config.study,
            "split": "test",
            "args": {"data": source.config.data_kind},
        },
        "metrics": [_metric(measures[str(row["measure"])], row) for row in rows],
    }


def _metric(measure: Measure, row: dict[Hashable, Any]) -> dict[str, Any]:
    args: dict[str, Any] = {
        "policy": HEADLINE.policy,
        "space": HEADLINE.space,
        "n_cases": int(row["n_cases"]),
        "n_classes": int(row["n_classes"]),
    }
    if not math.isnan(measure.tolerance_mm):
        args["tolerance_mm"] = float(measure.tolerance_mm)
    if measure.metric.unit:
        args["unit"] = measure.metric.unit
    if not math.isnan(row["value_low"]):
        args["interval_95"] = [round(float(row[key]), 6) for key in ("value_low", "value_high")]
    return {
        "type": measure.key,
        "name": measure.title,
        "value": round(float(row["value"]), 6),
        "args": args,
        "verified": False,
    }


def _card(source: RunSource, model: str, results: list[dict[str, Any]]) -> str:
    card = source.model_cards.get(model)
    front = {
        "library_name": "satbench",
        "pipeline_tag": _TASK,
        "tags": ["medical", "segmentation", "3d", "satbench"],
        "model-index": [{"name": model, "results": results}],
    }
    head = yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=100)
    about = (
        f"Scored by satbench {__version__} in the run {source.config.name} "
        f"({source.config.data_kind} data) on the test cases of {len(results)} entries: grid "
        f"`{HEADLINE.space}`, policy `{HEADLINE.policy}`, means of classes without weights, 95 % "
        "intervals over patients. Values are shares or in the metric's unit, not in percent."
    )
    described = card.description.strip() if card else "A model without a card."
    lines = [f"# {source.model_title(model)}", "", described, "", about]
    if card:
        lines += ["", f"Licence of the model: {card.licence}", "", f"Cite: {card.citation}"]
    return f"---\n{head}---\n\n" + "\n".join(lines) + "\n"
