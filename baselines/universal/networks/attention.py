"""Multi-head attention and MLP, as the parts that join tokens and features use them."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

HEAD_WIDTH = 32
MLP_NORM_EPS = 1e-4


def heads_of(channels: int) -> int:
    """Number of attention heads of a width: one for each 32 channels."""
    return max(1, channels // HEAD_WIDTH)


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """softmax(q k' / sqrt(d)) v for each head, channels split head-major (head * d + i).

    Args:
        query: (B, N, C).
        key: (B, M, C).
        value: (B, M, C).
        heads: C is a multiple of it.

    Returns:
        (B, N, C).
    """

    def split(tensor: Tensor) -> Tensor:
        parts: Tensor = tensor.unflatten(-1, (heads, -1))
        return parts.transpose(1, 2)

    answer = functional.scaled_dot_product_attention(split(query), split(key), split(value))
    return answer.transpose(1, 2).flatten(2)


class CrossAttention(nn.Module):
    """x + attention of norm(x) to norm(context); query, key and value have no bias."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = heads_of(channels)
        self.norm_query = nn.LayerNorm(channels)
        self.norm_context = nn.LayerNorm(channels)
        self.query = nn.Linear(channels, channels, bias=False)
        self.key_value = nn.Linear(channels, 2 * channels, bias=False)
        self.out = nn.Linear(channels, channels)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """(B, N, C) and (B, M, C) to (B, N, C)."""
        key, value = self.key_value(self.norm_context(context)).chunk(2, dim=-1)
        answer: Tensor = self.out(attend(self.query(self.norm_query(x)), key, value, self.heads))
        return x + answer


class Mlp(nn.Module):
    """Linear, GELU (exact), linear."""

    def __init__(self, channels: int, hidden: int, out_channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(..., channels) to (..., out_channels)."""
        answer: Tensor = self.fc2(functional.gelu(self.fc1(x)))
        return answer


class ResidualMlp(nn.Module):
    """x + MLP(norm(x))."""

    def __init__(self, channels: int, hidden: int, eps: float = MLP_NORM_EPS) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=eps)
        self.mlp = Mlp(channels, hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) to (B, N, C)."""
        answer: Tensor = self.mlp(self.norm(x))
        return x + answer
