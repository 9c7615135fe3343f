"""One plain training loop that can be killed at any moment and goes on exactly where it was.

Samples and dropout are keyed by (seed, step, number in the step), so nothing but weights,
optimiser and step number has to survive. On CPUs with the same number of threads, a resumed
training equals an undisturbed one bit by bit, with one process and with two.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from evaluation.spent import SPENT_FILE, Meter
from evaluation.training.checkpoints import (
    FINAL_FILE,
    LAST_FILE,
    best_score,
    identity_of,
    resume_point,
    save_best,
    save_final,
    save_last,
)
from evaluation.training.crops import Batch, CropDataset, read_ahead
from evaluation.training.draws import Group, read_cases, training_groups
from evaluation.training.log import TrainingLog
from evaluation.training.model import M, Start
from evaluation.training.processes import Team, check_device, crops_of_step, joined
from evaluation.training.settings import TrainingPreset
from evaluation.training.steps import Stepper
from evaluation.training.store import PreparedIndex, read_index
from evaluation.training.validation import ValidationLog, held_out_cases, mean_dsc, validate
from evaluation.training_folder import only_writer, step_bar

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """What a training did: its final checkpoint, the steps done now, and their seconds."""

    checkpoint: Path
    steps_now: int
    seconds: float


@dataclass(frozen=True)
class _Run:
    """What does not change while a training runs.

    Attributes:
        work: folder of the training.
        store: prepared store that it reads.
        groups: what it draws from.
        held_out: for each dataset the cases that it is validated on.
        seed: of the run.
        crops: of one step, of all processes together.
        identity: of the training, for its files.
        team: the processes.
    """

    work: Path
    store: Path
    groups: Sequence[Group]
    held_out: Mapping[str, Sequence[str]]
    seed: int
    crops: int
    identity: str
    team: Team


def train(
    work: Path,
    store: Path,
    preset: TrainingPreset,
    seed: int,
    start: Start[M],
    *,
    entries: Sequence[str] | None = None,
    narrow: Callable[[PreparedIndex], PreparedIndex] | None = None,
    stop_after: int | None = None,
    progress: bool = True,
) -> Trained:
    """Train to `work/checkpoint.pt`, resuming `work/last.pt` if it fits.

    Under torchrun, all its processes call this; the first one alone writes.

    Args:
        work: folder of the training.
        store: prepared store to read crops from, see `evaluation.training.prepare`.
        preset: all settings; the checkpoint keeps them.
        seed: seed of weights, samples and dropout.
        start: how the model is made.
        entries: the only entries of the store to train on; None: all of them.
        narrow: leaves out further entries or cases of the store; None: nothing.
        stop_after: leave after so many steps with only `last.pt` written, as if killed there.
        progress: show a bar.

    Raises:
        BenchError: no GPU where one is wanted, no prepared data, or on another grid, another
            training in this folder, or the loss is no longer a number.
    """
    training = preset.training
    device = check_device(training)
    index = read_index(store, preset.grid).of(entries)
    index = index if narrow is None else narrow(index)
    with joined(device) as team, only_writer(work) if team.leads else nullcontext():
        team.wait()  # until the first process holds the folder
        crops, planned = (crops_of_step(training, n) for n in (team.size, 1))
        if crops != planned and team.leads:
            _log.warning("a step has %d crops; the preset's own has %d", crops, planned)
        held_out = held_out_cases(index, training.validation)
        cases = read_cases(store, index, held_out)
        # By the classes in scope, since the model's own are known only when it is there: a class
        # that it leaves out is a union of others, and adds no scan that shows something.
        in_scope = training_groups(store, index, training, cases=cases)
        empty = any(group.draws_empty for group in in_scope)
        identity = identity_of(preset, seed, crops, index, start.made_from(), draws_empty=empty)
        state = resume_point(work, identity, team)
        model = start_model(state, work, preset, seed, index, start).to(device)
        classes = model.tasks.classes
        groups = training_groups(store, index, training, held_out, classes, cases=cases)
        run = _Run(work, store, groups, held_out, seed, crops, identity, team)
        first = 0 if state is None else int(state["step"])
        last = training.steps if stop_after is None else first + stop_after
        steps = range(first, min(last, training.steps))
        stepper = Stepper(model, team, seed, state)
        del state  # a second copy of all weights
        started = time.monotonic()
        meter = Meter(work / SPENT_FILE, identity, goes_on=first > 0, on_gpu=device.type == "cuda")
        _loop(run, model, stepper, steps, meter, progress and team.leads)
        return Trained(work / FINAL_FILE, len(steps), time.monotonic() - started)


def start_model(
    state: Mapping[str, Any] | None,
    work: Path,
    preset: TrainingPreset,
    seed: int,
    index: PreparedIndex,
    start: Start[M],
) -> M:
    """The model that a training starts with: of its resume point, or new with random weights.

    Every process makes the same one.
    """
    if state is not None:
        model = start.restore(state, work / LAST_FILE)
        # A resume may arrange its work in another way (see `identity_of`): what follows must
        # share out steps and crops as this training was asked to, not as the last one was.
        model.preset = preset
        return model
    torch.manual_seed(seed)
    return start.new(index)


def _loop(run: _Run, model: M, stepper: Stepper, steps: range, meter: Meter, shown: bool) -> None:
    training, team, work = model.preset.training, run.team, run.work
    batches = _batches(run, model, steps)
    log, chosen = TrainingLog(work, steps.start), ValidationLog(work, steps.start)
    best = best_score(work, run.identity) if training.validation else None
    bar = step_bar(steps, training.steps, "train", shown=shown)
    model.train()
    for step in bar:
        done = step + 1
        ends = done == training.steps
        row = stepper.step(step, batches, log=ends or step % training.log_every == 0)
        if row is not None:
            log.add(row)
            bar.set_postfix(loss=f"{row.parts['loss']:.3f}", refresh=False)
        if training.validation and (ends or done % training.validation.every == 0):
            kept = stepper.kept
            scores = validate(kept, run.store, run.held_out, training.validation.most, team)
            if team.leads:
                chosen.add(step, scores)
                if best is None or mean_dsc(scores) > best:
                    best = mean_dsc(scores)
                    save_best(work, kept, run.identity, done, best)
        if team.leads and (done % training.checkpoint_every == 0 or done == steps.stop):
            log.write()
            meter.write(done)
            save_last(work, model, run.identity, done, stepper.state())
    if team.leads and steps.stop == training.steps:
        log.draw()
        choose_best = training.validation is not None
        save_final(work, stepper.kept, run.identity, choose_best=choose_best)


def _batches(run: _Run, model: M, steps: range) -> Iterator[list[Batch]]:
    """This process's batches of all steps: every `team.size`-th of a step's list."""
    training, team = model.preset.training, run.team
    dataset = CropDataset(run.store, run.groups, model.tasks, model.preset, run.seed, run.crops)
    of_step = run.crops // training.batch
    numbers = range(steps.start * of_step + team.rank, steps.stop * of_step, team.size)
    return read_ahead(dataset, numbers, training)
