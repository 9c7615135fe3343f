"""The table `confusions` of a run, for any model, and what is judged again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evaluation.cases import CaseRecord, read_case_record, write_case
from evaluation.config import RunConfig, freeze, load_frozen
from evaluation.confusions import shards
from evaluation.files.identity import ask_again
from evaluation.models.running import predict_shard
from evaluation.paths import RunPaths
from evaluation.schema import CONFUSIONS, read_table, to_arrow
from evaluation.scoring.shards import measure_shard
from evaluation.tables.confusions import confusion_table
from evaluation.tables.run_tables import aggregate_run, expected_of
from evaluation.volumes.image_files import Volume, write_volume
from evaluation.volumes.segmentation import Segmentation, pack_masks

ENTRY, PLAIN = "acdc", "msd_spleen"
LEFT, RIGHT = "left ventricle cavity", "right ventricle cavity"
CASES = ("patient001_frame01", "patient001_frame12", "patient002_frame01")
SHAPE, AFFINE = (12, 6, 6), np.eye(4)
CARD = """\
id: {model}
title: Mine
description: x
citation: x
licence: x
adapter:
  kind: prediction-folder
  folder: predictions/mine
  labels: {{acdc: {{{left}: 1, {right}: 2}}, msd_spleen: {{spleen: 1}}}}
"""


def labels_of(swapped: bool = False) -> np.ndarray:
    labels = np.zeros(SHAPE, np.uint8)
    labels[1:4, 1:5, 1:5] = 2 if swapped else 1
    labels[7:10, 1:5, 1:5] = 1 if swapped else 2
    return labels


def reference_of(labels: np.ndarray, entry: str) -> Segmentation:
    names = [LEFT, RIGHT] if entry == ENTRY else ["spleen"]
    masks = {name: labels == i + 1 for i, name in enumerate(names)}
    return pack_masks(masks, AFFINE, "annotated")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three test cases of two patients of ACDC, one of the spleen, and a model of the user's."""
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "results" / "toy"
    paths = RunPaths(run)
    config = RunConfig(
        name="toy", study="sat", data_kind="real", raw_root="raw", entries=[ENTRY, PLAIN],
        models=["mine", "oracle"], classes={ENTRY: [LEFT, RIGHT]}, shard_size=150,
    )  # fmt: skip
    freeze(config, paths.config)
    for entry, cases in ((ENTRY, CASES), (PLAIN, ("spleen_2",))):
        lines = ["case,patient,split"]
        for case in cases:
            reference = reference_of(labels_of(), entry)
            record = CaseRecord(
                dataset=entry, case=case, patient=case.split("_frame")[0], shape=SHAPE,
                modality="mri" if entry == ENTRY else "ct", spacing_mm=(1.0, 1.0, 1.0),
                source_orientation="RAS", n_layers=1, classes=dict(reference.classes),
            )  # fmt: skip
            image = Volume(np.ones(SHAPE, np.float32), AFFINE)
            write_case(paths.case(entry, case), image, reference, record)
            lines.append(f"{case},{record.patient},test")
        paths.split(entry).parent.mkdir(parents=True, exist_ok=True)
        paths.split(entry).write_text("\n".join(lines) + "\n")
    card = Path("config/models/mine.yaml")
    card.parent.mkdir(parents=True)
    card.write_text(CARD.format(model="mine", left=LEFT, right=RIGHT))
    answer(CASES[0])
    answer(CASES[1], swapped=True)
    return run


def answer(case: str, swapped: bool = False) -> None:
    file = Path("predictions/mine") / ENTRY / f"{case}.nii.gz"
    write_volume(file, Volume(labels_of(swapped), AFFINE))


def measured(run: Path, model: str = "mine") -> None:
    for entry in (ENTRY, PLAIN):
        if model != "mine" or entry == ENTRY:
            predict_shard(run, model, entry, 0)
            measure_shard(run, model, entry, 0)


def counted(run: Path) -> pd.DataFrame:
    frame = confusion_table(RunPaths(run), expected_of(run)[0])
    to_arrow(frame, CONFUSIONS)
    return frame.set_index(["model", "dataset", "class"])


def test_every_model_has_a_row_for_each_pair_of_sides(run: Path) -> None:
    measured(run)
    measured(run, "oracle")
    aggregate_run(run, 100)
    frame = read_table(RunPaths(run).table("confusions"), CONFUSIONS)
    assert frame[["model", "dataset", "what", "group", "class", "other_class"]].values.tolist() == [
        [model, ENTRY, "side", "ventricle cavity", LEFT, RIGHT] for model in ("mine", "oracle")
    ]
    numbers = ["n_cases", "n_confused", "n_next", "n_nowhere", "n_empty", "n_missing", "share"]
    # The third case has no answer: that is told, not a smaller n.
    assert frame[numbers].values.tolist() == [[2, 1, 1, 0, 0, 1, 0.5], [3, 0, 0, 0, 0, 0, 0.0]]
    shard = RunPaths(run).judged_shard("mine", ENTRY, 0).read_text().splitlines()
    assert shard[2] == f"{CASES[1]},side,ventricle cavity,{LEFT},other,{RIGHT}"


def test_what_changes_is_judged_again_and_nothing_else(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, seen = shards._judge, list[str]()

    def spy(judging: object, case: str) -> object:
        seen.append(case)
        return original(judging, case)  # type: ignore[arg-type]

    monkeypatch.setattr(shards, "_judge", spy)
    paths = RunPaths(run)

    def swapped_now() -> int:
        return int(counted(run).loc[("mine", ENTRY, LEFT), "n_confused"])

    def judged_anew() -> set[str]:
        seen.clear()
        measured(run)
        return set(seen)

    def new_reference() -> None:
        folder = paths.case(ENTRY, CASES[1])
        record = read_case_record(folder)
        image = Volume(np.ones(SHAPE, np.float32), AFFINE)
        write_case(folder, image, reference_of(labels_of(swapped=True), ENTRY), record)

    def moved_shard() -> None:
        for path in paths.judged_shard("mine", ENTRY, 0).parent.iterdir():
            path.rename(path.with_name(path.name.replace("0", "5", 1)))

    def half_a_line() -> None:
        journal = paths.score_shard("mine", ENTRY, 0).with_suffix(shards.JOURNAL)
        journal.write_text(journal.read_text()[:-9])

    steps: dict[str, tuple[Callable[[], object], set[str], int]] = {
        "the first time": (lambda: None, set(CASES), 1),
        "nothing": (lambda: None, set(), 1),
        "an answer": (lambda: answer(CASES[0], swapped=True), {CASES[0]}, 2),
        "a reference": (new_reference, {CASES[1]}, 1),
        "deleted": (lambda: paths.judged_shard("mine", ENTRY, 0).unlink(), set(), 1),
        "killed": (half_a_line, {CASES[2]}, 1),
        "other shards": (moved_shard, set(), 1),
        "forced": (lambda: ask_again(paths.score_shard("mine", ENTRY, 0)), set(CASES), 1),
    }
    for name, (change, expected, confused) in steps.items():
        change()
        assert judged_anew() == expected, name
        assert swapped_now() == confused, name
        assert judged_anew() == set(), f"{name}, again"


def test_an_entry_without_pairs_is_not_read(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "_judge", lambda *_: pytest.fail("there is nothing to judge"))
    predict_shard(run, "oracle", PLAIN, 0)
    measure_shard(run, "oracle", PLAIN, 0)
    folder = RunPaths(run).score_shard("oracle", PLAIN, 0).parent
    assert not list(folder.glob(f"*{shards.JOURNAL}"))
    assert counted(run).empty


def test_a_class_out_of_scope_is_in_no_row(run: Path) -> None:
    measured(run)
    config = load_frozen(run).model_copy(update={"classes": {ENTRY: [RIGHT]}})
    freeze(config, RunPaths(run).config)
    assert counted(run).empty
