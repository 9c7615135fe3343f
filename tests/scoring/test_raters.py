"""Raters against each other: known boxes, and what a rater left out."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from evaluation.cli import build
from evaluation.errors import BenchError
from evaluation.scoring.folder_pairs import Settings
from evaluation.scoring.raters import HUMAN, score_raters
from evaluation.tables.versus import Question, compare_files

SPACING = (2.0, 1.0, 1.0)


@pytest.fixture
def raters(tmp_path: Path) -> list[Path]:
    """Three raters; the box of the second is moved by one voxel, of the third by two."""
    folders = []
    for number in range(3):
        folders.append(tmp_path / f"rater-{number}")
        folders[-1].mkdir()
        for case in range(12):
            if number == 2 and case == 0:
                continue
            labels = np.zeros((20, 12, 12), np.uint8)
            labels[4 + number : 12 + number, 3:9, 3:9] = 1
            image = nib.Nifti1Image(labels, np.diag([*SPACING, 1.0]))
            nib.save(image, folders[-1] / f"case{case:02}.nii.gz")
    return folders


def test_agreement_is_the_mean_over_pairs(raters: list[Path]) -> None:
    settings = Settings(labels={}, answered=frozenset(), dataset="boxes")
    found = score_raters(raters, settings)
    assert found.pairs["model"].nunique() == 3
    dsc = found.human.set_index("case")["dsc"]
    # Boxes of eight slices share seven or six of them.
    assert dsc["case05"] == pytest.approx((7 / 8 + 7 / 8 + 6 / 8) / 3)
    assert dsc["case00"] == pytest.approx(7 / 8), "two raters drew this case"
    assert len(dsc) == 12
    assert set(found.human["model"]) == {HUMAN}
    assert any("case00" in line for line in found.lacking)
    (tolerance,) = found.tolerances.to_dict("records")
    assert 2 <= tolerance["tolerance_mm"] <= 8 / 3 + 1e-9
    with pytest.raises(BenchError, match="raters cannot be compared"):
        score_raters(raters[:1], settings)


def test_the_line_of_raters_stands_beside_a_model(raters: list[Path], tmp_path: Path) -> None:
    out, model = tmp_path / "raters.parquet", tmp_path / "model.parquet"
    named = ["--dataset", "boxes", "--out", str(out)]
    done = CliRunner().invoke(build(), ["ceiling", *map(str, raters), *named])
    assert done.exit_code == 0, done.output
    assert "a tolerance for its NSD" in done.output
    pair = [str(raters[0]), str(raters[1]), "--dataset", "boxes", "--out", str(model)]
    assert CliRunner().invoke(build(), ["evaluate", *pair]).exit_code == 0
    assert len(pd.read_parquet(out)) == len(pd.read_parquet(model)) == 12
    found = compare_files([model], [out], Question(metrics=["dsc"])).iloc[0]
    assert found["difference"] == pytest.approx((7 / 8 - 5 / 6) * 11 / 12)
