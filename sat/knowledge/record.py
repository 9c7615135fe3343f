"""The small record beside a text encoder that stage 1 made; its presence says: complete."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from evaluation.errors import BenchError
from evaluation.files.records import Record, invalid_record
from sat.knowledge.settings import RECORD_FILE, KnowledgeSettings, Pooling
from sat.text.encoder import TextEncoder


class TextRecord(Record):
    """What made a text encoder.

    Attributes:
        identity: SHA-256 over settings, seed, knowledge and the weights at the start.
        base_sha256: of the weights at the start.
        sources: one line for each source of knowledge.
        concepts: trained on, with one or more definitions each.
        held_out: concepts of the open set that were not trained on.
        width: values of an embedding.
        loss: mean over the last tenth of the steps.
        seconds: of the training, all resumes together; None where a part was not measured.
    """

    format: Literal[1] = 1
    identity: str
    settings: KnowledgeSettings
    seed: int
    base_sha256: str
    sources: tuple[str, ...]
    concepts: int
    triplets: int
    held_out: int
    pooling: Pooling
    width: int
    loss: float
    seconds: float | None
    torch: str


def read_record(folder: Path) -> TextRecord:
    """The record of a folder.

    Raises:
        BenchError: the folder holds none, or one that is damaged.
    """
    path = folder / RECORD_FILE
    if not path.is_file():
        raise BenchError(
            "this folder holds no text encoder with knowledge",
            file=folder,
            expected=f"{RECORD_FILE} and an encoder",
            hint="make one with `satbench sat knowledge train --out`, or wait until it is complete",
        )
    try:
        return TextRecord.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise invalid_record(path, TextRecord, error) from error


def load_text_encoder(folder: Path) -> TextEncoder:
    """The frozen encoder of a folder that stage 1 made, pooled as it was trained.

    `load_text_encoder(folder).embed(["left kidney", "kidney on the left"])` gives (2, E) rows of
    unit length, whether names are classes, synonyms or whole sentences.
    """
    return TextEncoder(folder, read_record(folder).pooling)
