"""Pre-activation residual block."""

from __future__ import annotations

from torch import Tensor, nn

from baselines.universal.networks.attention import pre_activated


class ResidualBlock(nn.Module):
    """Twice (norm, ReLU, 3x3x3 convolution), plus a shortcut."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.first = pre_activated(channels, out_channels, kernel=3)
        self.second = pre_activated(out_channels, out_channels, kernel=3)
        self.shortcut = (
            nn.Identity()
            if channels == out_channels
            else pre_activated(channels, out_channels, kernel=3)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, X, Y, Z) to (B, out, X, Y, Z)."""
        changed: Tensor = self.second(self.first(x)) + self.shortcut(x)
        return changed
