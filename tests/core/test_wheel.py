"""The wheel, installed somewhere else, holds all it needs and wants neither torch nor nnU-Net."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evaluation.volumes.image_files import Volume, write_volume

ROOT = Path(__file__).resolve().parents[2]


def call(*command: str, **options) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build_wheel(folder: Path) -> Path:
    # From a copy: building in the clone would leave a `build` folder that later builds pick up.
    source = folder / "source"
    for package in ("evaluation", "sat", "baselines", "reports"):
        ignored = shutil.ignore_patterns("__pycache__", "out")
        shutil.copytree(ROOT / package, source / package, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, source)
    call(
        *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"),
        *("--wheel-dir", str(folder), str(source)),
    )
    return next(folder.glob("satbench-*.whl"))


def write_pair(folder: Path) -> None:
    labels = np.zeros((10, 10, 10), np.uint8)
    labels[2:6, 2:6, 2:6] = 1
    for name, shift in (("reference", 0), ("prediction", 1)):
        volume = Volume(np.roll(labels, shift, axis=0), np.diag([1.0, 1, 2, 1]))
        write_volume(folder / name / "case_1.nii.gz", volume)


def test_wheel_evaluates_without_torch(tmp_path):
    site = tmp_path / "site"
    wheel = build_wheel(tmp_path / "wheel")
    # What pip does with a wheel of Python code alone, without the seconds that it takes.
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    write_pair(tmp_path)
    program = textwrap.dedent(
        """
        import sys
        for name in ("torch", "nnunetv2", "monai", "transformers", "snakemake", "matplotlib"):
            sys.modules[name] = None  # as if it were not installed
        import evaluation
        assert evaluation.__file__.startswith(sys.argv[1]), evaluation.__file__
        from evaluation.datasets.registry import load_cards
        assert len(load_cards()) == int(sys.argv.pop())
        from sat.knowledge.relations import question
        from sat.knowledge.settings import load_settings
        from sat.knowledge.sources import gather
        assert len(gather(load_settings("paper").sources).pairs) == 5558
        assert "A gland." in question("liver", "A gland.")
        import satbench
        assert satbench.__file__.startswith(sys.argv[1]), satbench.__file__
        result = satbench.evaluate("reference/", "prediction/", tolerance_mm=1)
        assert result.summary()["dsc"].tolist() == [0.75]
        try:
            satbench.segment("ct.nii.gz", ["liver"], modality="ct", checkpoint="c.pt", out="out")
        except satbench.BenchError as error:
            assert "satbench[sat]" in str(error), error
        from evaluation.cli import main
        sys.argv[1:] = sys.argv[2:]
        main()
        """
    )
    arguments = ["evaluate", "reference", "prediction", "--out", "scores.parquet"]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    n_cards = len(list((ROOT / "evaluation/datasets/cards").glob("*.yaml")))
    command = [sys.executable, "-P", "-c", program, str(site), *arguments, str(n_cards)]
    call(*command, cwd=tmp_path, env=environment)
    rows = pd.read_parquet(tmp_path / "scores.parquet")
    assert rows["dsc"].tolist() == [0.75]
    assert (site / "satbench" / "py.typed").is_file()


@pytest.mark.long
def test_core_install_in_a_clean_environment(tmp_path):
    """As a user: a new environment, the wheel with its core requirements, and a first score."""
    wheel = build_wheel(tmp_path / "wheel")
    call(sys.executable, "-m", "venv", str(tmp_path / "env"))
    binaries = tmp_path / "env" / "bin"
    call(str(binaries / "pip"), "install", "--quiet", str(wheel))
    write_pair(tmp_path)
    satbench = str(binaries / "satbench")
    call(satbench, "evaluate", "reference", "prediction", "--out", "s.csv", cwd=tmp_path)
    assert pd.read_csv(tmp_path / "s.csv")["dsc"].tolist() == [0.75]
    program = "import satbench; print(satbench.evaluate('reference', 'prediction').summary())"
    assert "0.75" in call(str(binaries / "python"), "-c", program, cwd=tmp_path)
    listed = call(str(binaries / "pip"), "list").lower()
    assert "torch" not in listed
    assert "nnunet" not in listed
