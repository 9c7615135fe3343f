"""Stage 1 for the ablation: one text encoder, shared by all seeds, its cost stated apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sat.ablation.files import cpu_seconds
from sat.knowledge.record import read_record
from sat.knowledge.settings import RECORD_FILE, KnowledgeSettings
from sat.knowledge.train import train_text


def text_cost(run: Path) -> dict[str, Any]:
    """What the text encoder of a run's ablation cost; empty if there is none."""
    folder = _folder(run)
    if not (folder / RECORD_FILE).is_file():
        return {}
    record = read_record(folder)
    return {
        "preset": record.settings.name,
        "steps": record.settings.steps,
        "batch": record.settings.batch,
        "seed": record.seed,
        "cpu_seconds": cpu_seconds(folder),
    }


def text_of_stage_1(run: Path, settings: KnowledgeSettings, seed: int) -> Path:
    """Train the text encoder of a run's ablation, or find it trained.

    Args:
        run: folder of the run that lends its data.
        settings: of stage 1.
        seed: of stage 1.

    Returns:
        Its folder.
    """
    return train_text(_folder(run), settings, seed).folder


def _folder(run: Path) -> Path:
    return run / "ablation" / "text"
