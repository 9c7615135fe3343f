"""A training's files of weights: where to resume, the best so far, and the final checkpoint.

All are written whole or not at all. `last.pt` holds everything that a resumed training needs to
go on bit by bit; `best.pt` is kept only with a validation; `checkpoint.pt` comes last.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evaluation.errors import BenchError
from evaluation.files.identity import made_again
from evaluation.training_folder import resume_content
from sat.atlas.transfer import initial_digest
from sat.config import Preset
from sat.model import SatModel, model_content, save_content
from sat.text.choice import encoder_digest
from sat.training.distributed import Team
from sat.training.store import INDEX_FILE
from sat.weights import read_checkpoint

LAST_FILE = "last.pt"
BEST_FILE = "best.pt"
FINAL_FILE = "checkpoint.pt"
# How the work is shared out and how often it is written down changes nothing that is learnt.
_ARRANGEMENT = ("batch", "accumulate", "processes", "workers", "checkpoint_every", "log_every")


def identity_of(preset: Preset, seed: int, crops: int, work: Path) -> str:
    """What a training's weights depend on: seed, settings, crops of a step, data, and encoders."""
    values = preset.model_dump(mode="json", exclude={"description"})
    values["training"] = {k: v for k, v in values["training"].items() if k not in _ARRANGEMENT}
    encoders = [encoder_digest(preset.prompts, work), initial_digest(work, preset)]
    text = json.dumps([seed, crops, values, encoders], sort_keys=True)
    index = (work / "prepared" / INDEX_FILE).read_bytes()
    return hashlib.sha256(text.encode() + index).hexdigest()


def resume_point(work: Path, identity: str, team: Team) -> dict[str, Any] | None:
    """The content of `last.pt`, unless it is unreadable or of other data or settings.

    Raises:
        BenchError: the processes do not read the same file.
    """
    last, final = work / LAST_FILE, work / FINAL_FILE
    state = resume_content(last, identity, read_checkpoint, final, warn=team.leads)
    steps = set(team.gather(None if state is None else int(state["step"])))
    if len(steps) > 1:
        raise BenchError(
            "the processes would resume from different steps", file=work / LAST_FILE,
            found=", ".join(sorted(map(str, steps))), expected="one file that all of them see",
            hint="put the run's folder on a file system that all nodes share, and start again",
        )  # fmt: skip
    return state


def save_last(
    work: Path, model: SatModel, identity: str, step: int, state: Mapping[str, Any]
) -> None:
    """Write the resume point after `step` steps; `state` is the optimiser's and the scaler's."""
    content = {**model_content(model), "identity": identity, "step": step, **state}
    save_content(work / LAST_FILE, content)


def best_score(work: Path, identity: str) -> float | None:
    """The mean DSC of `best.pt`, if it is of this training."""
    best, final = work / BEST_FILE, work / FINAL_FILE
    content = resume_content(best, identity, read_checkpoint, final, warn=False)
    return None if content is None else float(content["validation"]["mean_dsc"])


def save_best(work: Path, model: SatModel, identity: str, step: int, mean_dsc: float) -> None:
    """Keep the weights after `step` steps as the best so far, with their score."""
    chosen = {"validation": {"step": step, "mean_dsc": mean_dsc}}
    save_content(work / BEST_FILE, {**model_content(model), "identity": identity, **chosen})


def save_final(work: Path, model: SatModel, identity: str, *, choose_best: bool) -> Path:
    """Write `checkpoint.pt`: the best weights of the validation, or the last ones.

    Its preset is the one that the training ended with: the best weights may be older than a
    resume with another arrangement.
    """
    path = work / FINAL_FILE
    if choose_best:
        preset = {"preset": model.preset.model_dump_json()}
        save_content(path, {**read_checkpoint(work / BEST_FILE), **preset})
    else:
        save_content(path, {**model_content(model), "identity": identity})
    made_again(path)
    return path
