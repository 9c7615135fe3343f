"""`import satbench`: every example of the docstrings runs, on small files that are made here."""

from __future__ import annotations

import doctest
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

import satbench
from evaluation.api import arrays, runs, scoring, segmenting
from evaluation.cli import build
from evaluation.config import Cohort, RunConfig, freeze
from evaluation.metrics import score as score_segmentations
from evaluation.paths import RunPaths
from evaluation.schema import SCORES, write_table
from evaluation.tables.run_tables import aggregate_run
from evaluation.training.checkpoints import save_content
from evaluation.volumes.image_files import Volume, write_volume
from evaluation.volumes.segmentation import pack_masks
from sat.config import load_preset
from sat.model import SatModel
from sat.prompts.book import PromptBook
from sat.text.encoder import TextEncoder, minilm_folder

AFFINE = np.diag([1.0, 1, 2, 1])
TRAINED = ("left kidney", "liver")


def cube(shift: int = 0) -> np.ndarray:
    labels = np.zeros((10, 10, 10), np.uint8)
    labels[2:6, 2:6, 2:6] = 1
    return np.roll(labels, shift, axis=0)


def write_checkpoint(path: Path) -> None:
    torch.manual_seed(0)
    keys = tuple(("ct", name) for name in TRAINED)
    book = PromptBook(keys, TextEncoder(minilm_folder()).embed(TRAINED))
    model = SatModel(load_preset("tiny"), book, {"toy": TRAINED})
    save_content(path, model.content())


def write_run(folder: Path) -> None:
    """Two controls on an entry of two test cases, measured and aggregated."""
    paths = RunPaths(folder)
    config = RunConfig(
        name=folder.name, study="sat", data_kind="synthetic", raw_root="raw",
        entries=["msd_spleen"],
        models=["oracle", "empty"], cohort=Cohort(),
    )  # fmt: skip
    freeze(config, paths.config)
    cases = [f"case_{i}" for i in range(1, 4)]
    split = pd.DataFrame({"case": cases, "patient": cases, "split": ["train", "test", "test"]})
    paths.split("msd_spleen").parent.mkdir()
    split.to_csv(paths.split("msd_spleen"), index=False)
    for model, side in (("oracle", cube()), ("empty", cube() * 0)):
        for case in cases[1:]:
            write_volume(folder / "refs" / f"{case}.nii.gz", Volume(cube(), AFFINE))
            write_volume(folder / model / f"{case}.nii.gz", Volume(side, AFFINE))
        found = satbench.evaluate(
            folder / "refs", folder / model, labels={"spleen": 1}, dataset="msd_spleen",
            modality="ct", out=folder / "rows.parquet",
        )  # fmt: skip
        write_table(paths.scores(model, "msd_spleen"), found.rows, SCORES)
    aggregate_run(folder, n_draws=10)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the examples name."""
    folder = tmp_path_factory.mktemp("api")
    for case in ("case_1", "case_2"):
        write_volume(folder / "refs" / f"{case}.nii.gz", Volume(cube(), AFFINE))
    write_volume(folder / "preds" / "case_1.nii.gz", Volume(cube(1), AFFINE))
    image = np.random.default_rng(0).normal(40, 60, (40, 40, 30)).astype(np.int16)
    write_volume(folder / "ct.nii.gz", Volume(image, np.diag([5.0, 5, 6, 1])))
    write_checkpoint(folder / "checkpoint.pt")
    write_run(folder / "results" / "smoke")
    return folder


@pytest.fixture(autouse=True)
def in_folder(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(files)


def test_every_public_name_is_documented_and_has_an_example() -> None:
    functions = [satbench.__dict__[n] for n in satbench.__all__ if n[0].islower()]
    assert {f.__name__ for f in functions} == {
        "evaluate", "score", "score_instances", "load_run", "read_tables", "find_dataset",
        "segment",
    }  # fmt: skip
    assert all(">>> import" in f.__doc__ and "Raises:" in f.__doc__ for f in functions)


@pytest.mark.parametrize("module", [arrays, scoring, runs, segmenting])
@pytest.mark.filterwarnings("default")
def test_examples_of_the_docstrings(module) -> None:
    found = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.REPORT_NDIFF)
    assert found.attempted
    assert not found.failed


def test_importing_loads_neither_torch_nor_nnunet() -> None:
    heavy = "{'torch', 'nnunetv2', 'monai', 'transformers', 'snakemake', 'matplotlib', 'sat'}"
    program = f"import sys, satbench; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr


def test_label_maps_masks_and_segmentations_score_alike() -> None:
    spacing, tolerances = (1.0, 1.0, 2.0), (0.5, 1.0)
    of_maps = satbench.score(cube(), cube(1), spacing, tolerances, {"liver": 1})
    of_masks = satbench.score({"liver": cube()}, {"liver": cube(1)}, spacing, tolerances, ["liver"])
    sides = [pack_masks({"liver": cube(n) > 0}, AFFINE, "annotated") for n in (0, 1)]
    assert of_masks == score_segmentations(*sides, spacing, tolerances, ["liver"])
    # Voxels lie in another order in memory, so that sums may differ in their last bit.
    assert [one["nsd"] for one in of_maps] == pytest.approx(
        [one["nsd"] for one in of_masks], abs=1e-12
    )
    assert [one["dsc"] for one in of_maps] == [one["dsc"] for one in of_masks] == [0.75, 0.75]
    assert [one.tolerance_mm for one in of_maps] == [0.5, 1.0]
    assert of_maps[0]["nsd"] < of_maps[1]["nsd"] == 1.0


def test_masks_may_overlap_and_values_may_be_several() -> None:
    organ, tumour = cube() > 0, (cube() > 0) & (cube(2) > 0)
    masks = {"liver": organ, "liver tumor": tumour}
    found = satbench.score(masks, {"liver": organ}, (1, 1, 1), 1, list(masks))
    assert [(one.status, one.reference_voxels) for one in found] == [
        ("scored", 64),
        ("unsupported", 32),
    ]
    both = cube() + tumour.astype(np.uint8)
    assert set(both.flat) == {0, 1, 2}
    (one,) = satbench.score(both, cube(), (1, 1, 1), 1, {"liver": [1, 2]})
    assert one["dsc"] == 1
    (one,) = satbench.score(cube(), None, (1, 1, 1), 1, {"liver": 1})
    assert one.status == "prediction_missing"


def test_rows_are_those_of_the_command_and_are_kept(files: Path, tmp_path: Path) -> None:
    (files / "labels.yaml").write_text("liver: 1\n")
    command = ["evaluate", "refs", "preds", "--labels", "labels.yaml", "--out", "by-command.csv"]
    CliRunner().invoke(build(), [*command, "--tolerance-mm", "1", "--tolerance-mm", "2"])
    out = tmp_path / "rows.csv"
    found = satbench.evaluate("refs", "preds", tolerance_mm=(1, 2), labels="labels.yaml", out=out)
    pd.testing.assert_frame_equal(pd.read_csv(out), pd.read_csv("by-command.csv"))
    assert len(found.rows) == 4
    assert found.summary("paper")["nsd @ 2 mm"].tolist() == [0.5]
    assert found.overall()["class"].tolist() == ["mean of classes", "mean of scores"]


def test_a_reference_that_cannot_be_used_is_told(files: Path, tmp_path: Path) -> None:
    shutil.copytree(files / "refs", tmp_path / "refs")
    (tmp_path / "refs" / "case_3.nii.gz").write_bytes(b"not a volume")
    with pytest.warns(UserWarning, match="case_3"):
        found = satbench.evaluate(tmp_path / "refs", "preds", labels={"liver": 1})
    assert list(found.failed) == ["case_3"]
    assert found.rows["case"].tolist() == ["case_1", "case_2"]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: satbench.evaluate("refs", "nowhere"), "no such file or folder"),
        (lambda: satbench.evaluate("refs", "preds", modality="mr"), "did you mean `mri`"),
        (lambda: satbench.evaluate("refs", "preds", resample="nearst"), "did you mean `nearest`"),
        (lambda: satbench.evaluate("refs", "preds", tolerance_mm=-1), "tolerances are unusable"),
        (lambda: satbench.evaluate("refs", "preds", engine="swep"), "did you mean `sweep`"),
        (lambda: satbench.evaluate("refs", "preds", out="rows.xls"), ".parquet or .csv"),
        (lambda: satbench.evaluate("refs", "preds").summary("none"), "policy: no such choice"),
        (lambda: satbench.score(cube(), cube(), (1, 1, 1), 1, ["liver"]), "needs the value"),
        (lambda: satbench.score(cube() / 2, cube(), (1, 1, 1), 1, {"a": 1}), "not whole numbers"),
        (lambda: satbench.load_run("nowhere"), "no run here"),
        (lambda: satbench.load_run("results/smoke").scores("orcle"), "did you mean `oracle`"),
        (lambda: satbench.read_tables("refs"), "no result table here"),
        (lambda: satbench.find_dataset("hippocampuss"), "did you mean `msd_hippocampus`"),
    ],
)
def test_bad_input_is_refused_with_what_to_do(call, says: str) -> None:
    with pytest.raises(satbench.BenchError) as error:
        call()
    assert says in str(error.value)


def test_a_run_without_scores_says_how_to_get_them(tmp_path: Path) -> None:
    shutil.copytree("results/smoke", tmp_path / "smoke")
    shutil.rmtree(tmp_path / "smoke" / "scores")
    run = satbench.load_run(tmp_path / "smoke")
    assert set(run.tables) >= {"dataset", "class", "overall", "ranks"}
    with pytest.raises(satbench.BenchError, match="satbench aggregate"):
        run.scores("oracle")


def test_segment_without_its_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segmenting, "entry_points", lambda **_: ())
    with pytest.raises(satbench.BenchError, match=r"pip install 'satbench\[sat\]'"):
        satbench.segment("ct.nii.gz", ["liver"], modality="ct", checkpoint="c.pt", out="out")
