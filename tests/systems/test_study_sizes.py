"""The second study's configuration and presets make the networks that its document prints."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from baselines.universal.config import Preset, load_preset
from baselines.universal.costs import networks_of
from baselines.universal.entries import UNKNOWN, Catalogue, catalogue
from baselines.universal.masks import HermesModel
from baselines.universal.networks.hermes import weights_as_printed
from baselines.universal.similarity import similarities
from baselines.universal.systems import model_from, new_model
from baselines.universal.upstream import extended
from evaluation.datasets.registry import find_card
from evaluation.training.counting import count_weights, weightless
from evaluation.workflow.configuration import load_config

CONFIG = load_config(Path(__file__).parents[2] / "config" / "hermes.yaml")
PRESETS = ("paper", "released")
CHAOS = {"t1in": "T1", "t1out": "T1", "t2spir": "T2"}


def known_of(preset: Preset) -> Catalogue:
    """What the one network of all entries of the configuration knows."""
    return networks_of(preset, CONFIG, CONFIG.entries)[""]


@pytest.mark.parametrize("name", PRESETS)
def test_tasks_and_modalities_of_the_study(name):
    known = known_of(load_preset(name).of("hermes-r"))
    assert sum(1 for _ in known.rows()) == 84
    assert known.n_tokens == 71 + 1, "one more is the null token"
    assert known.modalities == ("ct", "pet", "T1", "T2", "cine"), "the unknown one is the last row"
    rows = {entry.dataset: entry for entry in known.entries}
    assert rows["chaos_mr"].sequences == {"t1in": 2, "t1out": 2, "t2spir": 3}
    assert [rows[d].modality for d in ("amos_ct", "autopet", "dlbs", "mnms")] == [0, 1, 2, 4]
    assert (rows["amos_mr"].modality, rows["amos_mr"].sequences) == (UNKNOWN, {})
    assert rows["amos_mr"].tokens == rows["amos_ct"].tokens[:13]


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize(
    ("system", "weights", "printed"),
    [
        ("hermes-r", 60_884_998, 59_612_032),
        ("hermes-m", 47_129_990, 44_497_600),
        ("dodnet", 40_621_424, None),
        ("multitalent", 40_563_252, None),
        ("multi-decoder", 225_528_735, None),
    ],
)
def test_sizes_of_the_study(name, system, weights, printed):
    preset = load_preset(name).of(system)
    model = weightless(lambda: new_model(preset, known_of(preset)))
    assert count_weights(model) == weights
    if isinstance(model, HermesModel):
        assert weights_as_printed(model.network) == printed
    if system == "multi-decoder":
        assert len(model.known.entries) == 11


@pytest.mark.parametrize("name", ["demo", "small", "smoke", "real"])
def test_presets_that_do_not_say_it_keep_their_identity(name):
    """Neither key is in what digests are made of and checkpoints hold."""
    presets = load_preset(name)
    assert "sequences" not in presets.model_dump()
    preset = presets.of("hermes-r")
    assert "sequences" not in preset.model_dump_json()
    assert "spare_tasks" not in preset.model_dump_json()


def small(**changes: object) -> Preset:
    values = load_preset("smoke").of("hermes-r").model_dump()
    values["network"] |= {"spare_tasks": 1}
    return Preset.model_validate(values | {"sequences": CHAOS, **changes})


def test_a_checkpoint_keeps_which_sequences_are_one_modality():
    preset = small()
    scope = {"chaos_mr": ["liver"], "dlbs": ["gray matter"], "mnms": ["myocardium"]}
    known = catalogue(scope, {}, {"chaos_mr": list(CHAOS), "dlbs": ["T1"]}, preset.sequences)
    assert known.modalities == ("T1", "T2", "cine")
    torch.manual_seed(0)
    content = new_model(preset, known).content()
    model = model_from(content, Path("checkpoint.pt"))
    assert model.preset.sequences == CHAOS
    asked = [
        int(model.prompts(model.rows_of(entry), name)[0, 1])
        for entry, name in [
            ("chaos_mr", "t1in"), ("chaos_mr", "t1out"), ("chaos_mr", "t2spir"), ("dlbs", None),
            ("mnms", "cine"), ("chaos_mr", None),
        ]
    ]  # fmt: skip
    assert asked == [0, 0, 1, 0, 2, UNKNOWN]
    tables = model.network.priors[0]
    assert (len(tables.tasks), len(tables.modalities)) == (3 + 1 + 1, 3 + 1)
    # The row that no task has is in no table of likeness.
    found = similarities(model.network, model.known)
    assert set(found.query("kind == 'task'")["prior"]) == {
        "chaos_mr: liver", "dlbs: gray matter", "mnms: myocardium",
    }  # fmt: skip


def test_a_new_entrys_sequences_are_the_upstreams_rows_of_the_same_name():
    old = catalogue({"msd_spleen": ["spleen"], "dlbs": ["gray matter"]}, {}, {"dlbs": ["T1"]})
    new = catalogue({"chaos_mr": ["liver"]}, {}, {"chaos_mr": list(CHAOS)}, CHAOS)
    assert old.modalities == ("ct", "T1")
    entry = extended(old, new).of("chaos_mr")
    assert entry.sequences == {"t1in": 1, "t1out": 1, "t2spir": UNKNOWN}


def test_a_card_names_the_sequences_that_its_scans_may_have():
    assert find_card("chaos_mr").sequences == tuple(CHAOS)
    assert find_card("dlbs").sequences == ("T1",)
    assert find_card("msd_prostate").sequences == ("t2", "adc")
    assert find_card("amos_mr").sequences == ()
    assert find_card("acdc").sequences == (), "its frames have the numbers of the files"
