"""The four variants, each as a change of one preset."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from evaluation.errors import BenchError
from sat.config import STAGE_2_ENCODER, AtlasTraining, Preset


@dataclass(frozen=True)
class Variant:
    """One way to tell the network which class is meant.

    Attributes:
        name: of its folder.
        title: in the table.
        encoder: where a class's embedding comes from.
        atlas: whether stage 2 makes the encoder that the segmentation starts from.
    """

    name: str
    title: str
    encoder: Literal["class-id", "minilm", "knowledge"]
    atlas: bool


VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("class-id", "class-id table", "class-id", atlas=False),
        Variant("untuned", "untuned text (MiniLM)", "minilm", atlas=False),
        Variant("stage-1", "stage 1", "knowledge", atlas=False),
        Variant("stages-1-2", "stages 1 + 2", "knowledge", atlas=True),
        # Not asked of the paper: tells what stage 2 does without stage 1.
        Variant("stage-2", "stage 2 on untuned text", "minilm", atlas=True),
    )
}


def find_variant(name: str) -> Variant:
    """A variant by its name.

    Raises:
        BenchError: there is none.
    """
    if name not in VARIANTS:
        raise BenchError(f"no variant `{name}`", expected=", ".join(VARIANTS))
    return VARIANTS[name]


def atlas_settings(preset: Preset, steps: int) -> AtlasTraining:
    """Stage 2 of the preset, or one of the size of its network, with so many steps."""
    settings = preset.atlas or AtlasTraining(
        steps=steps,
        # A small network's last stage has 4 voxels along a crop: no place for a gallbladder.
        scales="all",
        width=preset.network.query_width,
        learning_rate=preset.training.learning_rate,
        warm_up=min(20, steps // 5),
        validation_batches=20,
    )
    return settings.model_copy(update={"steps": steps})


def variant_preset(
    base: Preset, variant: Variant, steps: int, atlas_steps: int, text_folder: Path | None
) -> Preset:
    """The run's preset as a variant needs it; everything else stays the same for all.

    Args:
        base: preset of the run.
        variant: what to change.
        steps: of the segmentation, the same for all variants.
        atlas_steps: of stage 2.
        text_folder: of the text encoder that stage 1 made.

    Raises:
        BenchError: stage 1 is wanted, and its text encoder is not there.
    """
    values: dict[str, Any] = base.model_dump()
    values["training"] |= {"steps": steps, "initial_encoder": None}
    values["prompts"] |= {"encoder": variant.encoder}
    values["atlas"] = None
    if variant.encoder == "knowledge":
        if text_folder is None or not (text_folder / "config.json").is_file():
            raise BenchError(
                f"the variant `{variant.name}` needs the text encoder of stage 1",
                file=text_folder,
                hint="train it first with `sat.ablation.text.text_of_stage_1`",
            )
        values["prompts"] |= {"folder": str(text_folder.resolve())}
    if variant.atlas:
        values["atlas"] = atlas_settings(base, atlas_steps).model_dump()
        values["training"] |= {"initial_encoder": STAGE_2_ENCODER}
    return Preset.model_validate(values)
