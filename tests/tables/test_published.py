from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evaluation.classes.vocabulary import vocabulary
from evaluation.datasets.registry import CARD_FOLDER, find_card, load_cards
from evaluation.published import check_claims, published, published_beside_ours
from evaluation.schema import CLAIMS, PUBLISHED, to_arrow

FILES = {
    "table2_regions.csv": ("sat-v1", "region", 36),
    "table3_4_classes.csv": ("sat-v1", "class", 352),
    "table5_datasets.csv": ("sat-v1", "dataset", 128),
    "table6_lesions.csv": ("sat-v1", "lesion", 40),
    "hermes_table2_datasets.csv": ("hermes", None, 84),
    "hermes_table3_aspects.csv": ("hermes", "aspect", 42),
}


@pytest.mark.parametrize("name", FILES)
def test_every_printed_value_is_there_in_print(shared: Path, name: str) -> None:
    source, scope, count = FILES[name]
    with (shared / "paper" / name).open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    ours = published(scope, source)
    if scope is None:
        ours = ours[ours["scope"].isin(["dataset", "average"])]
    assert len(rows) == len(ours) == count
    assert [r.get("value") or r["dice"] for r in rows] == ours["printed"].tolist()
    labels = ("region_printed", "target", "lesion_printed", "aspect", "dataset")
    label = next(
        key for key in labels if key in rows[0] and (key != "region_printed" or scope == "region")
    )
    assert [r[label] for r in rows] == ours["printed_row"].tolist()


def test_keys_are_ours() -> None:
    known = {(info.modality, info.name): info for info in vocabulary()}
    for scope in ("class", "lesion"):
        frame = published(scope)
        assert set(zip(frame["modality"], frame["key"], strict=True)) <= set(known)
    lesions = published("lesion")
    assert all(
        known[key].in_lesion_group for key in zip(lesions["modality"], lesions["key"], strict=True)
    )
    entries = published("dataset")
    assert set(entries["key"]) == set(load_cards(CARD_FOLDER))
    for printed, key in zip(entries["printed_row"], entries["key"], strict=True):
        assert find_card(printed).id == key
    regions = {info.region for info in vocabulary()}
    assert set(published("region")["key"]) == regions


def test_every_key_has_two_models_and_two_metrics_once() -> None:
    frame = published()
    keys = ["scope", "key", "modality", "model", "metric"]
    assert not frame.duplicated(keys).any()
    assert (frame.groupby(keys[:3]).size() == 4).all()
    assert frame["value"].between(0, 1).all()


def test_claims_come_out_as_the_checks_on_the_transcription_say() -> None:
    claims = check_claims()
    to_arrow(claims, CLAIMS)
    text = claims["claim"] + " @ " + claims["where"]
    holds = dict(zip(text, claims["holds"], strict=True))

    def of(*words: str) -> list[bool]:
        found = [value for key, value in holds.items() if all(word in key for word in words)]
        assert found
        return found

    assert of("4 of 8", "DSC") == [True]
    assert of("4 of 8", "NSD") == [False]
    assert of("unweighted mean") == [True, True]
    assert of("equals the mean of its") == [True] * 7
    assert of("generated classes") == [True]
    assert of("mean of the ten lesions") == [False]
    assert of("31 datasets") == [False]
    assert of("AVG is the mean") == [True]
    assert of("All Datasets") == of("Modality PET") == of("best in every column") == [True]
    assert of("every universal method") == [False]
    assert of("sum of its scans") == of("362 classes") == of("103 annotated") == [True]
    assert of("sum of its annotations") == of("31 specialists") == [False]
    assert of("around 1000 M") == [True]
    sizes = claims[claims["claim"].str.contains("1000 M")]["recomputed"].item()
    assert sizes == "1,088 M as printed, 1,083.5 M by our count"
    counts = claims[claims["claim"].str.contains("12 datasets")]["recomputed"].tolist()
    assert [text.split(" at least")[0] for text in counts] == ["6 of 32", "11 of 32"]
    pelvis = claims[claims["claim"].str.contains("pelvis")]["recomputed"].item()
    assert "7 of 9" in pelvis
    assert len(claims[claims["recomputed"].str.contains("5 of 7 agree")]) == 1
    assert len(claims[claims["recomputed"].str.contains("6 of 7 agree")]) == 1


@pytest.mark.parametrize("data_kind", ["real", "synthetic"])
def test_differences_in_the_same_protocol(data_kind: str) -> None:
    row = {
        "data_kind": data_kind, "model": "nnunet", "policy": "paper", "space": "resampled",
        "tolerance_mm": 1.0, "view": "paper", "coverage": "supported", "aggregation": "macro",
        "dataset": "msd_hippocampus", "modality": "mri", "dsc": 0.88, "nsd": 0.9, "dsc_low": 0.87,
        "dsc_high": 0.89, "nsd_low": 0.8, "nsd_high": 0.95, "n_cases": 52,
    }  # fmt: skip
    others = [
        {**row, "policy": "present-only"},
        {**row, "space": "native"},
        {**row, "view": "clean"},
    ]
    frame = published_beside_ours({"dataset": pd.DataFrame([row, *others])})
    to_arrow(frame, PUBLISHED)
    assert len(frame) == len(published(source=None))
    mine = frame[frame["key"].eq("msd_hippocampus") & frame["model"].eq("nnunet")]
    dsc = mine[mine["metric"] == "dsc"].iloc[0]
    assert (dsc["ours"], dsc["printed"], dsc["n_cases"]) == (0.88, "89.18", 52)
    if data_kind == "real":
        assert dsc["difference"] == pytest.approx(0.88 - 0.8918)
    else:
        assert np.isnan(dsc["difference"])
    assert frame["ours"].notna().sum() == 2
