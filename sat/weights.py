"""Weights of the first public release, by their names."""

from __future__ import annotations

import re
from collections.abc import Mapping
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
