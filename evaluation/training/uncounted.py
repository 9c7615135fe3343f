"""What is not counted of a network is not done: it would take nine tenths of the counting.

A tensor without memory goes through a norm as through dozens of small operations, each asked for
its shape; but norms and activations keep the shape, and that of a zoom is known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional, init
from torch.overrides import TorchFunctionMode

KEEPS_SHAPE = {
    functional.instance_norm, functional.layer_norm, functional.batch_norm, functional.group_norm,
    functional.relu, functional.leaky_relu, functional.gelu, functional.softmax, torch.sigmoid,
    init.kaiming_uniform_, init.kaiming_normal_, init.uniform_, init.normal_, init.trunc_normal_,
    init.xavier_uniform_, init.zeros_, init.ones_, init.constant_,
}  # fmt: skip


class Uncounted(TorchFunctionMode):
    """Functions of `KEEPS_SHAPE` answer with what they were given, zooms with an empty tensor."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """The answer of one call of torch."""
        kwargs = kwargs or {}
        if func in KEEPS_SHAPE:
            return args[0] if args else next(iter(kwargs.values()))
        if func is functional.interpolate:
            return _zoomed(*args, **kwargs)
        return func(*args, **kwargs)


def _zoomed(image: Tensor, size: Any = None, scale_factor: Any = None, **_: Any) -> Tensor:
    axes = image.shape[2:]
    if size is None:
        factors = scale_factor if isinstance(scale_factor, Sequence) else [scale_factor] * len(axes)
        size = [int(n * factor) for n, factor in zip(axes, factors, strict=True)]
    elif isinstance(size, int):
        size = [size] * len(axes)
    return image.new_empty((*image.shape[:2], *size))
