"""Stage 1: the text encoder learns definitions and relations (paper, section 4.1).

A step is a function of (seed, step) and the weights, so that weights, optimiser and step number
are all that must survive a kill: on a CPU with the same number of threads, a resumed training
equals an undisturbed one bit by bit.
"""

from __future__ import annotations

import csv
import hashlib
import logging
import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from evaluation.errors import BenchError
from evaluation.files import TEMPORARY_PREFIX, atomic_path, sha256, write_text
from sat.knowledge.contrastive import contrastive_loss
from sat.knowledge.encoder import LearningEncoder, Tokens
from sat.knowledge.open_set import class_names
from sat.knowledge.record import RECORD_FILE, TextRecord, read_record
from sat.knowledge.sampling import Division, TextBatch, divide, text_batch
from sat.knowledge.settings import KnowledgeSettings
from sat.knowledge.sources import gather, held_out
from sat.text import HEAD_FILE, minilm_folder
from sat.train import only_writer
from sat.weights import read_checkpoint

LAST_FILE = "last.pt"
METRICS_FILE = "metrics.csv"
COLUMNS = (
    "step", "learning_rate", "loss", "accuracy", "gradient_norm", "tokens", "step_seconds",
)  # fmt: skip
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

    Raises:
        BenchError: a source or the encoder is missing or damaged, no GPU where one is wanted,
            another training in this folder, or the loss is no longer a number.
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
        if _complete(out, identity):
            return TrainedText(out, 0, 0.0)
        for leftover in out.glob(f"{TEMPORARY_PREFIX}*.*"):
            leftover.unlink(missing_ok=True)
        state = _resume(out, identity)
        kept = held_out(settings.held_out)
        division = divide(knowledge, kept, () if settings.class_pairs else class_names())
        run = _Run(encoder.to(settings.device), settings, division, seed)
        started = time.monotonic()
        first, last, rows = run.loop(out, identity, state, stop_after, progress)
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
                seconds=round(seconds, 1),
                torch=torch.__version__,
            )
            write_text(out / RECORD_FILE, record.model_dump_json(indent=2) + "\n")
            (out / LAST_FILE).unlink(missing_ok=True)
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


def _complete(out: Path, identity: str) -> bool:
    """Whether the folder holds the very encoder that is asked for; another's record goes."""
    if not (out / RECORD_FILE).is_file():
        return False
    try:
        complete = read_record(out).identity == identity
    except BenchError as error:
        _log.warning("starting from step 0: %s", error.one_line)
        complete = False
    (out / (LAST_FILE if complete else RECORD_FILE)).unlink(missing_ok=True)
    return complete


def _resume(out: Path, identity: str) -> dict[str, Any] | None:
    path = out / LAST_FILE
    if not path.is_file():
        return None
    try:
        content = read_checkpoint(path)
    except BenchError as error:
        _log.warning("starting from step 0: %s", error.one_line)
        return None
    if content.get("identity") != identity:
        _log.warning("starting from step 0: %s is of other knowledge or settings", path)
        return None
    return content


class _Run:
    """One training: encoder, optimiser and the draws of each step."""

    def __init__(
        self, encoder: LearningEncoder, settings: KnowledgeSettings, division: Division, seed: int
    ) -> None:
        self.encoder, self.settings, self.division, self.seed = encoder, settings, division, seed
        self.parameters = [p for p in encoder.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(
            self.parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self._fixed: FixedFeatures | None = None

    def draw(self, step: int) -> tuple[TextBatch, list[Tokens]]:
        """Rows of a step, and the token windows of both sides one after the other."""
        random = np.random.default_rng([self.seed, step])
        settings = self.settings
        rows = text_batch(self.division, settings.batch, settings.triplet_part, random)
        return rows, self.encoder.tokenizer.windows((*rows.left, *rows.right), random)

    def loop(
        self,
        out: Path,
        identity: str,
        state: dict[str, Any] | None,
        stop_after: int | None,
        progress: bool,
    ) -> tuple[int, int, list[dict[str, str]]]:
        """Train; gives the first step, the one after the last, and the log's rows."""
        settings = self.settings
        first = 0
        if state is not None:
            self.encoder.restore(state["learned"])
            self.optimiser.load_state_dict(state["optimiser"])
            first = int(state["step"])
        last = settings.steps if stop_after is None else min(settings.steps, first + stop_after)
        if settings.trainable == "head" and first < last:
            self._fixed = FixedFeatures(
                self.encoder,
                (window for step in range(settings.steps) for window in self.draw(step)[1]),
                progress,
            )
        rows = _kept_rows(out / METRICS_FILE, first)
        self.encoder.train()
        bar = tqdm(
            range(first, last), initial=first, total=settings.steps, desc="text", unit="step",
            disable=not progress, mininterval=0.5 if sys.stderr.isatty() else 20,
        )  # fmt: skip
        for step in bar:
            row = self._step(step, out)
            if step % settings.log_every == 0 or step + 1 == settings.steps:
                rows.append({key: str(value) for key, value in row.items()})
                bar.set_postfix(loss=f"{row['loss']:.3f}", refresh=False)
            if (step + 1) % settings.checkpoint_every == 0 or step + 1 == last:
                _write_rows(out / METRICS_FILE, rows)
                content = {
                    "identity": identity, "step": step + 1, "learned": self.encoder.learned(),
                    "optimiser": self.optimiser.state_dict(),
                }  # fmt: skip
                with atomic_path(out / LAST_FILE) as temporary:
                    torch.save(content, temporary)
        return first, last, rows

    def _step(self, step: int, out: Path) -> dict[str, Any]:
        settings, started = self.settings, time.monotonic()
        drawn, windows = self.draw(step)
        # Dropout is keyed by the step as the draws are.
        torch.manual_seed(int(np.random.default_rng([self.seed, step, 1]).integers(2**32)))
        rate = warm_up_cosine(step, settings)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad(set_to_none=True)
        features = self._fixed(windows) if self._fixed else self.encoder.features(windows)
        left, right = self.encoder.mapped(features).split(settings.batch)
        loss = contrastive_loss(
            left,
            right,
            torch.tensor(drawn.groups_left),
            torch.tensor(drawn.groups_right),
            temperature=settings.temperature,
            form=settings.loss,
            mask_duplicates=settings.mask_duplicates,
        )
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, settings.clip or math.inf)
        self.optimiser.step()
        if not math.isfinite(float(loss.detach())):
            raise BenchError(
                f"the loss is no longer a number at step {step}", file=out,
                hint="lower the learning rate, or set clip",
            )  # fmt: skip
        return {
            "step": step,
            "learning_rate": rate,
            "loss": float(loss.detach()),
            "accuracy": _accuracy(left.detach(), right.detach(), drawn),
            "gradient_norm": float(norm),
            "tokens": sum(len(window) for window in windows),
            "step_seconds": round(time.monotonic() - started, 4),
        }


class FixedFeatures:
    """Features of an encoder that does not learn, computed once for each different window.

    All windows of the whole training, in one order: a resumed training finds the same bits.
    """

    def __init__(self, encoder: LearningEncoder, windows: Iterator[Tokens], progress: bool) -> None:
        different = sorted(set(windows), key=lambda window: (len(window), window))
        self._row = {window: row for row, window in enumerate(different)}
        size, parts = 256, []
        with torch.no_grad():
            for start in tqdm(
                range(0, len(different), size), desc="features", disable=not progress,
                mininterval=0.5 if sys.stderr.isatty() else 20,
            ):  # fmt: skip
                parts.append(encoder.eval().features(different[start : start + size]))
        self._table = torch.cat(parts)

    def __call__(self, windows: Sequence[Tokens]) -> Tensor:
        """(N, E)."""
        return self._table[[self._row[window] for window in windows]]


def warm_up_cosine(step: int, settings: KnowledgeSettings) -> float:
    """Linear warm-up, then a cosine to zero over the remaining steps."""
    if step < settings.warm_up:
        return settings.learning_rate * (step + 1) / settings.warm_up
    done = (step - settings.warm_up) / max(1, settings.steps - settings.warm_up)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def _accuracy(left: Tensor, right: Tensor, drawn: TextBatch) -> float:
    """Part of the rows whose nearest text of the other side is theirs, or means the same."""
    unit = torch.nn.functional.normalize
    nearest = (unit(left, dim=-1) @ unit(right, dim=-1).T).argmax(1).tolist()
    right_ones = [
        drawn.groups_right[k] == drawn.groups_right[i]
        or drawn.groups_left[k] == drawn.groups_left[i]
        for i, k in enumerate(nearest)
    ]
    return sum(right_ones) / len(right_ones)


def _last_loss(rows: Sequence[dict[str, str]], steps: int) -> float:
    late = [float(row["loss"]) for row in rows if int(row["step"]) >= 0.9 * steps - 1]
    return sum(late) / len(late)


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
