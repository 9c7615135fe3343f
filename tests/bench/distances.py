"""All distance metrics of a pair of label maps, against DSC + NSD alone and against its peers.

    make bench-distances DISTANCE_ARGS="--shape 512 512 400 --labels 100 --rounds 3 --shift 0.3"

Everything runs warm, in one thread of one process, and takes turns, so that a busy machine slows
all alike: read the ratios. Peers that take minutes are timed on a few classes, spread evenly over
the classes sorted by size, and extrapolated: once on masks cropped to the box of both, which is
what a careful user does, and once on masks of the whole volume, as they are called by most.
`--data` takes a real label map, or a folder of masks, and bends it for a prediction. `--jobs` says
on how many cores as many pairs are scored at once, by wall clock.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from evaluation.api.arrays import score
from evaluation.metrics.distances.definitions import DefinitionName
from evaluation.metrics.instances.pairs import pair_instances_by_class
from evaluation.volumes.image_files import spacing_of
from tests.bench.bodies import pair_of
from tests.bench.distance_peers import PEERS, Peer, Spacing
from tests.bench.spending import spend

Labels = NDArray[Any]
WHOLE = ("surface_distance", "SimpleITK", "seg_metrics", "medpy")
"""Peers also timed on the whole volume, once: the quickest on all classes, the others on one."""
ALL = (
    "dsc", "hd", "hd95", "hd99", "assd", "masd", "nsd@1", "nsd@2", "volume_difference",
    "relative_volume_error",
)  # fmt: skip


def score_maps(
    a: Labels,
    b: Labels,
    spacing: Spacing,
    metrics: Sequence[str],
    classes: Sequence[int],
    definition: DefinitionName,
) -> Any:
    """All classes in one pass."""
    return score(a, b, spacing, classes=classes, metrics=metrics, definition=definition)


def _whole(peer: Peer, a: Labels, b: Labels, value: int, spacing: Spacing) -> dict[str, float]:
    return peer(a == value, b == value, spacing)


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """What a call gives and the CPU seconds that it took."""
    start = time.process_time()
    result = call()
    return result, time.process_time() - start


def on_cores(call: Callable[[], Any], jobs: int, rounds: int) -> dict[str, float]:
    """Pairs a second by wall clock, one at a time and `jobs` at once, and what a core adds."""
    seconds: dict[int, list[float]] = {1: [], jobs: []}
    for _ in range(rounds):
        for n in (1, jobs):
            with ThreadPoolExecutor(n) as pool:
                start = time.perf_counter()
                for done in [pool.submit(call) for _ in range(n)]:
                    done.result()
                seconds[n].append(time.perf_counter() - start)
    rates = {n: n / statistics.median(taken) for n, taken in seconds.items()}
    return {
        "jobs": jobs,
        "pairs a second, one job": rates[1],
        "pairs a second, all jobs": rates[jobs],
        "pairs a second and core": rates[jobs] / jobs,
        "share of a core's speed alone": rates[jobs] / jobs / rates[1],
    }


def run(
    shape: tuple[int, int, int] | None,
    n_labels: int,
    rounds: int,
    drawn: int,
    shift_mm: float,
    data: Path | None = None,
    jobs: int = 2,
) -> dict[str, Any]:
    """Medians of CPU seconds, ratios and largest differences."""
    a, b, affine = pair_of(data, shape, n_labels, shift_mm)
    spacing = spacing_of(affine)
    n_labels = int(a.max())
    sizes = np.bincount(a.ravel(order="K"), minlength=n_labels + 1)
    classes = [v for v in np.argsort(sizes, kind="stable").tolist() if v and sizes[v]]
    drawn = min(drawn, len(classes))
    picked = [classes[int((i + 0.5) * len(classes) / drawn)] for i in range(drawn)]

    def ours(definition: DefinitionName, *more: str) -> Callable[[], dict[int, dict[str, float]]]:
        return lambda: score_maps(a, b, spacing, (*ALL, *more), classes, definition)

    contenders: dict[str, Callable[[], Any]] = {
        "largest value of both maps (a floor: each voxel is read once)": lambda: (a.max(), b.max()),
        "DSC + NSD": lambda: score_maps(
            a, b, spacing, ("dsc", "nsd@1"), classes, "surface-element"
        ),
        "all distances, surface-element": ours("surface-element"),
        "all distances and boundary IoU": ours("surface-element", "boundary_iou"),
        "all distances, voxel-larger": ours("voxel-larger"),
        "instances": lambda: pair_instances_by_class(a, b, spacing, classes),
    }
    answers: dict[str, Any] = {}
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for call in contenders.values():
        call()
    peaks = {name: spend(call).mib for name, call in contenders.items()}
    found = [ndimage.find_objects(m, n_labels) for m in (a, b)]
    middle = picked[len(picked) // 2]
    differences: dict[str, float] = {}
    peers = {name: peer for name, peer in PEERS.items() if find_spec(name)}
    for _ in range(rounds):
        for name, call in contenders.items():
            answers[name], spent = timed(call)
            seconds[name].append(spent)
        for name, (peer, definition) in peers.items():
            total = 0.0
            own = answers["all distances, surface-element"]
            if definition != "surface-element":
                own = score_maps(a, b, spacing, ALL, picked, definition)
            for value in picked:
                boxes = [side[value - 1] for side in found]
                if None in boxes:
                    continue
                box = tuple(
                    slice(min(s.start for s in at), max(s.stop for s in at))
                    for at in zip(*boxes, strict=True)
                )
                masks = [m[box] == value for m in (a, b)]
                theirs, spent = timed(partial(peer, masks[0], masks[1], spacing))
                total += spent
                for metric, number in theirs.items():
                    off = abs(number - own[value][metric])
                    differences[name] = max(differences.get(name, 0.0), off)
            seconds.setdefault(name, []).append(total * len(classes) / len(picked))
    for name in (name for name in WHOLE if name in peers):
        peer = peers[name][0]
        values = classes if name == "surface_distance" else [middle]
        spent = sum(timed(partial(_whole, peer, a, b, v, spacing))[1] for v in values)
        seconds[f"{name}, whole volume"] = [spent * len(classes) / len(values)]
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    base, everything = medians["DSC + NSD"], medians["all distances, surface-element"]
    scores = answers["all distances, surface-element"].values()
    return {
        "case": "synthetic whole body" if data is None else str(data),
        "shape": a.shape,
        "spacing in mm": spacing,
        "classes": len(classes),
        "classes drawn for peers": len(picked),
        "mean DSC": float(np.nanmean([s["dsc"] for s in scores])),
        "mean NSD at 1 mm": float(np.nanmean([s["nsd@1"] for s in scores])),
        "CPU seconds": medians,
        "peak MiB beside both maps": peaks,
        "times DSC + NSD": {name: medians[name] / base for name in contenders},
        "peers, times all distances": {
            name: value / everything for name, value in medians.items() if name not in contenders
        },
        "largest difference": differences,
        "all distances and boundary IoU on several cores": on_cores(
            contenders["all distances and boundary IoU"], jobs, rounds
        ),
    }


def main() -> None:
    """Print one benchmark as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", type=int, nargs=3, help="512 512 400, or the data's own")
    parser.add_argument("--data", type=Path, help="label map, or folder of masks")
    parser.add_argument("--jobs", type=int, default=2, help="pairs at once")
    parser.add_argument("--labels", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--drawn", type=int, default=5)
    parser.add_argument("--shift", type=float, default=0.3, help="of the prediction, in mm")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    shape = tuple(args.shape) if args.shape else None
    figures = run(
        shape, args.labels, args.rounds, args.drawn, args.shift, args.data, max(args.jobs, 2)
    )
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
