"""The authors' released files as one checkpoint of ours, for a run and for `satbench segment`.

The first release is two files: the segmentation network, and a text tower that holds a BERT and
the projection head behind its pooler. The tokenizer and the configuration of that BERT (BiomedBERT
base uncased, abstracts) lie in a folder of their own. The conversion embeds the prompts of all 362
classes once, so that afterwards neither file is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from evaluation.classes import vocabulary
from evaluation.datasets.registry import find_card
from evaluation.errors import BenchError
from evaluation.studies.record import find_study
from evaluation.training.checkpoints import read_checkpoint, save_content
from sat.config import Preset, load_preset
from sat.model import SatModel
from sat.prompts.book import PromptBook, prompt_text
from sat.text.encoder import TextEncoder, encoder_shapes
from sat.text.projection_head import find_projection
from sat.weights import load_released, unwrapped

PRESET = "released-v1"
_FIRST_WEIGHT = "embeddings.word_embeddings.weight"
_NETWORK_PART = "backbone."


@dataclass(frozen=True)
class ReleasedFiles:
    """What a user has.

    Attributes:
        network: checkpoint of the segmentation network.
        text: checkpoint of the text tower: the projection head, and the encoder's weights
            unless those of the folder are meant.
        encoder: folder with `config.json` and vocabulary of the text encoder.
        projection: name in front of the head's layers, where the text tower has several.
    """

    network: Path
    text: Path
    encoder: Path
    projection: str | None = None


@dataclass(frozen=True)
class TextSide:
    """The two parts of a text tower, and what was left out.

    Attributes:
        encoder: the encoder's weights by the encoder's own names; None if the file has none.
        projection: the head's weights by the names of `PromptProjection.layers`.
        projection_name: where in the file the head was found.
        unused: keys of the file that are neither.
    """

    encoder: dict[str, Tensor] | None
    projection: dict[str, Tensor]
    projection_name: str
    unused: tuple[str, ...]


def convert_released(
    files: ReleasedFiles, out: Path, tuned_encoder: Path | None = None, preset: Preset | None = None
) -> TextSide:
    """Write one checkpoint with all 362 classes of the study `sat`.

    Args:
        files: the released files.
        out: the checkpoint to write.
        tuned_encoder: also write the text encoder with the tower's weights to this new folder,
            for prompts that are no class (`satbench segment --text-encoder`).
        preset: sizes and conventions, `released-v1` by default.

    Returns:
        What was found in the text tower.

    Raises:
        BenchError: a file is missing, corrupt, holds code, is not what it should be, or `out`
            is there already.
    """
    preset = preset or load_preset(PRESET)
    for path in (out, *([tuned_encoder] if tuned_encoder else [])):
        if path.exists():
            raise BenchError("this is there already", file=path, hint="name another, or remove it")
    shapes = encoder_shapes(files.encoder)
    side = read_text_side(files, shapes, preset.network.query_width)
    encoder = TextEncoder(
        files.encoder,
        preset.prompts.pooling,
        unit_length=preset.prompts.embedding != "raw",
        weights=side.encoder,
    )
    network = load_released(_network_part(files.network), preset.network)
    _require_finite(files.network, network.state_dict())
    keys = tuple((info.modality, info.name) for info in vocabulary("sat"))
    embeddings = encoder.embed([prompt_text(preset.prompts, key) for key in keys])
    trained = {entry: tuple(find_card(entry).class_names) for entry in find_study("sat").entries}
    model = SatModel(preset, PromptBook(keys, embeddings), trained, network)
    model.projection.layers.load_state_dict(side.projection)
    if tuned_encoder is not None:
        encoder.save(tuned_encoder)
    save_content(out, model.content())
    return side


def read_text_side(
    files: ReleasedFiles, shapes: Mapping[str, torch.Size], query_width: int
) -> TextSide:
    """Tell the encoder and the projection head of a text tower apart.

    The encoder is known by its names, whatever stands in front of them; the head is found by
    its shape, see `find_projection`.

    Args:
        files: the released files.
        shapes: names and shapes that the encoder's configuration asks for.
        query_width: length of a query, the head's output.

    Raises:
        BenchError: there is no head or more than one, or the encoder is not the folder's.
    """
    found = unwrapped(read_checkpoint(files.text))
    state = {
        str(key).removeprefix("module."): value
        for key, value in found.items()
        if isinstance(value, Tensor)
    }
    if any(key.startswith(_NETWORK_PART) for key in state):
        raise BenchError(
            "this is the segmentation network, not the text tower",
            file=files.text,
            hint="exchange the two files",
        )
    _require_finite(files.text, state)
    weights, rest = _encoder_part(state, shapes, files)
    width = shapes[_FIRST_WEIGHT][1]
    name, projection = find_projection(rest, width, query_width, files.projection, files.text)
    unused = tuple(sorted(rest.keys() - set(projection.values())))
    return TextSide(weights, {ours: rest[key] for ours, key in projection.items()}, name, unused)


def _encoder_part(
    state: Mapping[str, Tensor], shapes: Mapping[str, torch.Size], files: ReleasedFiles
) -> tuple[dict[str, Tensor] | None, dict[str, Tensor]]:
    """The encoder's weights by its own names, and everything else."""
    if _FIRST_WEIGHT not in shapes:
        raise BenchError(
            "the text encoder's configuration is not that of a BERT", file=files.encoder,
            found=", ".join(list(shapes)[:3]), expected=_FIRST_WEIGHT,
        )  # fmt: skip
    starts = [key.removesuffix(_FIRST_WEIGHT) for key in state if key.endswith(_FIRST_WEIGHT)]
    if not starts:
        return None, dict(state)
    if len(starts) > 1:
        raise BenchError(
            "the text tower holds more than one text encoder",
            file=files.text,
            found=", ".join(f"{start}{_FIRST_WEIGHT}" for start in starts),
        )
    start = starts[0]
    faults = []
    for key, shape in shapes.items():
        value = state.get(start + key)
        if value is None:
            faults.append(f"{start}{key}: missing")
        elif value.shape != shape:
            faults.append(f"{start}{key}: shape {tuple(value.shape)} instead of {tuple(shape)}")
    if faults:
        raise BenchError(
            "the text tower's encoder is not the one that the folder describes",
            file=files.text,
            found=f"{len(faults)} faults:\n            " + "\n            ".join(faults[:20]),
            expected=f"the {len(shapes)} weights of {files.encoder / 'config.json'}",
            hint="name the folder of the encoder that the tower was made from",
        )
    weights = {key: state[start + key] for key in shapes}
    # An index of positions that older versions of the library stored is no weight.
    ours = {start + key for key in shapes} | {f"{start}embeddings.position_ids"}
    return weights, {key: value for key, value in state.items() if key not in ours}


def _network_part(path: Path) -> Mapping[str, Any]:
    """The network's state dict; another file is refused before its keys are listed one by one."""
    state = unwrapped(read_checkpoint(path))
    keys = [str(key).removeprefix("module.") for key in state]
    if not any(key.startswith(_NETWORK_PART) for key in keys):
        is_text = any(key.endswith(_FIRST_WEIGHT) for key in keys)
        raise BenchError(
            "this is the text tower, not the segmentation network"
            if is_text
            else "this is not the released segmentation network",
            file=path,
            found=f"{len(keys)} keys: {', '.join(keys[:6])}" + (" ..." if len(keys) > 6 else ""),
            expected=f"keys such as {_NETWORK_PART}encoder.stages.0.0.convs.0.conv.weight",
            hint="exchange the two files" if is_text else None,
        )
    return state


def _require_finite(path: Path, state: Mapping[str, Tensor]) -> None:
    bad = [key for key, value in state.items() if not torch.isfinite(value).all()]
    if bad:
        raise BenchError(
            "the file holds weights that are not numbers",
            file=path,
            found=f"{len(bad)} tensors, the first is {bad[0]}",
        )
