"""From stage 2 to the segmentation: the encoder's tensors, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from evaluation.errors import BenchError
from evaluation.files.writing import atomic_path, sha256
from evaluation.training.checkpoints import read_checkpoint

if TYPE_CHECKING:
    from sat.config import Preset
    from sat.model import SatModel

KIND = "sat-encoder-1"


def save_encoder(path: Path, encoder: nn.Module, origin: Mapping[str, Any]) -> None:
    """Write an encoder's tensors, with plain values that say where they come from."""
    content = {"kind": KIND, "encoder": encoder.state_dict(), "origin": dict(origin)}
    # Into an open file: by a path, the archive would hold the temporary file's name, and the same
    # tensors would have another hash each time.
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        torch.save(content, stream)


def load_encoder(encoder: nn.Module, path: Path) -> None:
    """Put the tensors of a file into an encoder.

    Raises:
        BenchError: the file is of another kind, or its tensors are not exactly the encoder's;
            every name that is missing, unknown, of another shape or not finite is told, and the
            encoder stays as it was.
    """
    content = read_checkpoint(path)
    found = content.get("encoder")
    if content.get("kind") != KIND or not isinstance(found, dict):
        raise BenchError(
            "this file holds no encoder to start from",
            file=path,
            found=", ".join(sorted(map(str, content))[:6]),
            expected=f"kind {KIND}",
            hint="the stage `atlas` of `satbench train` writes one",
        )
    expected = encoder.state_dict()
    faults = [f"{name}: missing" for name in expected if name not in found]
    for name, value in found.items():
        if name not in expected:
            faults.append(f"{name}: unknown")
        elif not isinstance(value, Tensor) or value.shape != expected[name].shape:
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            faults.append(f"{name}: {shape} instead of {tuple(expected[name].shape)}")
        elif not torch.isfinite(value).all():
            faults.append(f"{name}: not finite")
    if faults:
        raise BenchError(
            "the encoder to start from does not fit this network",
            file=path,
            found=f"{len(faults)} faults:\n            " + "\n            ".join(faults[:12]),
            expected=f"{len(expected)} tensors",
            hint="train stage 2 with the same preset",
        )
    encoder.load_state_dict(found)


def initial_digest(work: Path, preset: Preset) -> str:
    """SHA-256 of the file that `training.initial_encoder` names; empty without that setting.

    Raises:
        BenchError: the file is not there.
    """
    name = preset.training.initial_encoder
    if name is None:
        return ""
    if not (work / name).is_file():
        raise BenchError(
            "the preset starts from an encoder that is not there",
            file=work / name,
            hint="run `satbench train` first, or set training.initial_encoder to null",
        )
    return sha256(work / name)


def start_encoder(model: SatModel, work: Path) -> None:
    """Start a new model's encoder from the file that its preset names, if it names one.

    The model remembers file and hash, and its checkpoints keep them.
    """
    name = model.preset.training.initial_encoder
    if name is None:
        return
    load_encoder(model.network.backbone.encoder, work / name)
    model.initial_encoder = {"file": name, "sha256": initial_digest(work, model.preset)}
