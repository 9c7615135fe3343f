"""Tables hold what the run declares: after any change they are those of a fresh run of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evaluation.config import Cohort, RunConfig, freeze, load_frozen
from evaluation.datasets.registry import find_card
from evaluation.datasets.sharding import n_test_shards
from evaluation.errors import BenchError
from evaluation.paths import RunPaths
from evaluation.schema import SCORES, TABLES, read_table, write_table
from evaluation.tables.run_tables import MADE_HERE, aggregate_run, expected_of
from evaluation.tables.scores import measured_by, score_files
from tests.bench.score_rows import collection_shape, synthetic_scores

ENTRIES = {"chaos_ct": 4, "msd_spleen": 4}
MODELS = {"good": 0.0, "better": 0.1, "best": 0.15}


def write_rows(paths: RunPaths, models: list[str], entries: list[str], tolerance: float) -> None:
    """Score rows of models on entries at one tolerance, in the shards of the run's plan."""
    config = load_frozen(paths.root)
    cards = collection_shape()
    shape = {name: (cards[name][0], n, cards[name][2]) for name, n in ENTRIES.items()}
    scores = synthetic_scores(MODELS, shape, seed=1)
    rows = scores.rows.assign(tolerance_mm=tolerance)
    rows["nsd"] = (rows["nsd"] + tolerance / 100).clip(upper=1)
    rows["dsc"] = rows["dsc"].clip(upper=1)
    for model in models:
        for dataset in entries:
            part = rows[(rows["model"] == model) & (rows["dataset"] == dataset)]
            n = n_test_shards(find_card(dataset), config)
            for shard in range(n):
                cases = sorted(part["case"].astype(str).unique())[shard::n]
                target = paths.score_shard(model, dataset, shard)
                write_table(target, part[part["case"].isin(cases)], SCORES)
    for dataset, frame in scores.expected.splits.items():
        paths.split(dataset).parent.mkdir(exist_ok=True)
        frame.to_csv(paths.split(dataset), index=False)


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    """Two models on two entries at 1 mm."""
    paths = RunPaths(tmp_path / "results/small")
    config = RunConfig(
        name="small", study="sat", data_kind="synthetic", raw_root="raw", entries=list(ENTRIES),
        models=["good", "better"], cohort=Cohort(), shard_size=2,
    )  # fmt: skip
    freeze(config, paths.config)
    write_rows(paths, ["good", "better"], list(ENTRIES), 1.0)
    return paths


def declare(paths: RunPaths, **changes: object) -> None:
    freeze(load_frozen(paths.root).model_copy(update=changes), paths.config)


def tables(paths: RunPaths) -> tuple[dict[str, pd.DataFrame], list[str]]:
    lines = aggregate_run(paths.root, n_draws=20)
    return {name: read_table(paths.table(name), TABLES[name]) for name in MADE_HERE}, lines


def assert_as_fresh(paths: RunPaths, words: str) -> None:
    """The tables equal those of a run that never held anything else; what is left out is named."""
    found, lines = tables(paths)
    assert [line for line in lines if line.startswith("left out") and words in line], lines
    config = load_frozen(paths.root)
    shutil.rmtree(paths.root / "scores")
    write_rows(paths, list(config.models), list(config.entries), config.tolerance_mm[0])
    fresh, lines = tables(paths)
    assert not [line for line in lines if line.startswith("left out")]
    for name, frame in fresh.items():
        pd.testing.assert_frame_equal(found[name], frame)


def with_another_tolerance(paths: RunPaths) -> None:
    for path in sorted(paths.root.glob("scores/*/*/shards/*.parquet")):
        rows = read_table(path, SCORES)
        other = pd.concat([rows, rows.assign(tolerance_mm=2.0, dsc=1.0)])
        write_table(path, other, SCORES)


def with_another_space(paths: RunPaths) -> None:
    for path in sorted(paths.root.glob("scores/*/*/shards/*.parquet")):
        rows = read_table(path, SCORES)
        write_table(path, pd.concat([rows, rows.assign(space="resampled", dsc=1.0)]), SCORES)


def with_a_former_case(paths: RunPaths) -> None:
    path = paths.score_shard("good", "msd_spleen", 0)
    rows = read_table(path, SCORES)
    write_table(path, pd.concat([rows, rows.assign(case="gone", dsc=1.0)]), SCORES)


def with_a_former_class(paths: RunPaths) -> None:
    path = paths.score_shard("good", "msd_spleen", 0)
    rows = read_table(path, SCORES)
    other = pd.concat([rows, rows.assign(**{"class": "liver", "dsc": 1.0})])
    write_table(path, other, SCORES)


def with_a_former_shard(paths: RunPaths) -> None:
    rows = read_table(paths.score_shard("good", "msd_spleen", 0), SCORES)
    write_table(paths.score_shard("good", "msd_spleen", 7), rows.assign(dsc=1.0), SCORES)


def with_a_shard_of_another_plan(paths: RunPaths) -> None:
    """All of an entry's cases in the first shard, as under a larger `shard_size`."""
    shards = [read_table(paths.score_shard("good", "msd_spleen", k), SCORES) for k in (0, 1)]
    shards[1] = shards[1].assign(dsc=1.0)
    write_table(paths.score_shard("good", "msd_spleen", 0), pd.concat(shards), SCORES)


def without_an_entry(paths: RunPaths) -> None:
    declare(paths, entries=["chaos_ct"])


def without_a_model(paths: RunPaths) -> None:
    declare(paths, models=["good"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without_a_model, "models that the configuration does not name: better"),
        (without_an_entry, "does not name: better/msd_spleen, good/msd_spleen"),
        (with_another_tolerance, "no tolerance in mm of this run (2): good/chaos_ct"),
        (with_another_space, "no space of this run (resampled)"),
        (with_a_former_case, "no test case of this run (gone): good/msd_spleen"),
        (with_a_former_class, "no class of this run (liver)"),
        (with_a_former_shard, "shards of another shard_size: good/msd_spleen"),
        (with_a_shard_of_another_plan, "no test case of this run"),
    ],
)
def test_what_is_not_declared_is_named_and_not_shown(
    run: RunPaths, change: Callable[[RunPaths], None], words: str
) -> None:
    tables(run)
    change(run)
    assert_as_fresh(run, words)


def test_a_model_that_is_not_measured_at_the_tolerance_is_not_run_there(run: RunPaths) -> None:
    """A model is added and the tolerance changed: only the new tolerance is shown, or none."""
    declare(run, tolerance_mm=[2.0], models=["good", "better", "best"])
    with pytest.raises(BenchError, match="no score rows of what it declares"):
        aggregate_run(run.root, n_draws=100)
    write_rows(run, ["better", "good"], list(ENTRIES), 2.0)
    before, lines = tables(run)
    assert "not run at 2 mm (native): best" in lines
    assert set(before["overall"]["model"]) == {"good", "better"}
    overall = before["overall"]
    assert set(overall.loc[overall["metric"].eq("nsd"), "tolerance_mm"]) == {2.0}
    declare(run, tolerance_mm=[1.0, 2.0])
    write_rows(run, ["best"], list(ENTRIES), 1.0)
    both, lines = tables(run)
    assert "not run at 1 mm (native): good, better" in lines
    assert "not run at 2 mm (native): best" in lines
    at_two = both["overall"].query("tolerance_mm == 2").reset_index(drop=True)
    nsd = overall[overall["metric"].eq("nsd")].reset_index(drop=True)
    pd.testing.assert_frame_equal(at_two, nsd)
    # DSC has no tolerance: wherever a model was measured, it has one.
    dsc = both["overall"][both["overall"]["metric"].eq("dsc")]
    assert dsc["tolerance_mm"].isna().all()
    keys = ["model", "policy", "view", "statistic", "aggregation", "value"]
    of_two = dsc.loc[dsc["model"].isin(["good", "better"]), keys].reset_index(drop=True)
    known = overall.loc[overall["metric"].eq("dsc"), keys].reset_index(drop=True)
    pd.testing.assert_frame_equal(of_two, known)
    assert set(dsc["model"]) == {"good", "better", "best"}
    status = both["completeness"].set_index(["model", "dataset"])
    for model, where in (("good", 1), ("best", 2)):
        row = status.loc[(model, "chaos_ct")]
        assert (row["status"], row["reason"]) == (
            "not run",
            f"no score rows at {where} mm (native)",
        )


def test_an_imported_table_of_a_declared_model_counts(run: RunPaths) -> None:
    usual, _ = tables(run)
    shutil.rmtree(run.root / "scores/good/msd_spleen")
    again, lines = tables(run)
    pd.testing.assert_frame_equal(again["overall"], usual["overall"])
    assert not [line for line in lines if line.startswith("left out")]


def test_whoever_measured_is_read_from_all_score_files(run: RunPaths) -> None:
    """However many there are; what lies there undeclared has measured nothing."""
    for number, path in enumerate(sorted(run.root.glob("scores/*/*/shards/*.parquet"))):
        rows = read_table(path, SCORES)
        write_table(path, rows.assign(implementation="engine", version=str(number)), SCORES)
    expected, _ = expected_of(run.root)
    n_files = sum(map(len, score_files(run, expected).values()))
    assert n_files > 4
    assert measured_by(run, expected) == sorted(f"engine {k}" for k in range(n_files))
    declare(run, models=["better"])
    assert len(measured_by(run, expected_of(run.root)[0])) == n_files // 2


def test_hidden_and_half_written_files_are_no_scores(run: RunPaths) -> None:
    usual, _ = tables(run)
    (run.root / "scores/.partial-1-x").mkdir()
    for name in (".partial-1-0.parquet", "0.parquet.tmp", "._0.parquet"):
        (run.root / "scores/good/msd_spleen/shards" / name).write_bytes(b"cut")
    again, _ = tables(run)
    pd.testing.assert_frame_equal(again["overall"], usual["overall"])


def write_case_table(paths: RunPaths, dataset: str, failed: dict[str, str]) -> None:
    """What became of the planned cases of a listed entry."""
    from evaluation.datasets.splits import planned_cases

    config = load_frozen(paths.root)
    planned = planned_cases(find_card(dataset), config) or []
    lines = ["case,patient,sequence,status,reason,image,labels"]
    for row in planned:
        status = "failed" if row.case in failed else "ok"
        lines.append(f"{row.case},{row.patient},,{status},{failed.get(row.case, '')},,")
    table = paths.case_shard(dataset, 0)
    table.parent.mkdir(parents=True, exist_ok=True)
    table.write_text("\n".join(lines) + "\n")


def test_planned_cases_that_cannot_be_used_are_expected_and_marked(run: RunPaths) -> None:
    from evaluation.datasets.splits import planned_cases
    from evaluation.datasets.splitting import write_split

    declare(run, shard_size=100, entries=["msd_spleen"])
    planned = planned_cases(find_card("msd_spleen"), load_frozen(run.root)) or []
    tests = [row.case for row in planned if row.split == "test"]
    assert len(tests) == 4
    write_case_table(run, "msd_spleen", dict.fromkeys(tests[2:], "image is truncated"))
    said: list[str] = []
    write_split(run.root, "msd_spleen", said.append)
    assert any(f"2 of {len(planned)} planned cases" in line and tests[2] in line for line in said)
    rows = read_table(run.score_shard("good", "msd_spleen", 0), SCORES)
    names = dict(zip(sorted(rows["case"].unique()), tests, strict=False))
    for model in ("good", "better"):
        target = run.score_shard(model, "msd_spleen", 0)
        part = read_table(target, SCORES)
        write_table(target, part.assign(case=part["case"].map(names)), SCORES)
    found, lines = tables(run)
    gap = f"2 of 4 planned test cases have no usable image: {tests[2]}: image is truncated"
    assert [line for line in lines if line.startswith(f"msd_spleen: {gap}")], lines
    assert [line for line in lines if "2 of 4 scans" in line], lines
    for name in ("overall", "dataset", "dataset_class", "class", "region"):
        assert set(found[name]["n_cases_expected"]) == {4}, name
        assert set(found[name]["n_cases"]) <= {1, 2}, name
    status = found["completeness"].set_index("model").loc["good"]
    assert (status["status"], status["n_cases"], status["n_cases_expected"]) == ("incomplete", 2, 4)
    assert "predictions for 2 of 4 scans; not the model's: 2 of 4 planned" in status["reason"]
    # No model is to blame: it has all that can be had, and is ranked.
    assert found["overall"]["complete"].all()
    assert (found["overall"]["n_missing"] == 0).all()

    declare(run, missing_data="error")
    with pytest.raises(BenchError, match="missing_data is `error`") as caught:
        write_split(run.root, "msd_spleen")
    assert f"{tests[2]}: image is truncated" in str(caught.value)


def test_a_class_that_one_answer_lacks_makes_a_model_incomplete(run: RunPaths) -> None:
    path = run.score_shard("good", "chaos_ct", 0)
    rows = read_table(path, SCORES)
    first = rows.index[0]
    rows.loc[first, ["status", "reason"]] = "prediction_missing", "the answer has no `liver`"
    rows.loc[first, ["dsc", "nsd"]] = np.nan
    write_table(path, rows, SCORES)
    found, _ = tables(run)
    overall = found["overall"].query(
        "statistic == 'entries' and view == 'paper' and metric == 'dsc'"
    )
    counted = overall.set_index(["model", "policy"])
    assert counted.loc[("good", "present-only"), "n_missing"] == 1
    assert not counted.loc[("good", "present-only"), "complete"]
    status = found["completeness"].set_index(["model", "dataset"]).loc[("good", "chaos_ct")]
    assert status["status"] == "incomplete"
