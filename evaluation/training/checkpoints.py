"""A training's files of weights: where to resume, the best so far, and the final checkpoint.

All are written whole or not at all, and the same content has the same bytes. `last.pt` holds
everything that a resumed training needs to go on bit by bit; `best.pt` is kept only with a
validation; `checkpoint.pt` comes last. Reading runs no code that a file may hold.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from evaluation.errors import BenchError
from evaluation.files.identity import made_again
from evaluation.files.writing import atomic_path
from evaluation.training.model import SegmentationModel
from evaluation.training.processes import Team
from evaluation.training.settings import TrainingPreset
from evaluation.training.store import PreparedIndex
from evaluation.training_folder import resume_content

LAST_FILE = "last.pt"
BEST_FILE = "best.pt"
FINAL_FILE = "checkpoint.pt"
# How the work is shared out and how often it is written down changes nothing that is learnt.
_ARRANGEMENT = ("batch", "accumulate", "processes", "workers", "checkpoint_every", "log_every")


def save_content(path: Path, content: Mapping[str, Any]) -> None:
    """Write tensors and plain values atomically; the same content has the same bytes."""
    # Into an open file: by a path, the archive would hold the temporary file's name.
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        torch.save(dict(content), stream)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint on the CPU without running any code that it may hold.

    Raises:
        BenchError: the file is missing, truncated, holds more than tensors and plain values, or
            is no dictionary.
    """
    if not path.is_file():
        raise BenchError("checkpoint not found", file=path, hint="train the model first")
    _require_torch_file(path)
    try:
        _require_whole_archive(path)
        with warnings.catch_warnings():
            # A foreign pickle is refused below; torch's doubts about its version add nothing.
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise BenchError(
            "checkpoint refused: it holds more than tensors and plain values, or is corrupt",
            file=path,
            found=_refused_part(error),
            hint="use a file that holds a state dict; nothing in it has been run",
        ) from error
    except Exception as error:
        # A damaged file sends torch's reader anywhere: an AssertionError, IndexError, TypeError.
        raise BenchError(
            "checkpoint cannot be read; it is truncated or corrupt",
            file=path,
            found=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}",
            hint="copy or train it again",
        ) from error
    if not isinstance(content, dict):
        raise BenchError("checkpoint holds no dictionary", file=path, found=type(content).__name__)
    return content


def require_finite(model: SegmentationModel, path: Path) -> None:
    """Refuse a checkpoint whose model would answer nothing but NaN.

    Raises:
        BenchError: a weight is not a number.
    """
    bad = [name for name, value in model.state_dict().items() if not torch.isfinite(value).all()]
    if bad:
        raise BenchError(
            "the checkpoint holds weights that are not numbers",
            file=path,
            found=f"{len(bad)} tensors, the first is {bad[0]}",
            hint="train it again",
        )


def _require_torch_file(path: Path) -> None:
    with path.open("rb") as stream:
        start = stream.read(4)
    # A zip archive, or the pickle of old versions. An empty file is left to torch.
    if start and not start.startswith((b"PK", b"\x80")):
        raise BenchError(
            "checkpoint refused: this is no file that torch has written",
            file=path,
            found=f"it starts with the bytes {start!r}",
        )


def _require_whole_archive(path: Path) -> None:
    """Raise if a part of the archive is not what was written: torch does not compare its sums."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if (part := archive.testzip()) is not None:
                raise zipfile.BadZipFile(f"`{part}` is not what was written")


def _refused_part(error: pickle.UnpicklingError) -> str:
    """What torch stumbled over, without its advice on how to run it all the same."""
    found = re.search(r"GLOBAL (\S+)|Unsupported \w+ \S+", str(error))
    if found is None:
        return type(error).__name__
    return f"the Python object `{found[1]}`" if found[1] else found[0]


def identity_of(
    preset: TrainingPreset,
    seed: int,
    crops: int,
    index: PreparedIndex,
    made_from: object,
    *,
    draws_empty: bool = False,
) -> str:
    """What a training's weights depend on: settings, seed, crops of a step, data, and origin.

    `draws_empty` (see `Group`): until version 0.12 scans without a target were never drawn. Only
    trainings that draw them have another identity since.
    """
    values = preset.model_dump(mode="json", exclude={"description"})
    values["training"] = {k: v for k, v in values["training"].items() if k not in _ARRANGEMENT}
    parts = [seed, crops, values, made_from, index.model_dump_json()]
    text = json.dumps([*parts, "empty scans"] if draws_empty else parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


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
    work: Path, model: SegmentationModel, identity: str, step: int, state: Mapping[str, Any]
) -> None:
    """Write the resume point after `step` steps; `state` is the stepper's."""
    content = {**model.content(), "identity": identity, "step": step, **state}
    save_content(work / LAST_FILE, content)


def best_score(work: Path, identity: str) -> float | None:
    """The mean DSC of `best.pt`, if it is of this training."""
    best, final = work / BEST_FILE, work / FINAL_FILE
    content = resume_content(best, identity, read_checkpoint, final, warn=False)
    return None if content is None else float(content["validation"]["mean_dsc"])


def save_best(
    work: Path, model: SegmentationModel, identity: str, step: int, mean_dsc: float
) -> None:
    """Keep the weights after `step` steps as the best so far, with their score."""
    chosen = {"validation": {"step": step, "mean_dsc": mean_dsc}}
    save_content(work / BEST_FILE, {**model.content(), "identity": identity, **chosen})


def save_final(work: Path, model: SegmentationModel, identity: str, *, choose_best: bool) -> Path:
    """Write `checkpoint.pt`: the best weights of the validation, or the last ones.

    Its preset is the one that the training ended with: the best weights may be older than a
    resume with another arrangement.
    """
    path = work / FINAL_FILE
    if choose_best:
        preset = {"preset": model.preset.model_dump_json()}
        save_content(path, {**read_checkpoint(work / BEST_FILE), **preset})
    else:
        save_content(path, {**model.content(), "identity": identity})
    made_again(path)
    return path
