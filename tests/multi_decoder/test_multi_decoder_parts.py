"""Network, grid, loss and presets of the multi-decoder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from baselines.universal.multi_decoder.config import PRESET_FOLDER, load_preset
from baselines.universal.multi_decoder.costs import model_cost
from baselines.universal.multi_decoder.network import MultiDecoderNet, count_weights
from evaluation.config import RunConfig
from evaluation.datasets.registry import find_card
from evaluation.errors import BenchError
from evaluation.files.records import preset_names
from evaluation.paths import RunPaths
from evaluation.training.store import store_folder
from evaluation.workflow.loads import Load
from sat.config import load_preset as sat_preset


def test_an_image_passes_its_own_entrys_decoder_only(preset):
    torch.manual_seed(0)
    network = MultiDecoderNet(preset().network, {"a": 3, "b": 2})
    image = torch.randn(3, 1, 16, 16, 8)
    mixed = network(image, ("a", "b", "a"))
    assert {name: rows for name, (rows, _) in mixed.items()} == {"a": [0, 2], "b": [1]}
    assert mixed["a"][1].shape == (2, 3, 16, 16, 8)
    alone = network(image[1:2], ("b",))["b"][1]
    torch.testing.assert_close(mixed["b"][1], alone)
    alone.sum().backward()
    touched = [any(p.grad is not None for p in d.parameters()) for d in network.decoders.values()]
    assert touched == [False, True]
    assert all(p.grad is not None for p in network.encoder.parameters())


def test_encoder_is_shared_and_saved_once(preset):
    sizes = preset().network
    one, two = count_weights(sizes, {"a": 2}), count_weights(sizes, {"a": 2, "b": 2})
    encoder = count_weights(sizes, {})
    assert two - one == one - encoder > 0
    state = MultiDecoderNet(sizes, {"a": 2, "b": 2}).state_dict()
    # The library names a tensor twice; a file holds each once.
    assert sum({v.data_ptr(): v.numel() for v in state.values()}.values()) == two


def test_presets_are_valid_and_paper_has_the_published_widths():
    assert preset_names(PRESET_FOLDER) == ["demo", "paper", "smoke"]
    for name in preset_names(PRESET_FOLDER):
        assert load_preset(name).description
    assert load_preset(None).network.widths == (32, 64, 128, 256, 320)
    with pytest.raises(BenchError, match="no multi-decoder preset"):
        load_preset("dmo")


def test_the_demo_reads_the_store_of_sat_nano():
    paths = RunPaths(Path("run"))
    ours, theirs, other = (
        store_folder(paths, preset.grid)
        for preset in (load_preset("demo"), sat_preset("tiny"), load_preset("smoke"))
    )
    assert ours == theirs != other
    assert ours.parent == paths.root / "prepared"


def test_cost_counts_one_network_with_a_decoder_for_each_entry():
    config = RunConfig(
        name="x",
        study="sat",
        data_kind="real",
        raw_root="x",
        entries=["msd_spleen", "acdc"],
        models=["multi-decoder"],
        presets={"multi-decoder": "demo"},
    )
    loads = [Load(find_card(d), 10, 4, 3, 73e3, 216.0, 1, 1) for d in config.entries]
    cost = model_cost(config, loads)
    assert cost.networks == 1
    assert cost.parameters == count_weights(
        load_preset("demo").network, {"msd_spleen": 2, "acdc": 4}
    )
    assert [w.stage for w in cost.work] == ["prepare", "train", "predict", "predict"]
    assert all(w.cpu_seconds > 0 and w.gpu_seconds == 0 for w in cost.work)
