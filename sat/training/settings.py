"""The part of a preset that a training follows: what it draws, changes, learns and keeps."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from evaluation.files.records import Record

Triple = tuple[int, int, int]
Range = tuple[float, float]
Probability = float


class Augmentation(Record):
    """Random changes of a training crop; `*_p` are probabilities."""

    zoom_p: float = 0.0
    zoom: Range = (1.0, 1.0)
    zoom_in_plane: bool = False
    rotation_p: float = 0.0
    rotation_degrees: float = Field(default=0.0, description="about the z axis")
    noise_p: float = 0.0
    noise_deviation: float = 0.1
    sharpen_p: float = 0.0
    intensity_p: float = 0.0
    intensity_factor: float = 0.25
    gamma_p: float = 0.0
    gamma: Range = (0.7, 1.5)


class Sampling(Record):
    """Which case, which crop and which prompts a training sample has."""

    entry_balance: Literal["equal", "sqrt"] = Field(
        description="draw entries alike, or in proportion to the square root of their cases "
        "(the paper's 1/sqrt(N) weight of each volume)"
    )
    entry_factors: dict[str, float] = Field(default={}, description="dataset id -> extra factor")
    split_by_specialist: bool = Field(
        default=False, description="each specialist's classes act as an entry of their own"
    )
    volume_repeat: bool = Field(
        default=False, description="a volume counts HWD / patch times its classes / 32 times"
    )
    curriculum: dict[str, Probability] = Field(
        default={}, description="dataset id -> part of the steps after which it joins"
    )
    crops_per_group: int = Field(
        default=1, ge=1, description="crops of a step, in turn, that are of one entry and size"
    )
    class_first_p: float = Field(
        default=0.5, description="centre on a voxel of a random class, else on any foreground"
    )
    density_candidates: int = Field(
        default=1,
        ge=1,
        description="voxels that compete for the centre of a crop, each with "
        "a chance in proportion to the classes that a crop there shows; 1: no competition",
    )
    jitter: float = Field(
        default=0.0, ge=0, le=1, description="random shift of the crop, as a part of half a patch"
    )
    max_prompts: int | None = Field(default=None, ge=1, description="none: all classes in scope")
    absent_ratio: float = Field(
        default=0.5, description="absent classes prompted per present one, with max_prompts"
    )


class Loss(Record):
    """Binary cross-entropy plus Dice with squared denominator, equal weights (paper, eq. 10).

    `dice_over`: a class that the crop does not show has no overlap to learn from; `present`
    leaves it to the cross-entropy. `pooled` puts all classes in one fraction, as printed.
    """

    dice: Literal["per-class", "pooled"] = "per-class"
    dice_over: Literal["present", "all"] = "present"
    smooth: float = 1.0


class Validation(Record):
    """Choice of the checkpoint on patients of the training split that are not trained on."""

    part: float = Field(gt=0, lt=1, description="part of each entry's training patients")
    every: int = Field(ge=1, description="steps from one validation to the next")
    most: int = Field(default=10, ge=1, description="at most so many cases of an entry")


class Training(Record):
    """One plain loop of AdamW with linear warm-up and cosine to zero over the steps.

    A step has `batch` x `accumulate` x `processes` crops. Fewer processes take turns and learn
    the same; more processes make larger steps.
    """

    device: Literal["cpu", "cuda"]
    steps: int = Field(ge=1)
    batch: int = Field(ge=1, description="crops in one pass of one process")
    accumulate: int = Field(default=1, ge=1, description="batches of a process in one step")
    processes: int = Field(default=1, ge=1, description="processes that share a step, one a GPU")
    patch: Triple = Field(description="crop in voxels of the own grid")
    pad_to: Literal["stride", "patch"] = Field(
        description="zeros at the far end up to a multiple of the stride, or the whole patch"
    )
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    warm_up: int = Field(ge=0)
    clip: float | None = Field(default=None, gt=0, description="largest norm of the gradient")
    mixed_precision: bool = Field(default=True, description="on a GPU only")
    checkpoint_every: int = Field(ge=1)
    log_every: int = Field(default=10, ge=1)
    workers: int = Field(default=0, ge=0, description="processes that read crops ahead")
    initial_encoder: str | None = Field(
        default=None,
        description="start from this encoder, relative to the model's folder in the run "
        "(`atlas/encoder.pt` is stage 2's)",
    )
    validation: Validation | None = Field(
        default=None, description="none: train on all cases and keep the last weights"
    )
    sampling: Sampling
    augmentation: Augmentation = Augmentation()
    loss: Loss = Loss()
