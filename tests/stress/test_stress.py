"""`satbench stress`: controls of known behaviour, programs, and what is asked again."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from evaluation.cli import build
from evaluation.config import load_frozen
from evaluation.errors import BenchError
from evaluation.paths import RunPaths
from evaluation.schema import STRESS, read_table
from evaluation.stress import running
from evaluation.stress.kinds import KINDS
from evaluation.stress.running import Extent, stress_model
from evaluation.stress.table import GOOD, IGNORED, rename_in_stress, stress_table
from evaluation.tables.views import Links

CARD = """\
id: {id}
title: Mine
description: x
citation: x
licence: x
adapter:
  kind: command
  command: [{python}, program.py, "{{input}}", "{{output}}"]
  labels: {{msd_spleen: {{spleen: 1}}}}
  texts: {texts}
"""
# It knows one word, and refuses what has nothing to do with it.
PROGRAM = """\
import json, pathlib, sys
import nibabel as nib, numpy as np
folder, out = map(pathlib.Path, sys.argv[1:])
request = json.loads((folder / "request.json").read_text())
for case in request["cases"]:
    image = nib.load(folder / f"{case}.nii.gz")
    (out / case).mkdir()
    for stem, text in request["texts"].items():
        if "spleen" in text:
            mask = np.zeros(image.shape, np.uint8)
            mask[3:9, 2:9, 2:9] = 1
            nib.save(nib.Nifti1Image(mask, image.affine), out / case / f"{stem}.nii.gz")
"""


def asked(run: Path, model: str) -> tuple[str, dict[str, str]]:
    """What the command prints, and the verdict of each kind."""
    done = CliRunner().invoke(build(), ["stress", "--run", str(run), "--model", model])
    assert done.exit_code == 0, done.output
    table = read_table(RunPaths(run).table("stress"), STRESS)
    own = table[table["model"] == model]
    return done.output, dict(zip(own["kind"], own["verdict"], strict=True))


def numbers(run: Path, model: str, quantity: str) -> dict[str, float]:
    table = read_table(RunPaths(run).table("stress"), STRESS)
    rows = table[(table["model"] == model) & (table["quantity"] == quantity)]
    return dict(zip(rows["kind"], rows["value"], strict=True))


def test_an_oracle_passes_and_a_model_that_ignores_its_text_fails_visibly(run):
    output, verdicts = asked(run, "oracle-text")
    assert set(verdicts) == set(KINDS)
    assert all(verdict in GOOD for verdict in verdicts.values())
    assert "9 of 9 kinds as wanted" in output
    unchanged = numbers(run, "oracle-text", "unchanged")
    for kind in KINDS.values():
        assert unchanged[kind.id] == (1 if kind.wanted == "same" else 0)
    output, verdicts = asked(run, "deaf")
    assert {kind for kind, verdict in verdicts.items() if verdict == IGNORED} == {
        "side", "neighbour", "negation", "absent", "irrelevant",
    }  # fmt: skip
    assert "not: other side, neighbour, negation" in output
    assert set(numbers(run, "deaf", "unchanged").values()) == {1}
    # Its one mask: all boxes of the heart (100 + 150 + 168 mm3), and the spleen's (294 mm3).
    expected = (4 * 25 + 6 * 25 + 4 * 7 * 6 + 6 * 7 * 7) / 2 / 1000
    assert numbers(run, "deaf", "alarm_ml")["irrelevant"] == pytest.approx(expected)
    # Both stand in one table, and a model that is asked again has its rows once.
    asked(run, "deaf")
    table = read_table(RunPaths(run).table("stress"), STRESS)
    assert not table.duplicated(["model", "kind", "quantity"]).any()
    assert set(table["model"]) == {"oracle-text", "deaf"}


def test_a_program_is_asked_in_words_and_may_refuse(run):
    folder = Path("config/models")
    folder.mkdir(parents=True)
    for name, texts in (("mine", "true"), ("mute", "false")):
        card = CARD.format(id=name, python=sys.executable, texts=texts)
        (folder / f"{name}.yaml").write_text(card)
    Path("program.py").write_text(PROGRAM)
    done = stress_model(run, "mine", Extent(), lambda _: None)
    spleen = [case for case in done if case.dataset == "msd_spleen"]
    for case in spleen:
        by_kind = {answer.kind: answer for answer in case.answers}
        assert by_kind["modality"].dsc == 1
        assert by_kind["irrelevant"].refused
        assert by_kind["irrelevant"].volume_ml == 0
        assert by_kind["negation"].volume_ml == pytest.approx(0.294)
    with pytest.raises(BenchError, match="cannot be asked in free words"):
        stress_model(run, "mute", Extent(), lambda _: None)


def test_what_is_answered_is_kept_until_something_changes(run, monkeypatch):
    first = stress_model(run, "oracle-text", Extent(cases=1), lambda _: None)
    assert [case.case for case in first] == ["patient001_frame01", "spleen_2"]
    calls = []
    monkeypatch.setattr(running, "answers_under_stress", lambda *a: calls.append(a) or [])
    assert stress_model(run, "oracle-text", Extent(cases=1), lambda _: None) == first
    assert not calls
    stress_model(run, "oracle-text", Extent(cases=1, classes=2), lambda _: None)
    assert len(calls) == 1


def test_a_case_that_fails_is_said_and_the_others_go_on(run, monkeypatch):
    def answer(model, case, *rest):
        if case.dataset == "acdc":
            raise RuntimeError("out of memory")
        return real(model, case, *rest)

    real = running.answers_under_stress
    monkeypatch.setattr(running, "answers_under_stress", answer)
    done = stress_model(run, "oracle-text", Extent(), lambda _: None)
    assert {case.reason for case in done if case.dataset == "acdc"} == {
        "RuntimeError: out of memory"
    }
    assert all(case.answers for case in done if case.dataset == "msd_spleen")


def test_a_model_that_leaves_the_run_leaves_the_table(run):
    asked(run, "oracle-text")
    asked(run, "deaf")
    paths = RunPaths(run)
    before = numbers(run, "deaf", "alarm_ml")
    rename_in_stress(paths, "deaf", "deafer")
    assert numbers(run, "deafer", "alarm_ml") == pytest.approx(before, nan_ok=True)
    rename_in_stress(paths, "deafer", None)
    assert set(read_table(paths.table("stress"), STRESS)["model"]) == {"oracle-text"}
    rename_in_stress(paths, "oracle-text", None)
    assert not paths.table("stress").is_file()


def test_one_person_in_two_entries_counts_once(run):
    done = stress_model(run, "oracle-text", Extent(), lambda _: None)
    twins = {("acdc", "patient001"): "twin", ("msd_spleen", "spleen_2"): "twin"}
    counts = []
    for people in ({}, twins):
        links = Links(people, frozenset(), "")
        table = stress_table("oracle-text", done, load_frozen(run), links)
        counts.append(table.loc[table["kind"] == "negation", "n_patients"].iloc[0])
    assert counts == [5, 4]
