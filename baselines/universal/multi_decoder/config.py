"""How a multi-decoder network is built and trained: a preset, validated key by key."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from evaluation.files.records import PresetSource, Record, read_preset

MODEL = "multi-decoder"
PRESET_FOLDER = Path(__file__).parent / "presets"
DEFAULT_PRESET = "paper"

Triple = tuple[int, int, int]
Millimetres = tuple[float, float, float]


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


class Grid(Record):
    """The network's own grid, the same for all entries, and its intensities."""

    spacing_mm: Millimetres
    ct_clip_hu: tuple[float, float]
    mri_percentiles: tuple[float, float]


class Augmentation(Record):
    """Chances and ranges; no mirroring, which would exchange left and right."""

    spatial_p: float = Field(default=0.0, ge=0, le=1, description="of a turn and zoom")
    rotation_degrees: float = Field(default=0.0, ge=0, description="about each axis, at most")
    zoom: float = Field(default=0.0, ge=0, lt=1, description="relative change of size, at most")
    intensity_p: float = Field(default=0.0, ge=0, le=1, description="of each change of intensity")


class Training(Record):
    """Length, optimiser, sampling."""

    steps: int = Field(ge=1)
    batch: int = Field(ge=1)
    mixed_batches: bool = Field(
        default=True, description="each crop of a batch has its own entry; otherwise all the same"
    )
    patch: Triple
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    warm_up: int = Field(ge=0, description="steps of linear warm-up before the polynomial decay")
    clip: float = Field(gt=0, description="largest norm of the gradient")
    entry_balance: Literal["equal", "sqrt-classes", "sqrt-cases"]
    foreground_p: float = Field(ge=0, le=1, description="chance of a crop centred on a class")
    save_every: int = Field(ge=1, description="steps between two resume points")
    log_every: int = Field(ge=1, description="steps")
    augmentation: Augmentation = Augmentation()

    @model_validator(mode="after")
    def _consistent(self) -> Training:
        if self.warm_up >= self.steps:
            raise ValueError("warm_up must be shorter than steps")
        return self


class Preset(Record):
    """Everything that decides a training, apart from data and seed."""

    description: str
    device: Literal["cpu", "cuda"]
    network: Network
    grid: Grid
    training: Training
    overlap: float = Field(ge=0, lt=1, description="of neighbouring windows in prediction")

    @model_validator(mode="after")
    def _consistent(self) -> Preset:
        for size, stride in zip(self.training.patch, self.network.total_stride, strict=True):
            if size % stride:
                raise ValueError(f"patch {self.training.patch} is no multiple of the strides")
        return self


def load_preset(source: PresetSource = None) -> Preset:
    """A built-in preset by name, a file (a path that ends in `.yaml`), or the values of a run.

    Raises:
        BenchError: no such preset, or an invalid one (file, field and what was found).
    """
    return read_preset(source or DEFAULT_PRESET, PRESET_FOLDER, Preset, "multi-decoder")
