"""`satbench bench sat-full`: all classes of the paper on one large scan, weights at random.

Random weights cost what trained ones do, except for the packing of masks, which is at its worst:
random masks all overlap, so that every class gets a layer of its own.
"""

from __future__ import annotations

import tempfile
import time
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from evaluation.io import Volume
from sat.benchmark import random_model
from sat.config import Millimetres, Triple, load_preset
from sat.measuring import peak_of_process_gib
from sat.predict import segment


def large_scan(shape: Triple, spacing_mm: Millimetres) -> Volume:
    """A made-up CT (x, y, z) without air, so that nothing of it is cropped."""
    random = np.random.default_rng(0)
    coarse = random.normal(100, 60, [-(-n // 8) for n in shape]).astype(np.float32)
    for axis in range(3):
        coarse = coarse.repeat(8, axis)
    x, y, z = shape
    return Volume(np.maximum(coarse[:x, :y, :z], 1.0), np.diag([*spacing_mm, 1.0]))


def full_run(preset: str, n_prompts: int, shape: Triple, spacing_mm: Millimetres) -> dict[str, Any]:
    """Predict once with random weights; progress goes to stderr.

    Returns:
        Sizes, seconds for encoding and in all, and the largest resident memory of this process
        in GiB, imports included.
    """
    model = random_model(load_preset(preset), n_prompts)
    names = [name for _, name in model.book.keys]
    started = time.monotonic()
    encoded_at = started
    windows = 0
    bar = tqdm(total=n_prompts, desc="classes", unit="class")
    encoding = tqdm(desc="image", unit="window")

    def on_encoded(done: int, total: int) -> None:
        nonlocal encoded_at, windows
        encoded_at, windows, encoding.total = time.monotonic(), total, total
        encoding.update(done - encoding.n)

    def on_done(_: str) -> None:
        bar.update()

    answer = segment(
        model,
        large_scan(shape, spacing_mm),
        "ct",
        names,
        model.book.embeddings,
        on_done=on_done,
        on_encoded=on_encoded,
    )
    bar.close()
    encoding.close()
    assert answer.own_grid is not None
    return {
        "preset": preset,
        "prompts": n_prompts,
        "grid": list(shape),
        "own_grid": list(answer.own_grid.shape),
        "windows": windows,
        "layers": len(answer.segmentation.layers),
        "threads": torch.get_num_threads(),
        "scratch_folder": tempfile.gettempdir(),
        "seconds_encoding": round(encoded_at - started, 1),
        "seconds": round(time.monotonic() - started, 1),
        "peak_memory_gib": round(peak_of_process_gib(), 3),
    }
