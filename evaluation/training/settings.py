"""What every preset of a trained network says: grid, training, inference; a model adds its own.

A preset is a YAML file; unknown keys are refused. The effective preset travels inside every
checkpoint, so a prediction never depends on a file that changed since the training.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import prod
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from evaluation.files.records import Record
from evaluation.volumes.axes import AS_STORED, SLICES_LAST, AxisOrder, order_of

Triple = tuple[int, int, int]
# Finer than any scanner of bodies, and coarser than any organ.
VoxelMm = Annotated[float, Field(ge=0.01, le=1000, allow_inf_nan=False)]
Millimetres = tuple[VoxelMm, VoxelMm, VoxelMm]
Range = tuple[float, float]
Probability = float


class ThickSlices(Record):
    """The grid of scans with thick slices, such as short axes of the heart.

    Their slices cannot be thinner than they were taken, and what they show is large: on a coarse
    grid a window of the same voxels holds it.
    """

    above_mm: VoxelMm = Field(description="scans with larger spacing along the third axis")
    spacing_mm: Millimetres


class Grid(Record):
    """The grid that networks see, and its intensities.

    The same for all entries; scans with thick slices may have another one, a matter of each scan.
    Networks with the same grid read one prepared store.
    """

    spacing_mm: Millimetres
    # Left out of digests where it is not said: what was prepared and trained before stays valid.
    thick_slices: ThickSlices | None = Field(default=None, exclude_if=lambda thick: thick is None)
    crop_above: float | None = Field(
        default=0.0, description="bounding box of image > this is kept; null: the whole scan"
    )
    ct_clip_hu: Range = (-500.0, 1000.0)
    mri_percentiles: Range = Field(
        default=(0.5, 99.5), description="of every modality but CT, which has no fixed unit"
    )
    rescale_unit: bool = Field(default=False, description="map the z-scores to [0, 1]")

    def sides_for(self, slice_mm: float) -> Millimetres:
        """Sides of the own voxels for a scan with that spacing along the own third axis."""
        thick = self._thick(slice_mm)
        return thick.spacing_mm if thick else self.spacing_mm

    def order_for(self, spacing_mm: Sequence[float], usual: AxisOrder = AS_STORED) -> AxisOrder:
        """Axis order of a scan of an entry not trained on, with that spacing along R, A, S.

        Thick slices lie last, as the cards of entries with oblique ones say; others as usual.
        """
        return order_of(SLICES_LAST, spacing_mm) if self._thick(max(spacing_mm)) else usual

    def _thick(self, slice_mm: float) -> ThickSlices | None:
        # Headers give 5.00001 for 5 mm; to 0.01 mm as where the slice axis is found (`order_of`).
        thick = self.thick_slices
        return thick if thick and round(slice_mm, 2) > thick.above_mm else None

    @model_validator(mode="after")
    def _thick_is_coarser(self) -> Self:
        if self.thick_slices and prod(self.thick_slices.spacing_mm) < prod(self.spacing_mm):
            raise ValueError("thick_slices.spacing_mm has smaller voxels than spacing_mm")
        return self


class Augmentation(Record):
    """Random changes of a training crop; `*_p` are probabilities.

    No mirroring, which would exchange left and right.
    """

    zoom_p: float = 0.0
    zoom: Range = (1.0, 1.0)
    zoom_in_plane: bool = False
    rotation_p: float = 0.0
    rotation_degrees: float = Field(default=0.0, description="at most, about each axis that turns")
    rotation_axes: Literal["z", "all"] = "z"
    noise_p: float = 0.0
    noise_deviation: float = 0.1
    sharpen_p: float = 0.0
    intensity_p: float = 0.0
    intensity_factor: float = 0.25
    gamma_p: float = 0.0
    gamma: Range = (0.7, 1.5)
    gamma_keeps_moments: bool = Field(
        default=False, description="mean and deviation of the crop stay as they were"
    )
    contrast_p: float = 0.0
    contrast_factor: float = Field(default=0.3, description="about the mean, in the old range")
    blur_p: float = 0.0
    blur_sigma: Range = (0.5, 1.0)


class Sampling(Record):
    """Which case, which crop and which prompts a training sample has."""

    entry_balance: Literal["equal", "cases", "sqrt", "sqrt-classes"] = Field(
        description="draw entries alike, in proportion to their cases, or to the square root of "
        "their cases (the paper's 1/sqrt(N) weight of each volume) or of their classes"
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
    foreground_p: float = Field(
        default=1.0, ge=0, le=1, description="crops centred on a class; the others lie anywhere"
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
    """Cross-entropy plus Dice, equal weights (SAT's paper, eq. 10).

    `dice_over`: a class that the crop does not show has no overlap to learn from; `present`
    leaves it to the cross-entropy. `pooled` puts all classes in one fraction, as printed there.
    """

    dice: Literal["per-class", "pooled"] = "per-class"
    dice_over: Literal["present", "all"] = "present"
    squared: bool = Field(default=True, description="squares in the denominator of Dice")
    smooth: float = 1.0


class Validation(Record):
    """Choice of the checkpoint on patients of the training split that are not trained on."""

    part: float = Field(gt=0, lt=1, description="part of each entry's training patients")
    every: int = Field(ge=1, description="steps from one validation to the next")
    most: int = Field(default=10, ge=1, description="at most so many cases of an entry")


class Training(Record):
    """One plain loop over the steps.

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
    optimiser: Literal["adamw", "sgd", "lamb"] = "adamw"
    learning_rate: float = Field(gt=0)
    momentum: float = Field(default=0.99, ge=0, lt=1, description="of `sgd`, Nesterov's")
    weight_decay: float = Field(ge=0)
    schedule: Literal["cosine", "poly", "constant"] = Field(
        default="cosine", description="of the rate from the end of the warm-up to the last step"
    )
    power: float = Field(default=0.9, gt=0, description="of `poly`: (1 - part done) ^ power")
    warm_up: int = Field(ge=0, description="steps of rise before that")
    warm_up_form: Literal["linear", "exponential"] = Field(
        default="linear", description="exponential: rate e^(10 (part of the warm-up - 1)), Hermes'"
    )
    clip: float | None = Field(default=None, gt=0, description="largest norm of the gradient")
    ema: float | None = Field(
        default=None, gt=0, lt=1, description="decay of a moving average of the weights, which is "
        "then validated and kept; none: the weights themselves",
    )  # fmt: skip
    mixed_precision: bool = Field(default=True, description="on a GPU only")
    checkpoint_every: int = Field(ge=1)
    log_every: int = Field(default=10, ge=1)
    workers: int = Field(default=0, ge=0, description="processes that read crops ahead")
    validation: Validation | None = Field(
        default=None, description="none: train on all cases and keep the last weights"
    )
    sampling: Sampling
    augmentation: Augmentation = Augmentation()
    loss: Loss = Loss()


class Inference(Record):
    """Sliding windows and the way to the native grid.

    `interpolate` says what is interpolated trilinearly before the decision on the native grid
    (threshold, or the largest of exclusive labels): the logit of the blended probability, or the
    probability.
    """

    patch: Triple
    overlap: float = Field(default=0.5, ge=0, lt=1)
    blending: Literal["uniform", "gaussian"] = "uniform"
    interpolate: Literal["logit", "probability"] = "logit"
    window_batch: int = Field(default=4, ge=1)
    memory_mib: int = Field(default=1024, ge=1, description="for features, and for prompts")


class TrainingPreset(Record):
    """What the engine needs of a preset; a model's own adds its network and says its stride."""

    name: str = ""
    description: str
    grid: Grid
    training: Training
    inference: Inference

    @property
    def stride(self) -> Triple:
        """Voxels of the input for one of the deepest stage; a crop's sides are multiples of it."""
        return 1, 1, 1

    @property
    def fills_patch(self) -> bool:
        """Whether small scans are filled up to the whole patch."""
        return self.training.pad_to == "patch"

    @property
    def named_entries(self) -> dict[str, Collection[str]]:
        """Ids of datasets that settings name, by setting; a model adds those of its own."""
        sampling = self.training.sampling
        return {
            "training.sampling.entry_factors": sampling.entry_factors,
            "training.sampling.curriculum": sampling.curriculum,
        }

    @property
    def entries_without_card(self) -> tuple[str, ...]:
        """Entries of a store that no dataset card describes, which settings may name, too."""
        return ()

    @model_validator(mode="after")
    def _patches_fit(self) -> Self:
        for label, patch in (
            ("training", self.training.patch),
            ("inference", self.inference.patch),
        ):
            if any(p % s for p, s in zip(patch, self.stride, strict=True)):
                raise ValueError(
                    f"{label}.patch {patch} is no multiple of the strides {self.stride}"
                )
            if patch == self.stride != (1, 1, 1):
                raise ValueError(f"{label}.patch {patch} leaves one voxel at the bottleneck")
        return self
