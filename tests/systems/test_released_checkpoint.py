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
from baselines.universal.entries import catalogue
from baselines.universal.networks.priors import task_lists
from baselines.universal.released import load_released
from baselines.universal.released_entries import PUBLISHED_ENTRIES, read_entries
from baselines.universal.systems import load_model
from baselines.universal.upstream import extended
from evaluation.cases import ImageCase
from evaluation.datasets.registry import find_card
from evaluation.errors import BenchError
from evaluation.files.identity import file_digest
from evaluation.files.records import load_record
from evaluation.models.card import ModelCard
from evaluation.models.protocol import ModelContext
from evaluation.paths import RunPaths
from evaluation.studies.record import find_study
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
    """By the command line; without `--entries` where they are None."""
    import typer

    torch.save({"model_state_dict": state}, folder / "released.pth")
    app = typer.Typer()
    register(app)
    arguments = ["universal", "released", "released.pth", "--system", system]
    arguments += ["--out", "ours.pt", "--card", "theirs"]
    if entries is not None:
        (folder / "entries.yaml").write_text(yaml.safe_dump(entries))
        arguments += ["--entries", "entries.yaml"]
    return CliRunner().invoke(app, arguments)


def refusal(folder: Path, entries: object) -> str:
    """What `read_entries` says of a file that it does not take."""
    path = folder / "entries.yaml"
    path.write_text(yaml.safe_dump(entries))
    with pytest.raises(BenchError) as error:
        read_entries(path)
    assert str(path) in str(error.value)
    return str(error.value)


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


def test_what_no_entry_can_be_is_refused_by_name(tmp_path):
    assert "needs classes" in refusal(tmp_path, {"acdc": {"rows": {}}})
    assert "needs classes" in refusal(tmp_path, {"acdc": {"rows": {"myocardium": []}}})
    assert "no entry in this file" in refusal(tmp_path, {})
    chaos = {"modality": {"t1in": 2, "t1ouut": 2}, "rows": {"liver": 38}}
    text = refusal(tmp_path, {"chaos_mr": chaos})
    assert "`chaos_mr` has no sequence `t1ouut`" in text
    assert "did you mean `t1out`" in text
    amos = {"modality": {"T1": 2}, "rows": {"liver": 9}}
    assert "its card names no sequence" in refusal(tmp_path, {"amos_mr": amos})


# Of the page: entry -> its rows of the task tables, and its row of the modality tables.
PUBLISHED = {
    "lits": (range(2), 0), "kits19": (range(2, 4), 0), "amos_ct": (range(4, 19), 0),
    "amos_mr": (range(4, 17), None), "bcv": (range(19, 32), 0),
    "structseg_thorax": (range(32, 38), 0),
    "chaos_mr": (range(38, 42), {"t1in": 2, "t1out": 2, "t2spir": 3}),
    "structseg_head_neck": (range(42, 64), 0), "mnms": (range(64, 67), 4),
    "dlbs": (range(67, 70), 2), "autopet": (range(70, 71), 1),
}  # fmt: skip


def test_the_entries_of_the_published_training():
    given, study = read_entries(PUBLISHED_ENTRIES), find_study("hermes")
    assert set(given) == set(study.entries) - set(study.downstream)
    found = {name: (range(min(e.rows.values()), max(e.rows.values()) + 1), e.modality)
             for name, e in given.items()}  # fmt: skip
    assert found == PUBLISHED
    assert len({row for entry in given.values() for row in entry.rows.values()}) == 71
    for name, entry in given.items():
        scope = study.classes.get(name)
        classes = {c.name: c for c in find_card(name).annotated if not scope or c.name in scope}
        assert set(entry.rows) == set(classes)
        # Inferred: in the order of the label values; those of tumours are above their organ's.
        values = [(c.study_values or {}).get("hermes", c.values) for c in classes.values()]
        in_order = sorted(zip(values, classes, strict=True))
        assert sorted(entry.rows, key=entry.rows.get) == [c for _, c in in_order]


@pytest.mark.usefixtures("shared")
def test_a_release_of_the_published_training_needs_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    state = release("hermes_r")
    done = convert(tmp_path, state, "hermes-r", None)
    assert done.exit_code == 0, done.output
    card = load_record(tmp_path / "config/models/theirs.yaml", ModelCard)
    assert set(card.trained_on) == set(PUBLISHED)
    model = load_model(tmp_path / "ours.pt")
    asked = [
        int(model.prompts(model.rows_of("chaos_mr"), sequence)[0, 1])
        for sequence in ("t1in", "t1out", "t2spir", "dwi", None)
    ]
    assert asked == [2, 2, 3, -1, -1]
    assert model.known.modalities == ("ct", "pet", "T1", "T2", "cine")
    # What is trained further finds the modality of its scans by these names.
    more = catalogue({"msd_pancreas": ["pancreas"]}, {})
    assert extended(model.known, more).of("msd_pancreas").modality == 0
    # Another training's tables are not these, and a network of one entry has none.
    (tmp_path / "ours.pt").unlink()
    (tmp_path / "config/models/theirs.yaml").unlink()
    other = {k: v[:50] if k.endswith("task_prior") else v for k, v in state.items()}
    error = convert(tmp_path, other, "hermes-r", None).exception
    assert "not a release of the published training" in str(error)
    assert "50 task and 6 modality rows" in str(error)
    error = convert(tmp_path, release("resunet"), "resunet", None).exception
    assert "does not say of which" in str(error)
    assert not (tmp_path / "ours.pt").exists()


@pytest.mark.usefixtures("shared")
def test_modality_rows_that_a_release_has_not_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    entries = {"chaos_mr": {"modality": {"t1in": 2, "t2spir": 5}, "rows": {"liver": 38}}}
    error = convert(tmp_path, release("hermes_r"), "hermes-r", entries).exception
    assert "modality rows of `chaos_mr` are not those of this release" in str(error)
    assert "t2spir: 5" in str(error)
    entries = {"acdc": {"rows": {"ventricle cavity": [64, 66]}}}
    error = convert(tmp_path, release("hermes_r"), "hermes-r", entries).exception
    assert "has several rows, and a task of Hermes has one" in str(error)


@pytest.mark.usefixtures("shared")
def test_a_class_may_be_a_union_of_channels(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cavities = {"left ventricle cavity": 1, "ventricle cavity": [1, 3]}
    entries = {"acdc": {"rows": {"myocardium": 2, **cavities}}}
    done = convert(tmp_path, release("resunet"), "resunet", entries)
    assert done.exit_code == 0, done.output
    model = load_model(tmp_path / "ours.pt")
    labels = model.tasks.labels["acdc"]
    assert labels.classes == {
        "myocardium": (2,), "left ventricle cavity": (1,), "ventricle cavity": (1, 3),
    }  # fmt: skip
    owners = [label.owner for label in model.known.of("acdc").labels][:4]
    assert owners == ["left ventricle cavity", "myocardium", "ventricle cavity", ""]
    (tmp_path / "ours.pt").unlink()
    (tmp_path / "config/models/theirs.yaml").unlink()
    twice = {"myocardium": 2, "right ventricle cavity": 2}, {"ventricle cavity": [3, 3]}
    for classes in twice:
        entries = {"acdc": {"rows": classes}}
        error = convert(tmp_path, release("resunet"), "resunet", entries).exception
        assert "not those of this release" in str(error)
