"""Knowledge injection by the workflow: both stages come before the segmentation, by the preset."""

from __future__ import annotations

import json
from math import fsum

import pytest
import yaml

from evaluation.schema import COST, RUNTIME, read_table
from evaluation.spent import read_spent
from sat.config import load_preset
from sat.knowledge.settings import load_settings
from sat.model import load_model

STAGE_FILES = ("text/knowledge.json", "atlas/encoder.pt", "checkpoint.pt")


def test_the_workflow_trains_both_stages_and_starts_from_them(clone, tiny_bert):
    text = load_settings("quick").model_dump(mode="json")
    text |= {"name": "brief", "steps": 2, "batch": 8, "warm_up": 1, "checkpoint_every": 1}
    text |= {"encoder": str(tiny_bert), "trainable": 1, "max_tokens": 24}
    text["held_out"] = 0.0  # measuring on them would take most of the test's time
    (clone.folder / "brief.yaml").write_text(yaml.safe_dump(text))
    preset = load_preset("smoke").model_dump(mode="json")
    preset |= {
        "name": "knowing",
        "atlas": {"steps": 3, "width": 32, "learning_rate": 1e-3, "warm_up": 1},
    }
    preset["prompts"] |= {"encoder": "knowledge", "knowledge": "brief.yaml"}
    preset["training"] |= {"steps": 3, "warm_up": 1, "initial_encoder": "atlas/encoder.pt"}
    (clone.folder / "knowing.yaml").write_text(yaml.safe_dump(preset))
    config = yaml.safe_load((clone.folder / "config/smoke.yaml").read_text())
    config |= {
        "name": "knowing", "entries": ["acdc"], "models": ["sat-nano"], "space": ["native"],
        "raw_root": "results/knowing/raw", "presets": {"sat-nano": "knowing.yaml"},
    }  # fmt: skip
    (clone.folder / "config/knowing.yaml").write_text(yaml.safe_dump(config))

    said = clone.run("--cores", "2", "--configfile", "config/knowing.yaml", "--until", "record")
    run = clone.folder / "results" / "knowing"
    work = run / "runs" / "sat-nano"
    assert all(f"output: {work.relative_to(clone.folder)}/{name}" in said for name in STAGE_FILES)
    record = json.loads((work / "text" / "knowledge.json").read_text())
    assert record["settings"]["name"] == "brief"
    model = load_model(work / "checkpoint.pt")
    assert model.initial_encoder is not None
    # The two stages are part of what the model cost.
    runtime = read_table(run / "tables" / "runtime.parquet", RUNTIME)
    assert set(runtime["model"]) == {"sat-nano"}
    spent = [read_spent(work / folder / "spent.json") for folder in ("", "text", "atlas")]
    assert all(record.seconds > 0 for record in spent)
    (cost,) = read_table(run / "tables" / "cost.parquet", COST).to_dict("records")
    assert cost["train_seconds"] == pytest.approx(fsum(record.seconds for record in spent))
