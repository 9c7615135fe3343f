"""The benchmark of standardise runs at a small size; no test asserts a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from evaluation.errors import BenchError
from tests.bench.data import report_lines, run_benchmark


def test_both_sides_do_the_same_cases(tmp_path: Path) -> None:
    said: list[str] = []
    (entry,) = run_benchmark(None, ["acdc"], 2, 2, 3, said.append)
    numbers = entry.as_dict()
    assert numbers["cases"] == 3
    assert len(entry.copy_s) == len(entry.standardise_s) == 2
    assert numbers["bytes_written"] > 0
    assert numbers["bytes_ratio"] == numbers["bytes_written"] / numbers["bytes_copied"]
    assert "acdc" in "\n".join(report_lines([entry], 2))
    with pytest.raises(BenchError, match="no case to measure with"):
        run_benchmark(tmp_path, ["acdc"], 2, 1, 3, said.append)
    assert said == [f"acdc: no data under {tmp_path}"]
