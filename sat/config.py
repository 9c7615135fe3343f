"""Presets of SAT-Nano: every size and setting as one validated record.

A preset is a YAML file in `sat/presets/`; unknown keys are refused. The effective preset travels
inside every checkpoint, so a prediction never depends on a file that changed since training.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from evaluation.classes.modality import MODALITIES, Modality
from evaluation.files.records import PresetSource, Record, read_preset
from evaluation.models.preset_list import PresetFacts, device_words, sides
from evaluation.paths import RunPaths
from evaluation.training.settings import Training, TrainingPreset, Triple
from evaluation.training.store import INDEX_FILE, store_folder
from sat.knowledge.settings import KnowledgeSettings, load_settings

PRESET_FOLDER = Path(__file__).parent / "presets"
DEFAULT_PRESET = "paper"
MODEL = "sat-nano"
ATLAS_FOLDER = "atlas"
ENCODER_FILE = "encoder.pt"
# As `training.initial_encoder` of a preset names it.
STAGE_2_ENCODER = f"{ATLAS_FOLDER}/{ENCODER_FILE}"
# What stage 2 takes from the segmentation's `training`; with another choice it starts anew.
CROP_SETTINGS = {"device", "patch", "batch", "pad_to", "sampling", "augmentation"}


class NetworkSizes(Record):
    """Sizes of the vision backbone, the query decoder and the mask head (paper, section 3.3)."""

    in_channels: int = Field(ge=1, description="the grey image is repeated to so many channels")
    widths: tuple[int, ...] = Field(min_length=2, description="channels of each U-Net stage")
    strides: tuple[Triple, ...] = Field(description="stride of each stage along x, y, z")
    pixel_width: int = Field(ge=1, description="d', length of the feature vector of a voxel")
    pixel_projection: bool = Field(
        description="a linear 1x1x1 convolution from widths[0] to pixel_width; without it both "
        "are equal and the features leave a leaky ReLU"
    )
    query_width: int = Field(ge=6, description="d, length of a query")
    query_layers: int = Field(ge=1)
    heads: int = Field(ge=1)
    mlp_width: int = Field(ge=1)
    dropout: float = Field(ge=0, lt=1)
    mask_hidden: int = Field(ge=1)
    mask_output: Literal["linear", "gelu"]
    memory: Literal["bottleneck", "multi-scale"] = Field(
        default="bottleneck",
        description="what queries attend to: the last stage (the first release), or all stages "
        "averaged onto its grid and projected (later releases)",
    )
    deep_supervision: bool = Field(
        default=False, description="coarser decoder stages answer in training, too (later releases)"
    )

    @property
    def total_stride(self) -> Triple:
        """Product of the strides: an input's sides must be multiples of it."""
        product = [1, 1, 1]
        for stride in self.strides:
            product = [p * s for p, s in zip(product, stride, strict=True)]
        return product[0], product[1], product[2]

    @model_validator(mode="after")
    def _consistent(self) -> NetworkSizes:
        if len(self.strides) != len(self.widths):
            raise ValueError(f"{len(self.widths)} widths need as many strides")
        if self.strides[0] != (1, 1, 1):
            raise ValueError("the first stage keeps the full resolution: its stride is 1 1 1")
        if self.memory == "bottleneck" and self.widths[-1] != self.query_width:
            raise ValueError("the bottleneck is the queries' memory: widths[-1] = query_width")
        if self.deep_supervision and len(self.widths) < 3:
            raise ValueError("deep_supervision needs a decoder stage below the full resolution")
        if self.query_width % self.heads:
            raise ValueError("query_width must be a multiple of heads")
        if not self.pixel_projection and self.pixel_width != self.widths[0]:
            raise ValueError("without pixel_projection, pixel_width equals widths[0]")
        return self


class PromptSettings(Record):
    """How a class name becomes a query.

    `embedding`: `scaled` multiplies the unit-length text embedding by the square root of its
    length; `standardised` gives every dimension mean 0 and deviation 1 over the class list;
    `unit` leaves it at unit length, `raw` as the encoder gave it. `query_length`: `sqrt` scales
    the projected query to length sqrt(d), `unit` to 1, `free` leaves it.

    `encoder`: `minilm` is the packaged one; `folder` one in Hugging Face form; `knowledge` one
    that stage 1 made, in `folder` or, without it, in the run by the preset `knowledge`;
    `class-id` a fixed random vector for each class, without any text (an ablation).
    """

    encoder: Literal["minilm", "folder", "knowledge", "class-id"] = "minilm"
    folder: str | None = Field(default=None, description="of the encoder (folder, knowledge)")
    knowledge: str | KnowledgeSettings = Field(
        default="quick",
        description="preset of stage 1, by name or as a file; when read, the preset",
    )
    pooling: Literal["mean", "pooler"] = "mean"
    template: str = Field(default="{name}", description="text with the fields name and modality")
    embedding: Literal["scaled", "standardised", "unit", "raw"]
    projection: Literal["mlp", "none"] = "mlp"
    query_length: Literal["sqrt", "unit", "free"]

    @model_validator(mode="after")
    def _folder_is_used(self) -> PromptSettings:
        if self.folder is not None and self.encoder not in ("folder", "knowledge"):
            raise ValueError(f"the encoder `{self.encoder}` is in no folder")
        return self

    @property
    def trains_text(self) -> bool:
        """Whether stage 1 belongs to the run."""
        return self.encoder == "knowledge" and self.folder is None


class AtlasTraining(Record):
    """Second stage of the knowledge injection (paper, section 4.1 and eq. 4).

    Crops, batch size, patch, device, readers and augmentation are those of the segmentation's
    `training`; the volumes are the run's training scans, or an atlas.
    The paper fixes temperature, loss, and that a region is pooled from the encoder's output; the
    rest is the later pre-training code's choice where it has one (`sampling: label`; its
    `scales: all` is an option), or ours.
    """

    volumes: str | None = Field(
        default=None,
        description="folder of an atlas of the user's (docs/pages/knowledge.md); none: the run's "
        "own scans",
    )
    steps: int = Field(ge=1)
    batches_per_step: int = Field(
        default=4, ge=1, description="batches of crops, of different entries, in one loss"
    )
    scales: Literal["all", "bottleneck"] = Field(
        default="bottleneck", description="encoder outputs that a region is pooled from"
    )
    width: int = Field(default=768, ge=1, description="common width of regions and texts")
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


class SatTraining(Training):
    """The engine's settings, and what the encoder starts from."""

    initial_encoder: str | None = Field(
        default=None,
        description="start from this encoder, relative to the model's folder in the run "
        "(`atlas/encoder.pt` is stage 2's)",
    )


class Preset(TrainingPreset):
    """Everything that one kind of SAT-Nano is made of."""

    name: str
    network: NetworkSizes
    prompts: PromptSettings
    training: SatTraining
    atlas: AtlasTraining | None = Field(
        default=None,
        description="text-atlas stage; the training starts from it with "
        "`initial_encoder: atlas/encoder.pt`",
    )

    @property
    def stride(self) -> Triple:
        """Product of the U-Net's strides."""
        return self.network.total_stride

    @property
    def entries_without_card(self) -> tuple[str, ...]:
        """Those of an atlas of the user's."""
        own = self.atlas is not None and self.atlas.volumes is not None
        return tuple(map(atlas_entry, MODALITIES)) if own else ()

    @property
    def trains_atlas(self) -> bool:
        """Whether stage 2 belongs to the run."""
        return self.training.initial_encoder == STAGE_2_ENCODER

    @model_validator(mode="after")
    def _stage_2_is_there(self) -> Preset:
        if self.trains_atlas and self.atlas is None:
            raise ValueError(f"initial_encoder {STAGE_2_ENCODER} needs the section atlas")
        return self


def atlas_entry(modality: Modality) -> str:
    """The entry that holds the volumes of one modality in an atlas of the user's."""
    return f"atlas_{modality}"


def atlas_index(work: Path) -> Path:
    """The index of a run's own atlas on the model's grid; `work` is the model's folder."""
    return work / ATLAS_FOLDER / "store" / INDEX_FILE


def stage_2_store(paths: RunPaths, work: Path, preset: Preset) -> Path:
    """What stage 2 reads: the atlas that the preset names, or the run's own training scans."""
    if preset.atlas is not None and preset.atlas.volumes is not None:
        return atlas_index(work).parent
    return store_folder(paths, preset.grid)


def load_preset(source: PresetSource = None) -> Preset:
    """A built-in preset by name, a file (a path that ends in `.yaml`), or the values of a run.

    The preset of stage 1, where the run has that stage, becomes part of it.

    Raises:
        BenchError: no such preset, or an invalid one (file, field and what was found).
    """
    preset = read_preset(source or DEFAULT_PRESET, PRESET_FOLDER, Preset, "SAT-Nano")
    if not preset.prompts.trains_text or isinstance(preset.prompts.knowledge, KnowledgeSettings):
        return preset
    knowledge = load_settings(preset.prompts.knowledge)
    prompts = preset.prompts.model_copy(update={"knowledge": knowledge})
    return preset.model_copy(update={"prompts": prompts})


def preset_facts(_model: str, name: str) -> PresetFacts:
    """What `satbench presets` says of one.

    Raises:
        BenchError: as `load_preset`.
    """
    preset = load_preset(name)
    training, prompts = preset.training, preset.prompts
    needs = (
        [prompts.folder or "a folder for `prompts.folder`"] if prompts.encoder == "folder" else []
    )
    knowledge = prompts.knowledge
    if isinstance(knowledge, KnowledgeSettings):
        sources = knowledge.sources
        needs += filter(None, (sources.umls, sources.definitions, sources.relations))
        needs += [] if knowledge.encoder == "minilm" else [knowledge.encoder]
    if preset.trains_atlas and preset.atlas is not None and preset.atlas.volumes is not None:
        needs.append(preset.atlas.volumes)
    return PresetFacts(
        device_words(training.device, training.processes),
        sides(preset.network.widths),
        sides(training.patch),
        f"{training.steps} steps",
        preset.description,
        preset,
        tuple(needs),
    )
