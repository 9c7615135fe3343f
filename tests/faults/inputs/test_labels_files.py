"""Files of labels: `--labels` as YAML or JSON, `dataset.json` beside the reference, a mapping."""

from __future__ import annotations

import json
import os
from itertools import pairwise
from typing import Any

import pytest

import evaluation.api.satbench as satbench
from evaluation.scoring.labels import Label, find_labels, read_labels_file

BAD: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", ""),
    "a list": ("[1, 2]", "no mapping"),
    "a text": ("liver", "no mapping"),
    "a number": ("7", "no mapping"),
    "null": ("null", "no mapping"),
    "an empty mapping": ("{}", ""),
    "background alone": ('{"background": 0}', "no class"),
    "ignore alone": ('{"background": 0, "ignore": 3}', "no class"),
    "false": ('{"liver": false}', "no usable label"),
    "true": ('{"liver": true}', "no usable label"),
    "a list of false": ('{"liver": [false]}', "no usable label"),
    "a list with true": ('{"liver": [1, true]}', "no usable label"),
    "null as value": ('{"liver": null}', "no usable label"),
    "a fraction": ('{"liver": 1.5}', "no usable label"),
    "a whole float": ('{"liver": 1.0}', "no usable label"),
    "an empty list": ('{"liver": []}', "no usable label"),
    "an empty text": ('{"liver": ""}', "no usable label"),
    "a path": ('{"liver": "../x.nii.gz"}', "no usable label"),
    "an absolute path": ('{"liver": "/etc/passwd"}', "no usable label"),
    "a mapping": ('{"liver": {"value": 1}}', "a mapping, not a label"),
    "a list of lists": ('{"liver": [[1]]}', "no usable label"),
    "10^30": ('{"liver": 1000000000000000000000000000000}', "no label map holds"),
    "2^31": ('{"liver": 2147483648}', "no label map holds"),
    "a key twice": ('{"liver": 1, "liver": 2}', "there twice"),
    "a key twice, inside": ('{"labels": {"liver": 1, "liver": 2}}', "there twice"),
    "labels twice": ('{"labels": {"liver": 1}, "labels": {"spleen": 1}}', "there twice"),
    "two Unicode forms": ('{"cafe\\u0301": 1, "caf\\u00e9": 2}', "there twice"),
    "nested deep": ("[" * 100_000, ""),
    "nested deep and closed": ("[" * 5000 + "]" * 5000, ""),
    "nested mappings": ('{"a":' * 3000 + "1" + "}" * 3000, ""),
    "not UTF-8": (b'{"liv\xffer": 1}', "UTF-8"),
    "UTF-16": ('{"liver": 1}'.encode("utf-16"), "UTF-8"),
    "binary": (bytes(range(256)) * 9, ""),
    "cut": ('{"liver": 1', ""),
    "no quotes closed": ('{"liver: 1}', ""),
    "a comma too many": ('{"liver": 1,,}', ""),
    "two documents": ('{"liver": 1} {"spleen": 2}', ""),
}
YAML_ONLY: dict[str, tuple[str | bytes, str]] = {
    "an alias bomb": (
        "a: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in pairwise("abcdefghij")),
        "",
    ),
    "an anchor in itself": ("a: &a [*a]", ""),
    "a Python tag": ("liver: !!python/object/apply:os.system ['true']", ""),
    "an unknown tag": ("liver: !liver 1", ""),
    "a tab": ("liver:\n\t- 1", ""),
    "a merge key": ("a: &a {liver: 1}\nb: {<<: *a}", ""),
    "no colon": ("liver 1\nspleen 2", "no mapping"),
    "two documents of YAML": ("liver: 1\n---\nspleen: 2", ""),
    "a date": ("liver: 2020-01-01", "no usable label"),
    "yes": ("liver: yes", "no usable label"),
    "a sexagesimal": ("liver: 1:30.5", "no usable label"),
    "keys twice": ("liver: 1\nliver: 2", "there twice"),
    "an octal key and its value": ("1: liver\n1: spleen", "there twice"),
    "nested": ("\n".join(" " * i + "a:" for i in range(2000)), ""),
}  # fmt: skip


@pytest.mark.parametrize("name", [*BAD, *YAML_ONLY])
@pytest.mark.parametrize("ending", ["json", "yaml"])
def test_bad_labels_are_refused(tools, tmp_path, name, ending):
    content, words = (BAD | YAML_ONLY)[name]
    path = tools.write(tmp_path / f"labels.{ending}", content)
    text = tools.refusal(read_labels_file, path)
    assert words in text
    assert str(path) in text


# In YAML these are texts.
JSON_ONLY = {
    "infinity": ('{"liver": Infinity}', "no usable label"),
    "NaN": ('{"liver": NaN}', "no usable label"),
}


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("name", [*BAD, *JSON_ONLY])
def test_bad_dataset_json_beside_the_reference(tools, tmp_path, name, wrapped):
    content, words = (BAD | JSON_ONLY)[name]
    for side in ("ref", "pred"):
        tools.save(tmp_path / side / "c.nii.gz", tools.blob())
    if wrapped and isinstance(content, str):
        content = f'{{"labels": {content}}}'
    tools.write(tmp_path / "ref/dataset.json", content)
    try:
        found = find_labels(tmp_path / "ref")
    except Exception:
        text = tools.refusal(tools.scored, tmp_path)
        assert words in text or not words or "dataset.json" in text
        assert "dataset.json" in text
    else:
        # Without `labels` in it, the file is none of labels, and the values count.
        assert found is None
        assert set(tools.scored(tmp_path).rows["class"]) == {"1", "2"}


@pytest.mark.parametrize("kind", ["folder", "pipe", "/dev/zero", "missing", "link to itself"])
@pytest.mark.parametrize("entry", ["evaluate", "import"])
def test_labels_that_are_no_file(tools, tmp_path, kind, entry):
    path = tmp_path / "labels.yaml"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "link to itself":
        path.symlink_to(path)
    elif kind == "/dev/zero":
        path.symlink_to("/dev/zero")
    for side in ("ref", "pred"):
        tools.save(tmp_path / side / "c.nii.gz", tools.blob())
    (tmp_path / "s.json").write_text('{"metric_per_case": []}')
    arguments = ["evaluate", tmp_path / "ref", tmp_path / "pred"]
    if entry == "import":
        arguments = ["import", "nnunet", tmp_path / "s.json"]
    tools.refusal(tools.command, *arguments, "--labels", path, "--out", tmp_path / "o.csv")
    assert not (tmp_path / "o.csv").exists()


ODD: dict[str, tuple[str, dict[str, Label]]] = {
    "BOM": ("\ufeffliver: 1", {"liver": Label(values=(1,))}),
    "Windows lines": ("liver: 1\r\nspleen: 2\r\n", {
        "liver": Label(values=(1,)), "spleen": Label(values=(2,)),
    }),
    "value to name": ('{"0": "background", "1": "tumor", "3": "tumor"}', {
        "tumor": Label(values=(1, 3)),
    }),
    "value to name, YAML": ("0: background\n1: tumor", {"tumor": Label(values=(1,))}),
    "a raised digit": ('{"\u00b2": "liver"}', {"\u00b2": Label(file="liver")}),
    "NFD": ('{"cafe\\u0301": 1}', {"caf\u00e9": Label(values=(1,))}),
    "control characters": ('{"a\\u001bb": 1}', {"a\\x1bb": Label(values=(1,))}),
    "a union": ("both: [1, 2]", {"both": Label(values=(1, 2))}),
    "BACKGROUND": ("BACKGROUND: 0\nliver: 1", {"liver": Label(values=(1,))}),
    "another name for 0": ("air: 0\nliver: 1", {"liver": Label(values=(1,))}),
    "a negative value": ("liver: -1", {"liver": Label(values=(-1,))}),
    "a file": ("liver: liver.nii.gz", {"liver": Label(file="liver.nii.gz")}),
    "comments": ("# which is which\nliver: 1 # here", {"liver": Label(values=(1,))}),
    "quotes": ("'no': 1", {"no": Label(values=(1,))}),
    "labels of nnU-Net": ('{"name": "x", "labels": {"background": 0, "liver": 1}}', {
        "liver": Label(values=(1,)),
    }),
}  # fmt: skip


@pytest.mark.parametrize("name", list(ODD))
def test_odd_labels_are_understood(tmp_path, name):
    content, expected = ODD[name]
    (tmp_path / "labels.yaml").write_text(content, encoding="utf-8", newline="")
    assert read_labels_file(tmp_path / "labels.yaml") == expected


def test_ten_thousand_classes_end_soon(tools, tmp_path):
    for side in ("ref", "pred"):
        tools.save(tmp_path / side / "c.nii.gz", tools.blob())
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps({f"class {i}": i for i in range(1, 10_001)}))
    try:
        assert len(tools.scored(tmp_path, labels).rows) == 10_000
    except Exception:
        tools.refusal(tools.scored, tmp_path, labels)


API_LABELS: list[Any] = [
    {"liver": False}, {"liver": [True]}, {"liver": 1.5}, {"liver": None}, {"liver": []},
    {"liver": 10**30}, {"liver": {"a": 1}}, {"liver": "../x"}, {}, {"background": 0}, {"ignore": 3},
]  # fmt: skip


@pytest.mark.parametrize("labels", API_LABELS, ids=str)
def test_labels_of_the_python_interface(tools, tmp_path, labels):
    for side in ("ref", "pred"):
        tools.save(tmp_path / side / "c.nii.gz", tools.blob())
    tools.refusal(satbench.evaluate, tmp_path / "ref", tmp_path / "pred", labels=labels)
