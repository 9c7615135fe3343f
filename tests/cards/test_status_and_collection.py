"""What is there under a raw root, and the statistics of standardised cases."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from evaluation.cases import CaseRecord, write_case
from evaluation.cli import build
from evaluation.config import RunConfig, freeze
from evaluation.datasets import annotations
from evaluation.datasets.annotations import case_annotations, collect
from evaluation.datasets.collection import (
    by_class,
    by_entry,
    by_region,
    case_folders,
    published_collection,
    with_regions,
    write_collection,
)
from evaluation.datasets.registry import find_card, load_cards
from evaluation.datasets.splits import committed_split
from evaluation.datasets.status import data_status, entry_status, present_entries
from evaluation.errors import BenchError
from evaluation.files.identity import ask_again
from evaluation.paths import RunPaths
from evaluation.studies.record import find_study
from evaluation.volumes.image_files import Volume
from evaluation.volumes.segmentation import ClassPlace, Part, Segmentation

SAT = find_study("sat")


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")


def spleen(root: Path, names: list[str]) -> None:
    for name in names:
        for folder in ("imagesTr", "labelsTr"):
            path = root / "MSD_Spleen" / "Task09_Spleen" / folder / f"{name}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4)), path)


class TestStatus:
    def test_empty_root(self, tmp_path: Path) -> None:
        assert not any(present_entries(tmp_path).values())
        assert set(present_entries(tmp_path)) == set(load_cards())
        assert {e.state for e in data_status(tmp_path)} == {"absent"}

    def test_missing_root(self, tmp_path: Path) -> None:
        assert not any(present_entries(tmp_path / "nowhere").values())
        with pytest.raises(BenchError, match="not a folder"):
            data_status(tmp_path / "nowhere")

    def test_hidden_files_are_not_data(self, tmp_path: Path) -> None:
        touch(tmp_path / "ACDC" / ".DS_Store")
        assert not present_entries(tmp_path)["acdc"]
        touch(tmp_path / "ACDC" / "training" / "readme.txt")
        assert present_entries(tmp_path)["acdc"]
        status = entry_status(find_card("acdc"), tmp_path)
        assert status.state == "unusable"
        assert status.problem

    def test_entries_that_share_a_folder_are_told_apart(self, tmp_path: Path) -> None:
        touch(tmp_path / "CHAOS" / "Train_Sets" / "CT" / "1" / "DICOM_anon" / "i1.dcm")
        present = present_entries(tmp_path)
        assert present["chaos_ct"]
        assert not present["chaos_mr"]
        touch(tmp_path / "Couinaud" / "hepaticvessel_001.nii.gz")
        assert not present_entries(tmp_path)["couinaud"], "its images are not there"

    def test_partial_and_complete(self, tmp_path: Path) -> None:
        listed = [row.case for row in committed_split("msd_spleen", SAT) or ()]
        card = find_card("msd_spleen")
        spleen(tmp_path, listed[:3])
        status = entry_status(card, tmp_path)
        assert (status.state, status.found_cases, status.found_patients) == ("partial", 3, 3)
        assert status.missing[0] == listed[3]
        spleen(tmp_path, [*listed[3:-1], "spleen_999"])
        status = entry_status(card, tmp_path)
        assert status.found_cases == status.expected_cases == 41
        assert status.state == "partial", "as many as expected, but one is another"
        assert status.missing == (listed[-1],)
        assert status.unlisted == ("spleen_999",)
        spleen(tmp_path, [listed[-1]])
        assert entry_status(card, tmp_path).state == "present"

    def test_command(self, tmp_path: Path) -> None:
        spleen(tmp_path, ["spleen_2"])
        runner = CliRunner()
        result = runner.invoke(build(), ["data", "status", "--raw-root", str(tmp_path)])
        assert result.exit_code == 0
        assert "1/41" in result.stdout
        assert f"of {len(load_cards())} entries have cases." in result.stdout
        assert "Task04_Hippocampus.tar" in result.stdout
        arguments = ["data", "status", "--raw-root", str(tmp_path), "--json"]
        (entry,) = [
            e
            for e in json.loads(runner.invoke(build(), arguments).stdout)
            if e["dataset"] == "msd_spleen"
        ]
        assert entry["state"] == "partial"
        assert entry["licence"] == "CC BY-SA 4.0"

    def test_real_scans(self, shared: Path) -> None:
        states = {e.dataset: e for e in data_status(shared / "data")}
        assert states["msd_hippocampus"].state == "present"
        assert states["msd_hippocampus"].found_cases == 260
        assert (states["isles2022"].found_cases, states["isles2022"].found_patients) == (2, 1)
        assert states["chaos_mr"].state == "absent"


def standardised(run: Path, case: str, lesion_voxels: int) -> Path:
    """A KiTS-like case of 2 x 1 x 5 mm: kidney = values 1 and 2, tumour = 2, cyst absent."""
    array = np.zeros((6, 6, 6), np.uint8)
    array[:3, :2, :5] = 1
    array.reshape(-1)[:lesion_voxels] = 2
    classes = {
        "kidney": ClassPlace(kind="annotated", parts=(Part(layer=0, values=(1, 2, 3)),)),
        "kidney tumor": ClassPlace(kind="annotated", parts=(Part(layer=0, values=(2,)),)),
        "kidney cyst": ClassPlace(kind="annotated", parts=(Part(layer=0, values=(3,)),)),
    }
    affine = np.diag([2.0, 1.0, 5.0, 1.0])
    record = CaseRecord(
        dataset="kits21",
        case=case,
        patient=case,
        modality="ct",
        shape=(6, 6, 6),
        spacing_mm=(2.0, 1.0, 5.0),
        source_orientation="RAS",
        n_layers=1,
        classes=classes,
    )
    folder = run / "cases" / "kits21" / case
    image = Volume(np.zeros((6, 6, 6), np.int16), affine)
    write_case(folder, image, Segmentation((array,), affine, classes), record)
    return folder


class TestCollection:
    def test_counts_of_a_case(self, tmp_path: Path) -> None:
        folder = standardised(tmp_path, "case_00001", 3)
        rows = {row["class"]: row for row in case_annotations(folder)}
        assert rows["kidney"]["voxels"] == 30
        assert rows["kidney"]["volume_ml"] == pytest.approx(0.3)
        assert rows["kidney tumor"]["voxels"] == 3
        assert rows["kidney cyst"]["voxels"] == 0

    def test_overlapping_parts_count_once(self, tmp_path: Path) -> None:
        layer = np.zeros((2, 2, 2), np.uint8)
        layer[0] = 1
        classes = {
            "liver": ClassPlace(
                kind="generated", parts=(Part(layer=0, values=(1,)), Part(layer=1, values=(1,)))
            )
        }
        record = CaseRecord(
            dataset="x", case="a", patient="a", modality="ct", shape=(2, 2, 2),
            spacing_mm=(1.0, 1.0, 1.0), source_orientation="RAS", n_layers=2, classes=classes,
        )  # fmt: skip
        segmentation = Segmentation((layer, layer.copy()), np.eye(4), classes)
        write_case(tmp_path, Volume(layer, np.eye(4)), segmentation, record)
        (row,) = case_annotations(tmp_path)
        assert row["voxels"] == 4

    def test_tables(self, tmp_path: Path) -> None:
        standardised(tmp_path, "case_00001", 3)
        standardised(tmp_path, "case_00002", 0)
        found = with_regions(collect(case_folders(tmp_path)))
        entries = by_entry(found, printed=published_collection(SAT)).set_index("dataset")
        assert len(entries) == len(load_cards())
        ours = entries.loc["kits21"]
        assert (ours["scans"], ours["patients"], ours["classes"]) == (2, 2, 2)
        assert ours["annotations"] == 3
        assert ours["annotations_published"] == 746
        assert ours["scans_expected"] == 299
        assert entries.loc["acdc", "scans"] == 0
        classes = by_class(found).set_index("class")
        assert classes.loc["kidney", "annotations"] == 2
        assert "kidney cyst" not in classes.index
        regions = by_region(found).set_index("region")
        assert regions.loc["lesion", "annotations"] == 1
        assert regions.loc["abdomen", "scans"] == 2

    def test_empty_run(self) -> None:
        assert by_entry(collect([]))["scans"].sum() == 0
        assert len(by_class(with_regions(collect([])))) == 0

    def test_written_tables(self, tmp_path: Path) -> None:
        standardised(tmp_path, "case_00001", 3)
        folder = write_collection(tmp_path)
        assert sorted(p.name for p in folder.iterdir()) == [
            "classes.csv", "entries.csv", "regions.csv"
        ]  # fmt: skip
        assert len(pd.read_csv(folder / "entries.csv")) == len(load_cards())
        result = CliRunner().invoke(build(), ["data", "collection", "--run", str(tmp_path)])
        assert result.exit_code == 0

    def test_of_a_run_its_splits_count_and_only_changed_cases_are_read(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        paths = RunPaths(tmp_path)
        values = {"name": "r", "study": "sat", "data_kind": "real", "raw_root": "raw"}
        config = values | {"entries": ["kits21", "acdc"], "models": ["oracle"], "space": ["native"]}
        freeze(RunConfig.model_validate(config), paths.config)
        for number, voxels in enumerate((3, 0, 2)):
            standardised(tmp_path, f"case_0000{number}", voxels)
        paths.split("kits21").parent.mkdir()
        lines = ["case,patient,split", "case_00000,a,train", "case_00001,b,test"]
        paths.split("kits21").write_text("\n".join(lines) + "\n")
        read: list[str] = []

        def counted(folder: Path) -> list[dict[str, object]]:
            read.append(folder.name)
            return case_annotations(folder)

        monkeypatch.setattr(annotations, "case_annotations", counted)

        def written() -> pd.Series:
            table = pd.read_csv(write_collection(tmp_path) / "entries.csv", index_col=0)
            assert list(table.index) == ["kits21", "acdc"]
            return table.loc["kits21"]

        assert (written()["scans"], written()["annotations"]) == (2, 3)
        assert read == ["case_00000", "case_00001"], "a case that no split has is not of the run"
        standardised(tmp_path, "case_00001", 1)
        assert written()["annotations"] == 4
        assert read[2:] == ["case_00001"]
        lines.append("case_00002,c,test")
        paths.split("kits21").write_text("\n".join(lines) + "\n")
        assert (written()["scans"], written()["annotations"]) == (3, 6)
        assert read[3:] == ["case_00002"]
        paths.split("kits21").write_text("\n".join(lines[:2]) + "\n")
        assert (written()["scans"], written()["annotations"]) == (1, 2)
        ask_again(paths.collection("entries"))
        assert written()["annotations"] == 2
        assert read[4:] == ["case_00000"], "a forced step counts all again"

    def test_published_rows(self) -> None:
        assert published_collection(SAT)["annotations"].sum() == 142250
