"""`satbench add`: a model joins a run when it is measured, and not before."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from evaluation.config import RunConfig, freeze, load_frozen
from evaluation.errors import BenchError
from evaluation.models import adding
from evaluation.paths import RunPaths

LABELS = "{msd_hippocampus: {anterior hippocampus: 1, posterior hippocampus: 2}}"
FOLDER = f"  kind: prediction-folder\n  folder: predictions/mine\n  labels: {LABELS}\n"


def say(_: str) -> None:
    """Steps are not what these tests are about."""


@pytest.fixture
def empty_run(run: Path) -> Path:
    """The toy run before `mine` is a model of it."""
    config = load_frozen(run)
    freeze(config.model_copy(update={"models": ["oracle"]}), RunPaths(run).config)
    return run


@pytest.mark.parametrize(
    ("adapter", "message"),
    [
        ("  kind: prediction-folder\n  folder: nowhere\n", "no such folder"),
        ("  kind: python\n  object: no_such_module:Model\n", "cannot import"),
        (FOLDER.replace("posterior", "posteriour"), "name classes that the entry has not"),
    ],
)
def test_a_card_that_cannot_be_used_leaves_the_run_as_it_was(
    empty_run, write_card, write_predictions, adapter, message
):
    write_predictions()
    write_card(adapter)
    before = {path: path.read_bytes() for path in empty_run.rglob("*") if path.is_file()}
    with pytest.raises(BenchError, match=message):
        adding.add_model(empty_run, "mine", say)
    assert {p: p.read_bytes() for p in empty_run.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("step", ["predict_shard", "measure_shard", "aggregate_run"])
def test_an_interrupted_model_has_not_joined(
    empty_run, write_card, write_predictions, monkeypatch, step
):
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    write_predictions()
    write_card(FOLDER)
    before = RunPaths(empty_run).config.read_bytes()
    monkeypatch.setattr(adding, step, stop)
    with pytest.raises(KeyboardInterrupt):
        adding.add_model(empty_run, "mine", say)
    assert RunPaths(empty_run).config.read_bytes() == before


def test_a_model_that_is_measured_joins_beside_one_that_joined_meanwhile(
    empty_run, write_card, write_predictions, monkeypatch
):
    def measure(run: Path, *arguments: object) -> Path:
        other: RunConfig = load_frozen(run).model_copy(update={"models": ["oracle", "empty"]})
        freeze(other, RunPaths(run).config)
        return measure_shard(run, *arguments)

    measure_shard = adding.measure_shard
    monkeypatch.setattr(adding, "measure_shard", measure)
    commands: list[list[str]] = []
    report = SimpleNamespace(run=lambda command, **_: commands.append(command))
    monkeypatch.setattr(adding, "subprocess", report)
    write_predictions()
    write_card(FOLDER)
    adding.add_model(empty_run, "mine", say)
    assert load_frozen(empty_run).models == ["oracle", "empty", "mine"]
    table = pd.read_parquet(RunPaths(empty_run).table("completeness")).set_index("model")
    assert table.loc["mine", "status"] == "complete"
    assert [command[1] for command in commands] == ["report"]
