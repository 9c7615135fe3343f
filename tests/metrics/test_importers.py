"""Score files of other tools become rows of the score table."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from evaluation.cli import build
from evaluation.commands.metrics import show
from evaluation.errors import BenchError
from evaluation.schema import SCORES, read_table, to_arrow
from evaluation.scoring.importers import (
    import_challenger_table,
    import_nnunet_summary,
    import_touchstone_pair,
)
from evaluation.scoring.summary import summarise


def summary(tmp_path):
    def metrics(dice, tp, predicted, reference):
        return {"Dice": dice, "TP": tp, "n_pred": predicted, "n_ref": reference, "FP": 0, "FN": 0}

    content = {
        "foreground_mean": {},
        "mean": {},
        "metric_per_case": [
            {
                "metrics": {"1": metrics(0.8, 4, 5, 5), "(1, 2)": metrics(math.nan, 0, 0, 0)},
                "prediction_file": "/a/p/case_1.nii.gz",
                "reference_file": "/a/r/case_1.nii.gz",
            },
            {
                "metrics": {"1": metrics(0.0, 0, 0, 5), "(1, 2)": metrics(0.0, 0, 3, 0)},
                "prediction_file": "/a/p/case_2.nii.gz",
                "reference_file": "/a/r/case_2.nii.gz",
            },
        ],
    }
    path = tmp_path / "summary.json"
    path.write_text(json.dumps(content))
    return path


def test_nnunet_summary(tmp_path):
    names = tmp_path / "dataset.json"
    names.write_text(json.dumps({"labels": {"background": 0, "tumour": 1, "organ": [1, 2]}}))
    frame = import_nnunet_summary(summary(tmp_path), "nnunet", "mine", names)
    frame["modality"] = "ct"
    to_arrow(frame, SCORES)
    assert frame["class"].tolist() == ["tumour", "organ"] * 2
    assert frame["status"].tolist() == [
        "scored",
        "both_empty",
        "prediction_empty",
        "reference_empty",
    ]
    assert frame["dsc"].tolist() == pytest.approx([0.8, math.nan, 0, 0], nan_ok=True)
    assert frame["nsd"].isna().all()
    assert frame["case"].unique().tolist() == ["case_1", "case_2"]


def test_touchstone_pair(tmp_path):
    dsc, nsd = tmp_path / "dsc.csv", tmp_path / "nsd.csv"
    dsc.write_text("name,liver,spleen\nBDMAP_1,0.9,\nBDMAP_2,0.0,0.5\n")
    nsd.write_text("name,spleen,liver\nBDMAP_2,0.6,0.1\nBDMAP_1,,0.95\n")
    frame = import_touchstone_pair(dsc, nsd, "model", "touchstone", 1.5).set_index(
        ["case", "class"]
    )
    assert frame.loc[("BDMAP_1", "spleen"), "status"] == "not_annotated"
    assert frame.loc[("BDMAP_1", "liver"), ["dsc", "nsd"]].tolist() == [0.9, 0.95]
    assert frame.loc[("BDMAP_2", "spleen"), ["dsc", "nsd"]].tolist() == [0.5, 0.6]
    assert (frame["reference_voxels"] == -1).all()
    nsd.write_text("name,liver\nBDMAP_1,1\n")
    with pytest.raises(BenchError, match="same cases and classes"):
        import_touchstone_pair(dsc, nsd, "model", "touchstone", 1.5)


def test_challenger_table(tmp_path):
    path = tmp_path / "long.csv"
    path.write_text("alg;case;value;task\nA;1;0.5;T1\nA;2;NA;T1\nB;1;0.7;T1\nB;2;0.1;T1\n")
    frame = import_challenger_table(path, "d", "nsd", 2.0, {"algorithm": "alg"})
    assert frame["status"].tolist() == ["scored", "prediction_missing", "scored", "scored"]
    assert frame["nsd"].tolist() == pytest.approx([0.5, math.nan, 0.7, 0.1], nan_ok=True)
    # Nothing is known of the other metric, so a missing prediction is no mean of 0 there.
    table = summarise(frame[frame["model"] == "A"], "present-only").classes
    assert table[["n", "nsd @ 2 mm"]].to_numpy().tolist() == [[2, 0.25]]
    assert "dsc" not in table
    with pytest.raises(BenchError, match="no column `algorithm`"):
        import_challenger_table(path, "d", "nsd", 2.0)
    path.write_text("algorithm,case,value\nA,1,50\n")
    with pytest.raises(BenchError, match="percentages"):
        import_challenger_table(path, "d", "dsc", 1.0)


def test_what_is_no_score_file_is_refused(tmp_path):
    path = tmp_path / "x.json"
    for text in (
        "",
        "[]",
        '{"metric_per_case": []}',
        '{"metric_per_case": [{"metrics": {"1": 3}}]}',
    ):
        path.write_text(text)
        with pytest.raises(BenchError):
            import_nnunet_summary(path, "m", "d")


def test_names_and_blanks_stay_as_they_stand(tmp_path):
    """Case names are text, an index column and a byte-order mark are none, a blank is unknown."""
    text = "\ufeff,name,liver\n0,0001,0.9\n1,1,\n2,NA,0.5\n"
    for name in ("dsc.csv", "nsd.csv"):
        (tmp_path / name).write_text(text, encoding="utf-8")
    frame = import_touchstone_pair(tmp_path / "dsc.csv", tmp_path / "nsd.csv", "m", "d", 1.0)
    assert frame["case"].tolist() == ["0001", "1", "NA"]
    for policy in ("paper", "present-only"):
        assert summarise(frame, policy).classes[["n", "dsc"]].to_numpy().tolist() == [[2, 0.7]]


@pytest.mark.parametrize(
    "wrong", [{"Dice": 7}, {"TP": 0}, {"n_ref": -5}, {"n_ref": 1e400}, {"Dice": math.nan}]
)
def test_scores_that_contradict_their_counts_are_refused(tmp_path, wrong):
    metrics = {"Dice": 0.8, "TP": 4, "n_pred": 5, "n_ref": 5, **wrong}
    entry = {"metrics": {"1": metrics}, "reference_file": "C:\\d\\case_1.nii.gz"}
    (tmp_path / "s.json").write_text(json.dumps({"metric_per_case": [entry]}))
    with pytest.raises(BenchError, match="not a summary"):
        import_nnunet_summary(tmp_path / "s.json", "m", "d")


def test_import_on_the_command_line(tmp_path):
    out = tmp_path / "rows.parquet"
    arguments = ["import", "nnunet", str(summary(tmp_path)), "--out", str(out), "--modality", "mri"]
    result = CliRunner().invoke(build(), arguments)
    assert result.exit_code == 0, result.output
    assert len(read_table(out, SCORES)) == 4
    long = tmp_path / "long.csv"
    long.write_text("alg,case,value,task\nA,1,0.5,T1\n")
    arguments = ["import", "challenger", str(long), "--out", str(out), "--column", "algorithm=alg"]
    result = CliRunner().invoke(build(), arguments)
    assert result.exit_code == 0, result.output
    assert read_table(out, SCORES)["model"].tolist() == ["A"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nnunet", "a.json", "b.json"], "another number of files"),
        (["touchstone", "dsc.csv"], "another number of files"),
        (["touchstone", "dsc.csv", "nsd.csv"], "whose they are"),
        (["medperf", "a.csv"], "no such choice"),
        (["challenger", "a.csv", "--column", "colour=red"], "no such choice"),
    ],
)
def test_what_an_import_lacks_is_said(arguments, message):
    error = CliRunner().invoke(build(), ["import", *arguments]).exception
    assert isinstance(error, BenchError)
    assert message in str(error)


@pytest.mark.parametrize("value", ["inf", "-1"])
def test_a_distance_that_is_none_is_refused(tmp_path, value):
    path = tmp_path / "table.csv"
    path.write_text(f"algorithm,case,value\na,1,2.5\na,2,NA\na,3,{value}\n")
    with pytest.raises(BenchError, match="outside 0 or more, in mm") as error:
        import_challenger_table(path, "word", "hd95", 1.0)
    assert value in str(error.value)
    assert "leave it blank" in str(error.value)


def test_the_printed_summary_cuts_off_no_number(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    metrics = ["dsc", "hd95", "volume_difference", "relative_volume_error", "lesion_precision"]
    frame = pd.DataFrame([{"class": "liver", "tolerance_mm": 1.0, "status": "scored", "case": "1",
                           "reference_voxels": 1, "prediction_voxels": 1, "field_mm": 1.0,
                           **{name: 10.0 + i for i, name in enumerate(metrics)}}])  # fmt: skip
    show(frame.assign(assd=np.nan, masd=21.0, boundary_iou=22.0), "present-only")
    text = capsys.readouterr().out
    for value in (*range(10, 15), 21, 22):
        assert text.count(f" {value}.0000 ") == 3, value
    assert "assd" not in text, "nobody measured it"
    assert max(map(len, text.splitlines())) <= 80
