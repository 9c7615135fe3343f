"""A series whose frames have not all structures drawn: what nobody drew is not absent."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from evaluation.datasets.readers import get_reader
from evaluation.datasets.registry import find_card
from evaluation.errors import BenchError


def test_real_frames_lack_the_myocardium_where_nobody_drew_it(shared: Path) -> None:
    card = find_card("sunnybrook")
    reader = get_reader(card)
    cases = {c.case: c for c in reader.discover(shared / "data" / card.folder)}
    assert len(cases) == card.expected_cases
    drawn = {name: set(reader.read(cases[name]).masks) for name in (
        "SC-HF-I-1_ed", "SC-HF-I-1_es", "SC-HF-I-6_ed",
    )}  # fmt: skip
    both = {"left_ventricle", "myocardium"}
    assert list(drawn.values()) == [both, {"left_ventricle"}, {"left_ventricle"}]
    assert all(card.sequence_of(name, raw.sequence) == "cine" for name, raw in cases.items())


def test_a_value_of_no_structure_is_refused(tmp_path: Path) -> None:
    card = find_card("sunnybrook")
    folder = tmp_path / "Training/Labeled/A"
    folder.mkdir(parents=True)
    labels = np.zeros((6, 5, 4, 2), dtype=np.uint8)
    labels[2, 2, 2] = 1
    labels[3, 2, 2, 0] = 7
    for name, array in (("A_sa", np.zeros(labels.shape, np.int16)), ("A_sa_gt", labels)):
        nib.save(nib.Nifti1Image(array, np.eye(4)), folder / f"{name}.nii.gz")
    reader = get_reader(card)
    found = {raw.case: raw for raw in reader.discover(tmp_path)}
    with pytest.raises(BenchError, match="no structure has") as caught:
        reader.read(found["A_ed"])
    assert "7" in str(caught.value)
