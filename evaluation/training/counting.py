"""Weights and operations of a network, counted on tensors that take no memory.

The operations are those that PyTorch's own counter sees: convolutions and matrix products, where a
multiplication and an addition count as two. Norms, activations and pooling are not among them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from torch import nn

N = TypeVar("N", bound="nn.Module")


def weightless(build: Callable[[], N]) -> N:
    """The network that `build` makes, with weights that have a shape and no memory."""
    import torch

    from evaluation.training.uncounted import Uncounted

    with torch.device("meta"), Uncounted():
        return build()


def count_weights(network: nn.Module) -> int:
    """Number of weights, frozen ones included."""
    return sum(parameter.numel() for parameter in network.parameters())


def forward_flops(call: Callable[..., object], *shapes: Sequence[int]) -> float:
    """Floating-point operations of one call of a network without memory.

    Args:
        call: a network of `weightless`, or a function that calls it.
        shapes: of the tensors that it is called with.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from evaluation.training.uncounted import Uncounted

    inputs = [torch.empty(tuple(shape), device="meta") for shape in shapes]
    with torch.no_grad(), FlopCounterMode(display=False) as counter, Uncounted():
        call(*inputs)
    return float(counter.get_total_flops())
