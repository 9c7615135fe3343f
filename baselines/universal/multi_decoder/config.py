"""How a multi-decoder network is built and trained: a preset, validated key by key."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, model_validator

from evaluation.files.records import PresetSource, Record, read_preset
from evaluation.training.settings import TrainingPreset, Triple

MODEL = "multi-decoder"
PRESET_FOLDER = Path(__file__).parent / "presets"
DEFAULT_PRESET = "paper"


class Network(Record):
    """Sizes of the encoder; each decoder mirrors them.

    `strides` are the max-pooling before each stage; the first is 1.
    """

    widths: tuple[int, ...] = Field(min_length=2, description="channels of each stage")
    strides: tuple[Triple, ...] = Field(description="one for each stage")
    encoder_blocks: tuple[int, ...] = Field(description="residual blocks of each stage")
    decoder_blocks: int = Field(ge=1, description="residual blocks of each decoder stage")

    @model_validator(mode="after")
    def _consistent(self) -> Network:
        if not len(self.widths) == len(self.strides) == len(self.encoder_blocks):
            raise ValueError("widths, strides and encoder_blocks must have one value a stage")
        if self.strides[0] != (1, 1, 1):
            raise ValueError("the first stride must be [1, 1, 1]")
        return self

    @property
    def total_stride(self) -> Triple:
        """Voxels of the input for one voxel of the deepest stage."""
        x = y = z = 1
        for stride in self.strides:
            x, y, z = x * stride[0], y * stride[1], z * stride[2]
        return x, y, z


class Preset(TrainingPreset):
    """Everything that decides a training, apart from data and seed."""

    network: Network

    @property
    def stride(self) -> Triple:
        """Product of the max-poolings."""
        return self.network.total_stride


def load_preset(source: PresetSource = None) -> Preset:
    """A built-in preset by name, a file (a path that ends in `.yaml`), or the values of a run.

    Raises:
        BenchError: no such preset, or an invalid one (file, field and what was found).
    """
    return read_preset(source or DEFAULT_PRESET, PRESET_FOLDER, Preset, "multi-decoder")
