"""Which encoder turns a preset's prompts into embeddings, and where it lies."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path

import torch
from torch import Tensor

from evaluation.errors import BenchError
from evaluation.files.writing import sha256
from sat.config import PromptSettings
from sat.knowledge.record import read_record
from sat.knowledge.settings import RECORD_FILE, text_folder
from sat.text.encoder import TextEncoder, minilm_folder
from sat.text.head import HEAD_FILE

# As wide as the packaged encoder, so that an ablation compares models of one size.
CLASS_ID_WIDTH = 384


def run_folder(settings: PromptSettings, work: Path) -> Path | None:
    """The text encoder that a run makes for itself, if its prompts ask for one."""
    return text_folder(work) if settings.trains_text else None


def encoder_folder(settings: PromptSettings, given: Path | None = None) -> Path:
    """The folder of the text encoder.

    Args:
        settings: of the prompts; a `folder` in them wins.
        given: by the user or the run, for `folder` and `knowledge` without a folder of their own.

    Raises:
        BenchError: none is named, or the packaged one is missing or changed.
    """
    if settings.encoder == "minilm":
        return minilm_folder()
    folder = Path(settings.folder) if settings.folder is not None else given
    if settings.encoder == "class-id" or folder is None:
        raise BenchError(
            "this preset needs a text encoder of your own"
            if settings.encoder != "class-id"
            else "this preset has class ids and no text encoder",
            hint="give its folder: `folder:` under `prompts:` of the preset",
        )
    return folder


def open_encoder(settings: PromptSettings, given: Path | None = None) -> TextEncoder:
    """The frozen text encoder of a preset.

    Raises:
        BenchError: see `encoder_folder`; the folder holds no encoder, or, with `knowledge`, none
            that stage 1 completed, or one that was trained with another pooling.
    """
    folder = encoder_folder(settings, given)
    if settings.encoder == "knowledge" and read_record(folder).pooling != settings.pooling:
        raise BenchError(
            "the text encoder was trained with another pooling",
            file=folder / RECORD_FILE,
            found=read_record(folder).pooling,
            expected=settings.pooling,
            hint="set `pooling` under `prompts:` of the preset",
        )
    return TextEncoder(folder, settings.pooling, unit_length=settings.embedding != "raw")


def encoder_digest(settings: PromptSettings, work: Path) -> str:
    """What tells encoders of a user's or a run's own apart, so that no training resumes another.

    Empty for the packaged encoder, whose weights are checked, and for class ids.
    """
    if settings.encoder in ("minilm", "class-id"):
        return ""
    folder = encoder_folder(settings, run_folder(settings, work))
    files = [folder / "model.safetensors", folder / HEAD_FILE]
    return "".join(sha256(path) for path in files if path.is_file())


def class_id_vectors(
    keys: Sequence[tuple[str, str]], known: Collection[tuple[str, str]] | None = None
) -> Tensor:
    """A table of fixed random vectors (N, 384) of unit length, one for each (modality, name).

    The ablation without text: a vector depends on nothing but its key, so that it is the same in
    every run and says nothing about other classes.

    Args:
        keys: (modality, name) pairs.
        known: the only keys that have an id; None: these keys are the table.

    Raises:
        BenchError: a key has no id.
    """
    unknown = [
        name for modality, name in keys if known is not None and (modality, name) not in known
    ]
    if unknown:
        raise BenchError(
            "this model knows its classes by number, not by their text",
            found="no class of its training: " + ", ".join(unknown[:5]),
            expected="names of trained classes, spelled as in `satbench classes`",
            hint="prompts in free words need a model with a text encoder",
        )
    vectors = []
    for modality, name in keys:
        seed = hashlib.sha256(f"class-id {modality} {name}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(seed[:8], "little", signed=True))
        vectors.append(torch.randn(CLASS_ID_WIDTH, generator=generator))
    return torch.nn.functional.normalize(torch.stack(vectors), dim=-1)
