"""Stage 1: the text encoder learns definitions and relations (paper, section 4.1).

A step is a function of (seed, step) and the weights, so that weights, optimiser and step number
are all that must survive a kill: on a CPU with the same number of threads, a resumed training
equals an undisturbed one bit by bit.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from evaluation.errors import BenchError
from evaluation.files.identity import is_outdated, made_again
from evaluation.files.writing import sha256, write_text
from evaluation.spent import SPENT_FILE, Meter
from evaluation.training.checkpoints import read_checkpoint
from evaluation.training_folder import only_writer, resume_content
from sat.knowledge.encoder import LearningEncoder
from sat.knowledge.loop import LAST_FILE, TextLoop
from sat.knowledge.record import TextRecord, read_record
from sat.knowledge.sampling import divide
from sat.knowledge.settings import RECORD_FILE, KnowledgeSettings
from sat.knowledge.sources import gather, held_out
from sat.text.encoder import minilm_folder
from sat.text.head import HEAD_FILE

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainedText:
    """What a training did: its folder, the steps done now, and their seconds."""

    folder: Path
    steps_now: int
    seconds: float


def base_folder(encoder: str) -> Path:
    """Where a training starts: the packaged encoder (`minilm`), or a folder."""
    return minilm_folder() if encoder == "minilm" else Path(encoder)


def train_text(
    out: Path,
    settings: KnowledgeSettings,
    seed: int,
    *,
    stop_after: int | None = None,
    progress: bool = True,
    overwrite: bool = True,
) -> TrainedText:
    """Train a text encoder into `out`, resuming what a killed training left there.

    `out` ends up as a folder in Hugging Face form (with `text_head.safetensors` if a linear map
    was learned), `metrics.csv`, and `knowledge.json`, which is written last.

    Args:
        out: the encoder's folder, another one than where it starts.
        settings: everything else.
        seed: of draws, windows and dropout.
        stop_after: leave after so many steps without the final files, as if killed there.
        progress: show bars.
        overwrite: replace a finished encoder of other knowledge or settings.

    Raises:
        BenchError: a finished encoder would be replaced, a source or the encoder is missing or
            damaged, no GPU where one is wanted, another training in this folder, or the loss is
            no longer a number.
    """
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise BenchError(
            "this preset trains on a GPU, and torch sees none",
            found=f"torch {torch.__version__}, CUDA available: no",
            hint="use a machine with a GPU, or a preset with `device: cpu`",
        )
    base = base_folder(settings.encoder)
    if out.resolve() == base.resolve():
        raise BenchError("an encoder is not trained over itself", file=out, hint="name another out")
    encoder = LearningEncoder(base, settings.pooling, settings.trainable, settings.max_tokens)
    knowledge = gather(settings.sources, seed, progress=progress)
    base_sha256 = _weights_digest(base)
    identity = hashlib.sha256(
        f"{seed} {settings.model_dump_json()} {knowledge.digest} {base_sha256}".encode()
    ).hexdigest()
    with only_writer(out):
        if not overwrite:
            _refuse_another(out, identity)
        if _complete(out, identity):
            return TrainedText(out, 0, 0.0)
        state = resume_content(out / LAST_FILE, identity, read_checkpoint, out / RECORD_FILE)
        kept = held_out(settings.held_out)
        division = divide(knowledge, kept)
        run = TextLoop(encoder.to(settings.device), settings, division, seed)
        started = time.monotonic()
        meter = Meter(
            out / SPENT_FILE, identity, goes_on=state is not None,
            on_gpu=settings.device == "cuda",
        )  # fmt: skip
        first, last, rows = run.run(out, identity, state, meter, stop_after, progress)
        seconds = time.monotonic() - started
        if last == settings.steps:
            encoder.save(out)
            record = TextRecord(
                identity=identity,
                settings=settings,
                seed=seed,
                base_sha256=base_sha256,
                sources=knowledge.sources,
                concepts=len(division.concepts),
                triplets=len(division.triplets),
                held_out=len(kept),
                pooling=settings.pooling,
                width=int(encoder.bert.config.hidden_size),
                loss=_last_loss(rows, settings.steps),
                seconds=meter.seconds,
                torch=torch.__version__,
            )
            write_text(out / RECORD_FILE, record.model_dump_json(indent=2) + "\n")
            (out / LAST_FILE).unlink(missing_ok=True)
            made_again(out / RECORD_FILE)
        return TrainedText(out, last - first, seconds)


def _weights_digest(base: Path) -> str:
    weights = base / "model.safetensors"
    if not weights.is_file():
        raise BenchError(
            "the text encoder has no single file of weights", file=weights,
            expected="model.safetensors", hint="save it with `save_pretrained`",
        )  # fmt: skip
    head = base / HEAD_FILE
    return sha256(weights) + (sha256(head) if head.is_file() else "")


def _refuse_another(out: Path, identity: str) -> None:
    """A finished encoder may have cost days; only a clear word replaces it."""
    if not (out / RECORD_FILE).is_file() or read_record(out).identity == identity:
        return
    raise BenchError(
        "this folder holds a finished encoder of other knowledge, settings or seed",
        file=out / RECORD_FILE,
        hint="name another --out, or replace it with --overwrite",
    )


def _complete(out: Path, identity: str) -> bool:
    """Whether the folder holds the very encoder that is asked for; another's record goes."""
    if not (out / RECORD_FILE).is_file() or is_outdated(out / RECORD_FILE, out / RECORD_FILE):
        return False
    try:
        complete = read_record(out).identity == identity
    except BenchError as error:
        _log.warning("starting from step 0: %s", error.one_line)
        complete = False
    (out / (LAST_FILE if complete else RECORD_FILE)).unlink(missing_ok=True)
    return complete


def _last_loss(rows: Sequence[dict[str, str]], steps: int) -> float:
    late = [float(row["loss"]) for row in rows if int(row["step"]) >= 0.9 * steps - 1]
    return sum(late) / len(late)
