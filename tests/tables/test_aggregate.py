from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from evaluation.datasets.overlaps import Overlaps
from evaluation.schema import TABLES, to_arrow
from evaluation.tables.aggregate import aggregate
from evaluation.tables.building import build_grids
from evaluation.tables.decisions import decide
from evaluation.tables.kinds import preferred_rows
from evaluation.tables.scores import Expected
from evaluation.tables.sensitivity import sensitivity
from evaluation.tables.views import Links, find_links
from tests.bench.score_rows import synthetic_scores

NO_LINKS = Links({}, frozenset(), "")


def pick(frame: pd.DataFrame, **keys: object) -> pd.DataFrame:
    usual = {
        "policy": "present-only",
        "view": "paper",
        "coverage": "supported",
        "aggregation": "macro",
        "metric": "dsc",
    }
    for column, value in {**usual, **keys}.items():
        if column in frame:
            frame = frame[frame[column] == value]
    return frame


def one(frame: pd.DataFrame, column: str = "value", **keys: object) -> float:
    chosen = pick(frame, **keys)
    assert len(chosen) == 1, chosen
    return chosen[column].iloc[0]


@pytest.fixture(scope="module")
def by_hand(row, grid_of):
    """Two entries that share the liver; a patient with two scans; one missing prediction."""
    rows = [
        row("m", "sliver07", "a", "liver", 0.9),
        row("m", "sliver07", "b", "liver", 0.7),
        row("m", "msd_liver", "p1", "liver", 1.0, patient="p"),
        row("m", "msd_liver", "p2", "liver", 0.5, patient="p"),
        row("m", "msd_liver", "q1", "liver", 0.3, patient="q"),
        row("m", "msd_liver", "p1", "liver tumor", 0.4, patient="p"),
        row("m", "msd_liver", "p2", "liver tumor", 0.0, patient="p", status="reference_empty",
            reference_voxels=0, prediction_voxels=1000),
        row("m", "msd_liver", "q1", "liver tumor", np.nan, patient="q",
            status="prediction_missing", prediction_voxels=0),
    ]  # fmt: skip
    return aggregate(grid_of(rows), Expected("synthetic"))


def test_means_by_hand(by_hand) -> None:
    slots = by_hand["dataset_class"]
    assert one(slots, dataset="msd_liver", **{"class": "liver"}) == pytest.approx(0.6)
    assert one(slots, dataset="msd_liver", **{"class": "liver tumor"}) == pytest.approx(0.2)
    paper = {"policy": "paper", "dataset": "msd_liver"}
    assert one(slots, **paper, **{"class": "liver tumor"}) == pytest.approx(0.4 / 3)
    assert one(by_hand["dataset"], dataset="msd_liver") == pytest.approx(0.4)
    assert one(by_hand["class"], modality="ct", **{"class": "liver"}) == pytest.approx(0.7)
    assert one(by_hand["lesion"], modality="ct", **{"class": "liver tumor"}) == pytest.approx(0.2)
    region = {"scheme": "anatomical", "composition": "all"}
    assert one(by_hand["region"], region="abdomen", **region) == pytest.approx(0.7)
    assert one(by_hand["region"], region="lesion", **region) == pytest.approx(0.2)
    overall = by_hand["overall"]
    assert one(overall, statistic="entries") == pytest.approx((0.8 + 0.4) / 2)
    assert one(overall, statistic="classes") == pytest.approx((0.7 + 0.2) / 2)
    assert one(overall, statistic="regions") == pytest.approx((0.7 + 0.2) / 2)


def test_pooled_means_by_hand(by_hand) -> None:
    scans = {"aggregation": "scans", "statistic": "scans"}
    expected = np.mean([0.9, 0.7, 1.0, 0.5, 0.3, 0.4, 0.0])
    assert one(by_hand["overall"], **scans) == pytest.approx(expected)
    patients = {"aggregation": "patients", "statistic": "patients"}
    expected = np.mean([0.9, 0.7, np.mean([1.0, 0.5, 0.4]), np.mean([0.3, 0.0])])
    assert one(by_hand["overall"], **patients) == pytest.approx(expected)


def test_every_number_says_how_much_stands_behind_it(by_hand) -> None:
    row = pick(by_hand["overall"], statistic="entries").iloc[0]
    wanted = {
        "n_scores": 7, "n_cases": 5, "n_cases_expected": 5, "n_patients": 4, "n_classes": 3,
        "n_classes_expected": 3, "n_entries": 2, "n_entries_expected": 2, "n_missing": 1,
        "n_absent": 1, "false_positive_rate": 1.0, "false_positive_ml": 3.0, "complete": False,
    }  # fmt: skip
    assert {name: row[name] for name in wanted} == wanted


def test_frames_fit_their_tables(by_hand) -> None:
    for name, frame in by_hand.items():
        to_arrow(frame, TABLES[name])


def test_missing_rows_and_missing_scans_count_zero(row, grid_of) -> None:
    rows = [row("a", "sliver07", c, "liver", 0.8) for c in ("1", "2")]
    rows += [row("b", "sliver07", "1", "liver", 0.8)]
    split = pd.DataFrame({"case": ["1", "2", "3"], "patient": ["1", "2", "3"], "split": "test"})
    expected = Expected(
        "synthetic", ("a", "b"), ("sliver07", "word"), {"sliver07": {"liver": True},
        "word": {"liver": True, "kidney": False}}, {"sliver07": "ct", "word": "ct"},
        {"sliver07": split}, {"word": "no data"},
    )  # fmt: skip
    tables = aggregate(grid_of(rows, expected), expected)
    for model, mean, missing in (("a", 1.6 / 3, 1), ("b", 0.8 / 3, 2)):
        found = pick(tables["overall"], statistic="entries", model=model).iloc[0]
        assert found["value"] == pytest.approx(mean)
        assert (found["n_missing"], found["n_cases"], found["n_cases_expected"]) == (missing, 3, 3)
        assert (found["n_entries"], found["n_entries_expected"]) == (1, 2)
        assert (found["n_classes"], found["n_classes_expected"]) == (1, 3)


def test_a_model_with_a_missing_prediction_is_not_ranked(row, grid_of) -> None:
    """It may lead by its mean; the others are ranked among themselves."""
    cases = [str(n) for n in range(12)]
    rows = [row("best", "sliver07", c, "liver", 0.99) for c in cases[:-1]]
    rows += [row("best", "sliver07", cases[-1], "liver", np.nan, status="prediction_missing")]
    rows += [row("good", "sliver07", c, "liver", 0.8 + 0.01 * int(c)) for c in cases]
    rows += [row("poor", "sliver07", c, "liver", 0.4 + 0.01 * int(c)) for c in cases]
    expected = Expected("synthetic")
    grid = grid_of(rows)
    tables = aggregate(grid, expected)
    overall = pick(tables["overall"], statistic="entries").set_index("model")
    assert overall["value"].idxmax() == "best"
    assert overall["complete"].to_dict() == {"best": False, "good": True, "poor": True}
    ranks = decide([grid], expected, n_draws=50, n_flips=200)["ranks"]
    ranks = pick(ranks, scope="overall")
    for _, group in ranks.groupby("method"):
        found = group.set_index("model")["rank"]
        assert np.isnan(found["best"])
        assert found[["good", "poor"]].tolist() == [1, 2]
    changes = sensitivity(tables, ["best", "good", "poor"])
    assert set(changes["winner_baseline"]) <= {"good"}


def test_classes_of_a_region_are_counted_once(row, grid_of) -> None:
    rows = [row("m", dataset, "1", "liver", 0.5) for dataset in ("sliver07", "msd_liver")]
    rows += [row("m", "msd_liver", "1", "spleen", 0.7)]
    tables = aggregate(grid_of(rows), Expected("synthetic"))
    counts = {
        name: one(tables["overall"], "n_classes", statistic=name) for name in ("entries", "classes")
    }
    assert counts == {"entries": 3, "classes": 2}
    region = pick(tables["region"], region="abdomen", scheme="anatomical", composition="all")
    assert region["n_classes"].tolist() == [2]


def test_unsupported_never_enters_a_mean_unless_asked_for(row, grid_of) -> None:
    rows = [
        row("all", "msd_liver", "1", "liver", 0.8),
        row("all", "msd_liver", "1", "liver tumor", 0.2),
        row("some", "msd_liver", "1", "liver", 0.6),
        row("some", "msd_liver", "1", "liver tumor", np.nan, status="unsupported",
            reference_voxels=0, prediction_voxels=0),
    ]  # fmt: skip
    overall = aggregate(grid_of(rows), Expected("synthetic"))["overall"]
    got = {
        (model, coverage): one(overall, model=model, coverage=coverage, statistic="entries")
        for model in ("all", "some")
        for coverage in ("supported", "common", "zero")
    }
    assert got == pytest.approx(
        {
            ("all", "supported"): 0.5, ("all", "common"): 0.8, ("all", "zero"): 0.5,
            ("some", "supported"): 0.6, ("some", "common"): 0.6, ("some", "zero"): 0.3,
        }
    )  # fmt: skip
    complete = pick(overall, statistic="entries").set_index("model")["complete"]
    assert complete.to_dict() == {"all": True, "some": False}


def test_direct_comes_before_union_and_both_are_kept(row, grid_of) -> None:
    rows = [
        row("sat", "flare22", "1", "kidney", 0.8, kind="direct"),
        row("sat", "flare22", "1", "kidney", 0.7, kind="union"),
        row("nn", "flare22", "1", "kidney", 0.6, kind="union"),
    ]
    tables = aggregate(grid_of(rows), Expected("synthetic"))
    kinds = pick(tables["dataset_class"])[["model", "kind", "preferred", "value"]]
    assert sorted(map(tuple, kinds.to_numpy().tolist())) == [
        ("nn", "union", True, 0.6), ("sat", "direct", True, 0.8), ("sat", "union", False, 0.7),
    ]  # fmt: skip
    assert one(tables["overall"], model="sat", statistic="entries") == pytest.approx(0.8)
    assert one(tables["overall"], "n_classes", model="sat", statistic="entries") == 1


def test_a_drill_down_shows_the_kind_that_the_tables_show(row) -> None:
    """The choice is made for each model, class, space and tolerance, by the same code."""
    rows = [
        row("sat", "flare22", "1", "kidney", 0.8, kind="direct"),
        row("sat", "flare22", "1", "kidney", 0.7, kind="union"),
        row("sat", "flare22", "2", "kidney", 0.6, kind="union"),
        row("nn", "flare22", "1", "kidney", 0.5, kind="union"),
        row("shy", "flare22", "1", "kidney", np.nan, kind="direct", status="unsupported"),
        row("shy", "flare22", "1", "kidney", 0.4, kind="union"),
        row("shy", "flare22", "1", "liver", 0.3),
        row("sat", "flare22", "1", "kidney", 0.2, kind="union", space="resampled"),
        row("sat", "flare22", "1", "kidney", np.nan, kind="direct", space="resampled",
            status="unsupported"),
    ]  # fmt: skip
    frame = pd.DataFrame(rows).sample(frac=1, random_state=2)
    chosen = frame[preferred_rows(frame)]
    assert sorted(chosen["dsc"]) == [0.2, 0.3, 0.4, 0.5, 0.8]
    assert len(preferred_rows(frame.iloc[:0])) == 0
    for grid in build_grids(frame, Expected("synthetic"), NO_LINKS):
        slots = pick(aggregate(grid, Expected("synthetic"))["dataset_class"])
        shown = slots[slots["preferred"] & slots["n_scores"].gt(0)]
        kinds = set(zip(shown["model"], shown["class"], shown["kind"], strict=True))
        ours = chosen[chosen["space"] == grid.space]
        assert kinds == set(zip(ours["model"], ours["class"], ours["kind"], strict=True))


def test_compositions_and_modalities(row, grid_of) -> None:
    names = {"left kidney": 0.9, "right kidney": 0.7, "kidney": 0.85, "spleen": 0.5}
    rows = [row("m", "flare22", "1", name, value) for name, value in names.items()]
    rows += [row("m", "chaos_mr", "1", "spleen", 0.1, modality="mri")]
    tables = aggregate(grid_of(rows), Expected("synthetic"))
    region = {"scheme": "anatomical", "region": "abdomen"}
    means = {
        name: one(tables["region"], composition=name, **region)
        for name in ("all", "leaves", "merged")
    }
    assert means == pytest.approx(
        {
            "all": np.mean([0.9, 0.7, 0.85, 0.5, 0.1]),
            "leaves": np.mean([0.9, 0.7, 0.5, 0.1]),
            "merged": np.mean([0.85, 0.5, 0.1]),
        }
    )
    spleen = {"class": "spleen"}
    assert one(tables["class"], modality="any", **spleen) == pytest.approx(0.3)


def test_clean_leaves_out_linked_test_scans(row, grid_of) -> None:
    rows = [row("m", "sliver07", c, "liver", v) for c, v in (("1", 0.9), ("2", 0.5))]
    links = Links({}, frozenset({("sliver07", "1")}), "")
    tables = aggregate(grid_of(rows, links=links), Expected("synthetic"))
    assert one(tables["dataset"], dataset="sliver07") == pytest.approx(0.7)
    clean = pick(tables["dataset"], dataset="sliver07", view="clean").iloc[0]
    assert clean["value"] == pytest.approx(0.5)
    assert (clean["n_cases"], clean["n_cases_expected"]) == (1, 1)


def test_order_of_rows_does_not_matter() -> None:
    shape = {"a": ("ct", 6, {"liver": True, "spleen": True}), "b": ("mri", 5, {"liver": True})}
    scores = synthetic_scores({"m": 0.0, "n": 0.1}, shape, seed=3)
    shuffled = scores.rows.sample(frac=1, random_state=1).reset_index(drop=True)
    both = [
        aggregate(build_grids(rows, scores.expected, NO_LINKS)[0], scores.expected)
        for rows in (scores.rows, shuffled)
    ]
    for name, frame in both[0].items():
        pd.testing.assert_frame_equal(frame, both[1][name])


def test_aggregates_agree_with_a_plain_computation() -> None:
    shape = {
        "flare22": ("ct", 12, {"liver": True, "spleen": True, "kidney": False}),
        "chaos_mr": ("mri", 7, {"liver": True, "spleen": True}),
        "word": ("ct", 9, {"liver": True, "rectum": True}),
    }
    scores = synthetic_scores({"m": 0.0, "n": 0.1}, shape, seed=5, absent=0.3, scans_per_patient=2)
    grid = build_grids(scores.rows, scores.expected, NO_LINKS)[0]
    tables = aggregate(grid, scores.expected)
    rows = scores.rows.astype({"class": str, "dataset": str, "model": str, "modality": str})
    slots = rows.groupby(["model", "modality", "dataset", "class"])["dsc"].mean()
    entries = slots.groupby(["model", "dataset"]).mean()
    for (model, dataset), mean in entries.items():
        assert one(tables["dataset"], model=model, dataset=dataset) == pytest.approx(mean)
    for model, mean in entries.groupby("model").mean().items():
        assert one(tables["overall"], model=model, statistic="entries") == pytest.approx(mean)
    keys = slots.groupby(["model", "modality", "class"]).mean()
    for model, mean in keys.groupby("model").mean().items():
        assert one(tables["overall"], model=model, statistic="classes") == pytest.approx(mean)


def test_two_rows_for_one_thing_are_refused(row, grid_of) -> None:
    from evaluation.errors import BenchError

    rows = [row("m", "word", "1", "liver", v) for v in (0.1, 0.2)]
    with pytest.raises(BenchError, match="two score rows"):
        grid_of(rows)
    mixed = [row("m", "word", "1", "liver"), row("m", "word", "2", "liver", modality="mri")]
    with pytest.raises(BenchError, match="mixes modalities"):
        grid_of(mixed)
    # Where its card says which is which, the entry is filed under the card's own modality.
    (entry,) = grid_of(mixed, Expected("real", modalities={"word": ("ct", "mri")})).entries
    assert entry.modality == "ct"


def test_links_join_patients_and_find_leaked_scans() -> None:
    splits = {
        "couinaud": pd.DataFrame(
            {"case": ["hv_1", "hv_2", "7"], "patient": ["hv_1", "hv_2", "7"],
             "split": ["test", "train", "test"]}
        ),
        "msd_hepaticvessel": pd.DataFrame(
            {"case": ["hv_1", "hv_2", "7"], "patient": ["hv_1", "hv_2", "7"],
             "split": ["train", "train", "train"]}
        ),
    }  # fmt: skip
    confirmed = Overlaps({frozenset(("couinaud", "msd_hepaticvessel")): True})
    links = find_links(splits, None, confirmed)
    assert links.leaked == {("couinaud", "hv_1")}
    assert links.name("couinaud", "hv_1") == links.name("msd_hepaticvessel", "hv_1")
    assert links.name("couinaud", "7") != links.name("msd_hepaticvessel", "7")
    assert "holds all test cases" in find_links(splits, None).note
    audit = pd.DataFrame(
        {
            "dataset": ["couinaud", "couinaud"], "case": ["hv_2", "7"],
            "patient": ["hv_2", "7"], "split": ["train", "test"],
            "other_dataset": ["word", "word"], "other_case": ["w1", "w2"],
            "other_patient": ["w1", "w2"], "other_split": ["test", "train"],
            "accepted": [True, False], "verdict": ["same scan", "candidate, rejected"],
        }
    )  # fmt: skip
    links = find_links(splits, audit)
    assert links.leaked == {("word", "w1")}
    assert links.name("word", "w1") == links.name("couinaud", "hv_2")
