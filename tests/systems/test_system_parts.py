"""Presets, grid and costs of the universal systems."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from baselines.universal.config import PRESET_FOLDER, SYSTEMS, load_preset, system_of
from baselines.universal.costs import model_cost
from baselines.universal.entries import catalogue
from baselines.universal.networks.multi_decoder import MultiDecoder
from baselines.universal.networks.resunet import ResUNet
from baselines.universal.networks.sizes import NetworkSizes
from baselines.universal.systems import model_from, new_model
from evaluation.config import RunConfig
from evaluation.datasets.registry import find_card
from evaluation.errors import BenchError
from evaluation.files.records import preset_names
from evaluation.models.card import ModelCard
from evaluation.paths import RunPaths
from evaluation.training.counting import count_weights, weightless
from evaluation.training.crops import Sample, stack
from evaluation.training.store import store_folder
from evaluation.training.tasks import Targets
from evaluation.workflow.loads import Load
from sat.config import load_preset as sat_preset


@pytest.mark.parametrize("name", preset_names(PRESET_FOLDER))
def test_every_preset_is_valid_for_every_system(name):
    presets = load_preset(name)
    assert presets.description
    for system in SYSTEMS:
        assert presets.of(system).system == system
    # The values that a run keeps are the preset itself.
    assert load_preset(presets.model_dump(mode="json")) == presets


def test_presets_have_the_published_sizes_and_their_names_are_helped_with():
    assert preset_names(PRESET_FOLDER) == ["demo", "paper", "real", "released", "small", "smoke"]
    assert load_preset(None).of("resunet").network == NetworkSizes(spare_tasks=1)
    with pytest.raises(BenchError, match="no universal preset"):
        load_preset("dmo")


def test_released_augments_as_each_system_did():
    """UniSeg and MultiTalent have nnU-Net's chances, not Hermes', which the base has."""
    found = {s: load_preset("released").of(s).training.augmentation for s in SYSTEMS}
    assert found["uniseg"] == found["multitalent"]
    chances = {"zoom_p": 0.2, "rotation_p": 0.2, "gamma_p": 0.3, "intensity_p": 0.15}
    assert chances.items() <= found["uniseg"].model_dump().items()
    assert found["hermes-r"] == load_preset("paper").of("hermes-r").training.augmentation


@pytest.mark.parametrize(
    ("system", "training", "fault"),
    [
        ("uniseg", {"batch": 3}, "one task a batch"),
        ("hermes-r", {"pad_to": "stride"}, "pad_to must be `patch`"),
        ("dodnet", {"sampling": {"max_prompts": 4}}, "all tasks of its entry"),
        ("dodnet", {"stepz": 4}, "did you mean"),
    ],
)
def test_what_a_system_cannot_be_trained_with_is_said(system, training, fault):
    presets = load_preset("demo")
    changed = presets.model_copy(update={"systems": {system: {"training": training}}})
    with pytest.raises(BenchError, match=fault):
        changed.of(system)


def test_the_demo_reads_the_store_of_sat_nano():
    paths = RunPaths(Path("run"))
    ours, theirs, other = (
        store_folder(paths, grid)
        for grid in (
            load_preset("demo").of("hermes-r").grid,
            sat_preset("tiny").grid,
            load_preset("paper").of("hermes-r").grid,
        )
    )
    assert ours == theirs != other
    assert ours.parent == paths.root / "prepared"


@pytest.mark.parametrize(("system", "networks"), [("multi-decoder", 1), ("resunet", 2)])
def test_cost_counts_every_training_and_its_weights(system, networks):
    config = RunConfig(
        name="x",
        study="sat",
        data_kind="real",
        raw_root="x",
        entries=["msd_spleen", "acdc"],
        models=[system],
        presets={system: "demo"},
    )
    loads = [Load(find_card(d), 10, 4, 3, 73e3, 216.0, 1, 1) for d in config.entries]
    cost = model_cost(system, config, loads)
    assert cost.networks == networks
    outputs, widths = {"msd_spleen": 2, "acdc": 4}, load_preset("demo").of("resunet").network.widths
    expected = {
        "multi-decoder": lambda: MultiDecoder(outputs, widths),
        "resunet": lambda: nn.ModuleList(ResUNet(n, widths) for n in outputs.values()),
    }
    assert cost.parameters == count_weights(weightless(expected[system]))
    stages = sorted(work.stage for work in cost.work)
    assert stages == sorted(["prepare", *["train"] * networks, "predict", "predict"])
    assert all(w.cpu_seconds > 0 and w.gpu_seconds == 0 for w in cost.work)


def test_the_guides_own_system_is_whole(tmp_path, monkeypatch):
    guide = (Path(__file__).parents[2] / "docs/pages/models.md").read_text()
    card, code = re.search(
        r"tenth.yaml <<'END'\n(.*?)\nEND\ncat > tenth.py <<'END'\n(.*?)\nEND", guide, re.DOTALL
    ).groups()
    (tmp_path / "tenth.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    options = ModelCard.model_validate(yaml.safe_load(card)).adapter.options
    preset = load_preset("smoke").of(system_of("tenth", options))
    model = new_model(preset, catalogue({"acdc": ["myocardium"], "msd_spleen": ["spleen"]}, {}))
    rows, image = model.rows_of("acdc"), torch.randn(1, 1, 32, 16, 16)
    targets = Targets(image[0] > 0, rows, torch.tensor([True]))
    model.loss(stack([Sample("acdc", image[0], targets)])).total.backward()
    gradient = model.network.vectors.weight.grad
    assert (gradient[0] != 0).any()
    assert (gradient[1] == 0).all()
    again = model_from(model.content(), tmp_path)
    prompts = model.prompts(rows)
    torch.testing.assert_close(again.answers(image, prompts), model.answers(image, prompts))
