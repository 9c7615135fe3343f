"""A released file becomes a checkpoint and a card that a run can use."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from typer.testing import CliRunner

from baselines.universal.adapter import UniversalSystem
from baselines.universal.commands import register
from baselines.universal.conversion import read_entries
from baselines.universal.networks.priors import task_lists
from baselines.universal.released import load_released
from evaluation.cases import ImageCase
from evaluation.errors import BenchError
from evaluation.files.identity import file_digest
from evaluation.files.records import load_record
from evaluation.models.card import ModelCard
from evaluation.models.protocol import ModelContext
from evaluation.paths import RunPaths
from tests.universal.conformance import rows, shape_of

ENTRIES = {
    "msd_spleen": {"modality": 0, "rows": {"spleen": 7}},
    "acdc": {"rows": {"myocardium": 3, "left ventricle cavity": 1}},
}


def release(system: str) -> dict[str, torch.Tensor]:
    """Small weights of the released names and sizes, without the heads of the training."""
    return {
        row["key"]: torch.full(shape_of(row["shape"]), 0.01, dtype=torch.float16)
        for row in rows(f"keys_{system}")
        if row["part"] != "training"
    }


def convert(folder: Path, state: dict[str, torch.Tensor], system: str, entries: object) -> object:
    import typer

    torch.save({"model_state_dict": state}, folder / "released.pth")
    (folder / "entries.yaml").write_text(yaml.safe_dump(entries))
    app = typer.Typer()
    register(app)
    arguments = ["universal", "released", "released.pth", "--system", system]
    arguments += ["--entries", "entries.yaml", "--out", "ours.pt", "--card", "theirs"]
    return CliRunner().invoke(app, arguments)


@pytest.mark.usefixtures("shared")
def test_released_hermes_r_answers_by_the_rows_that_the_file_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    state = release("hermes_r")
    # Tell rows of the tables apart.
    for key, value in state.items():
        if key.endswith("task_prior"):
            value += torch.arange(len(value), dtype=torch.float16)[:, None] / 10
    done = convert(tmp_path, state, "hermes-r", ENTRIES)
    assert done.exit_code == 0, done.output
    card = load_record(tmp_path / "config/models/theirs.yaml", ModelCard)
    assert set(card.trained_on) == set(ENTRIES)
    options = dict(card.adapter.options)
    run = RunPaths(tmp_path)
    model = UniversalSystem(ModelContext(card.id, run, None, tmp_path, None, options))
    answer = model.classes("acdc")
    assert answer["myocardium"] is None
    assert answer["right ventricle cavity"] == "not in the training's classes"
    assert set(model.classes("promise12").values()) == {
        "the model was not trained on the entry `promise12`"
    }
    ours = model.model("acdc")
    assert ours.network.modality_head is None
    image = torch.randn(1, 1, 32, 16, 16, generator=torch.Generator().manual_seed(0))
    network = load_released("hermes_r", state).float()
    with torch.inference_mode():
        found = ours.answers(image, ours.prompts(ours.rows_of("acdc")))
        expected = network(image, task_lists([[3, 1]]), torch.tensor([-1]))[:, :2].sigmoid()
    torch.testing.assert_close(found, expected)
    options["answers_as"] = {"mnms": "acdc"}
    other = UniversalSystem(ModelContext(card.id, run, None, tmp_path, None, options))
    assert other.classes("mnms").items() <= answer.items()
    case = ImageCase("mnms", "1", "1", "mri", tmp_path, (1.4, 8, 1.4), (9, 9, 9))
    digest = file_digest(tmp_path / "ours.pt")
    assert other.made_from(case, []) == [digest, "acdc"]
    assert other.made_from(replace(case, dataset="acdc"), []) == digest
    options["answers_as"] = ["acdc"]
    with pytest.raises(BenchError, match=r"`answers_as` in the card of `theirs` does not fit"):
        UniversalSystem(ModelContext(card.id, run, None, tmp_path, None, options))


@pytest.mark.usefixtures("shared")
def test_other_keys_and_rows_are_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    state = release("resunet")
    ok = {"acdc": {"rows": {"myocardium": 2}}}
    bad = {"acdc": {"rows": {"myocardium": 99}}}
    error = convert(tmp_path, state, "resunet", bad).exception
    assert isinstance(error, BenchError)
    assert "not those of this release" in str(error)
    assert not (tmp_path / "ours.pt").exists()
    state["surplus.weight"] = state.pop("outc.bias")
    error = convert(tmp_path, state, "resunet", ok).exception
    assert "surplus.weight: unknown" in str(error)
    assert "outc.bias: missing" in str(error)
    error = convert(tmp_path, state, "dodnet", ok).exception
    assert "no public release of `dodnet`" in str(error)


@pytest.mark.usefixtures("shared")
def test_a_released_network_of_one_entry_has_its_channels_as_labels(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = convert(tmp_path, release("resunet"), "resunet", {"acdc": {"rows": {"myocardium": 2}}})
    assert done.exit_code == 0, done.output
    options = {"system": "resunet", "checkpoint": "ours.pt"}
    context = ModelContext("theirs", RunPaths(tmp_path), None, tmp_path, None, options)
    model = UniversalSystem(context).model("acdc")
    assert model.tasks.labels["acdc"].classes == {"myocardium": (2,)}
    assert len(model.rows_of("acdc")) == model.network.head.bias.numel()


def test_entries_name_datasets_and_classes_of_the_benchmark(tmp_path):
    path = tmp_path / "entries.yaml"
    path.write_text("acdc: {rows: {myocardum: 2}}")
    with pytest.raises(BenchError, match="did you mean `myocardium`"):
        read_entries(path)
