"""Ask a model for one scan's prompts and measure what the change of words did to its masks.

Masks are measured as they come and not kept: only those of plain names stay until the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from evaluation.cases import ImageCase, Prediction
from evaluation.models.gate import checked_answer
from evaluation.models.protocol import TextModel
from evaluation.stress.kinds import Prompt
from evaluation.volumes.segmentation import Segmentation

Mask = NDArray[np.bool_]
TEXTS_AT_ONCE = 32
"""Masks of so many texts are in memory at a time."""


@dataclass(frozen=True)
class Answer:
    """What became of one prompt in one scan; DSCs are 0..1, None where there is nothing to say.

    Attributes:
        kind: of the stress.
        text: the words.
        classes: asked for before the words changed, joined by ` + `.
        meaning: what the words mean; empty for nothing.
        dsc_named: of the plain names' mask with the reference of `classes`.
        dsc: of this text's mask with that reference.
        dsc_meant: of this text's mask with the reference of `meaning`.
        unchanged: DSC of this text's mask with the plain names' mask; None if that is empty.
        volume_ml: of this text's mask.
        refused: the model left the text out of its answer.
    """

    kind: str
    text: str
    classes: str
    meaning: str
    dsc_named: float
    dsc: float
    dsc_meant: float | None
    unchanged: float | None
    volume_ml: float
    refused: bool = False


def answers_under_stress(
    model: TextModel, case: ImageCase, reference: Segmentation, prompts: Sequence[Prompt]
) -> list[Answer]:
    """One answer for each prompt, measured on the native grid.

    Raises:
        Exception: whatever the model raises, and what `checked_answer` says of its answer.
    """
    names = list(dict.fromkeys(name for prompt in prompts for name in prompt.classes))
    meant = list(dict.fromkeys(name for prompt in prompts for name in prompt.meaning))
    truth = {name: reference.mask(name) for name in dict.fromkeys([*names, *meant])}
    empty = np.zeros(case.shape, dtype=bool)
    named = {name: empty if mask is None else mask for name, mask in _masks(model, case, names)}
    by_text: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        by_text.setdefault(prompt.text, []).append(prompt)
    voxel_ml = float(np.prod(case.spacing_mm)) / 1000
    measured: dict[int, Answer] = {}
    for text, mask in _masks(model, case, list(by_text)):
        for prompt in by_text[text]:
            measured[id(prompt)] = _measured(prompt, mask, empty, named, truth, voxel_ml)
    return [measured[id(prompt)] for prompt in prompts]


def _masks(
    model: TextModel, case: ImageCase, texts: Sequence[str]
) -> Iterator[tuple[str, Mask | None]]:
    """Each text with its mask (x, y, z), in groups; None: it was refused."""
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        group = texts[start : start + TEXTS_AT_ONCE]
        answer: object = model.predict_texts(case, group)
        refused = isinstance(answer, Prediction) and not answer.segmentation.classes
        found = None if refused else checked_answer(case, answer, group).segmentation
        for text in group:
            there = found is not None and text in found.classes
            yield text, found.mask(text) if found is not None and there else None


def _measured(
    prompt: Prompt,
    answer: Mask | None,
    empty: Mask,
    named: Mapping[str, Mask],
    truth: Mapping[str, Mask],
    voxel_ml: float,
) -> Answer:
    mask = empty if answer is None else answer
    plain, reference = (_union(side, prompt.classes) for side in (named, truth))
    return Answer(
        kind=prompt.kind,
        text=prompt.text,
        classes=" + ".join(prompt.classes),
        meaning=" + ".join(prompt.meaning),
        dsc_named=overlap(plain, reference),
        dsc=overlap(mask, reference),
        dsc_meant=overlap(mask, _union(truth, prompt.meaning)) if prompt.meaning else None,
        unchanged=overlap(mask, plain) if plain.any() else None,
        volume_ml=float(np.count_nonzero(mask)) * voxel_ml,
        refused=answer is None,
    )


def _union(masks: Mapping[str, Mask], names: Sequence[str]) -> Mask:
    return reduce(np.logical_or, (masks[name] for name in names))


def overlap(a: Mask, b: Mask) -> float:
    """DSC of two masks, of which one at least holds a voxel."""
    total = np.count_nonzero(a) + np.count_nonzero(b)
    return 2 * float(np.count_nonzero(a & b)) / total
