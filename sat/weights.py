"""Weights on disk: released checkpoints by name, our own ones, and nothing that runs code."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from evaluation.errors import BenchError
from sat.architecture.network import SatNetwork
from sat.config import NetworkSizes, load_preset

WRAPPER = "model_state_dict"
_SECOND_NAMES = (
    # The decoder holds a reference to the encoder, and every block lists its modules twice.
    (re.compile(r"^backbone\.decoder\.encoder\."), "backbone.encoder."),
    (re.compile(r"\.all_modules\.0\."), ".conv."),
    (re.compile(r"\.all_modules\.1\."), ".norm."),
)


def first_name(key: str) -> str:
    """The name that our network gives a tensor of a released state dict."""
    key = key.removeprefix("module.")
    for pattern, replacement in _SECOND_NAMES:
        key = pattern.sub(replacement, key)
    return key


def unwrapped(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """The state dict of a released file, bare or wrapped as `{"model_state_dict": ...}`."""
    wrapped = content.get(WRAPPER)
    return wrapped if isinstance(wrapped, Mapping) else content


def load_released(state_dict: Mapping[str, Any], sizes: NetworkSizes | None = None) -> SatNetwork:
    """The network with the weights of the first public release.

    Args:
        state_dict: the released names (second names of the same tensor and the prefix `module.`
            are understood), bare or wrapped as `{"model_state_dict": ...}`. The tensors are
            used as they are, without a change of precision.
        sizes: sizes of the network; the preset `nano` by default.

    Returns:
        The network in evaluation mode.

    Raises:
        BenchError: names every key that is missing, unknown, of a wrong shape, no tensor of
            floating-point numbers, or in contradiction to its second name.
    """
    given = unwrapped(state_dict)
    sizes = sizes or load_preset("nano").network
    with torch.device("meta"):
        network = SatNetwork(sizes)
    expected = network.state_dict()
    found: dict[str, Tensor] = {}
    faults: list[str] = []
    for key, value in given.items():
        name = first_name(str(key))
        if name not in expected:
            faults.append(f"{key}: unknown")
        elif not isinstance(value, Tensor) or not value.is_floating_point():
            faults.append(f"{key}: no tensor of floating-point numbers")
        elif value.shape != expected[name].shape:
            faults.append(
                f"{key}: shape {tuple(value.shape)} instead of {tuple(expected[name].shape)}"
            )
        elif name in found and not _same(found[name], value):
            faults.append(f"{key}: differs from its other name {name}")
        else:
            found.setdefault(name, value)
    named = {first_name(str(key)) for key in given}
    faults += [f"{name}: missing" for name in expected if name not in named]
    precisions = sorted({str(value.dtype) for value in found.values()})
    if not faults and len(precisions) > 1:
        faults.append(f"mixed precisions {precisions}")
    if faults:
        raise BenchError(
            "these are not the released weights of this network",
            found=f"{len(faults)} faults:\n            " + "\n            ".join(faults),
            expected=f"{len(expected)} tensors, {sum(v.numel() for v in expected.values()):,} "
            "values",
        )
    network.load_state_dict(found, strict=True, assign=True)
    return network.eval()


def _same(a: Tensor, b: Tensor) -> bool:
    return a.data_ptr() == b.data_ptr() or torch.equal(a, b)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint on the CPU without running any code that it may hold.

    Raises:
        BenchError: the file is missing, truncated, holds more than tensors and plain values, or
            is no dictionary.
    """
    if not path.is_file():
        raise BenchError("checkpoint not found", file=path, hint="train the model first")
    _require_torch_file(path)
    try:
        with warnings.catch_warnings():
            # A foreign pickle is refused below; torch's doubts about its version add nothing.
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise BenchError(
            "checkpoint refused: it holds more than tensors and plain values, or is corrupt",
            file=path,
            found=_refused_part(error),
            hint="use a file that holds a state dict; nothing in it has been run",
        ) from error
    except Exception as error:
        # A damaged file sends torch's reader anywhere: an AssertionError, IndexError, TypeError.
        raise BenchError(
            "checkpoint cannot be read; it is truncated or corrupt",
            file=path,
            found=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}",
            hint="copy or train it again",
        ) from error
    if not isinstance(content, dict):
        raise BenchError("checkpoint holds no dictionary", file=path, found=type(content).__name__)
    return content


def _require_torch_file(path: Path) -> None:
    with path.open("rb") as stream:
        start = stream.read(4)
    # A zip archive, or the pickle of old versions. An empty file is left to torch.
    if start and not start.startswith((b"PK", b"\x80")):
        raise BenchError(
            "checkpoint refused: this is no file that torch has written",
            file=path,
            found=f"it starts with the bytes {start!r}",
        )


def _refused_part(error: pickle.UnpicklingError) -> str:
    """What torch stumbled over, without its advice on how to run it all the same."""
    found = re.search(r"GLOBAL (\S+)|Unsupported \w+ \S+", str(error))
    if found is None:
        return type(error).__name__
    return f"the Python object `{found[1]}`" if found[1] else found[0]
