"""`make bench-metrics`: our engine against its peers on one whole-body case.

All run in one thread of one process, warm, and take turns, so that a busy machine slows all of
them alike. Read the ratios. Peers that take minutes are timed on a few classes drawn by size and
extrapolated; the result says so.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import psutil
import typer
from isal import isal_zlib
from numpy.typing import NDArray

from evaluation.metrics import EngineName, score
from evaluation.metrics.reading import read_labels
from evaluation.metrics.records import ClassScore
from evaluation.volumes.image_files import spacing_of
from evaluation.volumes.inflate import Arena, inflate
from evaluation.volumes.segmentation import ClassPlace, Part, Segmentation
from tests.bench.bodies import write_pair
from tests.bench.running import Out, run, tell

Results = dict[str, Any]
T = TypeVar("T")


def run_benchmark(
    data: Path | None = None,
    shape: tuple[int, int, int] | None = None,
    n_labels: int = 100,
    rounds: int = 3,
    drawn: int = 6,
    tolerance_mm: float = 1.0,
) -> Results:
    """Time every way to score one pair of label maps.

    Args:
        data: a real label map, or a folder of one mask for each class; its prediction is the same
            map, bent. None: the synthetic case.
        shape: voxels of the case. None: the synthetic one has 512x512x400, a real one its own.
        n_labels: classes of the synthetic case.
        rounds: repetitions; medians are taken.
        drawn: number of classes on which the peers are timed, spread evenly over the classes
            sorted by size.
        tolerance_mm: NSD tolerance.

    Returns:
        Seconds (CPU time of this thread), ratios, largest differences, and what was measured.
    """
    with tempfile.TemporaryDirectory() as folder:
        paths = Path(folder) / "reference.nii.gz", Path(folder) / "prediction.nii.gz"
        affine = write_pair(paths, data, shape, n_labels)
        return _run(paths, affine, data, rounds, drawn, tolerance_mm)


def _run(
    paths: tuple[Path, Path],
    affine: NDArray[np.float64],
    data: Path | None,
    rounds: int,
    drawn: int,
    tolerance_mm: float,
) -> Results:
    arenas = Arena(), Arena()
    spacing = spacing_of(affine)

    def read() -> tuple[Segmentation, Segmentation]:
        a, b = (read_labels(p, arena).array for p, arena in zip(paths, arenas, strict=True))
        return Segmentation((a,), affine, classes), Segmentation((b,), affine, classes)

    classes: dict[str, ClassPlace] = {}
    reference, prediction = read()
    sizes = np.bincount(reference.layers[0].ravel(order="K"))
    values = [v for v in np.argsort(sizes, kind="stable").tolist() if v and sizes[v]]
    for value in values:
        part = Part(layer=0, values=(value,))
        classes[str(value)] = ClassPlace(kind="annotated", parts=(part,))
    names = list(classes)
    # One class from the middle of each of `drawn` equal groups by size.
    n_picked = min(drawn, len(names))
    picked = [names[int((i + 0.5) * len(names) / n_picked)] for i in range(n_picked)]

    def whole_volumes(chosen: list[str]) -> list[ClassScore]:
        return [_whole_volume(reference, prediction, n, spacing, tolerance_mm) for n in chosen]

    def cropped(engine: EngineName) -> Callable[[list[str]], list[ClassScore]]:
        return lambda chosen: score(reference, prediction, spacing, [tolerance_mm], chosen, engine)

    contenders: dict[str, Callable[[], Any]] = {
        "sweep": lambda: score(reference, prediction, spacing, [tolerance_mm], names),
        "decompress two files, isal": lambda: [
            isal_zlib.decompress(path.read_bytes(), wbits=31) for path in paths
        ],
        "decompress two files, ours": lambda: [
            inflate(path, arena) for path, arena in zip(paths, arenas, strict=True)
        ],
        "read two files and sweep": lambda: score(*read(), spacing, [tolerance_mm], names),
    }
    peers: dict[str, Callable[[list[str]], list[ClassScore]]] = {
        "surface-distance, whole volume": whole_volumes,
        "surface-distance, cropped": cropped("surface-distance"),
    }
    if find_spec("monai") is not None:
        peers["monai use_subvoxels=True, cropped"] = cropped("monai")
    for name in ("sweep", "read two files and sweep"):
        contenders[name]()  # compiles, fills the arenas
    seconds: dict[str, list[float]] = {name: [] for name in (*contenders, *peers)}
    answers: dict[str, list[ClassScore]] = {}
    for turn in range(rounds):
        for name, call in contenders.items():
            answers[name], spent = _timed(call)
            seconds[name].append(spent)
        for name, peer in peers.items():
            # Whole volumes take long and hardly vary.
            if turn and name.endswith("whole volume"):
                continue
            answers[name], spent = _timed(partial(peer, picked))
            # What is done once for a case, such as finding boxes, is not extrapolated.
            once = _timed(partial(peer, []))[1]
            seconds[name].append(once + (spent - once) * len(names) / n_picked)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    ours = {s.class_name: s for s in answers["sweep"]}
    scored = [s for s in answers["sweep"] if s.status == "scored"]
    return {
        "case": "synthetic whole body" if data is None else str(data),
        "shape": list(reference.shape),
        "spacing_mm": list(spacing),
        "tolerance_mm": tolerance_mm,
        "classes": len(names),
        "classes_drawn_for_peers": len(picked),
        "mean_dsc": float(np.mean([s["dsc"] for s in scored])),
        "mean_nsd": float(np.mean([s["nsd"] for s in scored])),
        "rounds": rounds,
        "cpu_seconds": medians,
        "ratio_to_sweep": {
            name: value / medians["sweep"] for name, value in medians.items() if name in peers
        },
        "pair_with_reading_over_decompression": medians["read two files and sweep"]
        / medians["decompress two files, isal"],
        "share_of_decompression": medians["decompress two files, ours"]
        / medians["read two files and sweep"],
        "largest_nsd_difference": {
            name: max(abs(s["nsd"] - ours[s.class_name]["nsd"]) for s in found)
            for name, found in answers.items()
            if name in peers
        },
        "peak_memory_mb": _peak_memory_mb(),
    }


def _whole_volume(
    reference: Segmentation,
    prediction: Segmentation,
    name: str,
    spacing_mm: Sequence[float],
    tolerance_mm: float,
) -> ClassScore:
    """The usual way to call `surface-distance`: boolean masks of the whole volume, one class."""
    import warnings

    import surface_distance

    a = reference.layers[0] == int(name)
    b = prediction.layers[0] == int(name)
    dsc = float(surface_distance.compute_dice_coefficient(a, b))
    nsd = 0.0
    if b.any():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            surfaces = surface_distance.compute_surface_distances(a, b, spacing_mm)
        nsd = float(surface_distance.compute_surface_dice_at_tolerance(surfaces, tolerance_mm))
    return ClassScore(name, tolerance_mm, "scored", {"dsc": dsc, "nsd": nsd})


def _timed(call: Callable[[], T]) -> tuple[T, float]:
    """The answer and the CPU seconds of this thread."""
    start = time.thread_time()
    return call(), time.thread_time() - start


def _peak_memory_mb() -> float:
    """Largest memory of this process so far, in MB."""
    import resource

    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return max(kilobytes / 1000, psutil.Process().memory_info().rss / 1e6)


def report_lines(results: Results) -> list[str]:
    """The results as lines of text."""
    shape = "x".join(map(str, results["shape"]))
    n, drawn, rounds = results["classes"], results["classes_drawn_for_peers"], results["rounds"]
    pair = results["pair_with_reading_over_decompression"]
    share = results["share_of_decompression"]
    tolerance = results["tolerance_mm"]
    lines = [
        f"{results['case']}: {shape} voxels of {results['spacing_mm']} mm, {n} classes",
        f"mean DSC {results['mean_dsc']:.3f}, NSD at {tolerance:g} mm {results['mean_nsd']:.3f}",
        f"CPU seconds of one thread, medians of {rounds} interleaved rounds",
        f"peers: {drawn} classes drawn by size, extrapolated to {n} (whole volume: one round)",
        "",
        f"{'':36} {'CPU s':>10} {'x sweep':>9} {'max NSD diff':>13}",
    ]
    for name, seconds in results["cpu_seconds"].items():
        line = f"{name:36} {seconds:10.3f}"
        if name in results["ratio_to_sweep"]:
            line += f" {results['ratio_to_sweep'][name]:9.0f}"
            line += f" {results['largest_nsd_difference'][name]:13.1e}"
        lines.append(line)
    lines += [
        "",
        f"a pair with reading: {pair:.2f} x the decompression of its two files by isal",
        f"our own decompression into memory that is used again: {share:.0%} of a pair",
        f"peak memory of the whole process: {results['peak_memory_mb']:.0f} MB",
    ]
    return lines


def bench_metrics(
    data: Path | None = typer.Option(
        None, "--data", help="Label map, or folder of masks, instead of the synthetic case."
    ),
    shape: tuple[int, int, int] | None = typer.Option(
        None, "--shape", help="Voxels x, y, z: 512 512 400, or as the data are; enlarges them."
    ),
    n_labels: int = typer.Option(100, "--labels", min=1, max=255, help="Classes."),
    rounds: int = typer.Option(3, "--rounds", min=1, help="Interleaved repetitions."),
    drawn: int = typer.Option(
        6, "--drawn", min=1, help="Classes on which slow peers are timed, drawn by size."
    ),
    tolerance_mm: float = typer.Option(1.0, "--tolerance-mm", min=0.0, help="NSD tolerance, mm."),
    out: Path | None = Out,
) -> None:
    """Compare the engine's speed with surface-distance and MONAI on a whole-body case."""
    results = run_benchmark(data, shape, n_labels, rounds, drawn, tolerance_mm)
    tell(report_lines(results), results, out)


if __name__ == "__main__":
    run(bench_metrics)
