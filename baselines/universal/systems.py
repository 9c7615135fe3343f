"""The nine systems by name, and their checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from torch import nn

from baselines.universal.config import Preset
from baselines.universal.entries import Catalogue
from baselines.universal.labels import (
    MedFormerModel,
    MultiDecoderModel,
    ResUNetModel,
    UniSegModel,
)
from baselines.universal.masks import (
    ClipDrivenModel,
    DoDNetModel,
    HermesMModel,
    HermesModel,
    MultiTalentModel,
)
from baselines.universal.model import FORMAT, UniversalModel
from evaluation.errors import BenchError
from evaluation.models.card import load_object
from evaluation.training.checkpoints import read_checkpoint, require_finite

MODELS: Mapping[str, type[UniversalModel]] = {
    "resunet": ResUNetModel,
    "medformer": MedFormerModel,
    "hermes-r": HermesModel,
    "hermes-m": HermesMModel,
    "multi-decoder": MultiDecoderModel,
    "dodnet": DoDNetModel,
    "clip-driven": ClipDrivenModel,
    "uniseg": UniSegModel,
    "multitalent": MultiTalentModel,
}


def model_class(system: str) -> type[UniversalModel]:
    """Of one of the nine, or of a user's own system.

    Raises:
        BenchError: a user's own cannot be imported.
    """
    found: type[UniversalModel] = MODELS.get(system) or load_object(
        system, "the option `system` of the card"
    )
    return found


def new_model(preset: Preset, known: Catalogue) -> UniversalModel:
    """A model of the preset's system with random weights.

    Raises:
        BenchError: see `model_class`.
    """
    return model_class(preset.system)(preset, known)


def model_from(content: Mapping[str, Any], path: Path) -> UniversalModel:
    """The model in a checkpoint.

    Raises:
        BenchError: the content is not that of a universal system of this version.
    """
    try:
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']} instead of {FORMAT}")
        preset = Preset.model_validate_json(content["preset"])
        model = new_model(preset, Catalogue.model_validate_json(content["known"]))
        leave_out_heads(model.network, content["weights"])
        model.network.load_state_dict(content["weights"])
    except (KeyError, TypeError, ValueError, RuntimeError, ValidationError) as error:
        raise BenchError(
            "this checkpoint is not a universal system's",
            file=path,
            found=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}",
            hint="train the model again",
        ) from error
    return model


def leave_out_heads(network: nn.Module, weights: Mapping[str, Any]) -> None:
    """Take out the heads that only a training needs where a release has none of them."""
    for head in ("auxiliary_head", "modality_head"):
        if hasattr(network, head) and not any(name.startswith(f"{head}.") for name in weights):
            setattr(network, head, None)


def load_model(path: Path) -> UniversalModel:
    """The model of a checkpoint file, in evaluation mode on the CPU.

    Raises:
        BenchError: see `read_checkpoint` and `model_from`; or a weight is not a number.
    """
    model = model_from(read_checkpoint(path), path)
    require_finite(model, path)
    return model.eval()
