"""What a prediction is made from: image, model and classes (DESIGN 3c)."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from evaluation.cases import ImageCase
from evaluation.files.identity import (
    PREDICTION,
    digest,
    file_digest,
    listing,
    named_paths,
    named_states,
)
from evaluation.models.card import ModelCard
from evaluation.models.protocol import BatchModel, Identified, Model

_OWN_PACKAGES = ("evaluation", "sat", "baselines", "reports")


def prediction_made_from(
    card: ModelCard, model: Model | BatchModel, case: ImageCase, classes: Sequence[str]
) -> str:
    """Digest of all that the answer of a model to a case depends on.

    The model's id is not among it: a model that is renamed keeps its predictions.
    """
    own = model.made_from(case, classes) if isinstance(model, Identified) else None
    files = {str(path): file_digest(path) for path in named_files(card)}
    image = [case.content, case.modality, case.grid_axes, case.sequence]
    settings = _settings(card, case.dataset)
    return digest(PREDICTION, image, list(classes), settings, card.version, files, own)


def watched(card: ModelCard, dataset: str) -> str:
    """Digest of the sizes and times of what a card names; when it changes, a job looks closer.

    For planning: opens no file. What a training of the run writes is watched as files.
    """
    states = named_states([str(path) for path in named_files(card)])
    folder = card.adapter.folder if card.adapter.kind == "prediction-folder" else None
    answers = {} if folder is None else listing(Path(folder, dataset))
    return digest(PREDICTION, _settings(card, dataset), card.version, states, answers)


def _settings(card: ModelCard, dataset: str) -> dict[str, Any]:
    """The adapter's settings, of its labels those of the dataset alone."""
    settings = card.adapter.model_dump(mode="json", exclude={"timeout_s", "texts"})
    if "labels" in settings:
        settings["labels"] = settings["labels"].get(dataset)
    return settings


def named_files(card: ModelCard) -> list[Path]:
    """Files that a card names: words of its command, options, and the module of its object.

    The project's own modules are left out: their cards have a version.
    """
    adapter = card.adapter
    names: list[object] = []
    found: list[Path] = []
    if adapter.kind == "command":
        names = list(adapter.command)
    elif adapter.kind == "python":
        names = list(adapter.options.values())
        module = adapter.object.partition(":")[0]
        if module.partition(".")[0] not in _OWN_PACKAGES and (source := _source(module)):
            found.append(source)
    return found + [path for path in named_paths(names) if path.is_file()]


def _source(module: str) -> Path | None:
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec and spec.origin and Path(spec.origin).is_file() else None
