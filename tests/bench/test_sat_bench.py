"""The benchmarks run, and memory does not grow with the number of prompts."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sat.config import load_preset
from tests.bench.sat import (
    compare_prompts,
    compare_reading,
    report_lines,
    split_training_step,
)

ROOT = Path(__file__).parents[2]


def test_small_benchmarks():
    preset = load_preset("smoke")
    prompts = compare_prompts(preset, 1, (1, 2, 6), single_passes=2, shape=(32, 32, 32))
    assert [row["extrapolated_from"] for row in prompts] == [None, None, 2]
    reading = compare_reading(1, (48, 40, 16))
    assert [row["patch"] for row in reading] == ["tiny 32x32x16", "nano 48x40x16"]
    step = split_training_step(preset, n_cases=1, steps=2)
    assert 0 < step["share_of_data"] < 1
    results = {
        "preset": "smoke", "threads": 1, "rounds": 1, "prompts": prompts, "reading": reading,
        "training_step": step,
    }  # fmt: skip
    assert "extrapolated from 2 passes" in "\n".join(report_lines(results))


def _full(tmp_path: Path, prompts: int, shape: tuple[int, int, int]) -> dict[str, object]:
    out = tmp_path / f"{prompts}.json"
    sizes = [str(n) for n in shape]
    command = [
        sys.executable,
        "-m",
        "tests.bench.sat_full",
        "--preset",
        "tiny",
        "--prompts",
        str(prompts),
    ]
    command += ["--shape", *sizes, "--threads", "1", "--out", out]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    return json.loads(out.read_text())


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_memory_does_not_grow_with_the_prompts(tmp_path):
    """All 362 classes on a 400 x 400 x 130 grid of 1 x 1 x 3 mm, against 32 of them."""
    few, many = (_full(tmp_path, n, (400, 400, 130)) for n in (32, 362))
    assert many["own_grid"] == few["own_grid"] == [81, 81, 65]
    # Random masks overlap: layers are many, and yet do not stay in memory.
    assert many["layers"] > few["layers"] > 8
    # 330 more masks of this grid would be 6.4 GiB; the preset's memory for prompts is 0.25 GiB.
    assert many["peak_memory_gib"] < few["peak_memory_gib"] + 0.15
    assert many["peak_memory_gib"] < 2.5
