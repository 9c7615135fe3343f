"""A trained model asked by prompts that no training saw: synonyms in place of its class names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from evaluation.classes.synonyms import FILE
from evaluation.errors import BenchError
from evaluation.training.checkpoints import save_content
from sat.model import SatModel
from sat.prompts.book import Key, write_prompt_book


def rename_prompts(model: SatModel, synonyms: dict[Key, str], out: Path) -> None:
    """Write the checkpoint of a model that answers to synonyms instead of the trained names.

    Weights and prompt projection (with its statistics) stay as trained; only the embedding of
    each class is that of its synonym.

    Raises:
        BenchError: a trained class has no synonym, a synonym was trained, or the model has a
            table of classes and no text encoder.
    """
    keys: Sequence[Key] = model.book.keys
    if model.preset.prompts.encoder == "class-id":
        raise BenchError("a table of classes has no row for a synonym")
    missing = [key for key in keys if key not in synonyms]
    known = [synonyms[key] for key in keys if key in synonyms and key[1] == synonyms[key]]
    if missing or known:
        raise BenchError(
            "synonyms do not fit the trained classes",
            file=FILE,
            found=f"no synonym for {missing[:4]}" if missing else f"trained names {known[:4]}",
        )
    asked: list[Key] = [(key[0], synonyms[key]) for key in keys]
    book = write_prompt_book(model.preset.prompts, asked)
    save_content(out, {**model.content(), "embeddings": book.embeddings})
