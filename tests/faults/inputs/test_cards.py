"""Cards of datasets and models, studies, configurations and presets, as people write them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from evaluation.datasets.registry import find_card
from evaluation.errors import BenchError
from evaluation.models.card import find_model, load_object
from evaluation.studies.record import find_study
from evaluation.workflow.configuration import load_config
from sat.config import load_preset

DROP = object()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("evaluation.files.expressions.PATIENCE_S", 0.5)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


TEXTS: dict[str, str | bytes] = {
    "empty": "", "a list": "[1]", "a text": "knee", "a number": "7", "null": "null",
    "no YAML": "id: [", "a tab": "id:\n\t- 1", "a key twice": "id: a\nid: b",
    "not UTF-8": b"id: \xff\xfe", "UTF-16": "id: a".encode("utf-16"), "binary": bytes(range(256)),
    "nested deep": "[" * 100_000, "nested": "a: " + "[" * 2000 + "]" * 2000,
    "an alias in itself": "a: &a [*a]", "a Python tag": "id: !!python/object/apply:os.system ['x']",
    "an unknown key": "surprise: 1", "two documents": "id: a\n---\nid: b",
}  # fmt: skip
FILES = ("folder", "pipe", "/dev/zero", "link to itself")
DATASET: dict[str, Any] = {
    "title": "My Knee", "modality": "mri", "regions": ["lower limb"], "description": "knees",
    "licence": {"name": "CC", "verified": False}, "access": "open",
    "source": {"name": "a", "where": "b", "steps": "c"}, "citation": "x", "folder": "Knee",
    "layout": "images", "reader": "paired",
    "reader_args": {"scans": [{"image": "im/{case}.nii.gz", "label": "la/{case}.nii.gz"}]},
    "classes": [{"name": "patella", "values": [1]}], "expected_cases": 2, "expected_patients": 2,
}  # fmt: skip
BAD_DATASETS: dict[str, dict[str, Any]] = {
    "reader os:system": {"reader": "os:system"},
    "reader of nothing": {"reader": ":x"},
    "reader unknown": {"reader": "magic"},
    "reader without object": {"reader": "os:"},
    "reader in a module with a syntax error": {"reader": "broken_syntax:Reader"},
    "reader in a module that raises": {"reader": "broken_import:Reader"},
    "reader that raises": {"reader": "broken_reader:raises"},
    "reader that is a number": {"reader": "broken_reader:number"},
    "reader that gives nothing": {"reader": "broken_reader:nothing"},
    "reader of a missing module": {"reader": "nothing_here:Reader"},
    "reader with two colons": {"reader": "a:b:c"},
    "patient_pattern (": {"patient_pattern": "("},
    "patient_pattern without a group": {"patient_pattern": "^p"},
    "patient_pattern [z-a]": {"patient_pattern": "([z-a])"},
    "patient_pattern of 5000 groups": {"patient_pattern": "(" * 5000 + ")" * 5000},
    "patient_pattern a number": {"patient_pattern": 7},
    "case_patterns (": {"case_patterns": [{"cases": "(", "sequence": "T1"}]},
    "case_patterns says nothing": {"case_patterns": [{"cases": "a"}]},
    "markers absolute": {"markers": ["/etc/*"]},
    "markers empty": {"markers": [""]},
    "markers above": {"markers": ["../*"]},
    "markers a number": {"markers": [7]},
    "split negative": {"split": {"train": -1, "test": 2, "rule": "seeded"}},
    "split of text": {"split": {"train": "many", "test": 2, "rule": "seeded"}},
    "split rule unknown": {"split": {"train": 1, "test": 1, "rule": "magic"}},
    "expected_cases negative": {"expected_cases": -2},
    "expected_patients half": {"expected_patients": 1.5},
    "expected_cases infinite": {"expected_cases": float("inf")},
    "modality xray": {"modality": "xray"},
    "access secret": {"access": "secret"},
    "classes a mapping": {"classes": {"patella": 1}},
    "class twice": {"classes": [{"name": "a", "values": [1]}, {"name": "a", "values": [2]}]},
    "class without a source": {"classes": [{"name": "a"}]},
    "class of two sources": {"classes": [{"name": "a", "values": [1], "file": "a"}]},
    "class of a stranger": {"classes": [{"name": "a", "union_of": ["b"]}]},
    "class of itself": {"classes": [{"name": "a", "union_of": ["a"]}]},
    "class value a text": {"classes": [{"name": "a", "values": ["one"]}]},
    "class value 1.5": {"classes": [{"name": "a", "values": [1.5]}]},
    "class region unknown": {"classes": [{"name": "a", "values": [1], "region": "moon"}]},
    "licence a text": {"licence": "CC"},
    "source missing": {"source": DROP},
    "title missing": {"title": DROP},
    "reader_args unknown": {"reader_args": {"surprise": 1}},
    "reader_args a list": {"reader_args": [1]},
    "reader pattern above": {"reader_args": {"scans": [{"image": "../{case}", "label": "{case}"}]}},
    "reader pattern absolute": {
        "reader_args": {"scans": [{"image": "/etc/{case}", "label": "l/{case}"}]}
    },
    "reader pattern with braces": {
        "reader_args": {"scans": [{"image": "{case!r}", "label": "l/{case}"}]}
    },
    "reader names (": {"reader_args": {**DATASET["reader_args"], "names": {"case": "("}}},
    "reader names unused": {"reader_args": {**DATASET["reader_args"], "names": {"x": "a"}}},
    "ignore_values text": {"ignore_values": ["all"]},
    "exclude a list": {"exclude": ["a"]},
    "specialist of a stranger": {"specialists": [{"id": "my_knee", "classes": ["b"]}]},
    "specialist id": {"specialists": [{"id": "../x"}]},
    "the title of another": {"title": "ACDC"},
    "overlap with itself": {
        "overlaps": [{"dataset": "my_knee", "relation": "x", "verified": True,
                      "linked": [["a", "a"]]}]
    },
    "id of another": {"id": "another"},
    "id with dots": {"id": "../my_knee"},
    "an unknown key": {"surprise": 1},
}  # fmt: skip


def modules(place: Path) -> None:
    (place / "broken_syntax.py").write_text("class Reader(:\n")
    (place / "broken_import.py").write_text("raise ValueError('broken weights')\n")
    (place / "broken_reader.py").write_text(
        "number = 7\ndef raises(card):\n    raise RuntimeError('no')\n"
        "def nothing(card):\n    pass\n"
    )


def card(base: dict[str, Any], name: str, changes: dict[str, Any]) -> str:
    values = {"id": name, **base, **changes}
    return yaml.safe_dump({k: v for k, v in values.items() if v is not DROP})


def odd_file(path: Path, kind: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(path if kind == "link to itself" else kind)


@pytest.mark.parametrize("entry", ["datasets", "data check", "data status"])
@pytest.mark.parametrize("name", [*BAD_DATASETS, *TEXTS])
def test_bad_cards_of_datasets(tools, place, name, entry):
    modules(place)
    text = card(DATASET, "my_knee", BAD_DATASETS[name]) if name in BAD_DATASETS else TEXTS[name]
    tools.write(place / "config/datasets/my_knee.yaml", text)
    for case in ("a", "b"):
        tools.save(place / f"raw/Knee/im/{case}.nii.gz", tools.blob())
        tools.save(place / f"raw/Knee/la/{case}.nii.gz", (tools.blob() == 1).astype(np.uint8))
    if entry == "datasets":
        assert "my_knee" in tools.refusal(tools.command, "datasets", "my_knee")
        return
    arguments = [*entry.split(), "--raw-root", "raw", "--dataset", "my_knee"]
    if entry == "data status":
        arguments = ["data", "status", "--raw-root", "raw"]
    try:
        said = tools.command(*arguments)
    except BenchError as error:
        said = str(error)
    assert "Traceback" not in said
    if entry == "data check":
        assert "fault" in said or "my_knee" in said


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("what", ["datasets", "models"])
def test_cards_that_are_no_files(tools, place, kind, what):
    odd_file(place / f"config/{what}/mine.yaml", kind)
    find = {"datasets": find_card, "models": find_model}[what]
    tools.refusal(find, "mine")


@pytest.mark.parametrize("pattern", ["^((a+)+)$", "^((a|a)*)$", r"^((\w+\s?)*)$"])
@pytest.mark.parametrize("where", ["patient_pattern", "case_patterns", "names"])
def test_patterns_of_cards_end_in_time(tools, place, where, pattern):
    change: dict[str, Any] = {"patient_pattern": pattern}
    if where == "case_patterns":
        change = {"case_patterns": [{"cases": pattern, "sequence": "T1"}]}
    if where == "names":
        change = {"reader_args": {**DATASET["reader_args"], "names": {"case": pattern[1:-1]}}}
    tools.write(place / "config/datasets/my_knee.yaml", card(DATASET, "my_knee", change))
    case = "a" * 60 + ("-" if where != "names" else "-!")
    tools.save(place / f"raw/Knee/im/{case}.nii.gz", tools.blob())
    tools.save(place / f"raw/Knee/la/{case}.nii.gz", (tools.blob() == 1).astype(np.uint8))
    if where == "case_patterns":
        said = tools.refusal(find_card("my_knee").sequence_of, case)
    else:
        try:
            said = tools.command("data", "check", "--raw-root", "raw", "--dataset", "my_knee")
        except BenchError as error:
            said = str(error)
    assert "takes for ever" in said


MODEL: dict[str, Any] = {
    "title": "Mine", "description": "x", "citation": "y", "licence": "MIT",
    "adapter": {"kind": "prediction-folder", "folder": "predictions", "labels": {
        "msd_spleen": {"spleen": 1},
    }},
}  # fmt: skip


def labelled(value: Any) -> dict[str, Any]:
    return {"adapter": {**MODEL["adapter"], "labels": {"msd_spleen": {"spleen": value}}}}


def adapter(**values: Any) -> dict[str, Any]:
    return {"adapter": values}


BAD_MODELS: dict[str, dict[str, Any]] = {
    "label 0": labelled(0), "label -1": labelled(-1), "label 70000": labelled(70_000),
    "label true": labelled(True), "label 1.5": labelled(1.5), "label a text": labelled("one"),
    "label null": labelled(None), "labels empty": labelled([]), "labels with 0": labelled([1, 0]),
    "labels with true": labelled([True]), "labels a mapping": labelled({"a": 1}),
    "labels of a stranger": {"adapter": {**MODEL["adapter"], "labels": {"mars": {"x": 1}}}},
    "labels a list": {"adapter": {**MODEL["adapter"], "labels": [1]}},
    "no adapter": {"adapter": DROP}, "an unknown kind": adapter(kind="magic"),
    "no kind": adapter(folder="x"), "no folder": adapter(kind="prediction-folder"),
    "an empty command": adapter(kind="command", command=[]),
    "a command as text": adapter(kind="command", command="rm -rf /"),
    "timeout -1": adapter(kind="command", command=["a", "{output}"], timeout_s=-1),
    "timeout 0": adapter(kind="command", command=["a", "{output}"], timeout_s=0),
    "timeout NaN": adapter(kind="command", command=["a", "{output}"], timeout_s=float("nan")),
    "timeout inf": adapter(kind="command", command=["a", "{output}"], timeout_s=float("inf")),
    "object without a colon": adapter(kind="python", object="os.system"),
    "object with a call": adapter(kind="python", object="os:system('x')"),
    "object with a path": adapter(kind="python", object="/tmp/x:y"),
    "options a list": adapter(kind="python", object="a:b", options=[1]),
    "id of another": {"id": "another"}, "id with a path": {"id": "../mine"},
    "title missing": {"title": DROP}, "title a list": {"title": ["a"]},
    "parameters negative": {"parameters": -1}, "parameters half": {"parameters": 1.5},
    "role unknown": {"role": "king"}, "a control that is a folder": {"role": "control"},
    "gpu often": {"gpu": "often"}, "trained_on a number": {"trained_on": 7},
    "an unknown key": {"surprise": 1},
}  # fmt: skip


@pytest.mark.parametrize("name", [*BAD_MODELS, *TEXTS])
def test_bad_cards_of_models(tools, place, name):
    text = card(MODEL, "mine", BAD_MODELS[name]) if name in BAD_MODELS else TEXTS[name]
    tools.write(place / "config/models/mine.yaml", text)
    assert "mine" in tools.refusal(find_model, "mine")


@pytest.mark.parametrize(
    "target",
    ["broken_syntax:Reader", "broken_import:X", "nothing_here:X", "broken_reader:missing", "os:xx"],
)
def test_objects_that_cannot_be_loaded(tools, place, target):
    modules(place)
    assert "card mine" in tools.refusal(load_object, target, "card mine")


@pytest.mark.parametrize("what", ["model", "dataset"])
@pytest.mark.parametrize(
    "name",
    ["x" * 300, "../x", "a/b", "A b", "", " ", "-x", "x-", "x__y", "\u00fc", "x\ny", ".", "con\0"],
)
def test_new_refuses_what_is_no_id(tools, place, what, name):
    tools.refusal(tools.command, "new", what, name)
    assert not (place / "config").exists()


@pytest.mark.parametrize("what", ["model", "dataset"])
def test_new_where_config_is_a_file(tools, place, what):
    (place / "config").write_text("a file")
    with pytest.raises((BenchError, OSError)):  # the command line says either in one message
        tools.command("new", what, "mine")


CONFIG: dict[str, Any] = {
    "name": "mine", "study": "sat", "data_kind": "real", "raw_root": "raw", "entries": ["acdc"],
    "models": ["oracle"],
}  # fmt: skip
SYNTHETIC = {"data_kind": "synthetic"}
BAD_CONFIGS: dict[str, dict[str, Any]] = {
    "name of 300 characters": {"name": "x" * 300}, "name with a path": {"name": "../x"},
    "name empty": {"name": ""}, "name a number": {"name": 7}, "name missing": {"name": DROP},
    "study missing": {"study": DROP}, "study unknown": {"study": "moon"},
    "study a path": {"study": "../../etc/passwd.yaml"}, "study a list": {"study": ["sat"]},
    "data_kind": {"data_kind": "fake"}, "raw_root empty": {"raw_root": ""},
    "raw_root a number": {"raw_root": 7}, "entries unknown": {"entries": ["moon"]},
    "entries twice": {"entries": ["acdc", "acdc"]}, "entries a mapping": {"entries": {"a": 1}},
    "models empty": {"models": []}, "models twice": {"models": ["oracle", "oracle"]},
    "models unknown": {"models": ["moon"]}, "models missing": {"models": DROP},
    "classes empty list": {"classes": {"acdc": []}},
    "classes unknown": {"classes": {"acdc": ["x"]}},
    "classes of a stranger": {"classes": {"moon": ["x"]}}, "classes a list": {"classes": ["x"]},
    "tolerance NaN": {"tolerance_mm": float("nan")},
    "tolerance inf": {"tolerance_mm": [float("inf")]},
    "tolerance -1": {"tolerance_mm": -1}, "tolerance 10^9": {"tolerance_mm": 1e9},
    "tolerance true": {"tolerance_mm": True}, "tolerance empty": {"tolerance_mm": []},
    "tolerance twice": {"tolerance_mm": [1, 1]}, "tolerance a text": {"tolerance_mm": "far"},
    "space twice": {"space": ["native", "native"]}, "space unknown": {"space": "outer"},
    "space empty": {"space": []}, "metrics empty": {"metrics": []},
    "metrics unknown": {"metrics": ["moon"]}, "metrics twice": {"metrics": ["dsc", "dsc"]},
    "shard_size 0": {"shard_size": 0}, "shard_size true": {"shard_size": True},
    "seed -1": {"seed": -1}, "seed 2^40": {"seed": 2**40}, "seed a text": {"seed": "x"},
    "missing_data": {"missing_data": "guess"}, "presets a list": {"presets": ["x"]},
    "preset unknown": {"models": ["sat-nano"], "presets": {"sat-nano": "moon"}},
    "preset of a stranger": {"presets": {"moon": "tiny"}},
    "preset of a control": {"presets": {"oracle": "tiny"}},
    "stages of a text": {"stages": {"moon/train": "much"}},
    "stages a list": {"stages": [1]}, "cohort in a real run": {"cohort": {"patients": 5}},
    "no cohort": SYNTHETIC, "cohort of 10^9": {**SYNTHETIC, "cohort": {"patients": 10**9}},
    "cohort of 1": {**SYNTHETIC, "cohort": {"patients": 1}},
    "cohort all for testing": {**SYNTHETIC, "cohort": {"patients": 4, "test_patients": 4}},
    "cohort a text": {**SYNTHETIC, "cohort": "many"}, "an unknown key": {"surprise": 1},
}  # fmt: skip


@pytest.mark.parametrize("name", [*BAD_CONFIGS, *TEXTS, *FILES])
def test_bad_configurations(tools, place, name):
    path = place / "config/mine.yaml"
    (place / "raw/ACDC").mkdir(parents=True)
    if name in FILES:
        odd_file(path, name)
    else:
        values = {**CONFIG, **BAD_CONFIGS.get(name, {})}
        text = yaml.safe_dump({k: v for k, v in values.items() if v is not DROP})
        tools.write(path, text if name in BAD_CONFIGS else TEXTS[name])
    tools.refusal(tools.command, "plan", "--config", path)
    assert not (place / "results").exists()


def test_a_sound_configuration_is_not_refused(tools, place):
    tools.write(place / "config/mine.yaml", yaml.safe_dump(CONFIG))
    assert load_config(place / "config/mine.yaml").name == "mine"


STUDY: dict[str, Any] = {
    "id": "mine", "title": "Mine", "document": {"id": "doc", "citation": "x"}, "entries": ["acdc"],
}  # fmt: skip
BAD_STUDIES: dict[str, dict[str, Any]] = {
    "id with a path": {"id": "../x"}, "no entries": {"entries": []},
    "entries twice": {"entries": ["acdc", "acdc"]}, "entries a number": {"entries": 7},
    "no document": {"document": DROP}, "document a text": {"document": "x"},
    "a spacing of 0": {"protocol": {"spacing_mm": [0, 1, 1]}},
    "a spacing of NaN": {"protocol": {"spacing_mm": [float("nan"), 1, 1]}},
    "two spacings": {"protocol": {"spacing_mm": [1, 1]}},
    "resampled without a spacing": {"protocol": {"space": "resampled"}},
    "policy": {"protocol": {"policy": "kind"}}, "tolerance -1": {"protocol": {"tolerance_mm": -1}},
    "tolerance inf": {"protocol": {"tolerance_mm": float("inf")}},
    "models a list": {"models": ["x"]}, "table twice": {"printed_tables": [
        {"id": 1, "about": "dataset"}, {"id": 1, "about": "class"}]},
    "table about nothing": {"printed_tables": [{"id": 1, "about": "moon"}]},
    "table region": {"printed_tables": [{"id": 1, "about": "region", "regions": ["moon"]}]},
    "published a list": {"published": ["x"]}, "an unknown key": {"surprise": 1},
}  # fmt: skip


@pytest.mark.parametrize("name", [*BAD_STUDIES, *TEXTS, *FILES])
def test_bad_studies(tools, place, name):
    path = place / "mine.yaml"
    if name in FILES:
        odd_file(path, name)
    else:
        values = {**STUDY, **BAD_STUDIES.get(name, {})}
        text = yaml.safe_dump({k: v for k, v in values.items() if v is not DROP})
        tools.write(path, text if name in BAD_STUDIES else TEXTS[name])
    tools.refusal(find_study, "mine.yaml")


BAD_PRESETS: dict[str, dict[str, Any]] = {
    "extends itself": {"extends": "mine.yaml"}, "extends nothing": {"extends": "moon"},
    "extends a list": {"extends": ["tiny"]}, "an unknown key": {"surprise": 1},
    "network a text": {"network": "big"}, "no width": {"network": {"widths": []}},
    "a width of 0": {"network": {"widths": [0, 1]}},
    "a negative stride": {"network": {"strides": [[-1, 1, 1]]}},
    "dropout 2": {"network": {"dropout": 2}}, "steps -1": {"training": {"steps": -1}},
    "steps a text": {"training": {"steps": "many"}},
    "patch of 0": {"training": {"patch": [0, 1, 1]}},
    "a spacing of 0": {"grid": {"spacing_mm": [0, 1, 1]}},
    "a spacing of NaN": {"grid": {"spacing_mm": [float("nan"), 1, 1]}},
    "a spacing of infinity": {"grid": {"spacing_mm": [float("inf"), 1, 1]}},
    "a negative spacing": {"grid": {"spacing_mm": [-1, 1, 1]}},
    "learning rate NaN": {"training": {"learning_rate": float("nan")}},
}  # fmt: skip


@pytest.mark.parametrize("name", [*BAD_PRESETS, *TEXTS, *FILES])
def test_bad_presets(tools, place, name):
    path = place / "mine.yaml"
    if name in FILES:
        odd_file(path, name)
    else:
        values = {"extends": "tiny", **BAD_PRESETS.get(name, {})}
        tools.write(path, yaml.safe_dump(values) if name in BAD_PRESETS else TEXTS[name])
    tools.refusal(load_preset, "mine.yaml")


LISTS: dict[str, str | bytes] = {
    "empty": "", "a header alone": "case,patient,split\n", "no header": "a,a,train\nb,b,test\n",
    "no split": "case,patient\na,a\nb,b\n", "binary": bytes(range(256)),
    "not UTF-8": b"case,patient,split\n\xff,a,train\nb,b,test\n",
    "a case twice": "case,patient,split\na,a,train\na,a,test\n",
    "a patient on both sides": "case,patient,split\na,p,train\nb,p,test\n",
    "a split of neither": "case,patient,split\na,a,train\nb,b,exam\n",
    "a blank case": "case,patient,split\n,a,train\nb,b,test\n",
    "a blank patient": "case,patient,split\na,,train\nb,b,test\n",
    "a cell too many": "case,patient,split\na,a,train,x\nb,b,test\n",
    "a path as case": "case,patient,split\n../../x,a,train\nb,b,test\n",
    "other cases": "case,patient,split\nx,x,train\ny,y,test\n",
}  # fmt: skip


@pytest.mark.parametrize("name", [*LISTS, *FILES])
def test_bad_lists_of_a_split(tools, place, name):
    split = {"train": 1, "test": 1, "rule": "official"}
    tools.write(place / "config/datasets/my_knee.yaml", card(DATASET, "my_knee", {"split": split}))
    path = place / "config/datasets/my_knee.csv"
    odd_file(path, name) if name in FILES else tools.write(path, LISTS[name])
    generator = np.random.default_rng(0)
    for case in ("a", "b"):
        image = generator.normal(0, 9, tools.blob().shape).astype(np.float32)
        tools.save(place / f"raw/Knee/im/{case}.nii.gz", image)
        tools.save(place / f"raw/Knee/la/{case}.nii.gz", (tools.blob() == 1).astype(np.uint8))
    try:
        said = tools.command("data", "check", "--raw-root", "raw", "--dataset", "my_knee")
    except BenchError as error:
        said = f"fault: {error}"
    assert "fault:" in said, said
