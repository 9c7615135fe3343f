"""One file adds a metric: it is measured, averaged, ranked by its better side, and tested."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evaluation.config import Cohort, RunConfig, freeze
from evaluation.errors import BenchError
from evaluation.metrics import definitions
from evaluation.metrics.catalogue import all_metrics
from evaluation.paths import RunPaths
from evaluation.schema import TABLES, read_table, scores_table, to_arrow, write_table
from evaluation.scoring.folder_pairs import Settings
from evaluation.scoring.folders import evaluate
from evaluation.tables.aggregate import aggregate
from evaluation.tables.decisions import decide
from evaluation.tables.run_tables import MADE_HERE, aggregate_run
from evaluation.tables.scores import Expected
from evaluation.tables.sensitivity import sensitivity
from evaluation.volumes.image_files import Volume, write_volume

GUIDE = Path(__file__).parents[2] / "docs/pages/metrics.md"
METRICS = ("dsc", "nsd", "missed", "volume_difference")
DATASET, CLASS = "msd_spleen", "spleen"
N_CASES = 14


@pytest.fixture
def missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One more metric by one more file, the guide's example."""
    section = GUIDE.read_text(encoding="utf-8")
    folder = tmp_path / "metrics"
    folder.mkdir()
    (folder / "missed.py").write_text(section.split("```python\n")[1].split("```")[0])
    monkeypatch.setattr(definitions, "__path__", [*definitions.__path__, str(folder)])
    all_metrics.cache_clear()
    yield
    all_metrics.cache_clear()


def write_masks(root: Path) -> None:
    """A greedy model, which finds most and more, and a shy one, which has the better DSC."""
    for number in range(N_CASES):
        mask = np.zeros((24, 24, 12), dtype=np.uint8)
        mask[6:18, 6:18, 2:10] = 1
        greedy, shy = mask.copy(), mask.copy()
        greedy[3 : 18 + number % 3, 3:21, 2:10] = 1
        greedy[6, 6:18, 2 : 3 + number % 2] = 0
        shy[6 : 7 + number % 3] = 0
        for name, array in (("reference", mask), ("greedy", greedy), ("shy", shy)):
            write_volume(root / name / f"case{number:02}.nii.gz", Volume(array, np.eye(4)))
    # The shy model has no answer for one case.
    (root / "shy/case03.nii.gz").unlink()


@pytest.fixture
def run(missed: None, tmp_path: Path) -> RunPaths:
    """Both models measured by `satbench evaluate`, as a run that asks for four metrics."""
    write_masks(tmp_path)
    labels = tmp_path / "labels.yaml"
    labels.write_text(f"{CLASS}: 1\n")
    paths = RunPaths(tmp_path / "results/run")
    config = RunConfig(
        name="run", study="sat", data_kind="synthetic", raw_root="raw", entries=[DATASET],
        models=["greedy", "shy"], tolerance_mm=[1.0, 2.0], metrics=list(METRICS), cohort=Cohort(),
    )  # fmt: skip
    freeze(config, paths.config)
    for model in config.models:
        settings = Settings({}, frozenset(), (1.0, 2.0), METRICS, model=model, dataset=DATASET)
        rows = evaluate(
            tmp_path / "reference", tmp_path / model, tmp_path / f"{model}.csv", settings, labels
        ).rows
        assert pd.read_csv(tmp_path / f"{model}.csv")["missed"].notna().any()
        table = scores_table(METRICS)
        write_table(paths.scores(model, DATASET), rows.assign(modality="ct"), table)
    cases = [f"case{number:02}" for number in range(N_CASES)]
    split = pd.DataFrame({"case": cases, "patient": cases, "split": "test"})
    paths.split(DATASET).parent.mkdir(parents=True)
    split.to_csv(paths.split(DATASET), index=False)
    return paths


def of(frame: pd.DataFrame, **keys: object) -> pd.DataFrame:
    usual = {"policy": "present-only", "view": "paper", "aggregation": "macro"} | keys
    for column, value in usual.items():
        if column in frame:
            frame = frame[frame[column] == value]
    return frame


def test_a_metric_of_one_file_is_in_all_tables(run: RunPaths) -> None:
    lines = aggregate_run(run.root, n_draws=200)
    assert any("missed share 0." in line and "at 2 mm" in line for line in lines), lines
    tables = {name: read_table(run.table(name), TABLES[name]) for name in MADE_HERE}
    for name in ("dataset", "dataset_class", "class", "region", "overall"):
        groups = tables[name][["metric", "tolerance_mm"]].drop_duplicates()
        tolerances = groups.groupby("metric")["tolerance_mm"].agg(list).to_dict()
        assert set(tolerances) == set(METRICS), name
        assert sorted(tolerances["nsd"]) == [1.0, 2.0]
        assert all(np.isnan(tolerances[m]).all() for m in METRICS if m != "nsd"), name

    overall = of(tables["overall"], statistic="entries").set_index(["model", "metric"])
    expected = (1 + np.arange(N_CASES) % 3)[np.arange(N_CASES) != 3] / 12
    missing = 1.0
    # The metric's record says what the missing prediction costs; the interval holds the mean.
    shy = overall.loc[("shy", "missed")]
    assert shy["value"] == pytest.approx((expected.sum() + missing) / N_CASES)
    assert shy["value_low"] < shy["value"] < shy["value_high"]
    assert overall.loc[("greedy", "missed"), "value"] == pytest.approx(1.5 / 96)
    # A bias without an answer is unknown: it is left out, and n says so.
    bias = overall.loc[("shy", "volume_difference")]
    assert (bias["n_scores"], bias["n_missing"]) == (N_CASES - 1, 1)
    assert bias["value"] == pytest.approx(-(expected * 12 * 12 * 8).mean() / 1000)
    assert overall.loc[("greedy", "volume_difference"), "value"] > 0


def test_ranks_pairs_and_winners_follow_the_direction(run: RunPaths) -> None:
    rows = read_table(run.scores("shy", DATASET), scores_table(METRICS))
    answered = rows[rows["case"] != "case03"]
    greedy = read_table(run.scores("greedy", DATASET), scores_table(METRICS))
    for model, part in (("shy", answered), ("greedy", greedy[greedy["case"] != "case03"])):
        write_table(run.scores(model, DATASET), part, scores_table(METRICS))
    split = pd.read_csv(run.split(DATASET))
    split[split["case"] != "case03"].to_csv(run.split(DATASET), index=False)
    aggregate_run(run.root, n_draws=200)
    ranks, pairs, sensitivity = (
        read_table(run.table(name), TABLES[name]) for name in ("ranks", "pairs", "sensitivity")
    )
    for frame in (ranks, pairs, sensitivity):
        assert set(frame["metric"]) == {"dsc", "nsd", "missed"}, "without a better side: no winner"
    ranks = of(ranks, scope="overall")
    for (metric, method), group in ranks.groupby(["metric", "method"]):
        found = group.drop_duplicates(["model"]).set_index("model")["rank"]
        better = "greedy" if metric == "missed" else "shy"
        assert found.idxmin() == better, (metric, method)
    shown = ranks[ranks["metric"].eq("missed") & ranks["method"].eq("mean-then-rank")]
    assert shown.set_index("model")["value"].between(0, 0.3).all(), "the score as it is"
    pairs = of(pairs, scope="overall").set_index(["metric", "tolerance_mm"]).sort_index()
    assert (pairs["model_a"] == "greedy").all()
    assert (pairs.loc["dsc", "difference"] < 0).all()
    missed = pairs.loc["missed"].iloc[0]
    assert missed["low"] > 0
    assert missed["win_share"] == 1
    assert missed["effect_size"] > 0
    # One family: three ranked metrics, one of them at two tolerances.
    assert set(pairs["n_family"]) == {4}
    winner = sensitivity.query("scope == 'overall' and choice == 'policy'").set_index("metric")
    assert set(winner.loc[["missed"], "winner_baseline"]) == {"greedy"}
    assert set(winner.loc[["dsc"], "winner_baseline"]) == {"shy"}


def test_ranks_of_a_metric_and_its_mirror_agree(row, grid_of) -> None:
    """Lower is better by x exactly as higher is better by -x."""
    generator = np.random.default_rng(4)
    rows = [
        row(model, "word", f"{case:02}", name, relative_volume_error=error, nsd=1 - error)
        for model, mean in (("a", 0.3), ("b", 0.32), ("c", 0.2))
        for case in range(15)
        for name in ("liver", "spleen")
        for error in [float(np.clip(generator.normal(mean, 0.1), 0, 1))]
    ]
    expected = Expected("synthetic", metrics=("nsd", "relative_volume_error"))
    grid = grid_of(rows, expected)
    made = decide([grid], expected, n_draws=300, n_flips=500)
    made |= aggregate(grid, expected)
    by_metric = {}
    for name in ("ranks", "pairs", "overall"):
        frame = made[name]
        to_arrow(frame, TABLES[name])
        by_metric[name] = [
            frame[frame["metric"] == metric].reset_index(drop=True) for metric in expected.metrics
        ]
    higher, lower = by_metric["ranks"]
    same = ["model", "key", "method", "rank", "rank_low", "rank_high", "first_share"]
    pd.testing.assert_frame_equal(lower[same], higher[same])
    higher, lower = by_metric["pairs"]
    same = ["model_a", "model_b", "key", "win_share", "p_wilcoxon", "n_scores"]
    pd.testing.assert_frame_equal(lower[same], higher[same])
    for column in ("difference", "effect_size", "low", "high"):
        np.testing.assert_allclose(lower[column], higher[column], atol=1e-6)
    higher, lower = by_metric["overall"]
    np.testing.assert_allclose(lower["value"], 1 - higher["value"])
    # The ends are made on the scale of a range, and only one of the two has an upper end.
    np.testing.assert_allclose(lower["value_low"], 1 - higher["value_high"], atol=5e-3)


def test_what_a_missed_structure_costs_may_change_the_winner(row, grid_of) -> None:
    """Left out, with the number of values beside the mean; or the diagonal of the scan's field."""
    rows = [
        row(model, "word", f"{case:02}", "liver", hd95=hd95 + case / 100, field_mm=400.0)
        for model, hd95 in (("bold", 3.0), ("sure", 5.0))
        for case in range(12)
    ]
    rows[3] |= {"status": "prediction_empty", "hd95": np.nan, "prediction_voxels": 0, "dsc": 0.0}
    expected = Expected("synthetic", metrics=("dsc", "hd95"))
    made = aggregate(grid_of(rows, expected), expected)
    overall = made["overall"].query("statistic == 'entries' and metric == 'hd95'")
    found = overall[overall["view"] == "paper"].set_index(["policy", "model"])
    assert found.loc[("present-only", "bold"), "n_scores"] == 11
    assert found.loc[("field-diagonal", "bold"), "n_scores"] == 12
    kept = np.delete(np.arange(12), 3) / 100 + 3
    assert found.loc[("present-only", "bold"), "value"] == pytest.approx(kept.mean())
    assert found.loc[("field-diagonal", "bold"), "value"] == pytest.approx((kept.sum() + 400) / 12)
    lines = sensitivity(made, ["bold", "sure"]).query("alternative == 'field-diagonal'")
    assert set(lines["metric"]) == {"hd95"}
    line = lines[lines["scope"] == "overall"].iloc[0]
    assert (line["winner_baseline"], line["winner_alternative"]) == ("bold", "sure")
    assert line["flips"]


def test_scores_that_lack_a_metric_are_named(run: RunPaths) -> None:
    """Rows that were brought in know only some metrics: the others are unknown, not 0."""
    path = run.scores("greedy", DATASET)
    rows = read_table(path, scores_table(METRICS))
    write_table(path, rows.drop(columns="missed"), scores_table(["dsc", "nsd", METRICS[3]]))
    lines = aggregate_run(run.root, n_draws=100)
    assert f"left out: no `missed` in the score rows: greedy/{DATASET}" in lines
    overall = of(read_table(run.table("overall"), TABLES["overall"]), statistic="entries")
    found = overall.set_index(["model", "metric"])
    assert np.isnan(found.loc[("greedy", "missed"), "value"])
    assert found.loc[("greedy", "missed"), "n_scores"] == 0
    assert found.loc[("greedy", "dsc"), "n_scores"] == N_CASES


def test_an_unknown_metric_stops_a_run_before_any_work(tmp_path: Path) -> None:
    from evaluation.workflow.configuration import load_config

    path = tmp_path / "c.yaml"
    path.write_text(
        "name: x\nstudy: sat\ndata_kind: real\nraw_root: raw\nentries: [word]\nmodels: [oracle]\n"
        "metrics: [dsc, hausdorf]\n"
    )
    with pytest.raises(BenchError, match="no metric `hausdorf`"):
        load_config(path)
