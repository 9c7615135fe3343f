"""`make bench-sat`: what three decisions of SAT-Nano's code save, as ratios in one run.

1. Features of an image are computed once for all prompts, not once for each.
2. Training reads the crop that it needs out of an uncompressed store, not whole volumes.
3. How much of a training step waits for data.

Everything runs in one process and takes turns, so that a busy machine slows all alike; medians.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import typer

from evaluation.datasets.phantoms.canvas import FieldOfView
from evaluation.datasets.phantoms.layouts import Pose, affine_of, oriented, whole_numbers
from evaluation.datasets.phantoms.torso import draw_torso
from evaluation.files.writing import write_text
from evaluation.training.log import METRICS_FILE
from evaluation.training.predict import blended_probabilities
from evaluation.training.prepared_case import prepare_case
from evaluation.training.settings import Triple
from evaluation.training.store import FORMAT, INDEX_FILE, PreparedEntry, PreparedIndex
from evaluation.volumes.image_files import Volume, read_volume, write_volume
from evaluation.volumes.segmentation import ClassPlace, Part, Segmentation
from sat.config import Preset, load_preset
from sat.model import SatModel
from sat.prompts.book import Key, PromptBook
from sat.train import train
from tests.bench.running import Out, run, tell
from tests.bench.spending import Spent, spend

PRESET = "tiny"
PROMPTS = (1, 8, 32, 128)
# More single-prompt passes than these are extrapolated from them.
SINGLE_PASSES = 8
CROP = (64, 64, 48)
VOLUME = (400, 400, 130)
EMBEDDING_WIDTH = 384
STEPS, WARM = 14, 4


def random_model(preset: Preset, n_prompts: int) -> SatModel:
    """A model with random weights and random text embeddings, in evaluation mode."""
    torch.manual_seed(0)
    embeddings = torch.randn(n_prompts, EMBEDDING_WIDTH)
    keys: tuple[Key, ...] = tuple(("ct", f"class {i}") for i in range(n_prompts))
    book = PromptBook(keys, torch.nn.functional.normalize(embeddings, dim=-1))
    return SatModel(preset, book, {}).eval()


def run_benchmark(rounds: int) -> dict[str, Any]:
    """All three comparisons; times in seconds, memory in MiB above the start of each."""
    preset = load_preset(PRESET)
    return {
        "preset": PRESET,
        "threads": torch.get_num_threads(),
        "rounds": rounds,
        "prompts": compare_prompts(preset, rounds),
        "reading": compare_reading(rounds),
        "training_step": split_training_step(preset),
    }


def compare_prompts(
    preset: Preset,
    rounds: int,
    numbers: tuple[int, ...] = PROMPTS,
    single_passes: int = SINGLE_PASSES,
    shape: Triple = CROP,
) -> list[dict[str, Any]]:
    """P prompts in one pass against P passes with one prompt, on a crop of the own grid."""
    model = random_model(preset, max(numbers))
    crop = torch.randn(shape)
    with torch.inference_mode():
        queries = model.queries(model.book.embeddings)

    def once(part: torch.Tensor) -> None:
        for _ in blended_probabilities(model, crop, part, preset.inference.patch):
            pass

    def one_by_one(part: torch.Tensor) -> None:
        for query in part:
            once(query[None])

    once(queries[:1])
    together: dict[int, list[Spent]] = {n: [] for n in numbers}
    alone: dict[int, list[Spent]] = {min(n, single_passes): [] for n in numbers}
    for _ in range(rounds):
        for n, spent in together.items():
            spent.append(spend(partial(once, queries[:n])))
        for n, spent in alone.items():
            spent.append(spend(partial(one_by_one, queries[:n])))
    rows = []
    for n in numbers:
        timed = min(n, single_passes)
        singles = median(s.seconds for s in alone[timed]) * n / timed
        ours = median(s.seconds for s in together[n])
        rows.append(
            {
                "prompts": n,
                "seconds_together": ours,
                "seconds_alone": singles,
                "extrapolated_from": timed if timed < n else None,
                "ratio": singles / ours,
                "mib_together": median(s.mib for s in together[n]),
                "mib_alone": median(s.mib for s in alone[timed]),
            }
        )
    return rows


def compare_reading(rounds: int, shape: Triple = VOLUME) -> list[dict[str, Any]]:
    """One training crop from the store, from whole arrays, and from compressed NIfTI files."""
    random = np.random.default_rng(0)
    patches = {name: load_preset(name).training.patch for name in ("tiny", "nano")}
    with tempfile.TemporaryDirectory(prefix="satbench-bench-") as folder:
        store = Path(folder)
        labels = np.zeros((1, *shape), dtype=np.uint8)
        x, y, z = (n // 4 for n in shape)
        labels[0, x : 3 * x, y : 3 * y, z : 3 * z] = random.integers(1, 20, dtype=np.uint8)
        image = random.normal(0, 1, shape).astype(np.float16)
        np.save(store / "image.npy", image)
        np.save(store / "layers.npy", labels)
        whole = np.rint(image.astype(np.float32) * 100).astype(np.int16)
        write_volume(store / "image.nii.gz", Volume(whole, np.eye(4)))
        write_volume(store / "layer-0.nii.gz", Volume(labels[0], np.eye(4)))
        rows = []
        for name, patch in patches.items():
            size = [min(p, n) for p, n in zip(patch, shape, strict=True)]
            starts = [(n - s) // 2 for n, s in zip(shape, size, strict=True)]
            box = tuple(slice(a, a + s) for a, s in zip(starts, size, strict=True))
            ways = _ways_to_read(store, box)
            times: dict[str, list[Spent]] = {way: [] for way in ways}
            for way, call in [*ways.items()] * rounds:
                times[way].append(spend(call))
            seconds = {way: median(s.seconds for s in spent) for way, spent in times.items()}
            ours = seconds["crop of the store"]
            rows.append(
                {
                    "patch": f"{name} {'x'.join(map(str, size))}",
                    "volume": "x".join(map(str, shape)),
                    "seconds": seconds,
                    "mib": {way: median(s.mib for s in spent) for way, spent in times.items()},
                    "ratio": {way: value / ours for way, value in seconds.items()},
                }
            )
    return rows


def _ways_to_read(store: Path, box: tuple[slice, ...]) -> dict[str, Callable[[], Any]]:
    def crop() -> Any:
        image = np.array(np.load(store / "image.npy", mmap_mode="r")[box])
        return image, np.array(np.load(store / "layers.npy", mmap_mode="r")[(slice(None), *box)])

    def arrays() -> Any:
        image, layers = np.load(store / "image.npy"), np.load(store / "layers.npy")
        return image[box].copy(), layers[(slice(None), *box)].copy()

    def files() -> Any:
        image, layer = (read_volume(store / f) for f in ("image.nii.gz", "layer-0.nii.gz"))
        return image.array[box].copy(), layer.array[box].copy()

    return {
        "crop of the store": crop,
        "whole arrays": arrays,
        "whole compressed files": files,
    }


def split_training_step(preset: Preset, n_cases: int = 3, steps: int = STEPS) -> dict[str, Any]:
    """Data and compute of a training step, as the training itself logs them, on phantoms."""
    changed = {"steps": steps, "log_every": 1, "checkpoint_every": steps}
    values = preset.model_dump()
    values["training"] |= changed
    short = Preset.model_validate(values)
    with tempfile.TemporaryDirectory(prefix="satbench-bench-") as folder:
        work = Path(folder)
        n_classes = _write_store(work / "prepared", short, n_cases)
        train(work, work / "prepared", short, seed=0, progress=False)
        with (work / METRICS_FILE).open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))[min(WARM, steps - 1) :]
    data = median(float(row["data_seconds"]) for row in rows)
    step = median(float(row["step_seconds"]) for row in rows)
    return {
        "patch": list(preset.training.patch),
        "batch": preset.training.batch,
        "prompts": n_classes,
        "seconds_data": data,
        "seconds_compute": step - data,
        "share_of_data": data / step,
    }


def _write_store(store: Path, preset: Preset, n_cases: int) -> int:
    grid = FieldOfView((64, 48, 44), (5.0, 5.0, 6.0), (0.0, 0.0, 0.0))
    names: tuple[str, ...] = ()
    cases: list[str] = []
    for number in range(n_cases):
        phantom = draw_torso(np.random.default_rng(number), grid)
        image = oriented(whole_numbers(phantom), phantom, Pose())
        classes = {
            name: ClassPlace(kind="annotated", parts=(Part(layer=0, values=(value,)),))
            for name, value in phantom.values.items()
        }
        reference = Segmentation((phantom.labels,), affine_of(phantom), classes)
        case = f"phantom-{number}"
        prepare_case(store / "phantom" / case, "phantom", case, "ct", image, reference, preset.grid)
        names, cases = names or tuple(classes)[:18], [*cases, case]
    entry = PreparedEntry(
        dataset="phantom", modality="ct", classes=names, specialists={}, cases=tuple(cases)
    )
    index = PreparedIndex(format=FORMAT, grid=preset.grid, entries=(entry,))
    write_text(store / INDEX_FILE, index.model_dump_json())
    return len(names)


def report_lines(results: Mapping[str, Any]) -> Iterator[str]:
    """The results as lines for the terminal."""
    yield f"preset {results['preset']}, {results['threads']} thread(s), {results['rounds']} rounds"
    yield "P prompts in one pass against P passes with one prompt:"
    for row in results["prompts"]:
        timed = row["extrapolated_from"]
        note = f" (extrapolated from {timed} passes)" if timed else ""
        yield (
            f"  P = {row['prompts']:3}: {row['seconds_together']:6.2f} s, "
            f"{row['mib_together']:.0f} MiB against {row['seconds_alone']:7.2f} s{note}, "
            f"{row['mib_alone']:.0f} MiB: {row['ratio']:.1f} times faster"
        )
    for row in results["reading"]:
        yield f"reading a crop {row['patch']} of {row['volume']} (files in the disk's cache):"
        for way, seconds in row["seconds"].items():
            yield (
                f"  {way:22}: {1000 * seconds:8.1f} ms, {row['mib'][way]:4.0f} MiB, "
                f"{row['ratio'][way]:.1f} times"
            )
    step = results["training_step"]
    yield (
        f"training step, {step['batch']} crops of {'x'.join(map(str, step['patch']))}, "
        f"{step['prompts']} prompts: data {1000 * step['seconds_data']:.1f} ms "
        f"({100 * step['share_of_data']:.1f} %), compute {1000 * step['seconds_compute']:.1f} ms"
    )


def bench_sat(
    rounds: int = typer.Option(3, "--rounds", min=1, help="Repetitions; medians are taken."),
    threads: int = typer.Option(1, min=1, help="CPU threads of torch."),
    out: Path | None = Out,
) -> None:
    """Many prompts against single ones, crops against whole volumes, data against compute."""
    torch.set_num_threads(threads)
    results = run_benchmark(rounds)
    tell(report_lines(results), results, out)


if __name__ == "__main__":
    run(bench_sat)
