"""Raters that a card names, through the whole workflow: their table, figure and report."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import yaml

MOVES = (0, 1, 2)
CONFIG = {
    "name": "rated", "study": "sat", "data_kind": "real", "raw_root": "raw", "entries": ["boxes"],
    "models": ["oracle", "shifted", "empty"], "tolerance_mm": [1.0],
}  # fmt: skip


def write_raw(folder: Path) -> None:
    """Six patients; the reference is what the second of three raters drew."""
    generator = np.random.default_rng(0)
    for number in range(6):
        image = generator.normal(size=(24, 16, 10)).astype(np.float32)
        maps = []
        for move in MOVES:
            array = np.zeros(image.shape, np.uint8)
            array[4 + move : 12 + move, 3:9, 2 : 6 + number % 3] = 1
            array[14:20, 3 + move : 10 + move, 2:6] = 2
            maps.append(array)
        named = {"images": image, "labels": maps[1]}
        named |= {f"raters/r{n}": array for n, array in enumerate(maps, 1)}
        for place, array in named.items():
            path = folder / place / f"p{number}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(array, np.eye(4)), path)


@pytest.mark.long
def test_the_report_shows_how_far_people_agree(clone):
    clone.satbench("new", "dataset", "boxes")
    path = clone.folder / "config/datasets/boxes.yaml"
    card = yaml.safe_load(path.read_text()) | {
        "classes": [{"name": "liver", "values": [1]}, {"name": "spleen", "values": [2]}],
        "split": {"train": 2, "test": 4, "rule": "seeded"},
        "expected_cases": 6, "expected_patients": 6,
        "raters": {"masks": "raters/{rater}/{case}.nii.gz"},
    }  # fmt: skip
    path.write_text(yaml.safe_dump(card))
    write_raw(clone.folder / "raw" / card["folder"])
    (clone.folder / "config/rated.yaml").write_text(yaml.safe_dump(CONFIG))
    clone.run("--cores", "2", "--configfile", "config/rated.yaml")
    table = pd.read_parquet(clone.folder / "results/rated/tables/raters.parquet")
    liver = table[(table["metric"] == "dsc") & (table["class"] == "liver")].iloc[0]
    assert liver["value"] == pytest.approx((7 / 8 + 7 / 8 + 6 / 8) / 3)
    assert (liver["n_cases"], liver["n_raters"]) == (4, 3)
    out = clone.folder / "reports/out/rated"
    assert "Raters (3)" in next(out.rglob("ceilings.md")).read_text()
    assert list(out.rglob("ceilings.png")) or list(out.rglob("ceilings.svg"))
    again = clone.run("--cores", "1", "--configfile", "config/rated.yaml")
    assert "Nothing to be done" in again
