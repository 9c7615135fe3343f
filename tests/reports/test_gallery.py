"""The gallery: which cases, which slices, which shape, what the pictures show."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from evaluation.paths import RunPaths
from evaluation.protocol import Protocol
from reports.gallery.cases import choose_pictures, write_gallery
from reports.gallery.overlay import choose_slice, crop_of, draw, window_for
from reports.layout.style import PREDICTION_COLOUR, REFERENCE_COLOUR
from reports.source.cases import load_case_rows
from reports.source.loading import load_source


def _ball(
    shape: tuple[int, int, int], centre: tuple[float, ...], radii: tuple[float, ...]
) -> np.ndarray:
    grid = np.indices(shape)
    return sum(((g - c) / r) ** 2 for g, c, r in zip(grid, centre, radii, strict=True)) < 1


def test_the_choice_is_deterministic_bounded_and_whole(run: RunPaths) -> None:
    source, rows = load_source(run.root), load_case_rows(run)
    found = choose_pictures(source, rows, Protocol(), 20)
    assert found == choose_pictures(source, rows, Protocol(), 20)
    assert len(found) == 18
    for start in range(0, len(found), 3):
        three = found[start : start + 3]
        assert [w.which for w in three] == ["worst", "median", "best"]
        values = [w.values["dsc"] for w in three]
        assert values == sorted(values)
    assert {w.model for w in found} == {"sat-nano", "nnunet"}
    assert len({w.dataset for w in found}) == 3
    assert choose_pictures(source, rows, Protocol(), 2) == []


def test_pictures_and_manifest(run: RunPaths, tmp_path: Path) -> None:
    source, rows = load_source(run.root), load_case_rows(run)
    wanted = choose_pictures(source, rows, Protocol(), 60)
    pictures, missing, viewers = write_gallery(source, wanted, tmp_path)
    # Only one entry of the small run has volumes; the others are named as not there.
    assert {p.dataset for p in pictures} == {"msd_spleen"}
    assert len(pictures) == 6
    assert all("not there any more" in why for why in missing.values())
    assert [p["file"] for p in json.loads((tmp_path / "gallery.json").read_text())] == [
        p.file for p in pictures
    ]
    text = (tmp_path / "index.html").read_text()
    engine, page = viewers
    assert (engine.name, page.name) == ("niivue.js", "3d-msd_spleen.html")
    assert 'href="3d-msd_spleen.html"' in text
    for picture in pictures:
        assert (tmp_path / picture.file).stat().st_size > 1000
        assert picture.file in text
        assert "1.5×1.5×4 mm" in picture.words


def test_a_sphere_is_a_circle_whatever_the_spacing() -> None:
    spacing = (1.0, 2.5, 3.0)
    shape = (60, 24, 10)
    mask = _ball(shape, (30, 12, 5), (10 / 1.0, 10 / 2.5, 10 / 3.0))
    part = crop_of(mask[:, :, 5], spacing[:2], margin_mm=5)
    sides = [(p.stop - p.start) * s for p, s in zip(part, spacing, strict=False)]
    assert sides[0] == pytest.approx(sides[1], abs=2 * 2.5)
    image = np.zeros(shape)
    picture = np.asarray(
        draw(image, mask, np.zeros_like(mask), spacing, window_for(image, "ct", "liver"), 5)
    )
    blue = picture[:, :, 2].astype(int) - picture[:, :, 0] > 60
    height, width = (np.flatnonzero(blue.any(axis=a)) for a in (1, 0))
    assert np.ptp(height) / np.ptp(width) == pytest.approx(1, abs=0.2)


def test_right_is_on_the_left_and_anterior_is_up() -> None:
    shape = (40, 40, 3)
    right_front = np.zeros(shape, dtype=bool)
    right_front[30:36, 30:36, 1] = True
    left_back = np.zeros(shape, dtype=bool)
    left_back[4:10, 4:10, 1] = True
    image = np.zeros(shape)
    window = window_for(image, "ct", "liver")
    picture = np.asarray(draw(image, right_front, left_back, (1.0, 1.0, 1.0), window, 1)).astype(
        int
    )

    def centre(colour: str) -> tuple[float, float]:
        wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
        rows, columns = np.nonzero(np.abs(picture - wanted).sum(axis=2) < 60)
        return rows.mean() / picture.shape[0], columns.mean() / picture.shape[1]

    row, column = centre(REFERENCE_COLOUR)
    assert row < 0.5
    assert column < 0.5
    row, column = centre(PREDICTION_COLOUR)
    assert row > 0.5
    assert column > 0.5


def test_the_slice_shows_the_error() -> None:
    reference = np.zeros((10, 10, 6), dtype=bool)
    reference[2:6, 2:6, 1:5] = True
    prediction = reference.copy()
    prediction[:, :, 3] = False
    assert choose_slice(reference, prediction) == 3
    assert choose_slice(reference, reference) == 1
    empty = np.zeros_like(reference)
    assert choose_slice(empty, empty) == 3


def test_windows_follow_modality_and_class() -> None:
    image = np.linspace(0, 1000, 1000).reshape(10, 10, 10)
    assert window_for(image, "ct", "left lung upper lobe").name == "lung"
    assert window_for(image, "ct", "lumbar vertebrae 1 (l1)").name == "bone"
    assert window_for(image, "ct", "spleen").low == -160
    mri = window_for(image, "mri", "prostate")
    assert mri.low == pytest.approx(10, abs=1)
    assert mri.high == pytest.approx(995, abs=1)
    flat = window_for(np.zeros((2, 2, 2)), "mri", "prostate")
    assert flat.high > flat.low
