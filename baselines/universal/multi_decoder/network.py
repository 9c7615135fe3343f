"""The network: a residual encoder that all entries share, and a decoder for each entry.

Encoder, decoders and initialisation are those of `dynamic_network_architectures`. An image passes
only the decoder of its own entry, so a branch never sees labels that its entry does not have, and
nothing has to be decided about classes that another entry annotates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dynamic_network_architectures.building_blocks.residual_encoders import ResidualEncoder
from dynamic_network_architectures.building_blocks.unet_residual_decoder import UNetResDecoder
from dynamic_network_architectures.initialization.weight_init import InitWeights_He
from torch import Tensor, nn

from baselines.universal.multi_decoder.config import Network
from evaluation.training import counting
from evaluation.training.counting import weightless

KERNEL = 3
NORM_EPS = 1e-4


class MultiDecoderNet(nn.Module):
    """One encoder, one decoder for each entry.

    Args:
        sizes: sizes of the encoder.
        outputs: for each entry the number of output channels, background included.
    """

    def __init__(self, sizes: Network, outputs: Mapping[str, int]) -> None:
        super().__init__()
        self.encoder = ResidualEncoder(
            input_channels=1,
            n_stages=len(sizes.widths),
            features_per_stage=list(sizes.widths),
            conv_op=nn.Conv3d,
            kernel_sizes=KERNEL,
            strides=[list(stride) for stride in sizes.strides],
            n_blocks_per_stage=list(sizes.encoder_blocks),
            conv_bias=False,
            norm_op=nn.InstanceNorm3d,
            norm_op_kwargs={"eps": NORM_EPS, "affine": False},
            nonlin=nn.ReLU,
            nonlin_kwargs={"inplace": True},
            return_skips=True,
            pool_type="max",
        )
        self.decoders = nn.ModuleDict()
        for entry, channels in outputs.items():
            decoder = UNetResDecoder(self.encoder, channels, sizes.decoder_blocks, False)
            # The decoder keeps the encoder, which it needs only to be built, and an output for
            # each depth, of which only the last is used: both would be saved with its weights.
            del decoder.encoder
            decoder.seg_layers = decoder.seg_layers[-1:]
            # The output sees signed features, as behind the published pre-activation blocks. Behind
            # a rectifier, narrow networks stood still: a structure for which all channels had
            # started below zero was never found.
            decoder.stages[-1].blocks[-1].nonlin2 = nn.Identity()
            self.decoders[entry] = decoder
        self.apply(InitWeights_He(neg_slope=0.0))

    def forward(self, image: Tensor, entries: Sequence[str]) -> dict[str, tuple[list[int], Tensor]]:
        """Logits of a batch whose samples may come from several entries.

        Args:
            image: (B, 1, X, Y, Z), sizes a multiple of the total stride.
            entries: the entry of each sample.

        Returns:
            For each entry among them its rows in the batch, and logits (rows, C, X, Y, Z).
        """
        skips: list[Tensor] = self.encoder(image)
        answers: dict[str, tuple[list[int], Tensor]] = {}
        for entry in dict.fromkeys(entries):
            rows = [row for row, name in enumerate(entries) if name == entry]
            answers[entry] = rows, self.decoders[entry]([skip[rows] for skip in skips])
        return answers


def count_weights(sizes: Network, outputs: Mapping[str, int]) -> int:
    """Number of weights, counted on a network that takes no memory."""
    return counting.count_weights(weightless(lambda: MultiDecoderNet(sizes, outputs)))
