"""Virtual patients of the study `hermes`: what their readers find is what was drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from evaluation.datasets.phantoms import roster, write_cohort
from evaluation.datasets.phantoms.canvas import Canvas, Phantom
from evaluation.datasets.readers import get_reader
from evaluation.datasets.registry import find_card
from evaluation.errors import BenchError
from evaluation.studies.record import find_study
from evaluation.volumes.image_files import Volume, to_ras

N = 2
LUNG = "lung_upper_lobe_{0}", "lung_middle_lobe_{0}", "lung_lower_lobe_{0}"
# Classes whose structures have other names than theirs, or none.
DRAWN_AS = {
    "left lung": [name.format("left") for name in LUNG],
    "right lung": [name.format("right") for name in LUNG],
    "heart": [
        "heart_myocardium", "heart_atrium_left", "heart_atrium_right", "heart_ventricle_left",
        "heart_ventricle_right",
    ],
    "fdg-avid tumor lesion": ["lesion"],
    "liver tumor": ["liver_tumour"],
    "kidney tumor": ["kidney_tumour"],
    "pancreas tumor": ["pancreas_tumour"],
    "liver": ["liver", "liver_tumour"],
    "pancreas": ["pancreas", "pancreas_tumour"],
    "kidney": ["kidney_left", "kidney_right", "kidney_tumour"],
    "left ventricle cavity": ["left ventricle"],
    "right ventricle cavity": ["right ventricle"],
    "myocardium": ["myocardium"],
}  # fmt: skip
UNDRAWN = {"portal vein and splenic vein", "duodenum", "bladder", "prostate or uterus"}
STUDY = [e for e in find_study("hermes").entries if e not in ("dlbs", "structseg_head_neck")]


def drawn_mask(phantom: Phantom, name: str) -> np.ndarray:
    """The voxels (x, y, z, RAS) that show a class."""
    side, _, rest = name.partition(" ")
    own = f"{rest} {side}" if side in ("left", "right") else name
    structures = DRAWN_AS.get(name, [own.replace(" ", "_")])
    return np.any([phantom.mask(structure) for structure in structures], axis=0)


@pytest.mark.parametrize("dataset", STUDY)
def test_a_reader_finds_what_was_drawn(
    dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Phantom] = []
    finish = Canvas.finish

    def kept(canvas: Canvas) -> Phantom:
        phantom = finish(canvas)
        drawn.append(phantom)
        return phantom

    monkeypatch.setattr(Canvas, "finish", kept)
    write_cohort(tmp_path, [dataset], N, 0)
    card = find_card(dataset)
    reader = get_reader(card)
    scans = {raw.case: reader.read(raw) for raw in reader.discover(tmp_path / card.folder)}
    rows = roster(dataset, N, 1)
    assert sorted(scans) == sorted(row.case for row in rows)
    shown: set[str] = set()
    for row, phantom in zip(rows, drawn, strict=True):
        scan = scans[row.case]
        assert scan.label_map is not None
        found = to_ras(Volume(scan.label_map, scan.image.affine))
        np.testing.assert_allclose(found.spacing_mm, phantom.spacing_mm, atol=1e-3)
        for cls in card.annotated:
            mask = np.isin(found.array, cls.values)
            np.testing.assert_array_equal(mask, drawn_mask(phantom, cls.name), err_msg=cls.name)
            shown |= {cls.name} if mask.any() else set()
        labels = {value for cls in card.annotated for value in cls.values or ()}
        assert set(np.unique(found.array).tolist()) <= {0, *labels}
    assert {cls.name for cls in card.annotated} - shown <= UNDRAWN


def test_both_sides_of_amos_share_a_folder_and_keep_apart(tmp_path: Path) -> None:
    write_cohort(tmp_path, ["amos_ct", "amos_mr"], 1, 0)
    found = {}
    for dataset in ("amos_ct", "amos_mr"):
        card = find_card(dataset)
        found[dataset] = [c.case for c in get_reader(card).discover(tmp_path / card.folder)]
    assert found == {"amos_ct": ["amos_0001"], "amos_mr": ["amos_0507"]}


def test_a_cohort_is_no_larger_than_its_layout_has_names_for() -> None:
    assert len(roster("amos_mr", 94, 4)) == 94
    with pytest.raises(BenchError, match="more patients"):
        roster("amos_mr", 95, 4)
