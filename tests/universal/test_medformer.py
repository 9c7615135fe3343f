"""MedFormer and Hermes-M: numbers of weights, published values, and what must hold at any size."""

import math
from functools import partial

import pytest
import torch
from torch import nn

from baselines.universal.networks.bidirectional import (
    BidirectionalAttention,
    MapNorm,
    PatchMerging,
    SemanticMap,
)
from baselines.universal.networks.hermes import weights_as_printed
from baselines.universal.networks.hermes_m import hermes_m
from baselines.universal.networks.medformer import MedFormer, MedFormerBody
from baselines.universal.networks.priors import PriorSizes
from baselines.universal.networks.sizes import MedFormerSizes
from baselines.universal.released import load_released
from evaluation.training.counting import count_weights, weightless
from tests.universal.conformance import deviation, numbers, rows, shape_of, state_dict

close = partial(torch.testing.assert_close, rtol=1e-4, atol=1e-4)  # float32

SMALL = MedFormerSizes(
    widths=(8, 8, 16, 16, 64), encoder_blocks=(1, 1, 2), decoder_blocks=(1, 2), map_tokens=5,
    fusion_width=32, fusion_layers=1,
)  # fmt: skip
TABLES = PriorSizes(tasks=6, modalities=3, length=2)
TASKS = torch.tensor([[4, 1, 3, -1], [0, -1, -1, -1]])
MODALITIES = torch.tensor([1, -1])
STAGES = ("encoder 4x", "encoder 8x", "encoder 16x", "decoder 8x", "decoder 4x")


@pytest.fixture
def small() -> MedFormer:
    torch.manual_seed(2)
    return MedFormer(3, SMALL).eval()


@pytest.fixture
def small_hermes():
    torch.manual_seed(3)
    return hermes_m(TABLES, SMALL).eval()


def _image(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


# Numbers of weights


@pytest.mark.parametrize(
    ("sizes", "auxiliary", "expected"),
    [({}, False, 43_198_640), ({}, True, 43_200_704),
     ({"encoder_blocks": (2, 4, 6)}, False, 43_198_640 - 22_478_336 + 17_865_856)],
)  # fmt: skip
def test_weights_of_medformer(sizes, auxiliary, expected):
    network = weightless(lambda: MedFormer(16, MedFormerSizes(**sizes), auxiliary=auxiliary))
    assert count_weights(network) == expected


def test_weights_of_each_part():
    body = weightless(lambda: MedFormerBody(MedFormerSizes()))
    down = [[body.merging[0], body.encoder_2x]]
    down += [[body.merging[i + 1], body.maps[i], body.encoder[i]] for i in range(3)]
    up = [[body.map_reduction[i], body.decoder[i]] for i in range(2)]
    parts = [[body.stem], *down, [body.map_fusion], *up, [body.decoder_2x], [body.decoder_1x]]
    assert [sum(map(count_weights, part)) for part in parts] == [
        56_160, 465_664, 1_506_560, 8_439_808, 22_478_336, 1_683_840,
        6_405_568, 918_016, 995_328, 248_832,
    ]  # fmt: skip


def test_weights_of_hermes_m():
    network = weightless(lambda: hermes_m(PriorSizes()))
    assert count_weights(network) == 47_129_990
    assert weights_as_printed(network) == 44_497_600
    assert count_weights(network.body) == 43_198_112 + 10_240
    assert count_weights(network.body.encoder[2][3]) == 2_306_880


# The published values


def _watched(body: nn.Module) -> dict[str, torch.Tensor]:
    """A table that the next forward pass fills with what each stage of the body answers."""
    seen: dict[str, torch.Tensor] = {}

    def watch(module: nn.Module, place: str, *kinds: str) -> None:
        def keep(_module, _given, answer):
            values = answer if isinstance(answer, (tuple, list)) else [answer]
            seen.update({place + kind: v for kind, v in zip(kinds, values, strict=False)})

        module.register_forward_hook(keep)

    watch(body.stem, "stem", "")
    watch(body.encoder_2x, "encoder 2x", "")
    watch(body.merging[1], "encoder 4x after patch merging", "")
    watch(body.maps[0], "encoder 4x fresh map", "")
    for stage, place in zip([*body.encoder, *body.decoder], STAGES, strict=True):
        watch(stage, place, "", " map", " posterior tokens")
    fused = [f"fused map of encoder {level}" for level in ("4x", "8x", "16x")]
    watch(body.map_fusion, "", *fused)
    watch(body.decoder_2x, "decoder 2x", "")
    watch(body.decoder_1x, "decoder 1x", "")
    return seen


@torch.no_grad()
def test_medformer_gives_the_published_values():
    network = load_released("medformer", state_dict("medformer"))
    seen = _watched(network.body)
    answer = network.answer(numbers("image", (1, 1, 32, 48, 32)))
    del seen["decoder 4x map"]  # nothing reads it
    tables = {
        place: value.transpose(1, 2).unflatten(2, (4, 4, 4)) if "map" in place else value
        for place, value in seen.items()
        if "posterior" not in place
    }
    tables |= {"logits": answer.logits, "auxiliary logits": answer.auxiliary}
    assert max(deviation(tables, "probes_medformer").values()) < 1e-9


@pytest.mark.long
@torch.no_grad()
def test_hermes_m_gives_the_published_values():
    network = load_released("hermes_m", state_dict("hermes_m"))
    seen = _watched(network.body)
    tasks = torch.tensor([[4, 5, 6, 18, -1], [64, 65, 66, -1, -1]])
    image = numbers("image", (2, 1, 32, 48, 32))
    answer = network.answer(image, tasks, torch.tensor([0, -1]))
    tables = {
        "logits": answer.logits,
        "auxiliary logits": answer.auxiliary,
        "prototypes": answer.prototypes,
        "modality logits": answer.modality,
        **seen,
    }
    assert max(deviation(tables, "probes_hermes_m").values()) < 1e-9


# A release without the auxiliary output


def test_the_auxiliary_output_may_be_missing():
    release = {
        row["key"]: torch.empty(shape_of(row["shape"]), device="meta")
        for row in rows("keys_medformer")
        if row["part"] != "training"
    }
    network = load_released("medformer", release)
    assert count_weights(network) == 43_198_640
    assert network.auxiliary_head is None


# What must hold at any size


@torch.no_grad()
def test_bidirectional_attention_is_two_softmaxes_of_one_score_matrix():
    torch.manual_seed(0)
    channels, heads, voxels = 64, 2, (2, 3, 2)
    attention = BidirectionalAttention(channels, channels, project_tokens=False)
    x, tokens = _image(1, channels, *voxels), _image(1, 7, channels)
    feature, updated = attention(x, tokens)
    joint = attention.feature_in(x)[0].flatten(1).T
    (voxel_query, voxel_value), (token_query, token_value) = (
        part.chunk(2, dim=1) for part in (joint, attention.tokens_in(tokens)[0])
    )
    by_voxel, by_token = torch.zeros_like(voxel_query), torch.zeros_like(token_query)
    for head in range(heads):
        mine = slice(head, None, heads)  # channel = place * heads + head
        scores = voxel_query[:, mine] @ token_query[:, mine].T / math.sqrt(channels / heads)
        by_voxel[:, mine] = scores.softmax(dim=1) @ token_value[:, mine]
        by_token[:, mine] = scores.T.softmax(dim=1) @ voxel_value[:, mine]
    expected = attention.feature_out(by_voxel.T.unflatten(1, voxels)[None])
    close(feature, expected)
    close(updated[0], by_token)


@torch.no_grad()
def test_a_token_of_the_map_is_a_weighted_mean_of_voxels():
    fresh = SemanticMap(4, 3)
    nn.init.zeros_(fresh.scores.weight)
    x = _image(2, 4, 3, 4, 5)
    expected = fresh.values(x).mean(dim=(2, 3, 4))
    close(fresh(x), expected[:, None].expand(2, 3, 4))


def test_the_map_norm_takes_each_channel_over_all_tokens():
    normalised = MapNorm()(3 * _image(2, 9, 4) + 5)
    close(normalised.mean(dim=1), torch.zeros(2, 4))
    spread = normalised.var(dim=1, unbiased=False)
    close(spread, torch.ones(2, 4))


@torch.no_grad()
def test_patch_merging_joins_the_eight_voxels_of_a_cube():
    merging = PatchMerging(1, 8)
    merging.norm, merging.reduction = nn.Identity(), nn.Identity()
    cube = torch.arange(8.0).view(1, 1, 2, 2, 2)
    assert merging(cube).flatten().tolist() == list(range(8))


@torch.no_grad()
def test_a_size_that_is_no_multiple_of_16_is_filled_with_zeros(small):
    image = _image(2, 1, 20, 33, 40)
    padded = nn.functional.pad(image, (0, 8, 0, 15, 0, 12))
    answer = small.answer(image)
    assert answer.logits.shape == answer.auxiliary.shape == (2, 3, 20, 33, 40)
    close(answer.logits, small(padded)[:, :, :20, :33, :40])
    close(small(image), answer.logits)


@torch.no_grad()
def test_hermes_m_takes_a_size_that_is_no_multiple_of_16(small_hermes):
    answer = small_hermes.answer(_image(2, 1, 20, 33, 17), TASKS, MODALITIES)
    assert answer.logits.shape == answer.auxiliary.shape == (2, 4, 20, 33, 17)
    assert answer.modality.shape == (2, 3)


@torch.no_grad()
def test_masks_follow_the_order_of_the_tasks(small_hermes):
    image = _image(2, 1, 32, 32, 32)
    order = [2, 3, 0, 1]
    logits = small_hermes(image, TASKS, MODALITIES)
    turned = small_hermes(image, TASKS[:, order], MODALITIES)
    close(turned, logits[:, order])
    alone = small_hermes(image[1:], TASKS[1:], MODALITIES[1:])
    close(alone, logits[1:])


@torch.no_grad()
def test_the_modality_changes_the_masks(small_hermes):
    image = _image(2, 1, 32, 32, 32)
    known, other = (small_hermes(image, TASKS, torch.tensor([m, -1])) for m in (0, 1))
    assert (known[0] - other[0]).abs().max() > 1e-3
    close(known[1], other[1])


def test_everything_in_hermes_m_learns(small_hermes):
    small_hermes.train()
    answer = small_hermes.answer(_image(2, 1, 32, 32, 32), TASKS, MODALITIES)
    (answer.logits.square().mean() + answer.auxiliary.square().mean()).backward()
    still = {
        name
        for name, weights in small_hermes.named_parameters()
        if weights.grad is None or not weights.grad.any()
    }
    assert {name.split(".")[0] for name in still} == {"modality_head"}
    used = small_hermes.priors[0].tasks.grad.abs().sum(dim=1) > 0
    assert used.tolist() == [True, True, False, True, True, True]
