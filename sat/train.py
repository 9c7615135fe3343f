"""One plain training loop that can be killed at any moment and goes on exactly where it was.

Each step draws its batch and seeds torch from (seed, step), so nothing but weights, optimiser
and step number has to survive; the state of torch's generator is stored as well. On a CPU with
the same number of threads, a resumed training equals an undisturbed one bit by bit.
"""

from __future__ import annotations

import csv
import hashlib
import logging
import math
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from evaluation.errors import BenchError
from evaluation.files import TEMPORARY_PREFIX, atomic_path
from sat.atlas.transfer import initial_digest, start_encoder
from sat.config import Preset, Training
from sat.data import Batch, CropDataset, Group, training_groups
from sat.encoders import encoder_digest
from sat.knowledge.settings import text_folder
from sat.losses import LossParts, prompt_separation, segmentation_loss
from sat.model import SatModel, model_content, model_from, save_content
from sat.prepare import INDEX_FILE, read_index
from sat.prompts import Key, PromptBook, write_prompt_book
from sat.weights import read_checkpoint

LAST_FILE = "last.pt"
FINAL_FILE = "checkpoint.pt"
METRICS_FILE = "metrics.csv"
CURVE_FILE = "loss.png"
COLUMNS = (
    "step", "dataset", "learning_rate", "loss", "cross_entropy", "dice", "gradient_norm",
    "prompt_separation", "data_seconds", "step_seconds",
)  # fmt: skip
LOCK_WAIT_SECONDS = 20.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """What a training did: its final checkpoint, the steps done now, and their seconds."""

    checkpoint: Path
    steps_now: int
    seconds: float


def learning_rate(step: int, training: Training) -> float:
    """Linear warm-up, then a cosine to zero over the remaining steps (paper, section 4.3)."""
    if step < training.warm_up:
        return training.learning_rate * (step + 1) / training.warm_up
    done = (step - training.warm_up) / max(1, training.steps - training.warm_up)
    return training.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def check_device(training: Training) -> torch.device:
    """The device that a preset asks for.

    Raises:
        BenchError: it wants a GPU and torch sees none. Raised before any data is read.
    """
    if training.device == "cuda" and not torch.cuda.is_available():
        raise BenchError(
            "this preset trains on a GPU, and torch sees none",
            found=f"torch {torch.__version__}, CUDA available: no",
            expected="a CUDA build of torch on a machine with a GPU",
            hint="submit the job to a GPU partition, or choose the preset `small` or `tiny`",
        )
    return torch.device(training.device)


@contextmanager
def only_writer(work: Path, wait_seconds: float = LOCK_WAIT_SECONDS) -> Iterator[None]:
    """Hold the folder's lock: two trainings never write one folder.

    An orphan of a killed workflow may still be finishing, hence the wait.
    """
    work.mkdir(parents=True, exist_ok=True)
    lock = FileLock(work / ".lock")
    try:
        lock.acquire(timeout=wait_seconds)
    except Timeout as error:
        raise BenchError(
            "another training is writing this folder",
            file=work,
            hint="wait for it, or end it (it may be left over from a killed workflow), then "
            "start again; nothing is lost",
        ) from error
    try:
        yield
    finally:
        lock.release()


def train(
    work: Path, preset: Preset, seed: int, *, stop_after: int | None = None, progress: bool = True
) -> Trained:
    """Train from `work/prepared` to `work/checkpoint.pt`, resuming `work/last.pt` if it fits.

    Args:
        work: the model's folder in the run.
        preset: all settings; the checkpoint keeps them.
        seed: seed of weights, samples and dropout.
        stop_after: leave after so many steps with only `last.pt` written, as if killed there.
        progress: show a bar.

    Raises:
        BenchError: no GPU where one is wanted, no prepared data, another training in this
            folder, or the loss is no longer a number.
    """
    device = check_device(preset.training)
    store = work / "prepared"
    index = read_index(store)
    identity = hashlib.sha256(
        f"{seed}{preset.model_dump_json()}{encoder_digest(preset.prompts, work)}".encode()
        + initial_digest(work, preset).encode()
        + (store / INDEX_FILE).read_bytes()
    ).hexdigest()
    with only_writer(work):
        for leftover in work.glob(f"{TEMPORARY_PREFIX}*"):
            leftover.unlink(missing_ok=True)
        groups = training_groups(store, index, preset)
        state = _resume(work, identity)
        model = _start(state, work, preset, seed, groups).to(device)
        return _loop(model, state, groups, work, identity, seed, stop_after, progress)


def _resume(work: Path, identity: str) -> dict[str, Any] | None:
    """The content of `last.pt`, unless it belongs to other data or settings."""
    path = work / LAST_FILE
    if not path.is_file():
        return None
    try:
        content = read_checkpoint(path)
    except BenchError as error:
        _log.warning("starting from step 0: %s", error.one_line)
        return None
    if content.get("identity") != identity:
        _log.warning("starting from step 0: %s is of other data or settings", path)
        return None
    return content


def _start(
    state: dict[str, Any] | None, work: Path, preset: Preset, seed: int, groups: Sequence[Group]
) -> SatModel:
    if state is not None:
        return model_from(state, work / LAST_FILE)
    trained: dict[str, tuple[str, ...]] = {}
    for group in groups:
        trained[group.dataset] = (*trained.get(group.dataset, ()), *group.classes)
    keys: list[Key] = [(group.modality, name) for group in groups for name in group.classes]
    book: PromptBook = write_prompt_book(preset.prompts, sorted(set(keys)), text_folder(work))
    torch.manual_seed(seed)
    model = SatModel(preset, book, trained)
    start_encoder(model, work)
    return model


def _loop(
    model: SatModel,
    state: dict[str, Any] | None,
    groups: Sequence[Group],
    work: Path,
    identity: str,
    seed: int,
    stop_after: int | None,
    progress: bool,
) -> Trained:
    training, device = model.preset.training, model.device
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(
        parameters, lr=training.learning_rate, weight_decay=training.weight_decay
    )
    amp = training.mixed_precision and device.type == "cuda"
    scaler = torch.amp.GradScaler(device.type, enabled=amp)
    first = 0
    if state is not None:
        optimiser.load_state_dict(state["optimiser"])
        scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["rng"])
        first = int(state["step"])
    last = training.steps if stop_after is None else min(training.steps, first + stop_after)
    rows = _kept_rows(work / METRICS_FILE, first)
    batches = _batches(model, groups, work, seed, first, last)
    embeddings = model.book.embeddings.to(device)
    started = time.monotonic()
    model.train()
    bar = tqdm(
        range(first, last), initial=first, total=training.steps, desc="train", unit="step",
        disable=not progress, mininterval=0.5 if sys.stderr.isatty() else 20,
    )  # fmt: skip
    for step in bar:
        torch.manual_seed(_step_seed(seed, step))
        rate = learning_rate(step, training)
        for group in optimiser.param_groups:
            group["lr"] = rate
        optimiser.zero_grad(set_to_none=True)
        waited = 0.0
        step_started = time.monotonic()
        for _ in range(training.accumulate):
            before = time.monotonic()
            batch = next(batches)
            waited += time.monotonic() - before
            with torch.autocast(device.type, torch.float16, enabled=amp):
                logits, parts = _forward(model, embeddings, batch, device)
            scaler.scale(parts.total / training.accumulate).backward()
        scaler.unscale_(optimiser)
        norm = torch.nn.utils.clip_grad_norm_(parameters, training.clip or math.inf)
        scaler.step(optimiser)
        scaler.update()
        if not math.isfinite(float(parts.total.detach())):
            raise BenchError(
                f"the loss is no longer a number at step {step}", file=work,
                hint="lower the learning rate, or set training.clip, in a preset of your own",
            )  # fmt: skip
        if step % training.log_every == 0 or step + 1 == training.steps:
            row = _row(step, batch, rate, parts, norm, logits, waited, step_started)
            rows.append({key: str(value) for key, value in row.items()})
            bar.set_postfix(loss=f"{row['loss']:.3f}", refresh=False)
        if (step + 1) % training.checkpoint_every == 0 or step + 1 == last:
            _write_rows(work / METRICS_FILE, rows)
            save_content(
                work / LAST_FILE,
                {
                    **model_content(model), "identity": identity, "step": step + 1,
                    "optimiser": optimiser.state_dict(), "scaler": scaler.state_dict(),
                    "rng": torch.get_rng_state(), "seed": seed,
                },
            )  # fmt: skip
    if last == training.steps:
        _write_rows(work / METRICS_FILE, rows)
        draw_curve(rows, work / CURVE_FILE)
        save_content(work / FINAL_FILE, {**model_content(model), "identity": identity})
    return Trained(work / FINAL_FILE, last - first, time.monotonic() - started)


def _forward(
    model: SatModel, embeddings: Tensor, batch: Batch, device: torch.device
) -> tuple[Tensor, LossParts]:
    queries = model.queries(embeddings)[batch.prompts.to(device)]
    logits: Tensor = model.network(batch.image.to(device), queries)
    targets, valid = batch.targets.to(device), batch.valid.to(device)
    return logits, segmentation_loss(logits, targets, valid, model.preset.training.loss)


def _step_seed(seed: int, step: int) -> int:
    digest = hashlib.sha256(f"dropout {seed} {step}".encode()).digest()
    return int.from_bytes(digest[:4], "little")


def _batches(
    model: SatModel, groups: Sequence[Group], work: Path, seed: int, first: int, last: int
) -> Iterator[Batch]:
    training = model.preset.training
    rows = {key: row for row, key in enumerate(model.book.keys)}
    dataset = CropDataset(work / "prepared", groups, rows, model.preset, seed)
    numbers = range(first * training.accumulate, last * training.accumulate)
    if training.workers == 0:
        return (dataset[number] for number in numbers)
    loader: DataLoader[Batch] = DataLoader(
        dataset,
        batch_size=None,
        sampler=numbers,
        num_workers=training.workers,
        pin_memory=training.device == "cuda",
    )
    return iter(loader)


def _row(
    step: int,
    batch: Batch,
    rate: float,
    parts: LossParts,
    norm: Tensor,
    logits: Tensor,
    waited: float,
    step_started: float,
) -> dict[str, Any]:
    return {
        "step": step,
        "dataset": batch.dataset,
        "learning_rate": rate,
        "loss": float(parts.total.detach()),
        "cross_entropy": float(parts.cross_entropy.detach()),
        "dice": float(parts.dice.detach()),
        "gradient_norm": float(norm),
        "prompt_separation": prompt_separation(logits),
        "data_seconds": round(waited, 4),
        "step_seconds": round(time.monotonic() - step_started, 4),
    }


def _kept_rows(path: Path, first: int) -> list[dict[str, str]]:
    """Rows of earlier steps, so that a resumed log has every step once."""
    if first == 0 or not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        return [row for row in csv.DictReader(stream) if int(row["step"]) < first]


def _write_rows(path: Path, rows: Sequence[dict[str, str]]) -> None:
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def draw_curve(rows: Sequence[dict[str, str]], path: Path) -> None:
    """Loss, its Dice part and the prompt separation against the step, as a PNG."""
    from matplotlib.figure import Figure

    steps = [int(row["step"]) for row in rows]
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for column, colour in (("loss", "#999999"), ("dice", "#1b6ca8")):
        axes.plot(steps, [float(row[column]) for row in rows], lw=1, c=colour, label=column)
    other = axes.twinx()
    separation = [float(row["prompt_separation"]) for row in rows]
    other.plot(steps, separation, lw=1, c="#c8553d", label="prompt separation")
    axes.set(xlabel="step", ylabel="loss", ylim=(0, None))
    other.set(ylabel="prompt separation", ylim=(0, None))
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)
