"""Heads, prompts and losses of the joint systems against their published values."""

import pytest
import torch

from baselines.universal.losses import (
    clip_driven_loss,
    dodnet_loss,
    hermes_loss,
    multitalent_loss,
    tversky,
)
from baselines.universal.networks.clip_driven import TextHead
from baselines.universal.networks.dodnet import TaskHead
from baselines.universal.networks.dynamic import dynamic_head
from baselines.universal.networks.uniseg import PromptFusion, with_task_map
from tests.universal.conformance import deviation, fill, numbers

PAGE = "probes_mechanisms"
EXACT = 1e-9
CONTROLLER = {
    "controller": "controller",
    "reduction.0": "precls_conv.0",
    "reduction.2": "precls_conv.2",
}


@pytest.fixture(autouse=True)
def pages(shared):
    """The values of the pages."""


def check(tables):
    assert max(deviation(tables, PAGE).values()) < EXACT


def test_dynamic_head():
    features, generated = numbers("features", (2, 8, 5, 6, 7)), 0.5 * numbers("params", (2, 162))
    check({"dodnet dynamic head": dynamic_head(features, generated)})


@torch.no_grad()
def test_dodnet_head():
    head = TaskHead(bottleneck=256, width=32, tasks=7, outputs=2)
    fill(head, {**CONTROLLER, "image_vector.norm": "GAP.0"})
    bottleneck = 2 * numbers("bottleneck", (2, 256, 2, 3, 2))
    decoder = 2 * numbers("decoder", (2, 32, 5, 6, 7))
    tasks = torch.tensor([[3], [6]])
    check(
        {
            "dodnet controller output": head.numbers(bottleneck, tasks)[:, 0],
            "dodnet logits": head(bottleneck, decoder, tasks)[:, 0],
        }
    )


@torch.no_grad()
def test_clip_driven_head():
    head = TextHead(512, 64, numbers("organ_embedding", (5, 512)))
    fill(
        head,
        {
            **CONTROLLER,
            "image_vector.norm": "GAP.0",
            "image_to_vision": "GAP.3",
            "text_to_vision": "text_to_vision",
        },
    )
    bottleneck = 2 * numbers("bottleneck", (2, 512, 2, 3, 2))
    decoder = 2 * numbers("decoder", (2, 64, 5, 6, 7))
    classes = torch.arange(5).expand(2, -1)
    check(
        {
            "clip-driven text vectors": head.class_vectors(),
            "clip-driven controller output": head.numbers(bottleneck, classes),
            "clip-driven logits": head(bottleneck, decoder, classes),
        }
    )


@torch.no_grad()
def test_uniseg_prompt():
    fusion = PromptFusion(320, 11, (4, 3, 2))
    blocks = {
        f"blocks.{i}.{ours}": f"fusion_layer.blocks.{i}.{theirs}"
        for i in range(3)
        for ours, theirs in (("conv", "conv"), ("norm", "instnorm"))
    }
    fill(fusion, {**blocks, "prompt": "intermedia_prompt"})
    fusion.prompt.copy_(numbers("intermedia_prompt", (1, 11, 4, 3, 2)))
    bottleneck = 2 * numbers("bottleneck", (2, 320, 4, 3, 2))
    maps = fusion(bottleneck)
    joined = with_task_map(bottleneck, maps, 7)
    assert joined.shape[1] == 321
    assert torch.equal(joined[:, :320], bottleneck)
    check({"uniseg task maps": maps, "uniseg selected map, task 7": joined[:, 320:]})


@pytest.fixture
def logits():
    return 4 * numbers("logits", (2, 4, 6, 5, 4))


@pytest.fixture
def targets():
    masks = (numbers("labels", (2, 4, 6, 5, 4)) > 0.3).double()
    masks[0, 2] = 0
    return masks


def test_hermes_loss(logits, targets):
    valid = torch.tensor([[True, True, True, False], [True, False, False, False]])
    parts = hermes_loss(logits, targets, valid)
    overlap, alpha = tversky(logits, targets)
    check(
        {
            "hermes bce": parts.cross_entropy,
            "hermes dice": parts.dice,
            "hermes alpha (limited)": alpha,
            "hermes 1 - dice": 1 - overlap,
        }
    )


def test_dodnet_loss(logits, targets):
    logits, targets = logits[:, :2], targets[:, :2]
    some = dodnet_loss(logits, targets, torch.tensor([[True, True], [False, True]]))
    none = dodnet_loss(logits, targets, torch.tensor([[False, True], [False, True]]))
    check(
        {
            "dodnet dice": some.dice,
            "dodnet bce": some.cross_entropy,
            "dodnet dice, no organ label in the batch": none.dice,
            "dodnet bce, no organ label in the batch": none.cross_entropy,
        }
    )


def test_clip_driven_loss(logits, targets):
    valid = torch.tensor([[True, False, False, True], [False, True, False, False]])
    parts = clip_driven_loss(logits, targets, valid)
    check(
        {
            "clip-driven dice, whole volume": parts.dice,
            "clip-driven bce": parts.cross_entropy,
        }
    )


def regions(name, shape):
    """Liver (labels 1, 2), tumour (2) and spleen (3) of a label map; image 0 has no spleen."""
    labels = (2 * (numbers(name, shape) + 1)).floor()
    labels[0][labels[0] == 3] = 0
    return torch.cat([(labels == 1) | (labels == 2), labels == 2, labels == 3], dim=1).double()


def test_multitalent_loss(logits):
    outputs = [logits[:, :3], 4 * numbers("logits low", (2, 3, 3, 3, 2))]
    targets = [regions("label map", (2, 1, 6, 5, 4)), regions("label map low", (2, 1, 3, 3, 2))]
    valid = torch.tensor([[True, True, False], [False, False, True]])
    both = multitalent_loss(outputs, targets, valid)
    full = multitalent_loss(outputs[:1], targets[:1], valid)
    tables = {}
    for parts, where in ((both, ""), (full, ", full resolution only")):
        tables[f"multitalent loss{where}"] = parts.total
        tables[f"multitalent ce part{where}"] = parts.cross_entropy
        tables[f"multitalent dice part{where}"] = -parts.dice
    check(tables)


@pytest.mark.parametrize("loss", [hermes_loss, dodnet_loss, clip_driven_loss, multitalent_loss])
def test_a_class_without_annotation_has_no_gradient(loss, logits, targets):
    valid = torch.tensor([[True, False, True, False], [True, False, False, False]])
    logits.requires_grad_()
    given = ([logits], [targets]) if loss is multitalent_loss else (logits, targets)
    loss(*given, valid).total.backward()
    reached = logits.grad.abs().amax(dim=(2, 3, 4))
    assert torch.equal(reached > 0, valid)


@pytest.mark.parametrize("loss", [hermes_loss, dodnet_loss, clip_driven_loss, multitalent_loss])
def test_a_batch_without_any_annotation_is_zero(loss, logits, targets):
    logits.requires_grad_()
    given = ([logits], [targets]) if loss is multitalent_loss else (logits, targets)
    total = loss(*given, torch.zeros(2, 4, dtype=torch.bool)).total
    total.backward()
    assert total == 0
    assert not logits.grad.any()
