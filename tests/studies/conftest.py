"""A second study, in YAML and CSV only: two datasets of one's own and one of the benchmark's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from evaluation.datasets.phantoms import write_patient
from evaluation.volumes.image_files import Volume, write_volume

FISH = [f"{patient}_{weighting}" for patient in "abcd" for weighting in ("t1", "t2")]
BIRDS = ["b1", "b2", "b3", "b4"]
SPLEENS = (0, 1, 2)

STUDY = """\
id: pond
title: Animals of the pond
document:
  id: pond-2026
  citation: "A. Heron: Animals of the pond"
  link: https://example.org/pond
entries: [fish, bird, msd_spleen]
splits: lists
models:
  shifted: {title: Pond Shift}
  pond-net: {title: Pond Net}
protocol:
  spacing_mm: [2, 2, 2]
  space: resampled
  policy: present-only
  tolerance_mm: 2
published:
  values: printed/values.csv
printed_tables:
  - {id: 1, about: dataset}
  - {id: 2, about: region}
"""
VALUES = """\
table,row,printed_row,scope,key,modality,model,metric,printed,note
1,1,Fish,dataset,fish,mri,shifted,dsc,70.00,
1,1,Fish,dataset,fish,mri,pond-net,dsc,80.00,
1,2,Bird,dataset,bird,pet,shifted,dsc,60.00,
1,3,Spleen,dataset,msd_spleen,ct,shifted,dsc,90.00,
2,1,Thorax,region,thorax,any,shifted,dsc,65.00,
"""
CONFIG = """\
name: pond
study: studies/pond.yaml
data_kind: real
raw_root: raw
entries: all
models: [oracle, shifted]
space: [native, resampled]
tolerance_mm: [1, 2]
missing_data: error
"""
CARDS = {
    "fish": {
        "modality": "mri",
        "case_patterns": [{"cases": "_t2$", "sequence": "T2"}],
        "sequence": "T1",
        "regions": ["abdomen"],
        "classes": [
            {"name": "tail fin", "values": [1], "region": "pelvis"},
            {"name": "swim bladder", "values": [2]},
            {"name": "fish", "union_of": ["tail fin", "swim bladder"]},
        ],
        "patient_pattern": "^(.*)_t[12]$",
    },
    "bird": {
        "modality": "pet",
        "regions": ["thorax"],
        "classes": [{"name": "crop", "values": [1]}, {"name": "wing", "values": [2]}],
        "patient_pattern": "^(.*)$",
    },
}
LISTS = {
    "fish": {case: (case[0], "test" if case[0] == "d" else "train") for case in FISH},
    "bird": {case: (case, "test" if case in ("b1", "b3") else "train") for case in BIRDS},
}


def write_animals(raw_root: Path, dataset: str, cases: list[str]) -> None:
    """Scans of 20 x 16 x 12 voxels at 1 x 1 x 1.5 mm with two boxes."""
    generator = np.random.default_rng(0)
    for number, case in enumerate(cases):
        labels = np.zeros((20, 16, 12), dtype=np.uint8)
        labels[3:13, 4 : 10 + number % 3, 2:10] = 1
        labels[13:17, 4:10, 2:10] = 2
        image = (100 * labels + generator.normal(50, 5, labels.shape)).astype(np.float32)
        affine = np.diag([-1.0, -1.0, 1.5, 1.0])
        write_volume(raw_root / dataset / f"images/{case}.nii.gz", Volume(image, affine))
        write_volume(raw_root / dataset / f"labels/{case}.nii.gz", Volume(labels, affine))


def write_card(folder: Path, name: str, cases: list[str], split: str = "") -> None:
    scan = {"image": "images/{case}.nii.gz", "label": "labels/{case}.nii.gz"}
    patients = {LISTS[name][case][0] for case in cases}
    card = {
        "id": name, "title": name.title(), "description": "an animal", "folder": name,
        "licence": {"name": "CC0", "verified": True}, "access": "open", "citation": "Heron",
        "source": {"name": "pond", "where": "pond", "steps": "fish"}, "layout": "images, labels",
        "reader": "paired", "reader_args": {"scans": [scan]},
        "expected_cases": len(cases), "expected_patients": len(patients), **CARDS[name],
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(card | yaml.safe_load(split or "{}")))


def write_list(path: Path, rows: dict[str, tuple[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{case},{patient},{side}\n" for case, (patient, side) in rows.items()]
    path.write_text("case,patient,split\n" + "".join(lines))


@pytest.fixture
def pond(clone):
    """A clone with the study, its lists, printed values, cards, data and configuration."""
    folder = clone.folder
    (folder / "studies/printed").mkdir(parents=True)
    (folder / "studies/pond.yaml").write_text(STUDY)
    (folder / "studies/printed/values.csv").write_text(VALUES)
    (folder / "config/pond.yaml").write_text(CONFIG)
    for name, cases in (("fish", FISH), ("bird", BIRDS)):
        write_card(folder / "config/datasets", name, cases)
        write_list(folder / f"studies/lists/{name}.csv", LISTS[name])
        write_animals(folder / "raw", name, cases)
    for index in SPLEENS:
        write_patient("msd_spleen", folder / "raw", index, seed=0)
    # Another split than the study `sat` has, of a card that knows nothing of this study.
    names = sorted(p.name.removesuffix(".nii.gz") for p in folder.glob("raw/*/*/imagesTr/*.gz"))
    spleens = {name: (name, "test" if i == 0 else "train") for i, name in enumerate(names)}
    write_list(folder / "studies/lists/msd_spleen.csv", spleens)
    return clone
