"""A small run of two entries whose scans show structures with sides, and one without."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from evaluation.cases import CaseRecord, write_case
from evaluation.config import RunConfig, freeze
from evaluation.paths import RunPaths
from evaluation.volumes.image_files import Volume
from evaluation.volumes.segmentation import pack_masks

SHAPE, AFFINE = (20, 12, 12), np.eye(4)
BOXES = {
    "acdc": {
        "left ventricle cavity": np.s_[1:5, 1:6, 1:6],
        "right ventricle cavity": np.s_[12:18, 2:7, 1:6],
        "myocardium": np.s_[6:10, 2:9, 3:9],
    },
    "msd_spleen": {"spleen": np.s_[3:9, 2:9, 2:9]},
}
CASES = {
    "acdc": ("patient001_frame01", "patient002_frame01", "patient003_frame01"),
    "msd_spleen": ("spleen_2", "spleen_3"),
}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "results" / "toy"
    paths = RunPaths(run)
    config = RunConfig(
        name="toy", study="sat", data_kind="real", raw_root="raw", entries=list(BOXES),
        models=["oracle-text", "deaf"], shard_size=150,
    )  # fmt: skip
    freeze(config, paths.config)
    for entry, boxes in BOXES.items():
        lines = ["case,patient,split"]
        for case in CASES[entry]:
            masks = {name: np.zeros(SHAPE, bool) for name in boxes}
            for name, box in boxes.items():
                masks[name][box] = True
            if entry == "acdc":
                sides = ("left ventricle cavity", "right ventricle cavity")
                masks["ventricle cavity"] = masks[sides[0]] | masks[sides[1]]
            reference = pack_masks(masks, AFFINE, "annotated")
            record = CaseRecord(
                dataset=entry, case=case, patient=case.split("_frame")[0], shape=SHAPE,
                modality="mri" if entry == "acdc" else "ct", spacing_mm=(1.0, 1.0, 1.0),
                source_orientation="RAS", n_layers=len(reference.layers),
                classes=dict(reference.classes),
            )  # fmt: skip
            image = Volume(np.ones(SHAPE, np.float32), AFFINE)
            write_case(paths.case(entry, case), image, reference, record)
            lines.append(f"{case},{record.patient},test")
        paths.split(entry).parent.mkdir(parents=True, exist_ok=True)
        paths.split(entry).write_text("\n".join(lines) + "\n")
    return run
