"""A configuration is read as it was meant, or refused in one message before any work."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from evaluation.cli import build
from evaluation.config import RunConfig, load_frozen
from evaluation.errors import BenchError
from evaluation.files.strict_yaml import load_yaml
from evaluation.workflow.configuration import config_from, load_config, unused_names
from evaluation.workflow.doctor import examine

BASE = {
    "name": "mine",
    "study": "sat",
    "data_kind": "real",
    "raw_root": "raw",
    "entries": ["msd_spleen", "acdc"],
    "models": ["sat-nano", "oracle"],
    "presets": {"sat-nano": "tiny"},
}

WRONG = [
    ({"presets": {"sat-nan": "tiny"}}, r"no model is called `sat-nan`.*did you mean `sat-nano`"),
    ({"presets": {"sat-nano": "tini"}}, "did you mean `tiny`"),
    ({"presets": {"sat-nano": "mine.yaml"}}, "no SAT-Nano preset `mine.yaml`"),
    ({"presets": {"sat-nano": "tiny", "oracle": "tiny"}}, "`oracle` has no presets"),
    # Meant for another model, which would get its default, the full size.
    ({"presets": {"nnunet": "demo"}}, r"`nnunet` is not among.*`sat-nano` is without a preset"),
    ({"models": ["sat-nano", "oracel"]}, "did you mean `oracle`"),
    ({"models": ["oracle", "oracle"]}, "models: `oracle` is there twice"),
    ({"models": []}, "models"),
    ({"entries": ["msd_splean"]}, "did you mean `msd_spleen`"),
    ({"entries": ["acdc", "acdc"]}, "`acdc` is there twice"),
    ({"entries": ["acdc", "ACDC"]}, "`ACDC` and `acdc` are one entry"),
    ({"classes": {"acdcc": ["myocardium"]}}, "did you mean `acdc`"),
    ({"classes": {"acdc": ["myocard"]}}, "did you mean `myocardium`"),
    ({"classes": {"acdc": ["myocardium", "myocardium"]}}, "there twice"),
    ({"classes": {"acdc": []}}, "no class of the entry is left"),
    ({"classes": {"msd_spleen": ["-spleen"]}}, "no class of the entry is left"),
    ({"space": ["native", "native"]}, "there twice"),
    ({"space": ["naive"]}, "space"),
    ({"tolerance_mm": [1, 1.0]}, "there twice"),
    ({"tolerance_mm": [-1]}, "greater than or equal to 0"),
    ({"tolerance_mm": [float("nan")]}, "tolerance_mm"),
    ({"tolerance_mm": [float("inf")]}, "tolerance_mm"),
    ({"tolerance_mm": [1e9]}, "less than or equal to 1000"),
    ({"tolerance_mm": [True]}, "a number is wanted"),
    ({"seed": -1}, "seed"),
    ({"seed": 2**32}, "seed"),
    ({"seed": True}, "a number is wanted"),
    ({"shard_size": 0}, "shard_size"),
    ({"shard_size": 2.5}, "shard_size"),
    ({"name": 2024}, "name: Input should be a valid string, found 2024"),
    ({"shard_sise": 2}, "did you mean `shard_size`"),
    (
        {"data_kind": "synthetic", "cohort": {"patients": 3, "test_patients": 3}},
        "test_patients must be fewer",
    ),
]


def written(folder: Path, **changes: object) -> Path:
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(BASE | changes))
    return path


@pytest.mark.parametrize(("changes", "words"), WRONG, ids=[str(c)[:60] for c, _ in WRONG])
def test_a_wrong_value_is_one_message_everywhere(changes, words, tmp_path: Path) -> None:
    path = written(tmp_path, **changes)
    with pytest.raises(BenchError, match=f"(?s){words}") as caught:
        load_config(path)
    with pytest.raises(BenchError) as merged:
        config_from(yaml.safe_load(path.read_text()), [path])
    assert str(merged.value) == str(caught.value)
    faults = [f for f in examine(path) if f.level == "fault"]
    assert [f.message for f in faults if f.topic == "configuration"] == [caught.value.one_line]


@pytest.mark.parametrize("command", ["plan", "sat sampling"])
def test_every_command_that_reads_a_configuration_looks_at_its_names(command, tmp_path) -> None:
    path = written(tmp_path, presets={"sat-nan": "tiny"})
    result = CliRunner().invoke(build(), [*command.split(), "--config", str(path)])
    assert isinstance(result.exception, BenchError)
    assert "did you mean `sat-nano`" in str(result.exception)


def test_values_as_the_command_line_gives_them() -> None:
    """Snakemake hands on the insides of lists and mappings as text, and single values bare."""
    given_values = BASE | {
        "tolerance_mm": ["1", "2.5"],
        "space": "native",
        "models": "oracle",
        "entries": "acdc",
        "classes": {"acdc": "myocardium"},
        "study": "sat",
        "data_kind": "synthetic",
        "cohort": {"patients": "5", "test_patients": "2"},
    }
    config = config_from(given_values, [])
    assert config.tolerance_mm == [1.0, 2.5]
    assert (config.space, config.models, config.entries) == (["native"], ["oracle"], ["acdc"])
    assert config.classes == {"acdc": ["myocardium"]}
    assert config.cohort
    assert (config.cohort.patients, config.cohort.test_patients) == (5, 2)
    assert config_from(BASE | {"tolerance_mm": 2}, []).tolerance_mm == [2.0]
    assert config_from(BASE | {"entries": ["all"]}, []).entries == "all"
    assert config_from(BASE | {"presets": None, "classes": None}, []).presets == {}


def test_entries_have_their_ids_whatever_their_spelling(tmp_path: Path) -> None:
    spelt = written(tmp_path, entries=["MSD Spleen", "acdc"], classes={"ACDC": ["myocardium"]})
    config = load_config(spelt)
    assert config.entries == ["msd_spleen", "acdc"]
    assert config.classes == {"acdc": ["myocardium"]}


def test_what_is_left_of_a_dropped_model_or_entry_is_a_note(tmp_path: Path) -> None:
    path = written(
        tmp_path, models=["oracle"], entries=["msd_spleen"], classes={"acdc": ["myocardium"]}
    )
    assert unused_names(load_config(path)) == [
        "presets.sat-nano: not among the run's models",
        "classes.acdc: not among the run's entries",
    ]
    notes = [f.message for f in examine(path) if (f.level, f.topic) == ("note", "configuration")]
    assert len(notes) == 2


def test_presets_of_a_file_are_checked_too(tmp_path: Path) -> None:
    preset = tmp_path / "own.yaml"
    preset.write_text("extends: tiny\ntraining: {stepps: 3}\n")
    with pytest.raises(BenchError, match=r"training.stepps.*did you mean `steps`"):
        load_config(written(tmp_path, presets={"sat-nano": str(preset)}))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "found:    nothing"),
        (b"- a\n", "found:    list"),
        (b"name: [\n", "cannot be read as YAML"),
        (b"name: x\n\tmodels: [oracle]\n", "cannot be read as YAML"),
        (b"name: x\nname: y\n", "`name` is there twice"),
        ("name: größer\n".encode("latin-1"), "saved as UTF-8"),
        (b"[" * 100_000, "nested more than"),
        (b"a: &a [*a]\n", "contains itself"),
        (
            b"a0: &a0 [x, x]\n"
            + b"".join(b"a%d: &a%d [%s]\n" % (i, i, b"*a%d, " % (i - 1) * 10) for i in range(1, 9)),
            "repeat values",
        ),
    ],
    ids=["empty", "list", "broken", "tab", "twice", "latin", "deep", "recursive", "bomb"],
)
def test_files_that_are_no_configuration(content, words, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    for read in (load_config, lambda file: config_from(BASE, [file])):
        with pytest.raises(BenchError, match=words) as caught:
            read(path)
        assert str(path) in str(caught.value)


def test_files_of_other_systems_are_read(tmp_path: Path) -> None:
    path = written(tmp_path)
    text = path.read_text().replace("\n", "\r\n")
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert load_config(path).name == "mine"
    with pytest.raises(BenchError, match="no such file"):
        load_config(tmp_path / "other.yaml")


def test_a_damaged_frozen_configuration_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"name": "x", "mod')
    with pytest.raises(BenchError, match=r"config\.json"):
        load_frozen(tmp_path)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("abc xyz", max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc"), inner, max_size=3),
    max_leaves=12,
)


@given(VALUES)
def test_strict_reading_equals_plain_reading_where_no_key_is_lost(value) -> None:
    text = yaml.safe_dump(value)
    assert load_yaml(text) == yaml.safe_load(text) == value


@given(st.sampled_from(sorted(RunConfig.model_fields)), VALUES)
def test_no_value_ends_in_a_traceback(field: str, value) -> None:
    with suppress(BenchError):
        config_from(BASE | {field: value}, [])
