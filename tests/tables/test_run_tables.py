from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from evaluation.cli import build
from evaluation.config import Cohort, RunConfig, freeze, load_frozen
from evaluation.datasets.registry import find_card
from evaluation.datasets.sharding import n_test_shards
from evaluation.errors import BenchError
from evaluation.paths import RunPaths
from evaluation.schema import SCORES, TABLES, read_table, write_table
from evaluation.tables.run_tables import MADE_HERE, aggregate_run
from tests.bench.score_rows import collection_shape, synthetic_scores

ENTRIES = {"chaos_ct": 4, "msd_spleen": 3, "acdc": 6, "promise12": 4}


def write_shards(paths: RunPaths, model: str, dataset: str, rows: pd.DataFrame) -> None:
    """The score rows of one model on one entry, in the shards of the run's plan."""
    n = n_test_shards(find_card(dataset), load_frozen(paths.root))
    case = rows["case"].astype(str)
    for shard in range(n):
        part = rows[case.isin(sorted(set(case))[shard::n])]
        write_table(paths.score_shard(model, dataset, shard), part, SCORES)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with two models that are measured, one that is not, and one entry without data."""
    root = tmp_path / "results" / "small"
    paths = RunPaths(root)
    config = RunConfig(
        name="small", study="sat", data_kind="synthetic", raw_root="raw", entries=[*ENTRIES, "wmh"],
        models=["good", "better", "later"], cohort=Cohort(), shard_size=2,
    )  # fmt: skip
    freeze(config, paths.config)
    cards = collection_shape()
    shape = {name: (cards[name][0], n, cards[name][2]) for name, n in ENTRIES.items()}
    scores = synthetic_scores({"good": 0.0, "better": 0.1}, shape, seed=1)
    for (model, dataset), rows in scores.rows.groupby(["model", "dataset"], observed=True):
        write_shards(paths, str(model), str(dataset), rows)
    for dataset, frame in scores.expected.splits.items():
        paths.split(dataset).parent.mkdir(exist_ok=True)
        frame.to_csv(paths.split(dataset), index=False)
    paths.not_run.write_text('dataset,reason\nwmh,"no data at raw/WMH"\n')
    return root


def test_all_tables_of_a_run_and_the_same_again(run: Path) -> None:
    lines = aggregate_run(run, n_draws=100)
    paths = RunPaths(run)
    tables = {name: read_table(paths.table(name), TABLES[name]) for name in MADE_HERE}
    # None of these entries has a lesion, and virtual patients are nobody's published data.
    assert {name for name in MADE_HERE if tables[name].empty} == {
        "lesion",
        "aspect",
        "confusions",
        "lesion_volumes",
        "published",
        "claims",
    }
    assert any("4 of 5 entries" in line and "7 of 8 classes" in line for line in lines), lines
    assert any("not run: wmh" in line for line in lines)
    status = tables["completeness"].set_index(["model", "dataset"])["status"]
    assert status["good", "acdc"] == "complete"
    assert status["later", "acdc"] == "not run"
    assert status["good", "wmh"] == "no data"
    joined = read_table(paths.scores("good", "acdc"), SCORES)
    assert len(joined) == 6 * 4
    overall = tables["overall"]
    headline = overall[
        (overall["statistic"] == "entries")
        & (overall["policy"] == "present-only")
        & (overall["view"] == "paper")
        & (overall["metric"] == "dsc")
    ].set_index("model")
    rows = pd.concat([read_table(paths.scores("good", name), SCORES) for name in ENTRIES])
    by_entry = rows.groupby(["dataset", "class"])["dsc"].mean().groupby("dataset").mean()
    assert headline.loc["good", "value"] == pytest.approx(by_entry.mean())
    assert headline.loc["good", "complete"]
    choices = set(tables["sensitivity"]["choice"])
    assert choices >= {"policy", "aggregation", "composition", "scheme", "statistic"}
    # Nothing is linked here, so that the view `clean` is no question.
    assert "view" not in choices
    aggregate_run(run, n_draws=100)
    for name in MADE_HERE:
        pd.testing.assert_frame_equal(read_table(paths.table(name), TABLES[name]), tables[name])


def test_the_command(run: Path) -> None:
    app = build()
    result = CliRunner().invoke(app, ["aggregate", "--run", str(run), "--draws", "100"])
    assert result.exit_code == 0, result.output
    assert "better: DSC 0." in result.output
    result = CliRunner().invoke(app, ["dictionary"])
    assert "reference_voxels" in result.output


def test_a_run_without_scores_says_what_to_do(tmp_path: Path) -> None:
    config = RunConfig(
        name="none", study="sat", data_kind="real", raw_root="raw", entries=["wmh"], models=["m"]
    )
    freeze(config, tmp_path / "config.json")
    with pytest.raises(BenchError, match="no score rows"):
        aggregate_run(tmp_path)


def test_a_broken_score_file_is_named(run: Path) -> None:
    broken = RunPaths(run).score_shard("good", "acdc", 1)
    broken.write_bytes(b"PAR1 cut")
    with pytest.raises(BenchError, match="not a file of score rows") as caught:
        aggregate_run(run)
    assert str(broken) in str(caught.value)


def test_sensitivity_names_a_choice_that_flips_the_winner(row, grid_of) -> None:
    from evaluation.tables.aggregate import aggregate
    from evaluation.tables.scores import Expected
    from evaluation.tables.sensitivity import sensitivity

    rows = []
    for case in range(4):
        empty = {"status": "both_empty", "reference_voxels": 0, "prediction_voxels": 0}
        wrong = {"status": "reference_empty", "reference_voxels": 0}
        absent = case > 0
        rows.append(
            row(
                "bold",
                "word",
                str(case),
                "liver",
                np.nan if absent else 0.9,
                **(wrong if absent else {}),
            )
        )
        rows.append(row("shy", "word", str(case), "liver", np.nan if absent else 0.8,
                        **(empty if absent else {})))  # fmt: skip
        rows.append(row("perfect", "word", str(case), "liver", np.nan if absent else 1.0,
                        **(empty if absent else {})))  # fmt: skip
    tables = aggregate(grid_of(rows), Expected("synthetic"))
    assert not sensitivity(tables, ("bold", "shy", "perfect"))["flips"].any()
    changes = sensitivity(tables, ("bold", "shy"))
    policy = changes[changes["choice"].eq("policy") & changes["metric"].eq("dsc")]
    assert policy["flips"].all()
    first = policy[policy["scope"] == "overall"].iloc[0]
    assert (first["winner_baseline"], first["winner_alternative"]) == ("bold", "shy")
    assert first["kendall_tau"] == -1


def test_a_question_is_counted_once(run: Path) -> None:
    """DSC has no tolerance: a second one adds rows of NSD only, and each names its own."""
    once = read_sensitivity(run)
    for path in (run / "scores").rglob("*.parquet"):
        rows = read_table(path, SCORES)
        write_table(path, pd.concat([rows, rows.assign(tolerance_mm=2.0)]), SCORES)
    assert len(read_sensitivity(run)) == len(once), "rows of a tolerance that nobody declared"
    two = load_frozen(run).model_copy(update={"tolerance_mm": [1.0, 2.0]})
    freeze(two, RunPaths(run).config)
    twice = read_sensitivity(run)
    question = ["space", "tolerance_mm", "choice", "alternative", "scope", "key", "metric"]
    for frame in (once, twice):
        assert not frame.duplicated(question).any()
        assert (frame["n_models"] > 1).all()
        assert (frame["metric"].eq("dsc") == frame["tolerance_mm"].isna()).all()
    by_metric = twice["metric"].value_counts() / once["metric"].value_counts()
    assert by_metric.to_dict() == {"dsc": 1, "nsd": 2}


def read_sensitivity(run: Path) -> pd.DataFrame:
    aggregate_run(run, n_draws=50)
    return read_table(RunPaths(run).table("sensitivity"), TABLES["sensitivity"])
