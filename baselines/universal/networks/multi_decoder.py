"""Multi-decoder: one encoder for all entries, one decoder and output for each.

An image passes its own entry's decoder only, so a branch never sees labels that its entry does not
have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from baselines.universal.networks.resunet import Decoder, Encoder
from baselines.universal.networks.sizes import WIDTHS


class Branch(nn.Module):
    """What an entry has for itself."""

    def __init__(self, outputs: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.decoder = Decoder(widths)
        self.head = nn.Conv3d(widths[0], outputs, 1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """The encoder's features, finest first, to logits (B, outputs, X, Y, Z)."""
        logits: Tensor = self.head(self.decoder(features))
        return logits


class MultiDecoder(nn.Module):
    """The shared encoder and its branches.

    Args:
        outputs: for each entry the channels of its output, background included where its labels
            exclude each other.
        widths: channels of the five resolutions.
    """

    def __init__(self, outputs: Mapping[str, int], widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        self.encoder = Encoder(widths)
        self.branches = nn.ModuleDict(
            {entry: Branch(channels, widths) for entry, channels in outputs.items()}
        )

    def forward(self, image: Tensor, entries: Sequence[str]) -> dict[str, tuple[list[int], Tensor]]:
        """Logits of a batch whose images may come from several entries.

        Args:
            image: (B, 1, X, Y, Z).
            entries: the entry of each image.

        Returns:
            For each entry among them its rows in the batch, and logits (rows, outputs, X, Y, Z).
        """
        features = self.encoder(image)
        answers: dict[str, tuple[list[int], Tensor]] = {}
        for entry in dict.fromkeys(entries):
            rows = [row for row, name in enumerate(entries) if name == entry]
            answers[entry] = rows, self.branches[entry]([feature[rows] for feature in features])
        return answers
