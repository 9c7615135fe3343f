"""One plain training loop that can be killed at any moment and goes on exactly where it was.

Samples and dropout are keyed by (seed, step, number in the step), so nothing but weights,
optimiser and step number has to survive. On CPUs with the same number of threads, a resumed
training equals an undisturbed one bit by bit, with one process and with two.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from evaluation.errors import BenchError
from evaluation.spent import SPENT_FILE, Meter
from evaluation.training_folder import only_writer, step_bar
from sat.atlas.transfer import start_encoder
from sat.config import Preset
from sat.model import SatModel, model_from
from sat.text.choice import run_folder
from sat.text.prompts import Key, PromptBook, write_prompt_book
from sat.training.checkpoints import (
    FINAL_FILE,
    LAST_FILE,
    best_score,
    identity_of,
    resume_point,
    save_best,
    save_final,
    save_last,
)
from sat.training.data import Batch, CropDataset
from sat.training.distributed import Team, check_device, crops_of_step, joined
from sat.training.groups import Group, training_groups
from sat.training.log import TrainingLog
from sat.training.steps import Stepper
from sat.training.store import PreparedIndex, read_index
from sat.training.validation import ValidationLog, held_out_cases, mean_dsc, validate

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """What a training did: its final checkpoint, the steps done now, and their seconds."""

    checkpoint: Path
    steps_now: int
    seconds: float


def train(
    work: Path, preset: Preset, seed: int, *, stop_after: int | None = None, progress: bool = True
) -> Trained:
    """Train from `work/prepared` to `work/checkpoint.pt`, resuming `work/last.pt` if it fits.

    Under torchrun, all its processes call this; the first one alone writes.

    Args:
        work: the model's folder in the run.
        preset: all settings; the checkpoint keeps them.
        seed: seed of weights, samples and dropout.
        stop_after: leave after so many steps with only `last.pt` written, as if killed there.
        progress: show a bar.

    Raises:
        BenchError: no GPU where one is wanted, no prepared data, or on another grid, another
            training in this folder, or the loss is no longer a number.
    """
    device = check_device(preset.training)
    index = read_index(work / "prepared")
    _require_grid(index, preset, work)
    with joined(device) as team, only_writer(work) if team.leads else nullcontext():
        team.wait()  # until the first process holds the folder
        crops, planned = (crops_of_step(preset.training, n) for n in (team.size, 1))
        if crops != planned and team.leads:
            _log.warning("a step has %d crops; the preset's own has %d", crops, planned)
        identity = identity_of(preset, seed, crops, work)
        state = resume_point(work, identity, team)
        held_out = held_out_cases(index, preset.training.validation)
        groups = training_groups(work / "prepared", index, preset, held_out)
        model = start_model(state, work, preset, seed, index).to(device)
        first = 0 if state is None else int(state["step"])
        last = preset.training.steps if stop_after is None else first + stop_after
        last = min(last, preset.training.steps)
        batches = _batches(model, groups, work, seed, crops, team, range(first, last))
        stepper = Stepper(model, team, seed, state)
        del state  # a second copy of all weights
        started = time.monotonic()
        meter = Meter(work / SPENT_FILE, identity, goes_on=first > 0, on_gpu=device.type == "cuda")
        shown = progress and team.leads
        steps = range(first, last)
        _loop(steps, model, stepper, batches, held_out, work, identity, team, meter, shown)
        return Trained(work / FINAL_FILE, last - first, time.monotonic() - started)


def _require_grid(index: PreparedIndex, preset: Preset, work: Path) -> None:
    if index.grid != preset.grid:
        raise BenchError(
            "the prepared cases lie on another grid than the preset's", file=work / "prepared",
            found=index.grid, expected=preset.grid,
            hint="run `satbench train` with this preset first",
        )  # fmt: skip


def start_model(
    state: Mapping[str, Any] | None, work: Path, preset: Preset, seed: int, index: PreparedIndex
) -> SatModel:
    """The model that a training starts with: of its resume point, or new with random weights.

    Every process makes the same one.
    """
    if state is not None:
        model = model_from(state, work / LAST_FILE)
        # A resume may arrange its work in another way (see `identity_of`): what follows must
        # share out steps and crops as this training was asked to, not as the last one was.
        model.preset = preset
        return model
    keys: list[Key] = [(entry.modality, name) for entry in index.entries for name in entry.classes]
    book: PromptBook = write_prompt_book(
        preset.prompts, sorted(set(keys)), run_folder(preset.prompts, work)
    )
    torch.manual_seed(seed)
    model = SatModel(preset, book, {entry.dataset: entry.classes for entry in index.entries})
    start_encoder(model, work)
    return model


def _loop(
    steps: range,
    model: SatModel,
    stepper: Stepper,
    batches: Iterator[list[Batch]],
    held_out: Mapping[str, Sequence[str]],
    work: Path,
    identity: str,
    team: Team,
    meter: Meter,
    shown: bool,
) -> None:
    training = model.preset.training
    log, chosen = TrainingLog(work, steps.start), ValidationLog(work, steps.start)
    best = best_score(work, identity) if training.validation else None
    bar = step_bar(steps, training.steps, "train", shown=shown)
    model.train()
    for step in bar:
        done = step + 1
        ends = done == training.steps
        row = stepper.step(step, batches, log=ends or step % training.log_every == 0)
        if row is not None:
            log.add(row)
            bar.set_postfix(loss=f"{row.loss:.3f}", refresh=False)
        if training.validation and (ends or done % training.validation.every == 0):
            scores = validate(model, work / "prepared", held_out, training.validation.most, team)
            if team.leads:
                chosen.add(step, scores)
                if best is None or mean_dsc(scores) > best:
                    best = mean_dsc(scores)
                    save_best(work, model, identity, done, best)
        if team.leads and (done % training.checkpoint_every == 0 or done == steps.stop):
            log.write()
            meter.write(done)
            save_last(work, model, identity, done, stepper.state())
    if team.leads and steps.stop == training.steps:
        log.draw()
        save_final(work, model, identity, choose_best=training.validation is not None)


def _batches(
    model: SatModel,
    groups: Sequence[Group],
    work: Path,
    seed: int,
    crops: int,
    team: Team,
    steps: range,
) -> Iterator[list[Batch]]:
    """This process's batches of all steps: every `team.size`-th of a step's list."""
    training = model.preset.training
    rows = {key: row for row, key in enumerate(model.book.keys)}
    dataset = CropDataset(work / "prepared", groups, rows, model.preset, seed, crops)
    of_step = crops // training.batch
    numbers = range(steps.start * of_step + team.rank, steps.stop * of_step, team.size)
    if training.workers == 0:
        return (dataset[number] for number in numbers)
    loader: DataLoader[list[Batch]] = DataLoader(
        dataset,
        batch_size=None,
        sampler=numbers,
        num_workers=training.workers,
        pin_memory=training.device == "cuda",
    )
    return iter(loader)
