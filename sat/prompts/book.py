"""From text embeddings to queries, and the list of prompts that a model was trained on."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from evaluation.classes.modality import Modality
from evaluation.errors import BenchError
from evaluation.training.settings import Sampling
from evaluation.training.tasks import ClassTasks
from sat.config import PromptSettings
from sat.prompts.choice import class_id_vectors, open_encoder

Key = tuple[Modality, str]


class PromptProjection(nn.Module):
    """Two linear layers from frozen text embeddings to queries.

    Names of one dataset start nearly identical in the text encoder (cosines of 0.83 to 0.87 in
    the hippocampus); without a larger input and queries of length sqrt(d), a short training
    answers every prompt with one mask. See `PromptSettings` for the choices.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, settings: PromptSettings, embedding_width: int, query_width: int) -> None:
        super().__init__()
        self._settings = settings
        self.register_buffer("mean", torch.zeros(embedding_width))
        self.register_buffer("deviation", torch.full((embedding_width,), embedding_width**-0.5))
        if settings.embedding in ("unit", "raw"):
            self.deviation.fill_(1.0)
        if settings.projection == "none" and embedding_width != query_width:
            raise BenchError(
                "without a projection the text encoder gives the queries",
                found=f"embeddings of {embedding_width} values",
                expected=f"{query_width}",
            )
        self.layers = (
            nn.Sequential(
                nn.Linear(embedding_width, query_width),
                nn.GELU(),
                nn.Linear(query_width, query_width),
            )
            if settings.projection == "mlp"
            else nn.Identity()
        )

    def fit(self, embeddings: Tensor) -> None:
        """Learn mean and deviation of a class list (N, E), where the settings ask for it."""
        if self._settings.embedding == "standardised":
            self.mean.copy_(embeddings.mean(0))
            deviation = embeddings.std(0, correction=0)
            self.deviation.copy_(deviation.where(deviation > 1e-6, torch.ones_like(deviation)))

    def forward(self, embeddings: Tensor) -> Tensor:
        """Text embeddings (N, E) to queries (N, d)."""
        queries: Tensor = self.layers((embeddings - self.mean) / self.deviation)
        if self._settings.query_length == "free":
            return queries
        length = math.sqrt(queries.shape[-1]) if self._settings.query_length == "sqrt" else 1.0
        return nn.functional.normalize(queries, dim=-1) * length


@dataclass(frozen=True)
class PromptBook:
    """Known prompts: the keys (modality, name) of the vocabulary and their embeddings (N, E)."""

    keys: tuple[Key, ...]
    embeddings: Tensor

    def rows(self, keys: Sequence[Key]) -> list[int]:
        """Row of each key.

        Raises:
            BenchError: a key is not in the book.
        """
        index = {key: row for row, key in enumerate(self.keys)}
        unknown = [key for key in keys if key not in index]
        if unknown:
            raise BenchError(
                f"{len(unknown)} classes were not trained: " + ", ".join(n for _, n in unknown[:5])
            )
        return [index[key] for key in keys]

    def tasks(self, sampling: Sampling) -> ClassTasks:
        """The prompts as tasks of a training: a class is known by its modality and name."""
        rows: dict[str, dict[str, int]] = {}
        for row, (modality, name) in enumerate(self.keys):
            rows.setdefault(modality, {})[name] = row
        return ClassTasks(rows, sampling, by="modality")


def prompt_text(settings: PromptSettings, key: Key) -> str:
    """The text of a class, by default its name alone (paper, section 3.2)."""
    modality, name = key
    return settings.template.format(name=name, modality=modality)


def embed_prompts(
    settings: PromptSettings,
    keys: Sequence[Key],
    folder: Path | None = None,
    known: Collection[Key] | None = None,
) -> Tensor:
    """Embeddings (N, E) of any names: classes, synonyms or sentences.

    Args:
        settings: encoder, pooling and template.
        keys: (modality, name) pairs.
        folder: of the text encoder, where the settings name none (see `encoder_folder`).
        known: for `class-id`, the classes that the model was trained on; None: these keys are.

    Raises:
        BenchError: no encoder where one is needed, or a name without a class id.
    """
    if settings.encoder == "class-id":
        return class_id_vectors(keys, known)
    texts = [prompt_text(settings, key) for key in keys]
    unique = list(dict.fromkeys(texts))
    embeddings = open_encoder(settings, folder).embed(unique)
    rows = {text: row for row, text in enumerate(unique)}
    return embeddings[[rows[text] for text in texts]]


def write_prompt_book(
    settings: PromptSettings, keys: Sequence[Key], folder: Path | None = None
) -> PromptBook:
    """Embed every key once with the preset's encoder; arguments as of `embed_prompts`."""
    return PromptBook(tuple(keys), embed_prompts(settings, keys, folder))


def embed_new(
    book: PromptBook,
    settings: PromptSettings,
    keys: Sequence[Key],
    folder: Path | None = None,
    beside: Sequence[Key] = (),
) -> Tensor:
    """Embeddings (N, E) of texts that are no prompts of a trained book, by its own encoder.

    Args:
        book: of the checkpoint.
        settings: of its preset.
        keys: (modality, text) pairs.
        folder: of the text encoder, for presets that use one of the user's or the run's own.
        beside: further pairs, embedded after them; not with class ids, which know no other text.

    Raises:
        BenchError: an encoder is needed that is not there, or is not the checkpoint's.
    """
    own = settings.encoder in ("folder", "knowledge")
    if own and settings.folder is None and folder is None:
        raise BenchError(
            "this checkpoint's text encoder is not part of it, and a prompt is new to it",
            found=", ".join(text for _, text in keys[:5]),
            hint="give the encoder's folder with --text-encoder (runs/sat-nano/text of a run "
            "that trained one), or only trained classes",
        )
    # The first trained class once more: it tells another encoder.
    asked = [book.keys[0], *keys, *(() if settings.encoder == "class-id" else beside)]
    again, *vectors = embed_prompts(settings, asked, folder, book.keys)
    if own:
        _require_same_encoder(book, again, folder or settings.folder)
    return torch.stack(vectors)


def _require_same_encoder(book: PromptBook, again: Tensor, folder: Path | str | None) -> None:
    """The first class of the checkpoint must come out of the encoder as it went in."""
    key, known = book.keys[0], book.embeddings[0]
    if again.shape != known.shape:
        raise BenchError(
            "the text encoder does not fit the checkpoint",
            file=folder,
            found=f"embeddings of {len(again)} values",
            expected=f"{len(known)}",
        )
    # Other machines and versions differ by 1e-5; another training of the same encoder by far more.
    if (again - known).norm() > 0.01 * known.norm():
        raise BenchError(
            "this is not the text encoder that the checkpoint was made with",
            file=folder,
            found=f"another embedding of `{key[1]}`, off by "
            f"{float((again - known).norm() / known.norm()):.2f} of its length",
        )
