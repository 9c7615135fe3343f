"""The prepared store and the crops of it."""

import numpy as np
import torch
from toy_world import LEAVES, toy_scan

from evaluation.classes.leaves import leaf_map, places_of
from evaluation.training.crops import CropDataset
from evaluation.training.draws import training_groups
from evaluation.training.grid import crop_and_normalise
from evaluation.training.sampling import choose_centre, place_crop
from evaluation.training.settings import Augmentation
from evaluation.training.store import PreparedRecord, read_index, read_record
from evaluation.training.tasks import ClassTasks, Labels, LabelTasks
from evaluation.volumes.segmentation import pack_masks


def test_a_batch_depends_on_its_number_alone(tmp_path, toy):
    preset = toy.preset(
        augmentation=Augmentation(
            zoom_p=1.0, zoom=(0.8, 1.2), rotation_p=1.0, rotation_degrees=20, noise_p=1.0
        ).model_dump()
    )
    toy.store(tmp_path, preset)
    store = tmp_path / "prepared"
    groups = training_groups(store, read_index(store), preset.training)
    rows = {"toy": {name: i for i, name in enumerate(groups[0].classes)}}
    tasks = ClassTasks(rows, preset.training.sampling)
    first = CropDataset(store, groups, tasks, preset, seed=5)
    second = CropDataset(store, groups, tasks, preset, seed=5)
    first[0], first[1]
    (a,), (b,) = first[7], second[7]
    assert torch.equal(a.image, b.image)
    assert torch.equal(a.targets, b.targets)
    assert a.image.shape == (2, 1, 16, 16, 8)
    assert a.targets.shape == (2, 3, 16, 16, 8)
    assert not torch.equal(a.image, second[8][0].image)
    # The union is the two balls, after every move of image and labels.
    by_name = dict(zip(groups[0].classes, a.targets[0], strict=True))
    assert torch.equal(by_name["ball"], by_name["left ball"] | by_name["right ball"])


def test_prepared_case(tmp_path, toy):
    preset = toy.preset()
    toy.store(tmp_path, preset, n_cases=1)
    folder = tmp_path / "prepared/toy/case0"
    record = read_record(folder)
    assert record is not None
    image = np.load(folder / "image.npy", mmap_mode="r")
    layers = np.load(folder / "layers.npy", mmap_mode="r")
    points = np.load(folder / "points.npy")
    assert image.dtype == np.float16
    assert image.shape == record.shape == layers.shape[1:] == (21, 19, 10)
    assert abs(float(image.astype(np.float64).mean())) < 0.01
    for name, place in record.points.items():
        rows = points[place.start : place.start + place.count]
        values = set(layers[0][tuple(rows.T.astype(int))].tolist())
        assert values == set(record.classes[name].parts[0].values)


def _dataset(work, toy, preset, n=3) -> CropDataset:
    toy.store(work, preset, n)
    store = work / "prepared"
    groups = training_groups(store, read_index(store), preset.training)
    tasks = LabelTasks({"toy": Labels(5, LEAVES, places_of(LEAVES, ["left ball", "right ball"]))})
    return CropDataset(store, groups, tasks, preset, seed=5)


def test_exclusive_labels_of_a_crop_are_those_of_the_case(tmp_path, toy):
    preset = toy.preset(patch=(24, 20, 12), sampling={"class_first_p": 1.0})
    (batch,) = _dataset(tmp_path, toy, preset, 1)[0]
    assert batch.prompts.tolist() == [[5, 6, 7]] * 2
    layers = np.load(tmp_path / "prepared/toy/case0/layers.npy")
    x, y, z = layers.shape[1:]
    for labels in batch.targets[:, 0]:
        assert labels.dtype == torch.uint8
        assert np.array_equal(labels[:x, :y, :z].numpy(), layers[0]), "the scan fits in the crop"
        assert not labels[x:].any()


def test_a_leaf_table_of_a_crop_equals_the_map_of_the_whole(tmp_path):
    random = np.random.default_rng(0)
    masks = {name: random.random((6, 5, 4)) > 0.6 for name in ("left ball", "right ball", "ball")}
    whole = pack_masks(masks, np.eye(4), "annotated")
    names = ("left ball", "right ball")
    expected = leaf_map(whole, LEAVES, names).labels
    tasks = LabelTasks({"d": Labels(0, LEAVES, places_of(LEAVES, names))})
    record = PreparedRecord(
        source="", dataset="d", case="c", modality="ct", shape=(6, 5, 4), points={},
        classes=dict(whole.classes), not_annotated=(), label_size=(6, 5, 4),
    )  # fmt: skip
    crop = np.stack(whole.layers)[:, 1:5, 2:]
    found = tasks.targets(crop, record, names, random)
    assert np.array_equal(found.masks[0].numpy(), expected[1:5, 2:])
    assert set(np.unique(expected)) == {0, 1, 2}


def test_a_label_is_not_valid_where_its_class_has_no_annotation():
    names, random = ("left ball", "right ball"), np.random.default_rng(0)
    whole = pack_masks({"left ball": random.random((6, 5, 4)) > 0.6}, np.eye(4), "annotated")
    tasks = LabelTasks({"d": Labels(0, LEAVES, places_of(LEAVES, names))})
    record = PreparedRecord(
        source="", dataset="d", case="c", modality="ct", shape=(6, 5, 4), points={},
        classes=dict(whole.classes), not_annotated=("right ball",), label_size=(6, 5, 4),
    )  # fmt: skip
    found = tasks.targets(np.stack(whole.layers), record, names, random)
    assert set(found.masks.unique().tolist()) == {0, 1}
    assert found.valid.tolist() == [True, True, False]


def test_a_share_of_the_crops_lies_anywhere(tmp_path, toy):
    """All places alike: a crop of 4 of 21 voxels starts at each of 18 as often as at any other."""
    preset = toy.preset()
    toy.store(tmp_path, preset, 1)
    folder = tmp_path / "prepared/toy/case0"
    record, points = read_record(folder), np.load(folder / "points.npy")
    sampling = preset.training.sampling
    random, n, size = np.random.default_rng(0), 4000, (4, 4, 4)
    starts, centred = [], 0
    for _ in range(n):
        centre, name = choose_centre(points, record, ["left ball"], sampling, size, random, 0.25)
        crop, _ = place_crop(record.shape, size, centre, 0.0, random)
        centred += name is not None
        if name is None:
            starts.append(crop[0].start)
    assert abs(centred / n - 0.25) < 4 * (0.25 * 0.75 / n) ** 0.5
    counts = np.bincount(starts, minlength=18)
    assert len(counts) == 18
    expected = len(starts) / 18
    assert (np.abs(counts - expected) < 5 * expected**0.5).all()


def test_modalities_without_a_unit_are_clipped_to_percentiles(toy):
    image, _ = toy_scan(0)
    grid = toy.preset().grid
    ct, mri = (crop_and_normalise(image.array, m, grid)[0] for m in ("ct", "mri"))
    assert mri.max() < ct.max(), "the brightest voxels are clipped"
    whole = grid.model_copy(update={"crop_above": None})
    dark = image.array - 1000
    assert crop_and_normalise(dark, "mri", whole)[1] == tuple(slice(0, n) for n in dark.shape)
