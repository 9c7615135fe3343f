"""The committed table of claims says what the printed numbers say."""

from __future__ import annotations

import pandas as pd
import pytest

from evaluation.schema import CLAIMS, to_arrow
from tests.tables.claims import PUBLISHED, recomputed_claims


@pytest.mark.parametrize("study", ["sat", "hermes"])
def test_the_committed_claims_are_those_of_the_printed_numbers(study: str) -> None:
    claims = recomputed_claims()
    document = {"sat": "sat-v1", "hermes": "hermes"}[study]
    ours = claims[claims["source"] == document].drop(columns="source").reset_index(drop=True)
    committed = pd.read_csv(PUBLISHED / study / "claims.csv", dtype=str, keep_default_na=False)
    pd.testing.assert_frame_equal(committed, ours.astype(str))


def test_claims_come_out_as_the_checks_on_the_transcription_say() -> None:
    claims = recomputed_claims()
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
