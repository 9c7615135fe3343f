"""Scans that show no target: drawn by crops that lie anywhere, never by crops that are centred."""

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from toy_world import CLASSES, toy_preset, toy_scan, train_toy, write_store

from evaluation.training.checkpoints import identity_of, read_checkpoint
from evaluation.training.draws import CropDraws, Group, entry_groups, training_groups
from evaluation.training.empty_views import empty_views
from evaluation.training.prepared_case import prepare_case
from evaluation.training.sampling import choose_centre, group_weight, volume_repeats
from evaluation.training.sampling_report import run_groups, shares
from evaluation.training.settings import Training
from evaluation.training.store import (
    ClassPoints,
    PreparedEntry,
    PreparedRecord,
    read_index,
)
from evaluation.volumes.segmentation import ClassPlace, Part, Segmentation

PLACE = ClassPlace(kind="annotated", parts=(Part(layer=0, values=(1,)),))
SIZE = (8, 8, 8)


def _record(case: str, *, shows: bool, annotated: bool = True, side: int = 20) -> PreparedRecord:
    """A scan with one voxel of the class `spot`, or without any."""
    points = {"spot": ClassPoints(start=0, count=1, voxels=1)} if shows else {}
    return PreparedRecord(
        source="", dataset="d", case=case, modality="ct", shape=(40, 30, 20), points=points,
        classes={"spot": PLACE} if annotated else {}, label_size=(side * shows,) * 3,
        not_annotated=() if annotated else ("spot",),
    )  # fmt: skip


def _group(records: list[PreparedRecord], **sampling: object) -> tuple[Group, Training]:
    training = toy_preset(patch=SIZE, sampling=sampling).training
    entry = PreparedEntry(
        dataset="d", modality="ct", classes=("spot",), specialists={},
        cases=tuple(r.case for r in records),
    )  # fmt: skip
    (group,) = entry_groups(entry, records, training)
    return group, training


def _crops(group: Group, training: Training, n: int) -> Counter[tuple[str, bool]]:
    """Case, and whether the crop is centred on its class."""
    draws, points = CropDraws([group], training.sampling, 1, seed=1), np.full((1, 3), 9, np.uint16)
    found = Counter()
    for number in range(n):
        drawn = draws.draw(0, number)
        _, name = choose_centre(
            points, drawn.record, group.classes, training.sampling, SIZE, drawn.random,
            drawn.centred_p,
        )  # fmt: skip
        found[drawn.record.case, name is not None] += 1
    return found


@pytest.mark.parametrize("part", [1.0, 0.6, 0.0])
def test_centred_crops_are_of_scans_that_show_a_class_and_the_others_of_all(part: float) -> None:
    records = [_record(f"case{i}", shows=i in (1, 4)) for i in range(5)]
    group, training = _group(records, foreground_p=part)
    n = 5000
    found = _crops(group, training, n)
    for record in records:
        shows, centred = bool(record.points), part / 2 if record.points else 0
        for expected, kind in ((centred, True), ((1 - part) / 5, False)):
            count = found[record.case, kind]
            assert abs(count - n * expected) <= 4 * math.sqrt(n * expected * (1 - expected))
            assert count == 0 or kind is False or shows
    assert sum(group.case_weights) == pytest.approx(1)
    assert group.draws_empty == (part < 1)


def test_an_entry_weighs_by_all_its_cases_where_crops_lie_anywhere() -> None:
    records = [_record(f"case{i}", shows=i < 2) for i in range(8)]
    for part, expected in ((1.0, 2.0), (0.0, 8.0), (0.5, 5.0)):
        group, _ = _group(records, foreground_p=part, entry_balance="cases")
        assert group.weight == pytest.approx(expected)
        group, _ = _group(records, foreground_p=part, entry_balance="sqrt")
        assert group.weight == pytest.approx(part * math.sqrt(2) + (1 - part) * math.sqrt(8))
    # 20 of 8 voxels along three axes are sixteen patches; without a label a scan counts once.
    group, _ = _group(records, foreground_p=0.0, entry_balance="cases", volume_repeat=True)
    assert group.weight == pytest.approx(2 * 16 + 6)
    assert group.case_weights[:3] == pytest.approx((16 / 38, 16 / 38, 1 / 38))


@pytest.mark.parametrize("repeat", [False, True])
@pytest.mark.parametrize("balance", ["equal", "cases", "sqrt", "sqrt-classes"])
@pytest.mark.parametrize("part", [1.0, 0.67, 0.5, 0.0])
def test_where_every_case_shows_a_class_the_draws_are_those_of_before(part, balance, repeat):
    """Written out as of version 0.11, exactly: trainings and their resumes hang on it."""
    records = [_record(f"case{i}", shows=True, side=5 + 3 * i) for i in range(7)]
    group, training = _group(
        records, foreground_p=part, entry_balance=balance, volume_repeat=repeat
    )
    repeats = [float(volume_repeats(r.label_size, 1, SIZE)) if repeat else 1.0 for r in records]
    total = sum(repeats)
    chances = tuple(r / total for r in repeats)
    assert (group.cases, group.case_weights) == (tuple(records), chances)
    assert group.weight == group_weight(repeats, balance, 1.0, 1)
    assert not group.draws_empty
    draws, points = CropDraws([group], training.sampling, 9, seed=5), np.full((1, 3), 9, np.uint16)
    for number in range(60):
        step, sample = divmod(number, 7)
        random = np.random.default_rng([5, 1, step, sample])
        record = records[int(random.choice(7, p=chances))]
        if part < 1 and random.random() >= part:
            centre = tuple(
                int(random.integers(max(side - s, 0) + 1)) + s // 2
                for side, s in zip(record.shape, SIZE, strict=True)
            )
        else:
            if random.random() >= 0.5:
                random.choice(1, p=np.ones(1))
            else:
                random.choice(1)
            random.integers(1)
            centre = (9, 9, 9)
        drawn = draws.draw(step, sample)
        found, _ = choose_centre(
            points, drawn.record, ("spot",), training.sampling, SIZE, drawn.random,
            drawn.centred_p,
        )  # fmt: skip
        assert (drawn.record.case, found) == (record.case, centre)
        assert drawn.random.bit_generator.state == random.bit_generator.state


def test_empty_scans_change_nothing_where_all_crops_are_centred() -> None:
    records = [_record(f"case{i}", shows=i % 2 == 1) for i in range(6)]
    mixed, training = _group(records, foreground_p=1.0, entry_balance="sqrt")
    alone, _ = _group(records[1::2], foreground_p=1.0, entry_balance="sqrt")
    assert mixed.weight == alone.weight
    assert _crops(mixed, training, 300) == _crops(alone, training, 300)


def test_a_scan_without_annotation_is_no_empty_one() -> None:
    """Nobody knows what it shows: a network that is told `nothing` learns what may be wrong."""
    records = [_record("shows", shows=True), _record("unknown", shows=False, annotated=False)]
    group, _ = _group(records, foreground_p=0.0)
    assert [record.case for record in group.cases] == ["shows"]
    assert not group.draws_empty


def test_an_entry_that_shows_nothing_is_drawn_alike() -> None:
    group, training = _group([_record(c, shows=False) for c in "ab"], foreground_p=0.5)
    assert group.case_weights == (0.5, 0.5)
    assert not group.draws_empty
    assert {case for case, _ in _crops(group, training, 40)} == {"a", "b"}


def _with_empty_scan(work: Path, preset, n_cases: int = 2) -> Path:
    """The toy store with one more scan, which shows no ball."""
    write_store(work, preset, n_cases)
    store = work / "prepared"
    image, reference = toy_scan(9)
    nothing = Segmentation((np.zeros_like(reference.layers[0]),), reference.affine, CLASSES)
    prepare_case(store / "toy" / "empty", "toy", "empty", "mri", image, nothing, preset.grid)
    index = read_index(store)
    entry = index.entries[0].model_copy(update={"cases": (*index.entries[0].cases, "empty")})
    index = index.model_copy(update={"entries": (entry,)})
    (store / "index.json").write_text(index.model_dump_json())
    return store


@pytest.mark.parametrize("part", [1.0, 0.4])
def test_reports_tell_of_empty_scans(tmp_path: Path, part: float) -> None:
    preset = toy_preset(patch=(8, 8, 8), sampling={"foreground_p": part})
    inference = preset.inference.model_copy(update={"patch": (8, 8, 8)})
    preset = preset.model_copy(update={"inference": inference})
    store, n = _with_empty_scan(tmp_path, preset), 2000
    groups = run_groups(store, preset)
    rows = shares(groups, preset, seed=0, draws=n, store=store)
    classes = {row.name: row for row in rows if row.level == "class"}
    assert sum(row.expected for row in classes.values()) == pytest.approx(1)
    for row in classes.values():
        deviation = math.sqrt(row.expected * (1 - row.expected) / n)
        assert abs(row.simulated - row.expected) <= 4 * deviation, row
    assert ("(none)" in classes) == (part < 1)
    if part < 1:
        assert classes["(none)"].expected == pytest.approx(1 - part)
    # Windows are those of all scans that a prediction meets, whatever is trained on.
    (view,) = empty_views(groups, preset, 0, store)
    (shown,) = training_groups(store, read_index(store), preset.training, {"toy": ("empty",)})
    (without,) = empty_views([shown], preset, 0, store)
    assert view.windows == pytest.approx((2 * without.windows + 1) / 3, abs=0.05)
    assert view.crops == (0 if part == 1 else pytest.approx(view.crops))


@pytest.mark.parametrize(("part", "changes"), [(1.0, False), (0.5, True)])
def test_only_trainings_that_draw_empty_scans_are_others_than_before(
    tmp_path: Path, part: float, changes: bool
) -> None:
    preset = toy_preset(steps=1, sampling={"foreground_p": part})
    write_store(tmp_path / "full", preset, 2)
    _with_empty_scan(tmp_path / "mixed", preset)
    for name, other in (("full", False), ("mixed", changes)):
        work = tmp_path / name
        train_toy(work, preset, seed=3)
        index = read_index(work / "prepared")
        # The identity of version 0.11.
        before = identity_of(preset, 3, preset.training.batch, index, None)
        assert (read_checkpoint(work / "checkpoint.pt")["identity"] != before) == other


def test_a_job_that_looks_again_writes_the_same_checkpoint(tmp_path: Path) -> None:
    """Planning cannot see which cases are empty: the jobs of trainings that are done run again."""
    preset = toy_preset(steps=2, sampling={"foreground_p": 0.5})
    write_store(tmp_path, preset, 2)
    first = train_toy(tmp_path, preset, seed=3)
    content = first.checkpoint.read_bytes()
    first.checkpoint.unlink()  # as the workflow does before a job
    again = train_toy(tmp_path, preset, seed=3)
    assert (again.steps_now, again.checkpoint.read_bytes()) == (0, content)
