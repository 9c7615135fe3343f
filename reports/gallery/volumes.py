"""Image, reference and predictions of a case, as pictures and the viewer need them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from evaluation.cases import (
    CASE_FILE,
    PREDICTION_FILE,
    read_image_case,
    read_prediction,
    read_reference,
)
from evaluation.datasets.registry import load_cards
from evaluation.errors import BenchError
from evaluation.paths import RunPaths
from evaluation.volumes.segmentation import Segmentation


@lru_cache(maxsize=1)
def open_case(
    paths: RunPaths, dataset: str, case: str
) -> tuple[NDArray[np.float32], tuple[float, float, float], str, Segmentation]:
    """Image (x, y, z), spacing in mm, modality and reference of a standardised case.

    Raises:
        BenchError: it is not there any more.
    """
    folder = paths.case(dataset, case)
    if not (folder / CASE_FILE).is_file():
        raise BenchError("the standardised case is not there any more", file=folder)
    image = read_image_case(folder)
    record, reference = read_reference(folder)
    array = image.image().array.astype(np.float32)
    return array, record.spacing_mm, record.modality, reference


@lru_cache(maxsize=2)
def open_prediction(paths: RunPaths, model: str, dataset: str, case: str) -> Segmentation:
    """A model's prediction of a case, on the case's grid.

    Raises:
        BenchError: it is not there any more.
    """
    folder = paths.prediction(model, dataset, case)
    if not (folder / PREDICTION_FILE).is_file():
        raise BenchError("the prediction is not there any more", file=folder)
    return read_prediction(folder)[1]


def class_mask(segmentation: Segmentation, dataset: str, class_name: str) -> NDArray[np.bool_]:
    """The class itself, or the union of its parts where only those were predicted."""
    if class_name in segmentation.classes:
        return segmentation.mask(class_name)
    card = load_cards().get(dataset)
    parts: tuple[str, ...] = ()
    if card is not None and class_name in card.class_names:
        parts = card.class_entry(class_name).union_of or ()
    mask = np.zeros(segmentation.shape, dtype=bool)
    for part in parts:
        if part in segmentation.classes:
            mask |= segmentation.mask(part)
    return mask
