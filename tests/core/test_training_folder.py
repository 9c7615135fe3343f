"""One writer a folder, and a log that has every step once."""

import csv

import pytest
from filelock import FileLock

from evaluation.errors import BenchError
from evaluation.training_folder import kept_rows, only_writer, write_rows


def test_two_trainings_never_write_one_folder(tmp_path):
    held = FileLock(tmp_path / ".lock")
    with held, pytest.raises(BenchError, match="another training"), only_writer(tmp_path, 0.1):
        pass
    (tmp_path / ".partial-1-last.pt").write_bytes(b"half")
    (tmp_path / "last.pt").write_bytes(b"whole")
    with only_writer(tmp_path, 0.1):
        assert {p.name for p in tmp_path.iterdir()} == {".lock", "last.pt"}


def test_a_log_keeps_the_rows_before_the_resumed_step(tmp_path):
    log = tmp_path / "metrics.csv"
    assert kept_rows(log, 5) == []
    write_rows(log, ("step", "loss"), [{"step": n, "loss": 1 / (n + 1)} for n in range(0, 10, 2)])
    assert [row["step"] for row in kept_rows(log, 5)] == ["0", "2", "4"]
    assert kept_rows(log, 0) == []
    with log.open(newline="") as stream:
        assert float(list(csv.DictReader(stream))[3]["loss"]) == 1 / 7
    log.write_text("step,loss\n0,1\nhalf")
    with pytest.raises(BenchError, match=r"metrics\.csv") as caught:
        kept_rows(log, 5)
    assert "delete it" in str(caught.value)
