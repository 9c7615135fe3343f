"""A unit's record: it adds up over resumes, starts anew with the work, and says what it lacks."""

import json
import math
import time

import pytest

from evaluation.errors import BenchError
from evaluation.spent import (
    SPENT_FILE,
    Meter,
    measured_preparation,
    measured_training,
    peak_memory_mib,
    read_spent,
)


def spent(path, identity="a", seconds=100.0, peak_memory_mib=1e6, **values):
    record = {
        "identity": identity, "seconds": seconds, "cpu_seconds": seconds, "device": "CPU",
        "peak_memory_mib": peak_memory_mib, "started": "2024-05-01T10:00:00+00:00",
        "ended": "2024-05-01T11:00:00+00:00",
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record | values))


def test_a_resume_adds_to_what_was_spent(tmp_path):
    path = tmp_path / SPENT_FILE
    spent(path)
    begin = time.monotonic()
    meter = Meter(path, "a", goes_on=True, on_gpu=True)
    time.sleep(0.05)
    meter.write(steps=7)
    record = read_spent(path)
    assert 100.05 <= record.seconds <= 100.01 + time.monotonic() - begin
    assert 100 <= record.cpu_seconds < record.seconds
    assert (record.steps, record.device, record.peak_memory_mib) == (7, "GPU", 1e6)
    assert record.started == "2024-05-01T10:00:00+00:00" < record.ended


@pytest.mark.parametrize("goes_on", [True, False])
def test_work_that_starts_anew_starts_at_nought(tmp_path, goes_on):
    path = tmp_path / SPENT_FILE
    spent(path, identity="other")
    Meter(path, "a", goes_on=goes_on).write()
    record = read_spent(path)
    # What another unit took says nothing of the part that is kept.
    assert record.seconds is None if goes_on else record.seconds < 1
    assert 0 < record.peak_memory_mib <= peak_memory_mib() + 1
    assert record.device == "CPU"


@pytest.mark.parametrize("before", [None, "half a rec", '{"seconds": 3}', "unknown"])
def test_a_part_that_was_not_measured_makes_the_whole_unknown(tmp_path, before):
    path = tmp_path / SPENT_FILE
    if before == "unknown":
        spent(path, seconds=None)
    elif before is not None:
        path.write_text(before)
    Meter(path, "a", goes_on=True).write()
    assert read_spent(path).seconds is None
    assert math.isnan(measured_training("", path).seconds)
    # And stays unknown.
    Meter(path, "a", goes_on=True).write()
    assert read_spent(path).seconds is None


def test_prepared_cases_add_up_and_leftovers_do_not_count(tmp_path):
    for case, seconds in (("a", 1.5), ("b", 2.0), ("left over", 50.0)):
        spent(tmp_path / "entry" / case / SPENT_FILE, case, seconds, 100 * seconds)
    (work,) = measured_preparation(tmp_path, lambda _: {"entry": ["a", "b"]})
    assert (work.dataset, work.step, work.seconds) == ("entry", "prepare", 3.5)
    assert work.peak_memory_mib == 200
    (work,) = measured_preparation(tmp_path, lambda _: {"entry": ["a", "not measured"]})
    assert math.isnan(work.seconds)

    def deleted(store):
        raise BenchError("no prepared training data", file=store)

    (work,) = measured_preparation(tmp_path, deleted)
    assert math.isnan(work.seconds)
