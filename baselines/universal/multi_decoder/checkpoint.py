"""Weights with all that is needed to predict with them; reading runs no code."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from baselines.universal.multi_decoder.config import Preset
from baselines.universal.multi_decoder.network import MultiDecoderNet
from evaluation.errors import BenchError
from evaluation.files.writing import atomic_path


@dataclass(frozen=True)
class TrainedModel:
    """A network with its preset.

    Attributes:
        outputs: for each entry the number of labels, background included.
        classes: for each entry its classes as unions of labels.
    """

    network: MultiDecoderNet
    preset: Preset
    outputs: dict[str, int]
    classes: dict[str, dict[str, list[int]]]


def content_of(model: TrainedModel) -> dict[str, Any]:
    """A model as tensors and plain values."""
    return {
        "preset": model.preset.model_dump_json(),
        "outputs": model.outputs,
        "classes": model.classes,
        "weights": model.network.state_dict(),
    }


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write atomically; the same content has the same bytes."""
    # Into an open file: by a path, the archive would hold the temporary file's name.
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        torch.save(content, stream)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint on the CPU.

    Raises:
        BenchError: the file is missing, truncated, or holds more than tensors and plain values.
    """
    if not path.is_file():
        raise BenchError("checkpoint not found", file=path, hint="run `satbench train` first")
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise BenchError(
            "checkpoint refused: it is corrupt or holds more than tensors and plain values",
            file=path,
            found=str(error).splitlines()[0][:200] if str(error) else type(error).__name__,
            hint="delete it and train again; nothing in it has been run",
        ) from error
    return content


def model_from(content: dict[str, Any], path: Path) -> TrainedModel:
    """The model in a checkpoint.

    Raises:
        BenchError: the content is not a multi-decoder's.
    """
    try:
        preset = Preset.model_validate_json(content["preset"])
        network = MultiDecoderNet(preset.network, content["outputs"])
        network.load_state_dict(content["weights"])
        return TrainedModel(network, preset, content["outputs"], content["classes"])
    except (KeyError, TypeError, RuntimeError, ValidationError) as error:
        raise BenchError(
            "this checkpoint is not a multi-decoder's",
            file=path,
            found=" ".join(str(error).split())[:200],
            hint="train the model again",
        ) from error
