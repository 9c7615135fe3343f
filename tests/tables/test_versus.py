"""Two sides against each other: files, a run's models, and several trainings of each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from evaluation.cli import build
from evaluation.errors import BenchError
from evaluation.tables.decisions import decide
from evaluation.tables.scores import Expected
from evaluation.tables.versus import Question, compare_files, compare_sides

N = 24


def scores(row, model: str, gain: float, training: int = 0, shift: float = 0.0) -> pd.DataFrame:
    patients = np.random.default_rng(0).normal(0.7, 0.1, N)
    noise = np.random.default_rng(1000 * training + int(1000 * gain) + 7).normal(0, 0.02, N)
    values = np.clip(patients + noise + gain + shift, 0, 1)
    rows = [row(model, "word", f"{i:02}", "liver", float(v)) for i, v in enumerate(values)]
    return pd.DataFrame(rows)


def test_of_two_models_it_says_what_the_table_of_pairs_says(row, grid_of) -> None:
    rows = [
        *scores(row, "good", 0.03).to_dict("records"),
        *scores(row, "bad", 0).to_dict("records"),
    ]
    grid, expected = grid_of(rows), Expected("real")
    (pair,) = (
        decide([grid], expected)["pairs"]
        .query(
            "scope == 'overall' and metric == 'dsc' and policy == 'present-only' "
            "and view == 'paper'"
        )
        .to_dict("records")
    )
    asked = Question(margins={"dsc": 0.1}, wanted={"dsc": 0.01})
    found = compare_sides([grid], expected, ["bad"], ["good"], asked)
    dsc = found.set_index("metric").loc["dsc"]
    for name in ("difference", "low", "high", "p", "p_false_order", "equivalent_within",
                 "smallest_shown"):  # fmt: skip
        assert dsc[name] == pytest.approx(pair[name]), name
    assert dsc["high"] < 0
    assert dsc["p_false_order"] == pytest.approx(dsc["p"] / 2)
    assert dsc["p_not_equivalent"] < 0.001, "0.03 is well within 0.1"
    assert dsc["n_needed"] > pair["n_needed"], "a third of the difference takes more patients"
    assert found["p_holm"].min() >= found["p"].min() * len(found) - 1e-12
    assert np.isnan(dsc["p_joined"])


def test_trainings_that_differ_widen_the_joined_interval_alone(row, tmp_path: Path) -> None:
    sides = []
    for name, gain in (("a", 0.03), ("b", 0.0)):
        files = []
        for training, shift in enumerate((-0.04, 0.0, 0.04)):
            files.append(tmp_path / f"{name}{training}.parquet")
            scores(row, name, gain, training, shift).to_parquet(files[-1])
        sides.append(files)
    found = compare_files(*sides, Question(metrics=["dsc"])).iloc[0]
    assert found["n_trainings_a"] == found["n_trainings_b"] == 3
    assert 0 < found["low"] < 0.03 < found["high"]
    assert found["low_joined"] < 0 < found["high_joined"]
    assert found["error_trainings"] == pytest.approx(np.sqrt(2 * 0.04**2 / 3), rel=0.1)
    assert found["p_joined"] > 0.1 > found["p"]


def test_the_command_prints_it_and_refuses_what_is_not_there(row, tmp_path: Path) -> None:
    files = []
    for name, gain in (("a", 0.03), ("b", 0.0)):
        files.append(str(tmp_path / f"{name}.parquet"))
        scores(row, name, gain).to_parquet(files[-1])
    out = tmp_path / "claims.csv"
    done = CliRunner().invoke(
        build(), ["compare", *files, "--margin", "dsc=0.05", "--out", str(out)]
    )
    assert done.exit_code == 0, done.output
    assert "probability that the order is false" in done.output
    assert "within 0.05: p" in done.output
    assert set(pd.read_csv(out)["metric"]) == {"dsc", "nsd"}
    with pytest.raises(BenchError, match="no scores of a metric `hd95`"):
        compare_files([Path(files[0])], [Path(files[1])], Question(metrics=["hd95"]))


def test_files_are_compared_by_what_they_share_and_define_alike(row, tmp_path: Path) -> None:
    one, two = tmp_path / "one.parquet", tmp_path / "two.csv"
    near = scores(row, "a", 0.03).assign(definition="surface-element")
    near["hd95"] = 2.0 + np.arange(N) / N
    near.assign(lesion_f1=0.5).to_parquet(one)
    far = scores(row, "b", 0.0).assign(definition="surface-element")
    far["hd95"] = 5.0 + np.arange(N)[::-1] / N
    far.to_csv(two, index=False)
    done = CliRunner().invoke(build(), ["compare", str(one), str(two)])
    assert done.exit_code == 0, done.output
    assert "lesion_f1" not in done.output
    # The nearer one is better: by less.
    assert f"hd95: {two} - {one} = +3.0000 mm" in done.output
    far.assign(definition="voxel-larger").to_csv(two, index=False)
    with pytest.raises(BenchError, match="define surfaces and distances otherwise"):
        compare_files([one], [two], Question(metrics=["hd95"]))
    assert len(compare_files([one], [two], Question(metrics=["dsc"]))) == 1
