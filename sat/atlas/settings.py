"""Settings of the text-atlas stage."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from evaluation.files.records import Record

FOLDER = "atlas"
ENCODER_FILE = "encoder.pt"
# As `training.initial_encoder` of a preset names it.
STAGE_2_ENCODER = f"{FOLDER}/{ENCODER_FILE}"
# What this stage takes from the segmentation's `training`; with another choice it starts anew.
CROP_SETTINGS = {"device", "patch", "batch", "pad_to", "sampling", "augmentation"}


class AtlasTraining(Record):
    """Second stage of the knowledge injection (paper, section 4.1 and eq. 4).

    Crops, batch size, patch, device and augmentation are those of the segmentation's `training`.
    The paper fixes temperature, loss, and that a region is pooled from the encoder's output; the
    rest is the later pre-training code's choice where it has one (`sampling: label`; its
    `scales: all` is an option), or ours.
    """

    steps: int = Field(ge=1)
    batches_per_step: int = Field(
        default=4, ge=1, description="batches of crops, of different entries, in one loss"
    )
    scales: Literal["all", "bottleneck"] = Field(
        default="bottleneck", description="encoder outputs that a region is pooled from"
    )
    width: int = Field(default=768, ge=1, description="common width of regions and texts")
    text_projection: Literal["linear", "mlp"] = "mlp"
    sampling: Literal["label", "entry"] = Field(
        default="label", description="draw labels alike to a root, or as the segmentation does"
    )
    minimum_voxels: int = Field(
        default=1, ge=1, description="a class with fewer voxels in the crop is no region"
    )
    loss: Literal["infonce", "eq4"] = "infonce"
    temperature: float = Field(default=0.07, gt=0)
    mask_duplicates: bool = Field(
        default=True, description="two regions of one class in a step do not repel each other"
    )
    learning_rate: float = Field(default=1e-4, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    warm_up: int = Field(default=0, ge=0)
    clip: float | None = Field(default=1.0, gt=0)
    checkpoint_every: int = Field(default=50, ge=1)
    log_every: int = Field(default=10, ge=1)
    validation_part: float = Field(
        default=0.2, ge=0, lt=1, description="training patients kept out, to measure retrieval"
    )
    validation_batches: int = Field(default=40, ge=1, description="batches of their crops")
