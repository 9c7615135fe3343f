"""The 3D viewer of a case: the run's volumes, NiiVue's code, drawn by a browser from disk."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.paths import RunPaths
from reports.gallery.overlay import CT_WINDOW_HU
from reports.gallery.viewer import ENGINE, MOST_VOXELS, part_of, write_viewers
from reports.gallery.volumes import class_mask, open_case, open_prediction
from reports.layout.pages import template_text
from reports.source.loading import load_source

CASE = "case-00001"


@pytest.fixture(scope="module")
def folder(run: RunPaths, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gallery")
    (viewer,) = write_viewers(load_source(run.root), {"msd_spleen": CASE}, folder)
    assert (viewer.file, viewer.title) == ("3d-msd_spleen.html", "MSD Spleen")
    return folder


def _held(folder: Path) -> dict[str, Any]:
    text = (folder / "3d-msd_spleen.html").read_text()
    found = re.search(r'id="case">(.+?)</script>', text)
    assert found is not None
    held: dict[str, Any] = json.loads(found[1])
    return held


def _unpacked(text: str, kind: str, shape: list[int]) -> np.ndarray:
    raw = gzip.decompress(base64.b64decode(text))
    return np.frombuffer(raw, kind).reshape(shape, order="F")


def test_the_page_holds_the_runs_volumes(run: RunPaths, folder: Path) -> None:
    held = _held(folder)
    assert held["classes"] == ["spleen"]
    assert held["spacing"] == [1.5, 1.5, 4.0]
    image, spacing_mm, _, reference = open_case(run, "msd_spleen", CASE)
    mask = class_mask(reference, "msd_spleen", "spleen")
    part, step = part_of(mask, spacing_mm)
    assert step == (1, 1, 1)
    bits = _unpacked(held["reference"], "<u2", held["shape"])
    assert np.array_equal(bits & 1, mask[part])
    assert bits.sum() == mask.sum(), "the box holds the whole class"
    for model, shown in zip(("sat-nano", "nnunet"), held["models"], strict=True):
        answer = open_prediction(run, model, "msd_spleen", CASE)
        predicted = class_mask(answer, "msd_spleen", "spleen")[part]
        assert np.array_equal(_unpacked(shown["bits"], "<u2", held["shape"]), predicted)
    scan = _unpacked(held["scan"], "u1", held["shape"])
    low, high = CT_WINDOW_HU
    assert np.abs(scan - 255 * (image[part] - low) / (high - low)).max() < 1
    assert (folder / "3d-msd_spleen.html").stat().st_size < 5_000_000


def test_the_viewers_code_is_as_published_with_its_licences(folder: Path) -> None:
    code = (folder / ENGINE).read_bytes()
    head, _, rest = code.partition(b"*/\n")
    assert hashlib.sha256(rest).hexdigest() == (
        "47b896b77ec4a5be3ef1949c33ad393b6f45629921f326c279000bcf51bdb4af"
    )
    assert b"Copyright (c) 2021, Niivue" in head
    assert head.count(b"Permission is hereby granted") >= 5
    assert template_text("niivue-licences.txt").count("-" * 80) == 7


def test_large_scans_are_thinned_along_their_finest_axes() -> None:
    mask = np.zeros((400, 400, 90), dtype=bool)
    mask[50:350, 60:340, 10:80] = True
    part, step = part_of(mask, (0.8, 0.8, 5.0))
    assert step == (4, 3, 1)
    assert mask[part].size <= MOST_VOXELS
    assert part[2] == slice(4, 86, 1)


@pytest.mark.long
def test_a_browser_draws_it_from_disk(run: RunPaths, folder: Path) -> None:
    if shutil.which("chromium") is None:
        pytest.skip("needs chromium")
    page = folder / "3d-msd_spleen.html"
    done = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--use-angle=swiftshader",
         "--enable-unsafe-swiftshader", "--virtual-time-budget=60000", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    mask = class_mask(open_case(run, "msd_spleen", CASE)[3], "msd_spleen", "spleen")
    said = re.search(r"spleen: reference ([\d.]+) ml, SAT-Nano ([\d.]+) ml", done.stdout)
    assert said is not None, done.stdout[:3000]
    assert float(said[1]) == pytest.approx(0.009 * mask.sum(), rel=0.005)
