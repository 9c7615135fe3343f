"""Seconds and peak memory of a call."""

from __future__ import annotations

import resource
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psutil

_SAMPLE_SECONDS = 0.002


@dataclass(frozen=True)
class Spent:
    """Wall-clock seconds, and MiB of resident memory at the peak above that at the start."""

    seconds: float
    mib: float


def spend(call: Callable[[], Any]) -> Spent:
    """Run a call and measure it. Peaks shorter than a few milliseconds may be missed."""
    process = psutil.Process()
    start = process.memory_info().rss
    peak, done = start, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(_SAMPLE_SECONDS):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    before = time.perf_counter()
    try:
        result = call()
        seconds = time.perf_counter() - before
        peak = max(peak, process.memory_info().rss)
        del result
    finally:
        done.set()
        watcher.join()
    return Spent(seconds, (peak - start) / 2**20)


def peak_of_process_gib() -> float:
    """Largest resident memory that this process has had, in GiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)
