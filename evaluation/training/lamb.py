"""LAMB: Adam whose step has, for each tensor, the length of the tensor (You et al., 2020).

In the form of the fused optimiser that Hermes was trained with: the norm of all gradients is
limited inside, weight decay is part of the step whose length is matched, and norms and biases are
treated like every other tensor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn


class Lamb(torch.optim.Optimizer):
    """p <- p - rate |p| / |u| u with u = m / (sqrt(v) + eps) + decay p, ratio 1 where one is 0.

    Args:
        parameters: of the network.
        lr: the rate.
        betas: of the means of gradients (m) and of their squares (v), both corrected for their
            start at zero.
        eps: see above.
        weight_decay: see above.
        max_norm: gradients are scaled down to this norm over all parameters.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-5,
        weight_decay: float = 0.0,
        max_norm: float = 1.0,
    ) -> None:
        settings = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(parameters, settings)
        self.max_norm = max_norm

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of all parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        grads = [
            p.grad for group in self.param_groups for p in group["params"] if p.grad is not None
        ]
        norm = nn.utils.get_total_norm(grads)
        scale = (norm / self.max_norm).clamp(min=1.0)
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad / scale, group)
        return loss

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = 0
            state["mean"] = torch.zeros_like(parameter)
            state["square"] = torch.zeros_like(parameter)
        state["step"] += 1
        first, second = group["betas"]
        mean = state["mean"].mul_(first).add_(gradient, alpha=1 - first)
        square = state["square"].mul_(second).addcmul_(gradient, gradient, value=1 - second)
        root = square.sqrt().div_(math.sqrt(1 - second ** state["step"])).add_(group["eps"])
        update = (mean / (1 - first ** state["step"])).div_(root)
        update.add_(parameter, alpha=group["weight_decay"])
        length, own = parameter.norm(), update.norm()
        usable = (length > 0) & (own > 0)
        ratio = torch.where(usable, length / own.clamp(min=torch.finfo(own.dtype).tiny), 1.0)
        parameter.sub_(group["lr"] * ratio * update)
