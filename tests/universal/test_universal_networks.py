"""The networks of the universal systems: their sizes, and what an annotation can reach."""

import pytest
import torch

from baselines.universal.networks.clip_driven import ClipDriven
from baselines.universal.networks.dodnet import DoDNet
from baselines.universal.networks.hermes import FusedResUNet, hermes_r, weights_as_printed
from baselines.universal.networks.multi_decoder import MultiDecoder
from baselines.universal.networks.multitalent import MultiTalent
from baselines.universal.networks.priors import PriorSizes, task_lists
from baselines.universal.networks.resunet import Decoder, Encoder, ResidualBlock, ResUNet
from baselines.universal.networks.uniseg import UniSeg
from evaluation.errors import BenchError
from evaluation.training.counting import count_weights, weightless

# The eleven entries: 84 classes, 71 of them distinct tasks. The widest has 22.
CLASSES = (13, 11, 22, 2, 2, 15, 13, 1, 1, 3, 1)
SMALL = (4, 4, 8, 8, 8)


@pytest.mark.parametrize(
    ("build", "weights"),
    [
        (Encoder, 22_063_968),
        (Decoder, 18_496_512),
        (lambda: ResUNet(0), 40_560_480),
        (lambda: ResUNet(16), 40_560_480 + 16 * 33),
        (lambda: FusedResUNet().fusions, 17_762_304),
        (lambda: FusedResUNet().fusions[2][0], 2_465_280),
        (lambda: hermes_r(PriorSizes()), 60_884_998),
        (lambda: hermes_r(PriorSizes()).mask_head, 1_223_968),
        (lambda: hermes_r(PriorSizes()).modality_head, 1_193_542),
        (lambda: MultiDecoder({str(i): n + 1 for i, n in enumerate(CLASSES)}), 225_528_735),
        (lambda: MultiDecoder({str(i): n for i, n in enumerate(CLASSES)}), 225_528_372),
        (lambda: DoDNet(71), 40_621_424),
        (lambda: ClipDriven(torch.empty(71, 512)), 40_853_441),
        (lambda: ClipDriven(torch.empty(71, 384)), 40_820_673),
        (lambda: UniSeg([n + 1 for n in CLASSES], (128, 128, 128)), 41_519_956),
        (lambda: MultiTalent(84), 40_563_252),
        (lambda: MultiTalent(71), 40_562_823),
    ],
)
@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_published_sizes(build, weights):
    assert sum(CLASSES) == 84
    assert count_weights(weightless(build)) == weights


@pytest.mark.parametrize("length", [1, 5, 10, 20])
def test_prior_length_is_a_setting(length):
    network = weightless(lambda: hermes_r(PriorSizes(length=length)))
    assert weights_as_printed(network) == 59_612_032 + (length - 10) * 6 * 1_088


@pytest.fixture
def image():
    """Two images, of a size that the steps do not divide."""
    return torch.randn(2, 1, 34, 33, 32, generator=torch.Generator().manual_seed(0))


def reached(weights):
    """Which rows of some weights have a gradient."""
    return weights.grad.flatten(1).abs().amax(1).nonzero().flatten().tolist()


def test_resunet_takes_odd_sizes(image):
    assert ResUNet(3, SMALL)(image).shape == (2, 3, *image.shape[2:])


def test_task_lists_end_with_a_null_token():
    assert task_lists([[4, 5], [7], []]).tolist() == [[4, 5, -1], [7, -1, -1], [-1, -1, -1]]


def test_hermes_reaches_only_the_tasks_and_modalities_of_the_images(image):
    network = hermes_r(PriorSizes(tasks=7, modalities=4, length=3), SMALL)
    tasks = task_lists([[0, 2], [5]])
    valid = tasks >= 0
    answer = network.answer(image, tasks, torch.tensor([1, -1]))
    assert answer.logits.shape == (2, 3, *image.shape[2:])
    assert answer.modality.shape == (2, 4)
    answer.logits[valid].square().mean().backward()
    for tables in network.priors:
        # The null token (6) takes part in the attention; tasks of other images do not.
        assert reached(tables.tasks) == [0, 2, 5, 6]
        assert reached(tables.modalities) == [1, 3]


def test_a_hermes_mask_is_the_likeness_to_its_prototype(image):
    network = hermes_r(PriorSizes(tasks=4, modalities=2, length=2), SMALL).eval()
    tasks, modalities = torch.tensor([[1, 2, -1], [0, -1, -1]]), torch.tensor([0, 0])
    with torch.no_grad():
        answer = network.answer(image, tasks, modalities)
        logits = network(image, tasks, modalities)
    likeness = torch.einsum("bnc,bcxyz->bnxyz", answer.prototypes, answer.feature)
    assert torch.allclose(answer.logits, likeness, atol=1e-5)
    assert torch.equal(answer.logits, logits)
    assert answer.auxiliary is None


def test_a_branch_is_reached_by_its_own_images_only(image):
    network = MultiDecoder({"a": 2, "b": 3, "c": 4}, SMALL)
    answers = network(image, ["b", "b"])
    assert list(answers) == ["b"]
    answers["b"][1].square().mean().backward()
    assert all(weights.grad is None for weights in network.branches["a"].parameters())
    assert all(weights.grad is not None for weights in network.branches["b"].parameters())


def test_a_mixed_batch_answers_as_each_image_by_itself(image):
    network = MultiDecoder({"a": 2, "b": 3}, SMALL).double()
    image = image.double()
    with torch.no_grad():
        answers = network(image, ["b", "a"])
        alone = network(image[1:], ["a"])["a"][1]
    assert answers["b"][0] == [0]
    assert answers["a"][0] == [1]
    assert torch.allclose(answers["a"][1], alone, atol=1e-9)


def test_dodnet_reaches_only_the_tasks_asked_for(image):
    network = DoDNet(5, SMALL)
    network(image, torch.tensor([[0, 3], [0, 3]])).square().mean().backward()
    codes = network.head.controller.weight.grad[:, SMALL[-1] :].flatten(1).abs().amax(0)
    assert codes.nonzero().flatten().tolist() == [0, 3]


@pytest.mark.parametrize("build", [lambda: DoDNet(5, SMALL), lambda: ClipDriven(5, SMALL)])
def test_generated_heads_do_not_depend_on_each_other(build, image):
    network, image = build().double(), image.double()
    with torch.no_grad():
        together = network(image, torch.tensor([[0, 3, 1], [4, 2, 0]]))
        alone = network(image, torch.tensor([[3], [2]]))
    assert together.shape == (2, 3, *image.shape[2:])
    assert torch.allclose(together[:, 1:2], alone, atol=1e-9)
    assert not torch.allclose(together[:, :1], alone, atol=1e-3)


def test_text_is_frozen_and_learnt_vectors_are_not(image):
    classes = torch.tensor([[0, 3], [3, 0]])
    frozen, learnt = ClipDriven(torch.randn(5, 12), SMALL), ClipDriven(5, SMALL)
    before = frozen.head.embedding.clone()
    for network in (frozen, learnt):
        network(image, classes).square().mean().backward()
    assert "head.embedding" not in dict(frozen.named_parameters())
    assert "head.embedding" in frozen.state_dict()
    assert not frozen.head.embedding.requires_grad
    assert torch.equal(frozen.head.embedding, before)
    assert reached(learnt.head.learnt) == [0, 3]


def test_uniseg_reads_the_channels_of_its_task():
    network = UniSeg([2, 5, 3], (36, 32, 48), SMALL)
    logits = network(torch.randn(2, 1, 36, 32, 48), 2)
    assert logits.shape == (2, 3, 36, 32, 48)
    logits.square().mean().backward()
    assert reached(network.head.weight) == [0, 1, 2]
    assert network.fusion.prompt.shape == (1, 3, 2, 2, 3)


def test_uniseg_has_its_prompt_at_8x_on_a_body_of_four_resolutions():
    network = UniSeg([2, 5], (32, 32, 48), SMALL[:4])
    assert network.fusion.prompt.shape == (1, 2, 4, 4, 6)
    assert network(torch.randn(1, 1, 32, 32, 48), 1).shape == (1, 5, 32, 32, 48)


def test_a_block_reads_its_input_once_and_means_both_convolutions():
    block = ResidualBlock(6, 4).double()
    feature = torch.randn(2, 6, 5, 7, 4, dtype=torch.float64)
    apart = block.conv2(block.conv1(feature)) + block.shortcut(feature)
    torch.testing.assert_close(block(feature), apart, rtol=0, atol=1e-12)


def test_uniseg_tells_its_tasks_apart():
    network = UniSeg([2, 2], (32, 32, 48), SMALL).eval()
    image = torch.randn(1, 1, 32, 32, 48)
    with torch.no_grad():
        assert not torch.allclose(network(image, 0), network(image, 1), atol=1e-4)


def test_uniseg_refuses_another_patch(image):
    with pytest.raises(BenchError, match="prompt has the size"):
        UniSeg([2, 3], (32, 32, 48), SMALL)(image, 0)


def test_multitalent_reaches_only_the_channels_of_its_images(image):
    network = MultiTalent(6, SMALL)
    channels = torch.tensor([[0, 1], [4, 1]])
    logits = network(image, channels)
    everything = network(image)
    # Not bit by bit: another number of channels may take another order of sums.
    torch.testing.assert_close(logits[1, 0], everything[1, 4])
    logits.square().mean().backward()
    assert reached(network.head.weight) == [0, 1, 4]
