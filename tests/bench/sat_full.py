"""`make bench-sat-full`: all classes of the paper on one large scan, weights at random.

Random weights cost what trained ones do, except for the packing of masks, which is at its worst:
random masks all overlap, so that every class gets a layer of its own.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer

from evaluation.errors import BenchError
from evaluation.volumes.image_files import Volume
from sat.config import Millimetres, Triple, load_preset
from sat.inference.predict import segment
from sat.segment.console import Console
from tests.bench.running import Out, run, tell
from tests.bench.sat import random_model
from tests.bench.spending import peak_of_process_gib


def large_scan(shape: Triple, spacing_mm: Millimetres) -> Volume:
    """A made-up CT (x, y, z) without air, so that nothing of it is cropped."""
    random = np.random.default_rng(0)
    coarse = random.normal(100, 60, [-(-n // 8) for n in shape]).astype(np.float32)
    for axis in range(3):
        coarse = coarse.repeat(8, axis)
    x, y, z = shape
    return Volume(np.maximum(coarse[:x, :y, :z], 1.0), np.diag([*spacing_mm, 1.0]))


def full_run(
    preset: str, n_prompts: int, shape: Triple, spacing_mm: Millimetres, device: str = "cpu"
) -> dict[str, Any]:
    """Predict once with random weights on `cpu` or `cuda`; progress goes to stderr.

    Returns:
        Sizes, seconds for encoding and in all, and the largest resident memory of this process
        in GiB, imports included; on a GPU also the largest memory that torch took there.

    Raises:
        BenchError: the device is another one, or there is no GPU.
    """
    if device not in ("cpu", "cuda"):
        raise BenchError("unknown device", found=device, expected="cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise BenchError("torch sees no GPU", hint="use --device cpu")
    model = random_model(load_preset(preset), n_prompts).to(device)
    names = [name for _, name in model.book.keys]
    started = time.monotonic()
    encoded_at, windows = started, 0
    with Console() as console:

        def on_encoded(done: int, total: int) -> None:
            nonlocal encoded_at, windows
            encoded_at, windows = time.monotonic(), total
            console.progress.encoded(done, total)

        answer = segment(
            model,
            large_scan(shape, spacing_mm),
            "ct",
            names,
            model.book.embeddings,
            on_done=lambda name: console.progress.segmented(name, n_prompts),
            on_encoded=on_encoded,
        )
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
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "peak_memory_gib": round(peak_of_process_gib(), 3),
        "peak_gpu_memory_gib": (
            round(torch.cuda.max_memory_reserved() / 2**30, 3) if device == "cuda" else None
        ),
    }


def bench_sat_full(
    preset: str = typer.Option("nano", help="Preset, by name or as a file."),
    prompts: int = typer.Option(362, min=1, help="Number of prompts."),
    shape: tuple[int, int, int] = typer.Option((400, 400, 130), help="Voxels x, y, z."),
    spacing: tuple[float, float, float] = typer.Option((1, 1, 3), help="Voxel size in mm."),
    device: str = typer.Option("cpu", "--device", help="cpu or cuda."),
    threads: int | None = typer.Option(None, min=1, help="CPU threads; all by default."),
    limit_gib: float = typer.Option(20.0, help="Fail above this peak of the process's memory."),
    out: Path | None = Out,
) -> None:
    """One prediction of all classes with random weights of full size; time and peak memory."""
    if threads is not None:
        torch.set_num_threads(threads)
    results = full_run(preset, prompts, shape, spacing, device)
    tell((f"{name}: {value}" for name, value in results.items()), results, out)
    if results["peak_memory_gib"] > limit_gib:
        raise BenchError(
            "the prediction took more memory than it may",
            found=f"{results['peak_memory_gib']} GiB",
            expected=f"{limit_gib:g} GiB",
        )


if __name__ == "__main__":
    run(bench_sat_full)
