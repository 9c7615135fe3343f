"""Virtual patients: the same seed gives the same bytes, whatever was written before."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from evaluation.cli import build
from evaluation.config import Cohort, RunConfig, freeze
from evaluation.datasets.phantoms import (
    COHORT_FILE,
    DATASETS,
    roster,
    write_cohort,
    write_patient,
)
from evaluation.datasets.phantoms.cohort import STATES_FILE
from evaluation.errors import BenchError
from evaluation.files.writing import TEMPORARY_PREFIX


def content(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder by its relative path; times of change do not count."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != STATES_FILE
    }


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_patient_depends_on_seed_dataset_and_index_alone(dataset: str, tmp_path: Path) -> None:
    write_patient(dataset, tmp_path / "alone", 1, seed=3)
    for index in (0, 1):
        write_patient(dataset, tmp_path / "among-others", index, seed=3)
    write_patient(dataset, tmp_path / "other-seed", 1, seed=4)
    alone, among = content(tmp_path / "alone"), content(tmp_path / "among-others")
    assert alone.items() <= among.items()
    assert len(among) == 2 * len(alone)
    other = content(tmp_path / "other-seed")
    assert alone.keys() == other.keys()
    assert alone != other


def test_no_two_entries_or_patients_share_an_anatomy(tmp_path: Path) -> None:
    write_cohort(tmp_path, ["chaos_ct", "msd_spleen"], 2, seed=0)
    images = [
        digest for name, digest in content(tmp_path).items() if name.endswith("i0005,0000b.dcm")
    ]
    assert len(set(images)) == 2


def test_roster_names_cases_as_they_lie_on_disk() -> None:
    assert [r.case for r in roster("totalsegmentator", 3, 1)] == ["s0000", "s0001", "s0002"]
    assert [r.case for r in roster("chaos_ct", 2, 1)] == ["1", "2"]
    assert [r.case for r in roster("msd_spleen", 2, 1)] == ["spleen_1", "spleen_2"]
    assert [r.case for r in roster("promise12", 2, 1)] == ["Case00", "Case01"]
    rows = roster("acdc", 3, 1)
    assert [r.case for r in rows[:2]] == ["patient001_frame01", "patient001_frame09"]
    assert {r.patient for r in rows if r.split == "train"} == {"patient001", "patient002"}
    assert {r.patient for r in rows if r.split == "test"} == {"patient003"}


def test_roster_refuses_what_leaves_nothing_to_train_on() -> None:
    with pytest.raises(BenchError, match="at least one patient left"):
        roster("acdc", 4, 4)
    with pytest.raises(BenchError, match="msd_spleen"):
        roster("msd_spleeen", 4, 1)


def test_a_whole_patient_is_kept_and_a_missing_one_comes_back(tmp_path: Path) -> None:
    root = tmp_path / "raw"
    write_cohort(root, ["acdc", "msd_spleen"], 2, seed=0)
    before = content(root)
    kept = root / "ACDC/database/training/patient001/patient001_frame01.nii.gz"
    stamp = kept.stat().st_mtime_ns
    # As a kill leaves it: the label is there, the image, which is moved last, is not.
    (root / "MSD_Spleen/Task09_Spleen/imagesTr/spleen_2.nii.gz").unlink()
    (root / COHORT_FILE).unlink()
    abandoned = root / f"{TEMPORARY_PREFIX}999999999-acdc-1"
    abandoned.mkdir()
    written: list[tuple[str, int]] = []
    write_cohort(root, ["acdc", "msd_spleen"], 2, 0, lambda d, i: written.append((d, i)))
    assert content(root) == before
    assert kept.stat().st_mtime_ns == stamp
    assert not abandoned.exists()
    assert written == [("acdc", 0), ("acdc", 1), ("msd_spleen", 0), ("msd_spleen", 1)]


def test_a_failed_patient_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("evaluation.datasets.phantoms.layouts.acdc_info", full_disk)
    with pytest.raises(OSError, match="no space left"):
        write_cohort(tmp_path, ["acdc"], 1, seed=0)
    assert [p.name for p in tmp_path.iterdir()] == [".cohort-recipe.json"]


def test_real_data_and_other_cohorts_are_never_mixed_in(tmp_path: Path) -> None:
    for name in ("TotalSegmentator/s0000", "a folder that no entry knows/scan"):
        (tmp_path / name[0] / name).mkdir(parents=True)
        with pytest.raises(BenchError, match="holds other data"):
            write_cohort(tmp_path / name[0], ["acdc"], 1, seed=0)
    for root, patients, seed in (("again", 2, 0), ("again", 1, 1), ("once", 1, 1)):
        write_cohort(tmp_path / root, ["acdc"], patients, seed)
    assert content(tmp_path / "again") == content(tmp_path / "once")


@pytest.mark.parametrize("text", [None, "", '{"seed"', "[]"])
@pytest.mark.parametrize("name", [".cohort-recipe.json", ".cohort-files.json"])
def test_its_own_notes_may_be_lost_or_cut(tmp_path: Path, name: str, text: str | None) -> None:
    write_cohort(tmp_path, ["acdc"], 1, seed=0)
    before = content(tmp_path)
    if text is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_text(text)
    if (name, text) == (".cohort-recipe.json", None):
        with pytest.raises(BenchError, match=name):
            write_cohort(tmp_path, ["acdc"], 1, seed=0)
    else:
        write_cohort(tmp_path, ["acdc"], 1, seed=0)
        assert content(tmp_path) == before


def test_the_command_writes_the_entries_of_a_run(tmp_path: Path) -> None:
    raw, alone = tmp_path / "raw", tmp_path / "alone"
    config = RunConfig(
        name="small",
        study="sat",
        data_kind="synthetic",
        raw_root=str(raw),
        entries=["acdc", "promise12"],
        models=["oracle"],
        cohort=Cohort(patients=2, test_patients=1),
        seed=5,
    )
    freeze(config, tmp_path / "run/config.json")
    arguments = ["cohort", "--run", str(tmp_path / "run"), "--jobs", "2"]
    answer = CliRunner().invoke(build(), arguments)
    assert answer.exit_code == 0, answer.output
    listing = json.loads((raw / COHORT_FILE).read_text())
    assert listing["seed"] == 5
    assert listing["patients"] == 2
    assert listing["datasets"]["promise12"]["cases"] == ["Case00", "Case01"]
    assert len(listing["datasets"]["acdc"]["cases"]) == 4
    write_cohort(alone, ["acdc", "promise12"], 2, seed=5)
    assert content(alone) == content(raw)


def test_the_command_refuses_a_run_of_real_data(tmp_path: Path) -> None:
    config = RunConfig(
        name="real", study="sat", data_kind="real", raw_root="raw", models=["oracle"]
    )
    freeze(config, tmp_path / "config.json")
    answer = CliRunner().invoke(build(), ["cohort", "--run", str(tmp_path)])
    assert isinstance(answer.exception, BenchError)
    assert "uses real data" in str(answer.exception)
