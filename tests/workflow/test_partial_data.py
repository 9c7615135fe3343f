"""`paper.yaml` for real, with two of its 32 entries present: the rest is named, never hidden."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from evaluation.datasets.phantoms import write_patient
from evaluation.datasets.splits import committed_split
from evaluation.studies.record import find_study

SAT = find_study("sat")
OVERRIDES = ("name=partial", "raw_root=raw")


@pytest.fixture
def raw_root(clone, shared) -> Path:
    """Eight real hippocampi, and five prostates of which one belongs to the test split."""
    root = clone.folder / "raw"
    rows = committed_split("msd_hippocampus", SAT)
    chosen = [r.case for r in rows if r.split == "train"][:6]
    chosen += [r.case for r in rows if r.split == "test"][:2]
    task = Path("MSD_Hippocampus/Task04_Hippocampus")
    for folder in ("imagesTr", "labelsTr"):
        (root / task / folder).mkdir(parents=True)
        for case in chosen:
            shutil.copy(shared / "data" / task / folder / f"{case}.nii.gz", root / task / folder)
    shutil.copy(shared / "data" / task / "dataset.json", root / task)
    for index in (0, 1, 2, 3, 39):
        write_patient("promise12", root, index, seed=0)
    return root


@pytest.mark.parametrize(
    ("models", "presets"),
    [
        (["oracle", "empty"], "{}"),
        pytest.param(
            ["nnunet", "sat-nano", "oracle"], "{sat-nano: smoke, nnunet: smoke}",
            marks=pytest.mark.long,
        ),
    ],
)  # fmt: skip
def test_two_entries_run_and_the_others_are_named(clone, raw_root, models, presets):
    asked = f"models=[{', '.join(models)}]"
    output = clone.run("--cores", "2", "--config", *OVERRIDES, asked, f"presets={presets}")
    assert "2 of 32 entries" in output
    assert output.count("not run: ") == 30
    run = clone.folder / "results" / "partial"
    left_out = pd.read_csv(run / "not_run.csv")
    assert len(left_out) == 30
    table = pd.read_parquet(run / "tables" / "overall.parquet")
    head = table.query(f"statistic == 'entries' and space == 'native' and model == '{models[0]}'")
    assert set(head["n_entries"]) == {2}
    assert set(head["n_entries_expected"]) == {32}
    assert set(head["data_kind"]) == {"real"}
    completeness = pd.read_parquet(run / "tables" / "completeness.parquet")
    assert (completeness.groupby("model")["dataset"].nunique() == 32).all()
    assert (completeness["status"] == "no data").sum() == 30 * len(models)
    hippocampus = completeness.query(f"dataset == 'msd_hippocampus' and model == '{models[0]}'")
    assert hippocampus["n_cases"].tolist() == [2]
    assert hippocampus["n_cases_expected"].tolist() == [52], "test scans of the list"
    assert "2 of 52 scans" in hippocampus["reason"].item()
    assert "not found under" in hippocampus["reason"].item()
    report = (clone.folder / "reports/out/partial/tables/datasets.md").read_text()
    assert "not run" in report
    assert "2 of 32" in report
