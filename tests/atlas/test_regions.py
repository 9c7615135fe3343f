"""Pooling, gradients, sampling and retrieval of stage 2."""

import math
from itertools import product

import numpy as np
import pytest
import torch

from evaluation.errors import BenchError
from evaluation.training.draws import training_groups
from evaluation.training.store import read_index
from sat.atlas.model import AtlasModel
from sat.atlas.pooling import pool_regions, scale_masks
from sat.atlas.regions import concepts_of, encode_regions, same_regions
from sat.atlas.retrieval import count_retrieval
from sat.atlas.sampling import label_balanced, label_repeats, region_groups, volume_chances
from sat.atlas.setup import prepare_atlas
from sat.atlas.training import measure_atlas, train_atlas
from sat.knowledge.contrastive import contrastive_loss
from sat.prompts.book import PromptBook


def test_pooling_equals_a_loop_over_voxels():
    torch.manual_seed(0)
    strides = ((1, 1, 1), (2, 2, 2), (2, 2, 1))
    shapes = ((8, 8, 4), (4, 4, 2), (2, 2, 2))
    scales = [torch.randn(2, c, *shape) for c, shape in zip((3, 5, 7), shapes, strict=True)]
    masks = torch.rand(4, 8, 8, 4) < 0.1
    masks[3] = False
    masks[3, 7, 0, 3] = True
    sample = torch.tensor([1, 0, 1, 0])
    found = pool_regions(scales, scale_masks(masks, strides), sample)
    total = np.array([1, 1, 1])
    wanted = []
    for features, stride in zip(scales, strides, strict=True):
        total = total * stride
        rows = []
        for region, crop in enumerate(sample.tolist()):
            inside = []
            for at in product(*(range(n) for n in features.shape[2:])):
                block = tuple(slice(a * t, (a + 1) * t) for a, t in zip(at, total, strict=True))
                if masks[region][block].any():
                    inside.append(features[(crop, slice(None), *at)])
            rows.append(torch.stack(inside).mean(0))
        wanted.append(torch.stack(rows))
    torch.testing.assert_close(found, torch.cat(wanted, dim=1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scales", ["all", "bottleneck"])
def test_gradients_reach_the_encoder_and_not_the_texts(toy, scales):
    preset = toy.preset(scales=scales)
    embeddings = torch.randn(5, 12, requires_grad=True)
    torch.manual_seed(1)
    model = AtlasModel(preset, preset.atlas, embeddings.detach())
    image, masks = torch.randn(2, 1, 16, 16, 8), torch.rand(5, 16, 16, 8) < 0.2
    regions = model.regions(image, masks, torch.tensor([0, 0, 1, 1, 1]))
    assert regions.shape == (5, 16)
    contrastive_loss(regions, model.texts(embeddings)).backward()
    assert embeddings.grad is None
    learning = {n: p for n, p in model.named_parameters() if p.requires_grad}
    assert any(name.startswith("encoder.stages.0.") for name in learning)
    for name, parameter in learning.items():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_label_and_volume_chances_of_known_values():
    assert label_repeats({("ct", "a"): 9, ("ct", "b"): 2, ("ct", "c"): 7}) == {
        ("ct", "a"): 3, ("ct", "b"): 1, ("ct", "c"): 3,
    }  # fmt: skip
    liver, spleen = ("ct", "liver"), ("ct", "spleen")
    # Three volumes with a liver: two of a set of four, one of a set of one, which has a spleen too.
    labels = [[liver], [liver], [], [], [liver, spleen]]
    volumes, chance = volume_chances(labels, [4, 4, 4, 4, 1])
    assert chance == {liver: pytest.approx(2 / 3), spleen: pytest.approx(1 / 3)}
    assert volumes[:4] == pytest.approx([2 / 3 * 0.25, 2 / 3 * 0.25, 0, 0])
    assert volumes[4] == pytest.approx(2 / 3 * 0.5 + 1 / 3)
    assert math.fsum(volumes) == pytest.approx(1)


def test_groups_carry_the_label_chances(tmp_path, toy):
    preset = toy.preset()
    toy.store(tmp_path, preset)
    store = tmp_path / "prepared"
    groups = training_groups(store, read_index(store), preset.training)
    kept = {"toy_ct": {"toy_ct0", "toy_ct2"}, "toy_mri": {"toy_mri1"}}
    ct, mri = label_balanced(region_groups(groups, kept, 1), 1)
    assert [r.case for r in ct.cases] == ["toy_ct0", "toy_ct2"]
    # Labels: three of CT with two volumes each, two of MR with one: five repeats of one each.
    assert (ct.weight, mri.weight) == (pytest.approx(3 / 5), pytest.approx(2 / 5))
    assert ct.case_weights == (pytest.approx(0.5), pytest.approx(0.5))
    with pytest.raises(BenchError, match="no class is large enough"):
        region_groups(groups, kept, 10**6)


def test_one_text_is_one_concept_whatever_the_modality(toy):
    keys = (("ct", "liver"), ("ct", "spleen"), ("mri", "liver"))
    concepts = concepts_of(toy.preset().prompts, PromptBook(keys, torch.eye(3)))
    assert concepts.of_row.tolist() == [0, 1, 0]
    assert concepts.names == ("liver", "spleen")


def test_retrieval_counts():
    names = ("left kidney", "right kidney", "left rib 1", "left rib 2", "liver", "spleen", "colon")
    similarity = torch.zeros(4, 7)
    similarity[0, 0] = 1
    similarity[1, :2] = torch.tensor([0.9, 0.8])
    similarity[2, 2:4] = torch.tensor([0.5, 0.6])
    # The last region is equally close to all seven texts.
    concept = torch.tensor([0, 1, 2, 4])
    found = count_retrieval(similarity, concept, torch.arange(4), names)
    assert (found.regions, found.texts) == (4, 7)
    assert (found.first, found.first_five) == (1, 3)
    assert (found.sided, found.side_confused) == (2, 1)
    assert (found.in_row, found.neighbour_confused) == (1, 1)
    assert found.report()["recall_at_1"] == 0.25
    # If the first two are the same voxels, both texts are right for both.
    found = count_retrieval(similarity, concept, torch.tensor([0, 0, 1, 2]), names)
    assert found.first == 2


def test_the_same_voxels_of_a_crop_are_one_region():
    masks = torch.zeros(5, 2, 2, 2, dtype=torch.bool)
    masks[:4, 0, 0, 0] = True
    masks[4, 1, 1, 1] = True
    # Left and whole of one crop; another crop; the same crop again; as large, but elsewhere.
    assert same_regions(masks, torch.tensor([0, 0, 1, 0, 0])).tolist() == [0, 0, 2, 0, 4]


def test_regions_learn_to_find_their_texts(tmp_path, toy):
    preset = toy.preset(steps=100, learning_rate=1e-2, validation_part=0.25)
    toy.store(tmp_path, preset, 6)
    run = prepare_atlas(tmp_path, tmp_path / "prepared", preset, 0, toy.book())
    train_atlas(run, progress=False)
    found = measure_atlas(run)
    assert found["after"]["texts"] == 4
    assert found["after"]["recall_at_1"] > 0.8 > found["before"]["recall_at_1"]
    assert found["after"]["side_confusion"] < 0.2
    assert found["after"]["neighbour_confusion"] is None


def test_a_step_without_regions_has_none(tmp_path, toy):
    preset = toy.preset()
    toy.store(tmp_path, preset)
    run = prepare_atlas(tmp_path, tmp_path / "prepared", preset, 0, toy.book())
    model = run.new_model()
    found = encode_regions(model, run.training[0], run.concepts, 10**6)
    assert len(found.vectors) == len(found.concept) == len(found.region) == 0
