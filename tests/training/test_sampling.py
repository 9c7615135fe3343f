"""The strategies of section 5 against values worked out by hand, and the report against draws."""

import csv
import math
import tracemalloc
from collections import Counter
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from toy_world import toy_preset, write_store

from evaluation.training.crops import CropDataset
from evaluation.training.draws import CropDraws, training_groups
from evaluation.training.empty_views import empty_views, views_text
from evaluation.training.sampling import (
    choose_centre,
    choose_prompts,
    class_chances,
    classes_shown,
    group_weight,
    joined_chances,
    place_crop,
    volume_repeats,
    volume_weight,
)
from evaluation.training.sampling_report import (
    mean_chances,
    planned_groups,
    run_groups,
    shares,
    write_report,
)
from evaluation.training.settings import Sampling
from evaluation.training.store import (
    ClassPoints,
    PreparedEntry,
    PreparedIndex,
    PreparedRecord,
    read_index,
)
from evaluation.training.tasks import ClassTasks
from evaluation.training.windows import window_starts
from evaluation.volumes.segmentation import ClassPlace, Part
from evaluation.workflow.configuration import load_config
from sat.config import load_preset

PATCH = (288, 288, 96)
ROOT = Path(__file__).resolve().parents[2]


def _record(points: dict[str, ClassPoints], shape=(40, 8, 8)) -> PreparedRecord:
    return PreparedRecord(
        source="", dataset="d", case="c", modality="ct", shape=shape, classes={},
        not_annotated=(), points=points, label_size=shape,
    )  # fmt: skip


def _sampling(**changes) -> Sampling:
    return Sampling(entry_balance="sqrt", **changes)


def test_weight_of_a_volume_and_of_its_dataset():
    assert volume_weight(25) == pytest.approx(0.2)
    assert group_weight([1.0] * 25, "sqrt") == pytest.approx(5.0)
    assert group_weight([1.0, 3.0, 2.0, 2.0], "sqrt", 2.0) == pytest.approx(2 * 8 / 2)
    assert group_weight([1.0] * 25, "equal", 4.0) == 4.0
    assert group_weight([1.0, 3.0], "cases", 2.0) == 8.0
    assert group_weight([1.0] * 25, "sqrt-classes", 2.0, n_classes=9) == 6.0


@pytest.mark.parametrize(
    ("size", "n_classes", "expected"),
    [
        ((100, 100, 30), 1, 1),  # less than a patch is not less than once
        ((288, 288, 96), 48, 2),  # 1.5 classes of 32, rounded to the even number
        ((600, 300, 200), 64, 9),  # 2.083 * 1.042 * 2.083 * 2 = 9.04
        ((100, 432, 96), 20, 2),  # 1 * 1.5 * 1 * 1
    ],
)
def test_repeats_of_a_volume(size, n_classes, expected):
    assert volume_repeats(size, n_classes, PATCH) == expected


def test_curriculum_is_a_function_of_the_step():
    weights, joins = [1.0, 3.0, 4.0], [0.0, 0.0, 0.5]
    assert joined_chances(weights, joins, 0.0).tolist() == [0.25, 0.75, 0.0]
    assert joined_chances(weights, joins, 0.499).tolist() == [0.25, 0.75, 0.0]
    assert joined_chances(weights, joins, 0.5).tolist() == [0.125, 0.375, 0.5]
    # Where all are late, the first of them begin.
    assert joined_chances([1.0, 1.0], [0.5, 0.8], 0.0).tolist() == [1.0, 0.0]


def test_a_late_entry_is_drawn_from_its_step_on(tmp_path, toy):
    preset = toy.preset(steps=40)
    toy.store(tmp_path, preset)
    (early,) = training_groups(
        tmp_path / "prepared", read_index(tmp_path / "prepared"), preset.training
    )
    late = type(early)(**{**vars(early), "dataset": "late", "joins": 0.6})
    draws = CropDraws([early, late], preset.training.sampling, 40, seed=1)
    seen = [[draws.draw(step, n).group.dataset for n in range(0, 24, 2)] for step in range(40)]
    assert all(set(names) == {"toy"} for names in seen[:24])
    n_late = sum(names.count("late") for names in seen[24:])
    assert abs(n_late - 96) < 4 * math.sqrt(192 / 4), "half of 16 steps of 12 pairs"
    again = CropDraws([early, late], preset.training.sampling, 40, seed=1)
    assert again.draw(30, 5).group.dataset == draws.draw(30, 5).group.dataset
    # `crops_per_group` is two: both crops of a pair are of one entry.
    pairs = [[draws.draw(39, n + i).group.dataset for i in (0, 1)] for n in range(0, 200, 2)]
    assert all(a == b for a, b in pairs)
    assert mean_chances([early, late], 40) == pytest.approx([(24 + 16 / 2) / 40, 16 / 2 / 40])


def test_class_first_and_size():
    record = _record({
        "small": ClassPoints(start=0, count=10, voxels=10),
        "large": ClassPoints(start=10, count=100, voxels=90),
    })  # fmt: skip
    chances = class_chances(record, ["small", "large", "absent"], 0.5)
    assert chances == pytest.approx({"small": 0.25 + 0.05, "large": 0.25 + 0.45})
    assert class_chances(record, ["absent"], 0.5) == {}


def test_more_weight_on_regions_with_more_targets():
    # Two classes beside each other, one far away: crops show two, two and one of them.
    points = np.array([[4, 4, 4], [5, 4, 4], [30, 4, 4]], dtype=np.uint16)
    names = ["a", "b", "far"]
    record = _record({n: ClassPoints(start=i, count=1, voxels=1) for i, n in enumerate(names)})
    size = (8, 8, 8)
    shown = classes_shown(points, record, names, points.astype(np.int64), size)
    assert shown.tolist() == [2, 2, 1]
    random, n = np.random.default_rng(0), 3000
    for candidates, expected in ((1, 1 / 3), (2, 1 / 9 + 4 / 9 / 3)):
        sampling = _sampling(density_candidates=candidates, class_first_p=1.0)
        found = [choose_centre(points, record, names, sampling, size, random, 1) for _ in range(n)]
        assert all(centre == tuple(points[names.index(name)]) for centre, name in found)
        share = sum(name == "far" for _, name in found) / n
        assert abs(share - expected) < 4 * math.sqrt(expected * (1 - expected) / n)


def test_prompts_with_absent_classes_among_them():
    names = [f"c{i}" for i in range(60)]
    random = np.random.default_rng(0)
    sampling = _sampling(max_prompts=32, absent_ratio=0.5)
    for present, absent in ((10, 5), (3, 2), (30, 2), (40, 0), (0, 32)):
        shown = {name: i < present for i, name in enumerate(names)}
        chosen = choose_prompts(names, shown, sampling, random)
        assert len(set(chosen)) == len(chosen)
        asked = [shown[name] for name in chosen]
        assert (sum(asked), len(asked) - sum(asked)) == (min(present, 32), absent)
        assert asked == sorted(asked, reverse=True), "present ones come first"
    every = choose_prompts(names, dict.fromkeys(names, False), _sampling(), random)
    assert every == names


def test_crops_stay_inside_the_volume():
    random = np.random.default_rng(0)
    crop, offset = place_crop((40, 10, 8), (16, 16, 8), (39, 5, 4), 0.0, random)
    assert crop == (slice(24, 40), slice(0, 10), slice(0, 8))
    assert offset == (0, 0, 0)


def test_subsets_of_totalsegmentator_are_groups():
    config = load_config(ROOT / "config" / "paper.yaml")
    preset = load_preset("nano-code")
    groups = planned_groups(config, preset)
    assert len({group.dataset for group in groups}) == 32
    parts = [group for group in groups if group.dataset == "totalsegmentator"]
    assert len(parts) == 5
    assert len({name for group in parts for name in group.classes}) == sum(
        len(group.classes) for group in parts
    )
    chances = dict(zip([g.name for g in groups], mean_chances(groups, 200_000), strict=True))
    assert sum(chances.values()) == pytest.approx(1.0)
    # 1/sqrt(N) for each volume; both have fewer than 32 classes.
    n = {group.dataset: len(group.cases) for group in groups}
    assert chances["word"] / chances["sliver07"] == pytest.approx(
        math.sqrt(n["word"] / n["sliver07"])
    )
    rows = shares(groups, preset, seed=0, draws=0)
    levels = Counter()
    for row in rows:
        levels[row.level] += row.expected
    assert levels["dataset"] == pytest.approx(1.0)
    assert levels["group"] == pytest.approx(1.0)


def test_report_sums_to_one_and_agrees_with_draws(tmp_path, toy):
    preset = toy.preset()
    toy.store(tmp_path, preset)
    store, n = tmp_path / "prepared", 4000
    rows = shares(run_groups(store, preset), preset, seed=0, draws=n, store=store)
    for level in ("dataset", "group", "class"):
        mine = [row for row in rows if row.level == level]
        assert sum(row.expected for row in mine) == pytest.approx(1.0)
        assert sum(row.simulated for row in mine) == pytest.approx(1.0)
        for row in mine:
            deviation = math.sqrt(row.expected * (1 - row.expected) / n)
            assert abs(row.simulated - row.expected) <= 4 * deviation, row
    # Two balls and their union, of class-first halves and sizes.
    assert {row.name for row in rows if row.level == "class"} == {"left ball", "right ball", "ball"}
    write_report(rows, tmp_path / "sampling.csv")
    with (tmp_path / "sampling.csv").open() as stream:
        assert sum(float(r["expected"]) for r in csv.DictReader(stream)) == pytest.approx(
            3, abs=1e-5
        )


@pytest.mark.parametrize("foreground_p", [1.0, 0.3])
def test_crops_show_as_many_empty_places_as_windows_or_it_is_said(tmp_path, foreground_p):
    sampling = {"foreground_p": foreground_p}
    preset = toy_preset(patch=(8, 8, 8), sampling=sampling)
    inference = preset.inference.model_copy(update={"patch": (8, 8, 8)})
    preset = preset.model_copy(update={"inference": inference})
    write_store(tmp_path, preset, shape=(80, 72, 14))
    store = tmp_path / "prepared"
    (view,) = empty_views(run_groups(store, preset), preset, 0, store)
    # What the windows of the walk show, counted in the masks themselves.
    empty = []
    for case in sorted(store.glob("toy/case*")):
        layer = np.load(case / "layers.npy")[0]
        starts = (window_starts(n, 8, inference.overlap) for n in layer.shape)
        empty += [not layer[a : a + 8, b : b + 8, c : c + 8].any() for a, b, c in product(*starts)]
    assert view.windows == pytest.approx(np.mean(empty))
    assert 0.3 < view.windows < 0.9
    if foreground_p == 1:
        assert view.crops == 0
        assert view.differ
    else:
        assert 0.7 * view.windows * 0.5 < view.crops < view.windows
    assert ("crops show less background" in views_text([view])) is view.differ


def test_the_papers_shares_and_the_later_codes() -> None:
    """Scans of one patch: 1 / sqrt(N) * R in the paper, doubled and split in five in the code."""
    shown = {}
    for name in ("nano", "nano-code"):
        preset = load_preset(name)
        groups = planned_groups(load_config(ROOT / "config/paper.yaml"), preset)
        rows = shares(groups, preset, 0, 0)
        of = {row.dataset: row.expected for row in rows if row.level == "dataset"}
        shown[name] = 100 * of["totalsegmentator"]
        assert sum(of.values()) == pytest.approx(1)
    assert shown == {
        "nano": pytest.approx(25.4, abs=0.2),
        "nano-code": pytest.approx(45.2, abs=0.2),
    }


def test_a_crop_of_a_large_volume_is_read_alone(tmp_path, toy):
    """The volume lies in a file with holes; reading all of it would take its whole size."""
    shape, patch = (512, 512, 256), (32, 32, 16)
    preset = toy.preset(patch=patch, batch=1)
    folder = tmp_path / "large" / "case"
    folder.mkdir(parents=True)
    for name, dtype, of in (("image", np.float16, shape), ("layers", np.uint8, (1, *shape))):
        np.lib.format.open_memmap(folder / f"{name}.npy", "w+", dtype, of).flush()
    np.save(folder / "points.npy", np.array([[300, 200, 100]], dtype=np.uint16))
    place = ClassPlace(kind="annotated", parts=(Part(layer=0, values=(1,)),))
    record = PreparedRecord(
        source="", dataset="large", case="case", modality="ct", shape=shape,
        classes={"dot": place}, not_annotated=(), label_size=(1, 1, 1),
        points={"dot": ClassPoints(start=0, count=1, voxels=1)},
    )  # fmt: skip
    (folder / "record.json").write_text(record.model_dump_json())
    entry = PreparedEntry(
        dataset="large", modality="ct", classes=("dot",), specialists={}, cases=("case",)
    )
    index = PreparedIndex(format=1, grid=preset.grid, entries=(entry,))
    groups = training_groups(tmp_path, index, preset.training)
    tasks = ClassTasks({"large": {"dot": 0}}, preset.training.sampling)
    dataset = CropDataset(tmp_path, groups, tasks, preset, seed=0)
    dataset[0]
    tracemalloc.start()
    (batch,) = dataset[1]
    _, crop = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    np.load(folder / "layers.npy")
    _, whole = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert batch.image.shape == (1, 1, *patch)
    voxels = math.prod(patch)
    assert crop < 30 * voxels < 1e6
    assert whole > math.prod(shape), "the measure sees a volume that is loaded"
