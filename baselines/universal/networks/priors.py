"""Task and modality priors, and the heads that read their posteriors.

A prior is a learnt vector, the same for every image; a posterior is what a body makes of it when
it sees the image. Each level of the body at which they meet has tables of its own, and nothing but
the feature passes from level to level: posteriors go to the heads only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from baselines.universal.networks.attention import Mlp

NULL = -1  # of a task list: the table's last row
UNKNOWN = -1  # modality: the table's last row


@dataclass(frozen=True)
class PriorSizes:
    """Rows of the token tables.

    Attributes:
        tasks: rows of the task table, the null token (last) included.
        modalities: rows of the modality table, the unknown modality (last) included.
        length: tokens of one modality.
        scale: what the published random start of the task table is multiplied with. At 1 the
            tokens of an image's tasks are almost alike beside what attention adds to all of them,
            and short trainings hardly part them.
    """

    tasks: int = 73
    modalities: int = 6
    length: int = 10
    scale: float = 1.0


class PriorTables(nn.Module):
    """The priors of one level."""

    def __init__(self, sizes: PriorSizes, channels: int) -> None:
        super().__init__()
        self.tasks = nn.Parameter(torch.empty(sizes.tasks, channels))
        self.modalities = nn.Parameter(torch.empty(sizes.modalities, sizes.length, channels))
        nn.init.xavier_uniform_(self.tasks, gain=sizes.scale)
        # Torch takes the first axis as outputs and the others as inputs, as published.
        nn.init.xavier_uniform_(self.modalities)

    def forward(self, tasks: Tensor, modalities: Tensor) -> Tensor:
        """The tokens of a batch: one for each task, then those of the modality.

        Args:
            tasks: (B, n) rows of the task table, `NULL` for a null token.
            modalities: (B,) rows of the modality table, `UNKNOWN` for the last.

        Returns:
            (B, n + length, C).
        """
        return torch.cat([self.tasks[tasks], self.modalities[modalities]], dim=1)


def task_lists(lists: Sequence[Sequence[int]]) -> Tensor:
    """Task lists of a batch as one table (B, longest + 1), filled with null tokens.

    The null token takes part in the attention, so every image has at least one, in training and
    afterwards, as the published code has it.
    """
    longest = 1 + max(map(len, lists))
    return torch.tensor([[*tasks, *[NULL] * (longest - len(tasks))] for tasks in lists])


class BodyAnswer(NamedTuple):
    """What a body makes of an image and the priors of its levels.

    Attributes:
        feature: (B, width, X, Y, Z), the decoder's at full resolution.
        coarse: (B, coarse_width, X/4, Y/4, Z/4), the decoder's at 4x.
        posteriors: (B, n + length, C) for each level.
    """

    feature: Tensor
    coarse: Tensor
    posteriors: Sequence[Tensor]


class PriorBody(Protocol):
    """An encoder and decoder in which features and tokens meet.

    Attributes:
        token_widths: channels of the tokens at each level: encoder 4x, 8x, 16x, decoder 8x, 4x.
        width: channels of the decoder at full resolution.
        coarse_width: channels of the decoder at 4x.
    """

    token_widths: Sequence[int]
    width: int
    coarse_width: int

    def __call__(self, image: Tensor, priors: Sequence[Tensor]) -> BodyAnswer:
        """Image (B, 1, X, Y, Z) and tokens (B, n + length, C) for each level."""
        ...


class MaskHead(nn.Module):
    """A task's posteriors of all levels become the prototype whose likeness is its mask.

    Args:
        joined: channels of a task's tokens, all levels together.
        width: channels of the feature that prototypes are compared with.
    """

    def __init__(self, joined: int, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(joined)
        self.mlps = nn.Sequential(Mlp(joined, joined, width), Mlp(width, width, width))
        for layer in self.mlps.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """Joined posteriors (B, n, joined) to prototypes (B, n, width)."""
        prototypes: Tensor = self.mlps(self.norm(tokens))
        return prototypes


class ModalityHead(nn.Module):
    """Which modality the posteriors of the modality tokens tell; for the training only."""

    def __init__(self, joined: int, modalities: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(joined)
        self.mlp = Mlp(joined, joined, modalities)

    def forward(self, tokens: Tensor) -> Tensor:
        """Joined posteriors (B, length, joined) to logits (B, modalities)."""
        logits: Tensor = self.mlp(self.norm(tokens).mean(dim=1))
        return logits


def likeness(prototypes: Tensor, feature: Tensor) -> Tensor:
    """Logits: the plain dot product of (B, n, C) and (B, C, X, Y, Z), as (B, n, X, Y, Z)."""
    logits: Tensor = torch.bmm(prototypes, feature.flatten(2)).unflatten(2, feature.shape[2:])
    return logits


def plain_weights(network: nn.Module) -> dict[str, Tensor]:
    """The weights of a network under the names that it has without frozen rows."""
    weights = {
        name: value
        for name, value in network.state_dict().items()
        if ".parametrizations." not in name
    }
    for name, module in network.named_modules():
        if isinstance(module, PriorTables):
            weights[f"{name}.tasks"] = module.tasks.detach()
    return weights
