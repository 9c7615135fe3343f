"""Network, grid, loss and presets of the multi-decoder."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from baselines.universal.multi_decoder.config import PRESET_FOLDER, load_preset
from baselines.universal.multi_decoder.costs import model_cost
from baselines.universal.multi_decoder.grid import (
    image_on_grid,
    labels_from_probabilities,
    labels_on_grid,
    normalise,
    own_shape,
)
from baselines.universal.multi_decoder.network import MultiDecoderNet, count_weights
from baselines.universal.multi_decoder.train import check_device, learning_rate, segmentation_loss
from evaluation.config import RunConfig
from evaluation.datasets.registry import find_card
from evaluation.errors import BenchError
from evaluation.files.records import preset_names
from evaluation.workflow.loads import Load


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


def test_a_gpu_preset_stops_at_once_without_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BenchError, match="torch sees none"):
        check_device(load_preset("paper"))


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


def test_grid_keeps_positions_there_and_back():
    x = np.arange(30, dtype=np.float32) + 0.5
    ramp = np.broadcast_to(x[:, None, None], (30, 10, 8)).copy()
    shape = own_shape(ramp.shape, (1.0, 1.0, 1.0), (2.0, 2.0, 2.0))
    assert shape == (15, 5, 4)
    own = image_on_grid(ramp, shape)
    assert own.shape == shape
    # Away from the ends the own voxel k lies at position 2k + 1.
    np.testing.assert_allclose(own[2:-2, 2, 2], 2 * np.arange(2, 13) + 1, atol=0.02)
    labels = (ramp > 12).astype(np.uint8)
    coarse = labels_on_grid(labels, shape)
    chances = torch.from_numpy(np.stack([coarse == 0, coarse == 1]).astype(np.float32))
    back = labels_from_probabilities(chances, labels.shape)
    assert back.dtype == np.uint8
    assert (back == labels).all()


def test_images_are_clipped_and_normalised_or_refused():
    grid = load_preset("demo").grid
    image = np.linspace(-2000, 3000, 1000, dtype=np.float32).reshape(10, 10, 10)
    answer = normalise(image, "ct", grid)
    assert abs(float(answer.mean())) < 1e-4
    assert abs(float(answer.std()) - 1) < 1e-4
    assert (answer[0, 0, :5] == answer.min()).all(), "below the window"
    with pytest.raises(BenchError, match="cannot be normalised"):
        normalise(np.full((4, 4, 4), 7, np.float32), "mri", grid)
    with pytest.raises(BenchError, match="cannot be normalised"):
        normalise(np.full((4, 4, 4), np.nan, np.float32), "ct", grid)


def test_loss_is_zero_for_a_sure_and_right_answer_and_ignores_absent_labels_dice():
    labels = torch.zeros(1, 4, 4, 4, dtype=torch.long)
    labels[0, :2] = 2
    right = torch.nn.functional.one_hot(labels, 4).movedim(-1, 1).float() * 50
    assert float(segmentation_loss(right, labels)) < 1e-4
    wrong = segmentation_loss(torch.zeros_like(right), labels)
    assert float(wrong) > 1
    empty = torch.zeros_like(labels)
    sure = torch.nn.functional.one_hot(empty, 4).movedim(-1, 1).float() * 50
    assert float(segmentation_loss(sure, empty)) < 1e-4


def test_learning_rate_warms_up_and_ends_near_zero():
    training = load_preset("demo").training
    rates = [learning_rate(step, training) for step in range(training.steps)]
    assert max(rates) == pytest.approx(training.learning_rate)
    assert rates[0] < rates[training.warm_up - 1]
    assert 0 < rates[-1] < 0.02 * training.learning_rate
