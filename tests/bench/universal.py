"""`make bench-universal`: what priors cost at the published sizes, beside the document's Table 1.

Parameters as the document counts them and in full, the largest memory of a forward pass, and its
processor time on one thread. The four networks take turns in one process, so that a busy machine
slows all alike; medians, and the two ratios that the document's Table 1 is about. Its seconds and
gigabytes are of a GPU at 2x1x128^3: only ratios can be compared.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
import typer
from torch import Tensor, nn

from baselines.universal.networks.hermes import Hermes, hermes_r, weights_as_printed
from baselines.universal.networks.hermes_m import hermes_m
from baselines.universal.networks.medformer import MedFormer
from baselines.universal.networks.priors import PriorSizes
from baselines.universal.networks.resunet import ResUNet
from evaluation.training.memory import give_back_free_memory
from tests.bench.running import Out, run, tell
from tests.bench.spending import spend

TASKS, OUTPUTS = 15, 16
PRINTED = {  # the document's Table 1: GB, M parameters, seconds
    "ResUNet": (11.23, 40.56, 0.13),
    "Hermes-R": (11.54, 59.61, 0.16),
    "MedFormer": (11.44, 43.20, 0.19),
    "Hermes-M": (11.62, 44.50, 0.20),
}
PAIRS = (("Hermes-R", "ResUNet"), ("Hermes-M", "MedFormer"))
LOWEST, HIGHEST = 0.9, 1.4


def networks() -> dict[str, nn.Module]:
    """The four at the published sizes with random weights; Hermes without what only trains."""
    torch.manual_seed(0)
    built: dict[str, nn.Module] = {
        "ResUNet": ResUNet(OUTPUTS),
        "Hermes-R": hermes_r(PriorSizes()),
        "MedFormer": MedFormer(OUTPUTS),
        "Hermes-M": hermes_m(PriorSizes()),
    }
    return {name: network.eval() for name, network in built.items()}


def compare(side: int, rounds: int) -> dict[str, Any]:
    """Medians of interleaved forward passes of one image of `side` voxels along each axis."""
    image = torch.randn(1, 1, side, side, side)
    passes = {name: (network, _pass(network, image)) for name, network in networks().items()}
    seconds: dict[str, list[float]] = {name: [] for name in passes}
    with torch.inference_mode():
        peaks = {name: _peak_mib(call) for name, (_, call) in passes.items()}  # and warm
        for _ in range(rounds):
            for name, (_, call) in passes.items():
                before = time.process_time()
                call()
                seconds[name].append(time.process_time() - before)
    rows = [
        {
            "model": name,
            "parameters": sum(w.numel() for w in network.parameters()),
            "as_printed": _printed_count(network),
            "peak_mib": peaks[name],
            "seconds": median(seconds[name]),
        }
        for name, (network, _) in passes.items()
    ]
    ratios = {
        f"{mine}/{base}": median(a / b for a, b in zip(seconds[mine], seconds[base], strict=True))
        for mine, base in PAIRS
    }
    return {"side": side, "rounds": rounds, "threads": torch.get_num_threads(), "rows": rows,
            "ratios": ratios}  # fmt: skip


def _peak_mib(call: Callable[[], Any]) -> float:
    give_back_free_memory()  # else a pass would reuse what the one before it left
    return spend(call).mib


def _pass(network: nn.Module, image: Tensor) -> Callable[[], Any]:
    if not isinstance(network, Hermes):
        return lambda: network(image)
    # As in a prediction: the image's own tasks and one null token.
    tasks = torch.tensor([[*range(TASKS), -1]])
    return lambda: network(image, tasks, torch.tensor([0]))


def _printed_count(network: nn.Module) -> int:
    if isinstance(network, Hermes):
        return weights_as_printed(network)
    return sum(w.numel() for w in network.parameters())


def report(found: dict[str, Any]) -> list[str]:
    """The table, and the ratios beside those of the document."""
    what = (
        f"forward pass of 1x1x{found['side']}^3, {found['threads']} thread, median of "
        f"{found['rounds']} interleaved rounds; document: 2x1x128^3 on a GPU"
    )
    head = (
        f"{'':10}{'weights, M':>12}{'in full, M':>12}{'document, M':>13}{'peak, MiB':>11}"
        f"{'document, GB':>14}{'CPU s':>8}{'document, s':>13}"
    )
    lines = [what, head]
    for row in found["rows"]:
        gigabytes, millions, seconds = PRINTED[row["model"]]
        lines.append(
            f"{row['model']:10}{row['as_printed'] / 1e6:12.2f}{row['parameters'] / 1e6:12.2f}"
            f"{millions:13.2f}{row['peak_mib']:11.0f}{gigabytes:14.2f}{row['seconds']:8.2f}"
            f"{seconds:13.2f}"
        )
    for mine, base in PAIRS:
        ratio = found["ratios"][f"{mine}/{base}"]
        printed = PRINTED[mine][2] / PRINTED[base][2]
        inside = "within" if LOWEST <= ratio <= HIGHEST else "OUTSIDE"
        lines.append(
            f"{mine} / {base}: {ratio:.2f}, {inside} {LOWEST} to {HIGHEST} (document {printed:.2f})"
        )
    return lines


def main(
    side: int = typer.Option(32, min=32, help="Voxels along each axis, a multiple of 16."),
    rounds: int = typer.Option(5, min=1, help="Passes of each network."),
    out: Path | None = Out,
) -> None:
    """Cost of Hermes-R and Hermes-M beside the networks that they stand on."""
    torch.set_num_threads(1)
    found = compare(side, rounds)
    tell(report(found), found, out)


if __name__ == "__main__":
    run(main)
