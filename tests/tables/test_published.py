from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd
import pytest

from evaluation.classes.vocabulary import vocabulary
from evaluation.config import RunConfig
from evaluation.datasets.registry import find_card
from evaluation.published import (
    claims_for,
    published,
    published_beside_ours,
    published_for,
    reproduces_paper,
)
from evaluation.published.numbers import read_values
from evaluation.schema import PUBLISHED, to_arrow
from evaluation.studies.record import STUDY_FOLDER, find_study

SAT = find_study("sat")
PAGES = Path(__file__).parents[1] / "cards" / "paper"
VALUES = STUDY_FOLDER.parent / "published"
FILES = {
    "table2_regions.csv": ("sat", "region", 36),
    "table3_4_classes.csv": ("sat", "class", 352),
    "table5_datasets.csv": ("sat", "dataset", 128),
    "table6_lesions.csv": ("sat", "lesion", 40),
    "hermes_table2_datasets.csv": ("hermes", "2", 84),
    "hermes_table3_aspects.csv": ("hermes", "3", 42),
    "hermes_table4_ablation.csv": ("hermes", "4", 4),
}


@pytest.mark.parametrize("name", FILES)
def test_every_printed_value_is_there_in_print(name: str) -> None:
    source, scope, count = FILES[name]
    with (PAGES / name).open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    ours = read_values(VALUES / source / "values.csv")
    ours = ours[ours["table" if scope.isdigit() else "scope"] == scope]
    assert len(rows) == len(ours) == count
    assert [r.get("value") or r.get("dice") or r["avg_dice"] for r in rows] == ours[
        "printed"
    ].tolist()
    labels = ("region_printed", "target", "lesion_printed", "aspect", "dataset",
              "modality_prior_length")  # fmt: skip
    label = next(
        key for key in labels if key in rows[0] and (key != "region_printed" or scope == "region")
    )
    assert [r[label] for r in rows] == ours["printed_row"].tolist()


def test_keys_are_ours() -> None:
    known = {(info.modality, info.name): info for info in vocabulary()}
    for scope in ("class", "lesion"):
        frame = published(SAT, scope)
        assert set(zip(frame["modality"], frame["key"], strict=True)) <= set(known)
    lesions = published(SAT, "lesion")
    assert all(
        known[key].in_lesion_group for key in zip(lesions["modality"], lesions["key"], strict=True)
    )
    entries = published(SAT, "dataset")
    assert set(entries["key"]) == set(SAT.entries)
    for printed, key in zip(entries["printed_row"], entries["key"], strict=True):
        assert find_card(printed).id == key
    regions = {info.region for info in vocabulary()}
    assert set(published(SAT, "region")["key"]) == regions


def test_every_key_has_two_models_and_two_metrics_once() -> None:
    frame = published(SAT)
    keys = ["scope", "key", "modality", "model", "metric"]
    assert not frame.duplicated(keys).any()
    assert (frame.groupby(keys[:3]).size() == 4).all()
    assert frame["value"].between(0, 1).all()


def test_differences_in_the_same_protocol() -> None:
    row = {
        "data_kind": "real", "model": "nnunet", "policy": "paper", "space": "resampled",
        "tolerance_mm": 1.0, "view": "paper", "coverage": "supported", "aggregation": "macro",
        "dataset": "msd_hippocampus", "modality": "mri", "metric": "nsd", "value": 0.9,
        "value_low": 0.8, "value_high": 0.95, "n_cases": 52,
    }  # fmt: skip
    dsc = {"metric": "dsc", "value": 0.88, "value_low": 0.87, "value_high": 0.89}
    others = [
        {**row, **dsc, "tolerance_mm": float("nan")},
        {**row, "tolerance_mm": 2.0},
        {**row, "policy": "present-only"},
        {**row, "space": "native"},
        {**row, "view": "clean"},
    ]
    frame = published_beside_ours(SAT, published(SAT), {"dataset": pd.DataFrame([row, *others])})
    to_arrow(frame, PUBLISHED)
    assert len(frame) == len(published(SAT))
    mine = frame[frame["key"].eq("msd_hippocampus") & frame["model"].eq("nnunet")]
    ours = mine[mine["metric"] == "dsc"].iloc[0]
    assert (ours["ours"], ours["printed"], ours["n_cases"]) == (0.88, "89.18", 52)
    assert ours["difference"] == pytest.approx(0.88 - 0.8918)
    assert mine.loc[mine["metric"] == "nsd", "ours"].tolist() == [0.9]
    assert frame["ours"].notna().sum() == 2


def run_of(entries: list[str] | str, data_kind: str = "real", **more: object) -> RunConfig:
    cohort = {} if data_kind == "synthetic" else None
    return RunConfig.model_validate(
        {"name": "x", "study": "sat", "data_kind": data_kind, "raw_root": "raw", "entries": entries,
         "models": ["m"], "cohort": cohort, **more}
    )  # fmt: skip


def test_the_papers_run_has_all_that_was_published() -> None:
    whole = run_of("all")
    assert reproduces_paper(whole)
    pd.testing.assert_frame_equal(published_for(whole), published(SAT))
    assert set(claims_for(whole)["source"]) == {"sat-v1"}
    listed = run_of([*SAT.entries, "my_knee"])
    assert len(published_for(listed)) == len(published(SAT))


def test_one_row_of_the_paper_has_its_own_numbers_only() -> None:
    row = run_of(["ski10", "msd_spleen", "my_knee"])
    assert not reproduces_paper(row)
    assert claims_for(row).empty
    found = published_for(row)
    assert set(found.loc[found["scope"] == "dataset", "key"]) == {"ski10", "msd_spleen"}
    # The spleen's printed mean is over other entries as well, a region's over other classes.
    assert set(found["scope"]) == {"dataset", "class"}
    knee = {"femur bone", "femur cartilage", "tibia bone", "tibia cartilage"}
    assert set(found.loc[found["scope"] == "class", "key"]) == knee
    part = run_of(["msd_hippocampus"], classes={"msd_hippocampus": ["anterior hippocampus"]})
    assert "dataset" not in set(published_for(part)["scope"])


@pytest.mark.parametrize(
    "config",
    [run_of(["my_knee"]), run_of("all", "synthetic"), run_of(["msd_spleen"], "synthetic")],
)
def test_other_patients_have_no_published_numbers(config: RunConfig) -> None:
    assert published_for(config).empty
    assert claims_for(config).empty
    assert not reproduces_paper(config)
    to_arrow(published_beside_ours(SAT, published_for(config), {}), PUBLISHED)
