"""The loop of stage 1: every step is a function of (seed, step) and the weights."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from evaluation.errors import BenchError
from evaluation.files.writing import atomic_path
from evaluation.spent import Meter
from evaluation.training.optimisers import learning_rate
from evaluation.training_folder import kept_rows, step_bar, write_rows
from sat.knowledge.contrastive import contrastive_loss
from sat.knowledge.encoder import LearningEncoder, Tokens
from sat.knowledge.sampling import Division, TextBatch, text_batch
from sat.knowledge.settings import KnowledgeSettings

LAST_FILE = "last.pt"
METRICS_FILE = "metrics.csv"
COLUMNS = (
    "step", "learning_rate", "loss", "accuracy", "gradient_norm", "tokens", "step_seconds",
)  # fmt: skip
_AT_ONCE = 256


class TextLoop:
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

    def run(
        self,
        out: Path,
        identity: str,
        state: dict[str, Any] | None,
        meter: Meter,
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
        rows = kept_rows(out / METRICS_FILE, first)
        self.encoder.train()
        bar = step_bar(range(first, last), settings.steps, "text", shown=progress)
        for step in bar:
            row = self._step(step, out)
            if step % settings.log_every == 0 or step + 1 == settings.steps:
                rows.append({key: str(value) for key, value in row.items()})
                bar.set_postfix(loss=f"{row['loss']:.3f}", refresh=False)
            if (step + 1) % settings.checkpoint_every == 0 or step + 1 == last:
                write_rows(out / METRICS_FILE, COLUMNS, rows)
                meter.write(step + 1)
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
        rate = learning_rate(step, settings.learning_rate, settings.steps, settings.warm_up)
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
        starts = tqdm(
            range(0, len(different), _AT_ONCE), desc="features", disable=not progress,
            mininterval=0.5 if sys.stderr.isatty() else 20,
        )  # fmt: skip
        encoder.eval()
        with torch.no_grad():
            parts = [encoder.features(different[at : at + _AT_ONCE]) for at in starts]
        self._table = torch.cat(parts)

    def __call__(self, windows: Sequence[Tokens]) -> Tensor:
        """(N, E)."""
        return self._table[[self._row[window] for window in windows]]


def _accuracy(left: Tensor, right: Tensor, drawn: TextBatch) -> float:
    """Part of the rows whose nearest text of the other side is theirs, or means the same."""
    unit = torch.nn.functional.normalize
    nearest: list[int] = (unit(left, dim=-1) @ unit(right, dim=-1).T).argmax(1).tolist()
    right_ones = [
        drawn.groups_right[k] == drawn.groups_right[i]
        or drawn.groups_left[k] == drawn.groups_left[i]
        for i, k in enumerate(nearest)
    ]
    return sum(right_ones) / len(right_ones)
