"""One plain training loop that can be killed at any moment and goes on exactly where it was.

A step's batch is keyed by (seed, step) and the network has no random part, so weights, optimiser
and step number are all that has to survive. On a CPU with the same number of threads a resumed
training equals an undisturbed one bit by bit.
"""

from __future__ import annotations

import hashlib
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from baselines.universal.multi_decoder.checkpoint import (
    TrainedModel,
    content_of,
    model_from,
    read_checkpoint,
    save_checkpoint,
)
from baselines.universal.multi_decoder.config import Preset, Training
from baselines.universal.multi_decoder.crops import Batch, CropSampler
from baselines.universal.multi_decoder.network import MultiDecoderNet
from baselines.universal.multi_decoder.prepare import INDEX_FILE, PreparedIndex, read_index
from evaluation.errors import BenchError
from evaluation.files.identity import made_again
from evaluation.spent import SPENT_FILE, Meter
from evaluation.training_folder import kept_rows, only_writer, resume_content, step_bar, write_rows

LAST_FILE = "last.pt"
FINAL_FILE = "checkpoint.pt"
METRICS_FILE = "metrics.csv"
COLUMNS = ("step", "learning_rate", "loss", "gradient_norm", "step_seconds")
DECAY_POWER = 0.9


@dataclass(frozen=True)
class Trained:
    """What a training did: its final checkpoint, the steps done now, and their seconds."""

    checkpoint: Path
    steps_now: int
    seconds: float


def learning_rate(step: int, training: Training) -> float:
    """Linear warm-up, then (1 - done) ** 0.9."""
    if step < training.warm_up:
        return training.learning_rate * (step + 1) / training.warm_up
    done = (step - training.warm_up) / (training.steps - training.warm_up)
    return training.learning_rate * math.pow(1 - done, DECAY_POWER)


def segmentation_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy plus one minus the mean Dice of the foreground labels in the crops.

    Args:
        logits: (B, C, X, Y, Z).
        labels: (B, X, Y, Z) int64, below C.
    """
    entropy = functional.cross_entropy(logits, labels)
    probability = logits.softmax(dim=1)
    target = functional.one_hot(labels, logits.shape[1]).movedim(-1, 1).to(probability.dtype)
    axes = (0, 2, 3, 4)
    both = (probability * target).sum(axes)[1:]
    sizes = (probability.sum(axes) + target.sum(axes))[1:]
    # Only labels that are there: most of an entry's labels are absent from a small crop, and
    # their false voxels are the cross-entropy's business.
    present = target.sum(axes)[1:] > 0
    if not bool(present.any()):
        return entropy
    return entropy + 1 - (2 * both[present] / sizes[present]).mean()


def check_device(preset: Preset) -> torch.device:
    """The device that a preset asks for.

    Raises:
        BenchError: it wants a GPU and torch sees none. Raised before any data is read.
    """
    if preset.device == "cuda" and not torch.cuda.is_available():
        raise BenchError(
            "this preset trains on a GPU, and torch sees none",
            found=f"torch {torch.__version__}, CUDA available: no",
            expected="a CUDA build of torch on a machine with a GPU",
            hint="submit the job to a GPU partition, or choose the preset `demo`",
        )
    return torch.device(preset.device)


def train(
    work: Path, preset: Preset, seed: int, *, stop_after: int | None = None, progress: bool = True
) -> Trained:
    """Train from `work/prepared` to `work/checkpoint.pt`, resuming `work/last.pt` if it fits.

    Args:
        work: the model's folder in the run.
        preset: all settings; the checkpoint keeps them.
        seed: seed of weights and crops.
        stop_after: leave after so many steps with only `last.pt` written, as if killed there.
        progress: show a bar.

    Raises:
        BenchError: no GPU where one is wanted, no prepared data, data prepared for another grid,
            another training in this folder, or the loss is no longer a number.
    """
    device = check_device(preset)
    store = work / "prepared"
    index = read_index(store)
    if index.grid != preset.grid:
        raise BenchError(
            "the training data was prepared for another grid than the preset's",
            file=store / INDEX_FILE,
            hint="run `satbench train` with the same preset",
        )
    settings = f"{seed}{preset.model_dump_json(exclude={'description'})}".encode()
    identity = hashlib.sha256(settings + (store / INDEX_FILE).read_bytes()).hexdigest()
    with only_writer(work):
        state = resume_content(work / LAST_FILE, identity, read_checkpoint, work / FINAL_FILE)
        model = _start(state, work, preset, index, seed)
        sampler = CropSampler(store, index, preset.training, seed)
        return _loop(model, sampler, state, work, identity, device, stop_after, progress)


def _start(
    state: dict[str, Any] | None, work: Path, preset: Preset, index: PreparedIndex, seed: int
) -> TrainedModel:
    if state is not None:
        return model_from(state, work / LAST_FILE)
    torch.manual_seed(seed)
    outputs = {entry.dataset: entry.n_labels for entry in index.entries}
    classes = {
        entry.dataset: {name: list(values) for name, values in entry.classes.items()}
        for entry in index.entries
    }
    return TrainedModel(MultiDecoderNet(preset.network, outputs), preset, outputs, classes)


def _loop(
    model: TrainedModel,
    sampler: CropSampler,
    state: dict[str, Any] | None,
    work: Path,
    identity: str,
    device: torch.device,
    stop_after: int | None,
    progress: bool,
) -> Trained:
    training, network = model.preset.training, model.network.to(device).train()
    parameters = list(network.parameters())
    optimiser = torch.optim.AdamW(
        parameters, lr=training.learning_rate, weight_decay=training.weight_decay
    )
    first = 0
    if state is not None:
        optimiser.load_state_dict(state["optimiser"])
        first = int(state["step"])
    last = training.steps if stop_after is None else min(training.steps, first + stop_after)
    rows = kept_rows(work / METRICS_FILE, first)
    started = time.monotonic()
    on_gpu = device.type == "cuda"
    meter = Meter(work / SPENT_FILE, identity, goes_on=first > 0, on_gpu=on_gpu)
    bar = step_bar(range(first, last), training.steps, "train", shown=progress)
    for step in bar:
        step_started = time.monotonic()
        rate = learning_rate(step, training)
        for group in optimiser.param_groups:
            group["lr"] = rate
        optimiser.zero_grad(set_to_none=True)
        loss = batch_loss(network, sampler.batch(step), device)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise BenchError(
                f"the loss is no longer a number at step {step}", file=work,
                hint="lower the learning rate in a preset of your own",
            )  # fmt: skip
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(parameters, training.clip)
        optimiser.step()
        if step % training.log_every == 0 or step + 1 == training.steps:
            seconds = round(time.monotonic() - step_started, 4)
            values = (step, rate, value, float(norm), seconds)
            rows.append({key: str(v) for key, v in zip(COLUMNS, values, strict=True)})
            bar.set_postfix(loss=f"{value:.3f}", refresh=False)
        if (step + 1) % training.save_every == 0 or step + 1 == last:
            write_rows(work / METRICS_FILE, COLUMNS, rows)
            meter.write(step + 1)
            resume = {"identity": identity, "step": step + 1, "optimiser": optimiser.state_dict()}
            save_checkpoint(work / LAST_FILE, content_of(model) | resume)
    if last == training.steps:
        save_checkpoint(work / FINAL_FILE, content_of(model) | {"identity": identity})
        made_again(work / FINAL_FILE)
    return Trained(work / FINAL_FILE, max(0, last - first), time.monotonic() - started)


def batch_loss(network: MultiDecoderNet, batch: Batch, device: torch.device) -> Tensor:
    """Mean loss of the samples of a batch, each under its own entry's decoder."""
    labels = batch.labels.to(device)
    total = torch.zeros((), device=device)
    for rows, logits in network(batch.image.to(device), batch.entries).values():
        total = total + len(rows) * segmentation_loss(logits, labels[rows])
    return total / len(batch.entries)
