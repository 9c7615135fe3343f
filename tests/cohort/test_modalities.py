"""The entries that make the modality matter, as the readers of real data see them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from evaluation.datasets.phantoms import roster, write_cohort
from evaluation.datasets.readers import get_reader
from evaluation.datasets.readers.base import RawScan
from evaluation.datasets.registry import find_card

N = 3
LIVER, SPLEEN = 63, 252


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, RawScan]]:
    """Dataset -> case -> what its reader makes of the files."""
    root = tmp_path_factory.mktemp("modalities")
    write_cohort(root, ["chaos_mr", "autopet"], N, 0)
    found: dict[str, dict[str, RawScan]] = {}
    for dataset in ("chaos_mr", "autopet"):
        card = find_card(dataset)
        reader = get_reader(card)
        found[dataset] = {c.case: reader.read(c) for c in reader.discover(root / card.folder)}
    return found


def labels(scan: RawScan) -> NDArray[np.int64]:
    assert scan.label_map is not None
    return scan.label_map.astype(np.int64)


@pytest.mark.parametrize("dataset", ["chaos_mr", "autopet"])
def test_cases_are_those_of_the_roster(scans: dict[str, dict[str, RawScan]], dataset: str) -> None:
    assert sorted(scans[dataset]) == sorted(row.case for row in roster(dataset, N, 1))


def test_sequences_of_a_patient_show_one_anatomy_with_other_contrasts(
    scans: dict[str, dict[str, RawScan]],
) -> None:
    for patient in ("1", "2", "3"):
        t1, out, t2 = (scans["chaos_mr"][f"{patient}_{s}"] for s in ("t1in", "t1out", "t2spir"))
        np.testing.assert_array_equal(labels(t1), labels(t2))
        np.testing.assert_array_equal(labels(t1), labels(out))
        assert set(np.unique(labels(t1))) == {0, LIVER, 126, 189, SPLEEN}
        # Which of liver and spleen is the brighter one, only the sequence says.
        for scan, liver_is_brighter in ((t1, True), (t2, False)):
            liver, spleen = (scan.image.array[labels(scan) == v].mean() for v in (LIVER, SPLEEN))
            assert bool(liver > spleen) is liver_is_brighter


def test_lesions_are_hot_and_not_everybody_has_one(tmp_path: Path) -> None:
    write_cohort(tmp_path, ["autopet"], 8, 0)
    card = find_card("autopet")
    reader = get_reader(card)
    scans = [reader.read(raw) for raw in reader.discover(tmp_path / card.folder)]
    hot = [scan.image.array[labels(scan) == 1].mean() for scan in scans if labels(scan).any()]
    assert 0 < len(hot) < len(scans)
    assert min(hot) > 2.5
    # A threshold on the uptake does not find them: heart and kidneys are as hot.
    others = [scan.image.array[labels(scan) == 0].max() for scan in scans]
    assert max(others) > min(hot)
