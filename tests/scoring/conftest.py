"""Three raters who drew boxes, two classes, in the usual layouts of public sets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from evaluation.datasets.templates import write_dataset_card

SHAPE, AFFINE = (24, 12, 8), np.diag([1.0, 1.0, 2.0, 1.0])
# By how many voxels along x each rater moves the box of 8 voxels: DSC is 1 - move / 8.
MOVES = {"p1": (0, 1, 2), "p2": (0, 0, 4), "p3": (0, 2, 2), "p4": (1, 1, 2)}
LIVER_DSC = {"p1": (7 / 8 + 6 / 8 + 7 / 8) / 3, "p2": 2 / 3, "p3": (6 / 8 + 6 / 8 + 1) / 3,
             "p4": (1 + 7 / 8 + 7 / 8) / 3}  # fmt: skip


def label_map(case: str, rater: int) -> NDArray[np.uint8]:
    """Value 1 is the moved box, value 2 one that all draw alike."""
    array = np.zeros(SHAPE, np.uint8)
    move = MOVES[case][rater - 1]
    array[4 + move : 12 + move, 3:9, 2:6] = 1
    array[20:23, 3:9, 2:6] = 2
    return array


def save(path: Path, array: NDArray[np.generic]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, AFFINE), path)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Folders `by_case`, `by_rater`, `stacked`, `masks`: the same drawings in each."""
    for case in MOVES:
        maps = [label_map(case, rater) for rater in (1, 2, 3)]
        save(tmp_path / "stacked" / f"{case}.nii.gz", np.stack(maps, -1))
        for rater, array in enumerate(maps, 1):
            save(tmp_path / "by_case" / case / f"rater{rater}.nii.gz", array)
            save(tmp_path / "by_rater" / f"rater{rater}" / f"{case}.nii.gz", array)
            for value in (1, 2):
                mask = (array == value).astype(np.float64)
                name = f"task0{value}_seg0{rater}.nii.gz"
                save(tmp_path / "masks" / case / name, mask)
            save(tmp_path / "masks" / case / "image.nii.gz", np.ones(SHAPE, np.float32))
    return tmp_path


@pytest.fixture
def write_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Write the card `boxes`, of a folder below the raw root `tmp_path`, changed by keywords."""
    monkeypatch.chdir(tmp_path)

    def write(**changes: object) -> None:
        path = Path("config/datasets/boxes.yaml")
        if not path.exists():
            write_dataset_card("boxes")
        card = yaml.safe_load(path.read_text()) | {
            "classes": [{"name": "liver", "values": [1]}, {"name": "spleen", "values": [2]}],
            "split": {"train": 0, "test": 4, "rule": "none"},
            "expected_cases": 4, "expected_patients": 4,
        } | changes  # fmt: skip
        path.write_text(yaml.safe_dump(card))

    return write
