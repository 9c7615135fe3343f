"""Stage 2: regions of the encoder against the frozen text of their class.

As in the segmentation's training, a step depends on (seed, step) and on what `last.pt` holds, so
a killed training goes on exactly where it was.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch

from evaluation.errors import BenchError
from evaluation.files.identity import made_again
from evaluation.files.writing import write_json
from evaluation.spent import SPENT_FILE, Meter
from evaluation.training.checkpoints import read_checkpoint, save_content
from evaluation.training.crops import Batch
from evaluation.training.optimisers import learning_rate
from evaluation.training_folder import kept_rows, only_writer, resume_content, step_bar, write_rows
from sat.atlas.model import AtlasModel
from sat.atlas.regions import encode_regions
from sat.atlas.retrieval import retrieve
from sat.atlas.setup import AtlasRun
from sat.atlas.transfer import save_encoder
from sat.config import ENCODER_FILE
from sat.knowledge.contrastive import contrastive_loss

LAST_FILE = "last.pt"
METRICS_FILE = "metrics.csv"
RETRIEVAL_FILE = "retrieval.json"
COLUMNS = (
    "step", "learning_rate", "loss", "regions", "concepts", "hits", "gradient_norm", "data_seconds",
    "step_seconds",
)  # fmt: skip


@dataclass(frozen=True)
class Done:
    """What a training did: its encoder, the steps done now, and their seconds."""

    encoder: Path
    steps_now: int
    seconds: float


def train_atlas(run: AtlasRun, *, stop_after: int | None = None, progress: bool = True) -> Done:
    """Train to `atlas/encoder.pt`, resuming `atlas/last.pt` if it fits.

    Args:
        run: from `prepare_atlas`.
        stop_after: leave after so many steps with only `last.pt` written, as if killed there.
        progress: show a bar.

    Raises:
        BenchError: another training is in this folder, or the loss is no longer a number.
    """
    with only_writer(run.folder):
        return _loop(run, _resume(run), stop_after, progress)


def _resume(run: AtlasRun) -> dict[str, Any] | None:
    last, encoder = run.folder / LAST_FILE, run.folder / ENCODER_FILE
    return resume_content(last, run.identity, read_checkpoint, encoder)


def _loop(
    run: AtlasRun, state: dict[str, Any] | None, stop_after: int | None, progress: bool
) -> Done:
    settings = run.settings
    model = run.new_model()
    optimiser = torch.optim.AdamW(
        [parameter for parameter in model.parameters() if parameter.requires_grad],
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
    )
    first = 0
    if state is not None:
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        first = int(state["step"])
    last = settings.steps if stop_after is None else min(settings.steps, first + stop_after)
    rows = kept_rows(run.folder / METRICS_FILE, first)
    started = time.monotonic()
    on_gpu = run.preset.training.device == "cuda"
    meter = Meter(run.folder / SPENT_FILE, run.identity, goes_on=first > 0, on_gpu=on_gpu)
    model.train()
    batches = run.batches(first, last)
    bar = step_bar(range(first, last), settings.steps, "atlas", shown=progress)
    for step in bar:
        rate = learning_rate(step, settings.learning_rate, settings.steps, settings.warm_up)
        for group in optimiser.param_groups:
            group["lr"] = rate
        row = {"step": step, "learning_rate": rate, **_step(run, model, optimiser, step, batches)}
        if step % settings.log_every == 0 or step + 1 == settings.steps:
            rows.append({key: str(value) for key, value in row.items()})
            bar.set_postfix(loss=f"{row['loss']:.3f}", refresh=False)
        if (step + 1) % settings.checkpoint_every == 0 or step + 1 == last:
            write_rows(run.folder / METRICS_FILE, COLUMNS, rows)
            meter.write(step + 1)
            save_content(
                run.folder / LAST_FILE,
                {
                    "identity": run.identity, "step": step + 1, "model": model.state_dict(),
                    "optimiser": optimiser.state_dict(),
                },
            )  # fmt: skip
    if last == settings.steps:
        origin = {"identity": run.identity, "seed": run.seed, "steps": settings.steps}
        save_encoder(run.folder / ENCODER_FILE, model.encoder, origin)
        made_again(run.folder / ENCODER_FILE)
    return Done(run.folder / ENCODER_FILE, last - first, time.monotonic() - started)


def _step(
    run: AtlasRun,
    model: AtlasModel,
    optimiser: torch.optim.Optimizer,
    step: int,
    batches: Iterator[list[Batch]],
) -> dict[str, Any]:
    """One step on the next batches; without two classes to tell apart, nothing changes."""
    started = time.monotonic()
    settings = run.settings
    own = list(islice(batches, settings.batches_per_step))
    waited = time.monotonic() - started
    optimiser.zero_grad(set_to_none=True)
    training = run.preset.training
    # bfloat16 has the range of float32, so no gradient needs scaling.
    amp = training.mixed_precision and training.device == "cuda"
    with torch.autocast(training.device, torch.bfloat16, enabled=amp):
        found = encode_regions(
            model, chain.from_iterable(own), run.concepts, settings.minimum_voxels
        )
    concept, kinds = found.concept, len(found.concept.unique())
    loss, norm, hits = math.nan, math.nan, math.nan
    if kinds > 1:
        texts = model.texts(run.concepts.embeddings.to(concept.device))
        # Two numberings, kept apart: the same voxels, and the same text.
        total = contrastive_loss(
            found.vectors, texts[concept], found.region + len(texts), concept,
            temperature=settings.temperature, form=settings.loss,
            mask_duplicates=settings.mask_duplicates,
        )  # fmt: skip
        loss = float(total.detach())
        if not math.isfinite(loss):
            raise BenchError(
                f"the loss of stage 2 is no longer a number at step {step}", file=run.folder,
                hint="lower atlas.learning_rate in a preset of your own",
            )  # fmt: skip
        total.backward()
        norm = float(torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip or math.inf))
        optimiser.step()
        hits = float(((found.vectors.float() @ texts.T).argmax(1) == concept).float().mean())
    return {
        "loss": loss,
        "regions": len(concept),
        "concepts": kinds,
        "hits": hits,
        "gradient_norm": norm,
        "data_seconds": round(waited, 4),
        "step_seconds": round(time.monotonic() - started, 4),
    }


def measure_atlas(run: AtlasRun) -> dict[str, Any]:
    """Retrieval before the first step and now; also written to `atlas/retrieval.json`.

    Raises:
        BenchError: nothing is trained yet, or it is of other data or settings.
    """
    state = _resume(run)
    if state is None or int(state["step"]) < run.settings.steps:
        raise BenchError(
            "stage 2 is not trained to its end", file=run.folder / LAST_FILE,
            hint="run `satbench train`",
        )  # fmt: skip
    model = run.new_model()
    found: dict[str, Any] = {"held_out_part": run.settings.validation_part}
    for when in ("before", "after"):
        if when == "after":
            model.load_state_dict(state["model"])
        counts = retrieve(
            model, run.validation_batches(), run.concepts, run.settings.minimum_voxels
        )
        found[when] = counts.report()
    write_json(run.folder / RETRIEVAL_FILE, found)
    return found
