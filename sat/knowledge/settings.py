"""Settings of stage 1 as one validated record; presets stand in `sat/knowledge/presets/`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from evaluation.files.records import Record, read_preset

PRESET_FOLDER = Path(__file__).parent / "presets"
DEFAULT_PRESET = "quick"
# Beside an encoder that stage 1 made, written last: its presence says that it is complete.
RECORD_FILE = "knowledge.json"
TEMPERATURE = 0.07
# The paper's number of UMLS triplets: the row limit of a spreadsheet less its header.
PAPER_TRIPLETS = 1_048_575
Form = Literal["infonce", "eq4"]
Pooling = Literal["mean", "pooler"]
Trainable = int | Literal["all", "head"]


def text_folder(work: Path) -> Path:
    """Where a run keeps the text encoder that its own stage 1 made; `work` is the model's."""
    return work / "text"


class Sources(Record):
    """Where the knowledge comes from; all that are named are joined."""

    open_set: bool = Field(default=True, description="definitions and triplets of the package")
    umls: str | None = Field(default=None, description="META folder of UMLS in RRF")
    semantic_types: tuple[str, ...] = Field(default=(), description="TUIs of UMLS; none: all")
    max_triplets: int | None = Field(
        default=PAPER_TRIPLETS, ge=1, description="drawn from UMLS; null: all"
    )
    definitions: str | None = Field(default=None, description="CSV with concept,definition")
    relations: str | None = Field(default=None, description="answers, as `read_relations` reads")

    @model_validator(mode="after")
    def _some(self) -> Sources:
        if not (self.open_set or self.umls or self.definitions or self.relations):
            raise ValueError("no source of knowledge is named")
        return self


class KnowledgeSettings(Record):
    """Text-to-text contrastive learning on definitions and triplets (paper, section 4.1).

    `trainable`: the last so many layers of the encoder, `all` of it with its token embeddings, or
    `head`: the encoder stays as it is and a linear map, the identity at first, is learned on its
    features, which costs one forward pass of each text.
    """

    name: str
    description: str
    sources: Sources = Sources()
    encoder: str = Field(default="minilm", description="`minilm`, or a folder of Hugging Face form")
    pooling: Pooling = "mean"
    trainable: Trainable = 3
    max_tokens: int = Field(default=256, ge=8, description="of a longer text, a random window")
    batch: int = Field(ge=2, description="rows of a step: pairs and triplets together")
    triplet_part: float = Field(
        default=0.5, ge=0, le=1, description="part of the rows that are triplets"
    )
    held_out: float = Field(
        default=0.15, ge=0, lt=1,
        description="part of the other concepts, of those whose definitions do not contain the "
        "name, that is kept for the retrieval score and not trained on",
    )  # fmt: skip
    temperature: float = Field(default=TEMPERATURE, gt=0)
    loss: Form = "infonce"
    mask_duplicates: bool = True
    device: Literal["cpu", "cuda"] = "cpu"
    steps: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    warm_up: int = Field(ge=0)
    clip: float | None = Field(default=None, gt=0)
    checkpoint_every: int = Field(ge=1)
    log_every: int = Field(default=10, ge=1)

    @model_validator(mode="after")
    def _layers(self) -> KnowledgeSettings:
        if isinstance(self.trainable, int) and self.trainable < 1:
            raise ValueError("trainable: at least one layer, `all` or `head`")
        return self


def load_settings(name: str | None = None) -> KnowledgeSettings:
    """A built-in preset by name, or a file of the user's (a path that ends in `.yaml`).

    Raises:
        BenchError: no such preset, or an invalid one (file, field and what was found).
    """
    return read_preset(name or DEFAULT_PRESET, PRESET_FOLDER, KnowledgeSettings, "knowledge")
