"""The benchmark of the statistics runs at a small size; no test asserts a time."""

from __future__ import annotations

from tests.bench.statistics import bench


def test_it_says_what_was_measured() -> None:
    lines = list(bench(n_models=2, scale=0.01, n_draws=20, repeats=1))
    assert lines[0].startswith("2 models x ")
    assert "rows to intervals" in lines[1]
