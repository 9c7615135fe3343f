"""Stage 1 for the ablation: one text encoder, shared by all seeds, its cost stated apart."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from evaluation.files import write_json
from sat.ablation.files import read_json
from sat.knowledge.settings import KnowledgeSettings
from sat.knowledge.train import train_text

COST_FILE = "cost.json"


def text_cost(run: Path) -> dict[str, Any]:
    """What the text encoder of a run's ablation cost; empty if there is none."""
    return read_json(run / "ablation" / "text" / COST_FILE)


def text_of_stage_1(run: Path, settings: KnowledgeSettings, seed: int) -> Path:
    """Train the text encoder of a run's ablation, or find it trained.

    Args:
        run: folder of the run that lends its data.
        settings: of stage 1.
        seed: of stage 1.

    Returns:
        Its folder. `cost.json` in it holds steps and CPU seconds (null if it went on after a kill,
        so that the seconds of its first part are not known).
    """
    folder = run / "ablation" / "text"
    started = time.process_time()
    done = train_text(folder, settings, seed)
    if done.steps_now or not text_cost(run):
        whole = done.steps_now == settings.steps
        cost = {
            "preset": settings.name,
            "steps": settings.steps,
            "batch": settings.batch,
            "seed": seed,
            "cpu_seconds": round(time.process_time() - started, 1) if whole else None,
        }
        write_json(folder / COST_FILE, cost)
    return folder
