"""A toy run that models of a user's own are put into."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from evaluation.cases import CaseRecord, write_case
from evaluation.config import RunConfig, freeze
from evaluation.paths import RunPaths
from evaluation.volumes.image_files import Volume, write_volume
from evaluation.volumes.segmentation import pack_masks

DATASET = "msd_hippocampus"
PARTS = ("anterior hippocampus", "posterior hippocampus")
CASES = ("hippocampus_001", "hippocampus_003")
AFFINE = np.eye(4)


def labels_of(case: str) -> np.ndarray:
    """The reference of a case: 1 is the anterior, 2 the posterior part."""
    labels = np.zeros((12, 14, 10), np.uint8)
    labels[3:7, 3:8, 2:7] = 1
    labels[7:10, 4:9, 3 : 6 + CASES.index(case)] = 2
    return labels


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two test cases of the hippocampus in a run folder, and a clean folder for user cards."""
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "results" / "toy"
    paths = RunPaths(run)
    config = RunConfig(
        name="toy",
        study="sat",
        data_kind="real",
        raw_root="raw",
        entries=[DATASET],
        models=["mine"],
        space=["native", "resampled"],
    )
    freeze(config, paths.config)
    lines = ["case,patient,split"]
    for name in CASES:
        labels = labels_of(name)
        masks = {part: labels == i + 1 for i, part in enumerate(PARTS)}
        masks["hippocampus"] = labels > 0
        reference = pack_masks(masks, AFFINE, "annotated")
        record = CaseRecord(
            dataset=DATASET,
            case=name,
            patient=name,
            modality="mri",
            shape=(12, 14, 10),
            spacing_mm=(1.0, 1.0, 1.0),
            source_orientation="RAS",
            n_layers=len(reference.layers),
            classes=dict(reference.classes),
        )
        image = Volume(labels.astype(np.int16) * 100, AFFINE)
        write_case(paths.case(DATASET, name), image, reference, record)
        lines.append(f"{name},{name},test")
    paths.split(DATASET).parent.mkdir(parents=True)
    paths.split(DATASET).write_text("\n".join(lines) + "\n")
    return run


@pytest.fixture
def write_card() -> Callable[..., None]:
    """`write_card(adapter, model="mine")` writes a model card with that adapter."""

    def write(adapter: str, model: str = "mine") -> None:
        folder = Path("config/models")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{model}.yaml").write_text(
            f"id: {model}\ntitle: Mine\ndescription: x\ncitation: x\nlicence: x\n"
            f"adapter:\n{adapter}"
        )

    return write


@pytest.fixture
def write_predictions() -> Callable[..., None]:
    """`write_predictions(cases=...)` fills `predictions/mine` with perfect label maps."""

    def write(cases: Sequence[str] = CASES) -> None:
        for name in cases:
            path = Path("predictions/mine") / DATASET / f"{name}.nii.gz"
            # Another orientation than the case's: a user's files come as they are.
            labels = labels_of(name)[::-1]
            affine = AFFINE @ np.diag([-1.0, 1, 1, 1])
            affine[0, 3] = labels.shape[0] - 1
            write_volume(path, Volume(labels, affine))

    return write
