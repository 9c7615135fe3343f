"""Score files of other tools, and options of `evaluate` and `import`."""

from __future__ import annotations

import json
import math
from typing import Any

import pandas as pd
import pytest

from evaluation.errors import BenchError
from evaluation.schema import SCORES, to_arrow
from evaluation.scoring.importers import (
    import_challenger_table,
    import_nnunet_summary,
    import_touchstone_pair,
)
from evaluation.scoring.summary import summarise


def entry(case: str = "/a/case_1.nii.gz", **changes: Any) -> dict[str, Any]:
    metrics = {"Dice": 0.8, "TP": 4, "n_pred": 5, "n_ref": 5, "FP": 1, "FN": 1, **changes}
    metrics = {key: value for key, value in metrics.items() if value != "left out"}
    return {"metrics": {"1": metrics}, "reference_file": case, "prediction_file": case}


def summary(*entries: Any) -> str:
    return json.dumps({"metric_per_case": list(entries)})


BAD_SUMMARIES: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", ""),
    "blank": ("  \n", ""),
    "a list": ("[]", ""),
    "a number": ("7", ""),
    "no case": (summary(), "no score"),
    "a page of HTML": ("<html></html>", "JSON"),
    "cut": (summary(entry())[:-9], "JSON"),
    "not UTF-8": (b"\xff\xfe{", "UTF-8"),
    "nested deep": ("[" * 100_000, "deep"),
    "a key twice": ('{"metric_per_case": [], "metric_per_case": []}', "there twice"),
    "another tool's": ('{"results": []}', "version 2"),
    "version 1": ('{"results": {"all": []}}', "version 2"),
    "entries are a mapping": ('{"metric_per_case": {"a": 1}}', ""),
    "an entry is a number": ('{"metric_per_case": [3]}', ""),
    "metrics are a number": ('{"metric_per_case": [{"metrics": {"1": 3}}]}', ""),
    "no file names": ('{"metric_per_case": [{"metrics": {"1": {}}}]}', ""),
    "a file name is a number": (summary(entry(7)), ""),
    "Dice 7": (summary(entry(Dice=7)), "Dice"),
    "Dice -1": (summary(entry(Dice=-1)), "Dice"),
    "Dice NaN with both sides there": (summary(entry(Dice=math.nan)), "Dice"),
    "Dice left out with both sides there": (summary(entry(Dice="left out")), "Dice"),
    "Dice a text": (summary(entry(Dice="high")), ""),
    "Dice contradicts its counts": (summary(entry(Dice=0.9, TP=0)), "voxels say"),
    "Dice a little off": (summary(entry(Dice=0.81)), "voxels say"),
    "negative counts": (summary(entry(n_ref=-5)), "no number of voxels"),
    "negative TP": (summary(entry(TP=-4)), "no number of voxels"),
    "1e400": (summary(entry()).replace('"n_ref": 5', '"n_ref": 1e400'), "no number of voxels"),
    "2^70": (summary(entry(n_ref=2**70)), "no number of voxels"),
    "half a voxel": (summary(entry(n_ref=5.5)), "no number of voxels"),
    "NaN voxels": (summary(entry(n_ref=math.nan)), ""),
    "voxels are true": (summary(entry(n_ref=True)), "no number of voxels"),
    "voxels are a text": (summary(entry(n_ref="5")), ""),
    "voxels are null": (summary(entry(n_ref=None)), ""),
    "voxels left out": (summary(entry(n_ref="left out")), ""),
    "TP above both": (summary(entry(TP=9, Dice=1.0)), "TP 9"),
    "a class that is no number": (summary(entry()).replace('"1":', '"liver":'), ""),
    "a case twice": (summary(entry(), entry()), "twice"),
}


@pytest.mark.parametrize("via", ["command", "function"])
@pytest.mark.parametrize("name", list(BAD_SUMMARIES))
def test_bad_summaries_of_nnunet(tools, tmp_path, name, via):
    content, words = BAD_SUMMARIES[name]
    path = tools.write(tmp_path / "summary.json", content)
    if via == "command":
        out = tmp_path / "o.parquet"
        text = tools.refusal(tools.command, "import", "nnunet", path, "--out", out)
        assert not out.exists()
    else:
        text = tools.refusal(import_nnunet_summary, path, "m", "d")
    assert words in text
    assert str(path) in text


CASE_NAMES = {
    "plain": (["/a/0001.nii.gz", "/a/0002.nii.gz"], ["0001", "0002"]),
    "Windows": (["C:\\data\\case_1.nii.gz", "C:\\data\\case_2.nii.gz"], ["case_1", "case_2"]),
    "a share": (["\\\\server\\x\\a.nii", "\\\\server\\x\\b.nii"], ["a", "b"]),
    "KiTS": (
        ["/d/case_00000/segmentation.nii.gz", "/d/case_00001/segmentation.nii.gz"],
        ["case_00000", "case_00001"],
    ),
    "by site": (["/d/s1/a.nii.gz", "/d/s1/b.nii.gz", "/d/s2/a.nii.gz"], ["s1/a", "s1/b", "s2/a"]),
    "dots": (["/a/1.2.840.1.nii.gz", "/a/1.2.840.2.nii.gz"], ["1.2.840.1", "1.2.840.2"]),
    "nrrd": (["/a/x.nrrd", "/a/y.mha"], ["x", "y"]),
    "control characters": (["/a/x\x1b.nii.gz", "/a/y.nii.gz"], ["x\\x1b", "y"]),
}


@pytest.mark.parametrize("name", list(CASE_NAMES))
def test_case_names_of_summaries(tools, tmp_path, name):
    files, expected = CASE_NAMES[name]
    path = tools.write(tmp_path / "summary.json", summary(*map(entry, files)))
    assert import_nnunet_summary(path, "m", "d")["case"].tolist() == expected


def test_a_summary_with_a_byte_order_mark(tools, tmp_path):
    path = tools.write(tmp_path / "summary.json", "\ufeff" + summary(entry()))
    frame = import_nnunet_summary(path, "m", "d")
    assert frame["dsc"].tolist() == [0.8]
    to_arrow(frame.assign(modality="ct"), SCORES)


GOOD = "name,liver,spleen\n0001,0.9,\n0002,0.5,0.5\n"
BAD_TABLES: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", ""),
    "blank": ("\n\n", ""),
    "a header alone": ("name,liver,spleen\n", "same cases"),
    "no name": ("case,liver,spleen\n1,0.9,0.5\n", "no column `name`"),
    "not UTF-8": (b"name,liver\n\xff,0.5\n", "UTF-8"),
    "binary": (bytes(range(256)), ""),
    "a page of HTML": ("<html><body></body></html>", ""),
    "a case twice": ("name,liver,spleen\n1,0.9,0.1\n1,0.5,0.5\n", "twice"),
    "a column twice": ("name,liver,liver\n1,0.9,0.1\n", "there twice"),
    "name twice": ("name,name,liver\n1,2,0.1\n", "there twice"),
    "percentages": ("name,liver,spleen\n0001,90,\n0002,50,50\n", "percentages"),
    "negative": ("name,liver,spleen\n0001,-0.9,\n0002,0.5,0.5\n", "outside"),
    "infinite": ("name,liver,spleen\n0001,inf,\n0002,0.5,0.5\n", "outside"),
    "words": ("name,liver,spleen\n0001,good,\n0002,0.5,0.5\n", "than numbers"),
    "no case name": ("name,liver,spleen\n,0.9,\n0002,0.5,0.5\n", "no `name`"),
    "a cell too many": ("name,liver,spleen\n0001,0.9,0.1,0.2\n0002,0.5,0.5\n", ""),
    "other cases": ("name,liver,spleen\n0003,0.9,\n0002,0.5,0.5\n", "same cases"),
    "other classes": ("name,liver,aorta\n0001,0.9,\n0002,0.5,0.5\n", "same cases"),
    "blank where the other is not": ("name,liver,spleen\n0001,0.9,0.5\n0002,0.5,0.5\n", "blank"),
    "not blank where the other is": ("name,liver,spleen\n0001,,\n0002,0.5,0.5\n", "blank"),
    "1 and 01": ("name,liver,spleen\n1,0.9,\n2,0.5,0.5\n", "same cases"),
}


@pytest.mark.parametrize("which", ["dsc", "nsd"])
@pytest.mark.parametrize("name", list(BAD_TABLES))
def test_bad_tables_of_touchstone(tools, tmp_path, name, which):
    content, words = BAD_TABLES[name]
    paths = {key: tools.write(tmp_path / f"{key}.csv", GOOD) for key in ("dsc", "nsd")}
    tools.write(paths[which], content)
    text = tools.refusal(import_touchstone_pair, paths["dsc"], paths["nsd"], "m", "d", 1.0)
    assert words in text


ODD_TABLES = {
    "plain": GOOD,
    "BOM": "\ufeff" + GOOD,
    "semicolons": GOOD.replace(",", ";"),
    "tabs": GOOD.replace(",", "\t"),
    "Windows lines": GOOD.replace("\n", "\r\n"),
    "quotes": GOOD.replace("0001", '"0001"'),
    "blanks around": GOOD.replace(",", " , "),
    "an index of pandas": ",name,liver,spleen\n0,0001,0.9,\n1,0002,0.5,0.5\n",
    "a named index of pandas": "Unnamed: 0,name,liver,spleen\n0,0001,0.9,\n1,0002,0.5,0.5\n",
    "NaN for blank": GOOD.replace("0.9,\n", "0.9,NaN\n"),
    "NA for blank": GOOD.replace("0.9,\n", "0.9,NA\n"),
    "another order": "spleen,name,liver\n0.5,0002,0.5\n,0001,0.9\n",
    "no end of the last line": GOOD.rstrip(),
}


@pytest.mark.parametrize("name", list(ODD_TABLES))
def test_odd_tables_of_touchstone(tools, tmp_path, name):
    dsc = tools.write(tmp_path / "dsc.csv", ODD_TABLES[name])
    nsd = tools.write(tmp_path / "nsd.csv", GOOD)
    frame = import_touchstone_pair(dsc, nsd, "m", "d", 1.0).set_index(["case", "class"])
    assert frame["dsc"].sort_index().tolist()[:1] == [0.9]
    assert frame.loc[("0001", "spleen"), "status"] == "not_annotated"
    assert frame.loc[("0002", "spleen"), ["dsc", "nsd"]].tolist() == [0.5, 0.5]


@pytest.mark.parametrize("case", ["NA", "nan", "null", "None", "N/A", "01", "1e5", "1.0", "-"])
def test_any_text_is_a_case(tools, tmp_path, case):
    text = f"name,liver\n{case},0.9\n1,0.5\n"
    paths = [tools.write(tmp_path / f"{key}.csv", text) for key in ("dsc", "nsd")]
    frame = import_touchstone_pair(*paths, "m", "d", 1.0)
    assert frame["case"].tolist() == [case, "1"]


@pytest.mark.parametrize("policy", ["paper", "present-only"])
def test_a_blank_is_unknown_under_every_policy(tools, tmp_path, policy):
    paths = [tools.write(tmp_path / f"{key}.csv", GOOD) for key in ("dsc", "nsd")]
    frame = import_touchstone_pair(*paths, "m", "d", 1.0)
    table = summarise(frame, policy).classes.set_index("class")
    assert table.loc["spleen", ["n", "dsc"]].tolist() == [1, 0.5]
    assert table.loc["liver", ["n", "dsc"]].tolist() == [2, 0.7]


LONG = "algorithm,case,value,task\nA,01,0.5,T\nA,02,NA,T\nB,01,0.7,T\nB,02,0.1,T\n"
BAD_LONG: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", ""),
    "a header alone": ("algorithm,case,value\n", "no score"),
    "no algorithm": (LONG.replace("algorithm", "method"), "no column `algorithm`"),
    "no value": (LONG.replace("value", "score"), "no column `value`"),
    "a value of 50": (LONG.replace("0.5", "50"), "percentages"),
    "words": (LONG.replace("0.5", "good"), "than numbers"),
    "a row twice": (LONG + "A,01,0.5,T\n", "twice"),
    "a column twice": (LONG.replace("task", "case"), "there twice"),
    "an algorithm is NA": (LONG + "NA,03,0.5,T\n", "no `algorithm`"),
    "an algorithm is blank": (LONG + ",03,0.5,T\n", "no `algorithm`"),
    "a case is blank": (LONG + "A,,0.5,T\n", "no `case`"),
    "not UTF-8": (b"algorithm,case,value\n\xff,1,0.5\n", "UTF-8"),
    "a quote that never ends": ('algorithm,case,value\n"A,1,0.5\n', ""),
    "infinite": (LONG.replace("0.5", "inf"), "outside"),
}


@pytest.mark.parametrize("via", ["command", "function"])
@pytest.mark.parametrize("name", list(BAD_LONG))
def test_bad_tables_of_challenger(tools, tmp_path, name, via):
    content, words = BAD_LONG[name]
    path = tools.write(tmp_path / "long.csv", content)
    if via == "command":
        out = tmp_path / "o.csv"
        text = tools.refusal(tools.command, "import", "challenger", path, "--out", out)
        assert not out.exists()
    else:
        text = tools.refusal(import_challenger_table, path, "d", "dsc", 1.0)
    assert words in text


@pytest.mark.parametrize("change", ["", "\ufeff", "semicolons", "index", "Windows"])
def test_odd_tables_of_challenger(tools, tmp_path, change):
    text = {"semicolons": LONG.replace(",", ";"), "Windows": LONG.replace("\n", "\r\n")}.get(
        change, change + LONG if change == "\ufeff" else LONG
    )
    if change == "index":
        lines = LONG.splitlines()
        text = "\n".join(f"{'' if i == 0 else i - 1},{line}" for i, line in enumerate(lines))
    path = tools.write(tmp_path / "long.csv", text)
    frame = import_challenger_table(path, "d", "dsc", 1.0)
    assert frame["case"].tolist() == ["01", "02", "01", "02"]
    assert frame["status"].tolist() == ["scored", "prediction_missing", "scored", "scored"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["nnunet"], ["nnunet", "a", "b"], ["nothing", "a"], ["touchstone", "a"],
        ["touchstone", "a", "b"], ["challenger", "a", "--metric", "x"],
        ["challenger", "a", "--column", "x=y"], ["challenger", "a", "--tolerance-mm", "-1"],
        ["challenger", "a", "--policy", "x"], ["nnunet", "a", "--modality", "x"],
        ["nnunet", "/dev/zero"], ["nnunet", "/"], ["nnunet", "missing.json"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_unusable_arguments_of_import(tools, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").write_text(LONG)
    (tmp_path / "b").write_text(LONG)
    tools.refusal(tools.command, "import", *arguments)
    assert not (tmp_path / "scores.parquet").exists()


PATTERNS = {
    "no group": "^p", "unterminated": "(", "a bad range": "([z-a])", "a bad repeat": "(*)",
    "nested": "(" * 5000 + "a" + ")" * 5000, "long": "(" + "a" * 5000 + ")",
    "catastrophic": "^((a+)+)$", "catastrophic alternatives": "^((a|a)*)$",
    "catastrophic words": r"^((\w+\s?)*)$", "a huge repeat": "(a{99999999999})",
    "a look behind of any width": "(?<=a+)(b)", "an unknown group": r"(a)\9",
}  # fmt: skip


@pytest.mark.parametrize("name", list(PATTERNS))
def test_bad_patient_patterns_end_in_a_message(tools, tmp_path, monkeypatch, name):
    monkeypatch.setattr("evaluation.files.expressions.PATIENCE_S", 0.5)
    for side in ("ref", "pred"):
        tools.save(tmp_path / side / ("a" * 60 + "!.nii.gz"), tools.blob())
    tools.refusal(
        tools.command, "evaluate", tmp_path / "ref", tmp_path / "pred",
        "--patient-pattern", PATTERNS[name], "--out", tmp_path / "o.csv",
    )  # fmt: skip
    assert not (tmp_path / "o.csv").exists()


OUTPUTS = {
    "a foreign csv": ("o.csv", "name,age\nAnna,7\n"),
    "a foreign parquet": ("o.parquet", "frame"),
    "a text named parquet": ("o.parquet", "thesis"),
    "a text named csv": ("o.csv", "my thesis\n"),
    "another ending": ("o.xlsx", None),
    "no ending": ("o", None),
    "a folder": ("o.csv", "folder"),
    "a device": ("o.csv", "/dev/full"),
    "a pipe": ("o.csv", "pipe"),
}


@pytest.mark.parametrize("command", ["evaluate", "import"])
@pytest.mark.parametrize("name", list(OUTPUTS))
def test_an_output_replaces_nothing_foreign(tools, tmp_path, name, command):
    import os

    file, content = OUTPUTS[name]
    path = tmp_path / "out" / file
    path.parent.mkdir()
    if content == "folder":
        path.mkdir()
    elif content == "frame":
        pd.DataFrame({"name": ["Anna"]}).to_parquet(path)
    elif content == "pipe":
        os.mkfifo(path)
    elif content == "/dev/full":
        path.symlink_to(content)
    elif content is not None:
        path.write_text(content)
    before = path.read_bytes() if path.is_file() else None
    for side in ("ref", "pred"):
        tools.save(tmp_path / side / "c.nii.gz", tools.blob())
    table = tools.write(tmp_path / "long.csv", LONG)
    arguments = {
        "evaluate": ["evaluate", tmp_path / "ref", tmp_path / "pred"],
        "import": ["import", "challenger", table],
    }[command]
    tools.refusal(tools.command, *arguments, "--out", path)
    assert (path.read_bytes() if path.is_file() else None) == before
    assert path.is_symlink() == (content == "/dev/full")


@pytest.mark.parametrize("file", ["o.csv", "o.parquet", "O.CSV"])
def test_an_earlier_output_of_ours_is_replaced(tools, tmp_path, file):
    for side in ("ref", "pred"):
        tools.save(tmp_path / side / "c.nii.gz", tools.blob())
    for tolerance in (1, 2):
        tools.command("evaluate", tmp_path / "ref", tmp_path / "pred", "--out", tmp_path / file,
                      "--tolerance-mm", tolerance)  # fmt: skip
    assert (tmp_path / file).stat().st_size
    (tmp_path / "empty.csv").touch()
    tools.command("evaluate", tmp_path / "ref", tmp_path / "pred", "--out", tmp_path / "empty.csv")


@pytest.mark.parametrize("target", ["folder", "device", "pipe"])
@pytest.mark.parametrize("command", ["dictionary", "classes"])
def test_no_command_replaces_a_device(tools, tmp_path, command, target):
    import os

    path = tmp_path / "o.csv"
    if target == "folder":
        path.mkdir()
    elif target == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/full")
    option = {"dictionary": "--out", "classes": "--csv"}[command]
    text = tools.refusal(tools.command, command, option, path)
    assert "folder or a device" in text
    assert not path.is_file()


@pytest.mark.parametrize(
    "option",
    [
        ("--metric", "x"), ("--tolerance-mm", "nan"), ("--tolerance-mm", "inf"),
        ("--tolerance-mm", "-1"), ("--tolerance-mm", "far"), ("--policy", "x"), ("--engine", "x"),
        ("--resample", "x"), ("--modality", "x"), ("--jobs", "0"), ("--grid-tolerance-mm", "-1"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_unusable_options_of_evaluate(tools, tmp_path, option):
    for side in ("ref", "pred"):
        tools.save(tmp_path / side / "c.nii.gz", tools.blob())
    out = tmp_path / "o.csv"
    tools.refusal(
        tools.command, "evaluate", tmp_path / "ref", tmp_path / "pred", "--out", out, *option
    )
    assert not out.exists()


@pytest.mark.parametrize("one", ["/dev/zero", "/dev/null", "missing", "pipe.nii.gz", "empty"])
@pytest.mark.parametrize("side", [0, 1])
def test_unusable_sides_of_evaluate(tools, tmp_path, monkeypatch, one, side):
    import os

    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.nii.gz")
    (tmp_path / "empty").mkdir()
    tools.save(tmp_path / "good/c.nii.gz", tools.blob())
    sides = ["good", "good"]
    sides[side] = one
    with pytest.raises(BenchError):
        tools.command("evaluate", *sides, "--out", "o.csv")
