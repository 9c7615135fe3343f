"""Options of later releases: multi-scale memory and deep supervision."""

import pytest
import torch
from pydantic import ValidationError

from evaluation.training.counting import count_weights
from sat.architecture.multi_scale import MultiScaleMemory
from sat.architecture.network import SatNetwork
from sat.architecture.supervision import supervised_loss
from sat.config import Loss, NetworkSizes, load_preset
from sat.inference.predict import segment
from sat.model import load_model
from sat.training.losses import segmentation_loss
from sat.training.train import train
from sat.weights import read_checkpoint


def _sizes(preset, **changes: object) -> NetworkSizes:
    return NetworkSizes.model_validate({**preset.network.model_dump(), **changes})


def test_parameters_of_the_released_variants():
    nano = load_preset("nano")
    with torch.device("meta"):
        memory = SatNetwork(_sizes(nano, memory="multi-scale"))
        both = SatNetwork(_sizes(nano, memory="multi-scale", deep_supervision=True))
    assert count_weights(memory) == 109_194_624
    assert count_weights(memory.multi_scale) == 1_967_616
    assert count_weights(both) == 110_277_568
    assert count_weights(both.coarse_heads) == 1_082_944
    for network in (memory, both):
        assert count_weights(network.backbone.encoder) == 40_824_384
        assert count_weights(network.backbone.decoder) == 33_094_656
        assert count_weights(network.transformer_decoder) == 33_094_656
        assert count_weights(network.transformer_decoder_mlp) == 213_312


def test_the_memory_sees_the_mean_of_every_stage_in_a_cell(toy):
    sizes = _sizes(toy.preset(), memory="multi-scale", strides=((1, 1, 1), (2, 2, 1), (2, 2, 2)))
    memory = MultiScaleMemory(sizes).eval()
    scales = [
        torch.randn(2, 8, 8, 12, 4), torch.randn(2, 16, 4, 6, 4), torch.randn(2, 24, 2, 3, 2),
    ]  # fmt: skip
    with torch.no_grad():
        tokens = memory(scales)
        assert tokens.shape == (2, 2 * 3 * 2, 24)
        # The token of cell (1, 2, 0) by hand.
        cell = [
            scales[0][:, :, 4:8, 8:12, 0:2].mean((2, 3, 4)),
            scales[1][:, :, 2:4, 4:6, 0:2].mean((2, 3, 4)),
            scales[2][:, :, 1, 2, 0],
        ]
        expected = memory.projection(torch.cat(cell, dim=1))
    assert torch.allclose(tokens[:, (1 * 3 + 2) * 2], expected, atol=1e-5)


def test_coarser_scales_answer_in_training_only(toy):
    sizes = _sizes(toy.preset(), memory="multi-scale", deep_supervision=True)
    network = SatNetwork(sizes)
    image, queries = torch.randn(2, 1, 16, 16, 8), torch.randn(2, 3, 24)
    outputs = network.train()(image, queries)
    assert [tuple(o.shape) for o in outputs] == [(2, 3, 16, 16, 8), (2, 3, 8, 8, 4)]
    sum(o.square().mean() for o in outputs).backward()
    without = [n for n, p in network.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []
    with torch.no_grad():
        alone = network.eval()(image, queries)
    assert isinstance(alone, torch.Tensor)
    assert alone.shape == (2, 3, 16, 16, 8)


def test_the_loss_weighs_scales_by_halves():
    settings = Loss(dice="per-class", dice_over="all", smooth=1.0)
    targets = (torch.rand(2, 3, 8, 8, 4) > 0.6).to(torch.uint8)
    valid = torch.tensor([[True, True, False], [True, True, True]])
    coarse = targets[:, :, ::2, ::2, ::2]
    outputs = (
        torch.randn(targets.shape, requires_grad=True),
        torch.randn(coarse.shape, requires_grad=True),
    )
    logits, parts = supervised_loss(outputs, targets, valid, settings)
    assert logits is outputs[0]
    full = segmentation_loss(outputs[0], targets, valid, settings)
    half = segmentation_loss(outputs[1], coarse, valid, settings)
    for found, a, b in zip(parts, full, half, strict=True):
        assert float(found.detach()) == pytest.approx(float((2 * a + b).detach()) / 3, rel=1e-5)
    parts.total.backward()
    assert all(float(o.grad.abs().sum()) > 0 for o in outputs)
    # One scale is the plain loss.
    assert supervised_loss(outputs[0], targets, valid, settings)[1].total == full.total


def test_a_training_with_both_predicts_like_any_other(tmp_path, toy):
    values = toy.preset(steps=30, learning_rate=5e-3, checkpoint_every=15).model_dump()
    values["network"] |= {"memory": "multi-scale", "deep_supervision": True}
    preset = type(toy.preset()).model_validate(values)
    toy.store(tmp_path, preset)
    train(tmp_path, preset, seed=0, stop_after=15, progress=False)
    before = read_checkpoint(tmp_path / "last.pt")["network"]
    train(tmp_path, preset, seed=0, progress=False)
    model = load_model(tmp_path / "checkpoint.pt")
    for part in ("multi_scale", "coarse_heads"):
        changed = {k: v for k, v in model.network.state_dict().items() if k.startswith(part)}
        assert changed
        assert all(not torch.equal(value, before[key]) for key, value in changed.items())
    image, reference = toy.scan(99)
    names = [name for _, name in model.book.keys]
    answer = segment(model, image, "mri", names, model.book.embeddings).segmentation
    truth, found = reference.mask("ball"), answer.mask("ball")
    assert 2 * (truth & found).sum() / (truth.sum() + found.sum()) > 0.5


def test_sizes_that_cannot_be_are_refused(toy):
    with pytest.raises(ValidationError, match="memory"):
        _sizes(toy.preset(), memory="none")
    with pytest.raises(ValidationError, match="bottleneck"):
        _sizes(toy.preset(), query_width=48)
    assert _sizes(toy.preset(), query_width=48, memory="multi-scale").query_width == 48
    with pytest.raises(ValidationError, match="deep_supervision"):
        _sizes(toy.preset(), widths=(8, 24), strides=((1, 1, 1), (2, 2, 2)), deep_supervision=True)
