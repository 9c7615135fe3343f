"""Leaving one patient out: a run for each fold, joined so that every patient is scored once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from evaluation.config import RunConfig, freeze, load_frozen
from evaluation.datasets.draw import drawn_sides
from evaluation.datasets.registry import find_card
from evaluation.datasets.sharding import read_split
from evaluation.datasets.splits import SplitRow, split_text
from evaluation.errors import BenchError
from evaluation.files.writing import write_text
from evaluation.paths import RunPaths
from evaluation.schema import scores_table, write_table
from evaluation.scoring.folds import join_folds
from evaluation.tables.run_tables import aggregate_run

PATIENTS = ("patient07", "patient19", "patient26")
SEQUENCES = ("t1", "t2", "flair")
LESION = "multiple sclerosis lesion"
JUDGED = "case,what,group,class,outcome,found_in\n"


def test_each_fold_tests_one_patient_and_all_folds_test_everybody() -> None:
    card = find_card("openms")
    assert card.split is not None
    scans = dict.fromkeys(PATIENTS, 3)
    tested = []
    for fold in range(1, 6):
        sides = drawn_sides(card, card.split, 0, scans, fold=fold)
        tested.append([patient for patient, side in sides.items() if side == "test"])
        assert sides == drawn_sides(card, card.split, 7, dict(reversed(scans.items())), fold=fold)
    assert tested[:3] == [[patient] for patient in PATIENTS]
    assert tested[3:] == tested[:2]


@pytest.fixture
def folds(tmp_path: Path, row: Callable[..., dict[str, Any]]) -> list[Path]:
    """Four folds of OpenMS (one more than patients) beside an entry that leaves nobody out."""
    runs = []
    for fold in range(1, 5):
        run = tmp_path / f"fold-{fold}"
        config = RunConfig(
            name=run.name, study="sat", data_kind="real", raw_root="raw", fold=fold,
            entries=["openms", "msd_spleen"], models=["oracle"],
        )  # fmt: skip
        freeze(config, run / "config.json")
        left_out = PATIENTS[(fold - 1) % 3]
        split = {
            "openms": [
                SplitRow(f"{p}_{s}", p, "test" if p == left_out else "train")
                for p in PATIENTS
                for s in SEQUENCES
            ],
            "msd_spleen": [SplitRow("spleen_2", "2", "train"), SplitRow("spleen_3", "3", "test")],
        }
        names = {"openms": (LESION, "mri"), "msd_spleen": ("spleen", "ct")}
        for dataset, rows in split.items():
            paths, (name, modality) = RunPaths(run), names[dataset]
            write_text(paths.split(dataset), split_text(rows))
            # The score says by which fold it was measured.
            scored = [
                row("oracle", dataset, r.case, name, fold / 10, patient=r.patient,
                    modality=modality)
                for r in rows
                if r.split == "test"
            ]  # fmt: skip
            table = scores_table()
            shard = paths.score_shard("oracle", dataset, 0)
            write_table(shard, pd.DataFrame(scored, columns=table.names), table)
            write_text(paths.judged_shard("oracle", dataset, 0), JUDGED)
        runs.append(run)
    return runs


def test_every_patient_is_scored_by_the_run_that_left_it_out(
    folds: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "joined"
    said = join_folds(folds, out)
    assert said == [
        "openms: 9 cases of 3 patients tested",
        "msd_spleen: 1 cases of 1 patients tested",
    ]
    aggregate_run(out, 100)
    rows = pd.read_parquet(RunPaths(out).scores("oracle", "openms"))
    found = rows.groupby("patient", observed=True)["dsc"].agg(["min", "max", "count"])
    assert found.loc[list(PATIENTS), "min"].tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert found["min"].tolist() == found["max"].tolist()
    assert set(found["count"]) == {3}
    spleen = pd.read_parquet(RunPaths(out).scores("oracle", "msd_spleen"))
    assert spleen["dsc"].tolist() == pytest.approx([0.1])
    table = pd.read_parquet(RunPaths(out).table("dataset")).query("dataset == 'openms'")
    assert set(table["n_patients"]) == {3}
    assert load_frozen(out).name == "joined"
    # Joining again, with a fold that was made anew, gives what it says now.
    assert join_folds(folds, out) == said


def test_what_is_no_fold_of_the_same_is_refused(folds: list[Path], tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="same fold"):
        join_folds([folds[0], folds[0]], tmp_path / "out")
    other = load_frozen(folds[1]).model_copy(update={"seed": 3})
    freeze(other, folds[1] / "config.json")
    with pytest.raises(BenchError, match="no folds of one configuration") as caught:
        join_folds(folds, tmp_path / "out")
    assert "seed" in str(caught.value)


def test_another_split_of_an_entry_that_leaves_nobody_out_is_refused(
    folds: list[Path], tmp_path: Path
) -> None:
    rows = read_split(RunPaths(folds[2]), "msd_spleen")
    turned = [SplitRow(r.case, r.patient, "test") for r in rows]
    write_text(RunPaths(folds[2]).split("msd_spleen"), split_text(turned))
    with pytest.raises(BenchError, match="divide it in two ways"):
        join_folds(folds, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_fold_without_its_rows_is_refused(folds: list[Path], tmp_path: Path) -> None:
    table = scores_table()
    shard = RunPaths(folds[1]).score_shard("oracle", "openms", 0)
    write_table(shard, pd.read_parquet(shard).iloc[:1], table)
    with pytest.raises(BenchError, match="are missing") as caught:
        join_folds(folds, tmp_path / "out")
    assert "patient19" in str(caught.value)


@pytest.mark.parametrize("kind", ["score_shard", "judged_shard"])
@pytest.mark.parametrize("content", [b"", b"PAR1 half", b"case,what\n1"])
def test_a_damaged_table_of_a_fold_is_named(
    folds: list[Path], tmp_path: Path, kind: str, content: bytes
) -> None:
    path: Path = getattr(RunPaths(folds[2]), kind)("oracle", "openms", 0)
    path.write_bytes(content)
    with pytest.raises(BenchError) as caught:
        join_folds(folds, tmp_path / "out")
    assert str(path) in str(caught.value)


def test_judged_sides_are_joined_each_from_its_fold(folds: list[Path], tmp_path: Path) -> None:
    for number, run in enumerate(folds):
        lines = [f"{patient}_t1,side,,left lung,own,fold {number}\n" for patient in PATIENTS]
        path = RunPaths(run).judged_shard("oracle", "openms", 0)
        path.write_text(JUDGED + "".join(lines), encoding="utf-8")
    join_folds(folds, tmp_path / "out")
    text = RunPaths(tmp_path / "out").judged_shard("oracle", "openms", 0).read_text("utf-8")
    assert text.startswith(JUDGED)
    assert sorted(line.split(",")[0] + line[-1] for line in text.splitlines()[1:]) == [
        "patient07_t10", "patient19_t11", "patient26_t12",
    ]  # fmt: skip
