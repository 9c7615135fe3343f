"""Sizes of the networks as settings say them; read without torch, for planning."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from evaluation.files.records import Record

WIDTHS = (32, 64, 128, 256, 320)


class MedFormerSizes(Record):
    """Sizes of MedFormer; the defaults make the network of 43.20 M weights."""

    widths: tuple[int, int, int, int, int] = Field(
        WIDTHS, description="channels at 1x, 2x, 4x, 8x, 16x"
    )
    encoder_blocks: tuple[int, int, int] = Field((2, 4, 8), description="B-MHA at 4x, 8x, 16x")
    decoder_blocks: tuple[int, int] = Field((4, 2), description="B-MHA at 8x, 4x")
    map_tokens: int = Field(64, ge=1, description="tokens of a semantic map")
    fusion_width: int = Field(320, ge=1, description="channels of the map fusion")
    fusion_layers: int = Field(2, ge=1, description="Transformer layers of the map fusion")


class NetworkSizes(MedFormerSizes):
    """Sizes of all nine; the defaults are the published ones, but for `spare_tasks`."""

    fusion_blocks: tuple[int, int, int, int, int] = Field(
        (2, 2, 4, 2, 2), description="Hermes-R: prior fusion at encoder 4x, 8x, 16x, decoder 8x, 4x"
    )
    prompt_level: Literal[8, 16] = Field(
        16,
        description="UniSeg: the resolution of its prompt, which is the body's coarsest; 16 as "
        "published",
    )
    prior_length: int = Field(10, ge=1, description="Hermes: tokens of one modality")
    # Left out of digests where there is none: what was trained before stays valid.
    spare_tasks: int = Field(
        0,
        ge=0,
        exclude_if=lambda rows: rows == 0,
        description="Hermes: rows of the task tables that no task has, 1 as published",
    )
    prior_scale: float = Field(
        1, gt=0, description="Hermes: how far apart task tokens start, 1 as published"
    )
