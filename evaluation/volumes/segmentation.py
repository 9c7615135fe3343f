"""Masks that may overlap, as a few integer layers.

Masks may overlap (a cavity and the effusion in it), so a segmentation is a short list of integer
label maps ("layers") and, for each class, the places where it lives: one or more pairs of a layer
and its values. A union of classes costs a look-up, never another volume.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from evaluation.errors import BenchError, did_you_mean
from evaluation.files.records import Record
from evaluation.volumes.image_files import Affine, Array

Kind = Literal["annotated", "generated", "direct", "union"]


class Part(Record):
    """Voxels of one layer whose value is in `values`."""

    layer: int
    values: tuple[int, ...]


class ClassPlace(Record):
    """Where a class lives.

    `kind` is `annotated` or `generated` (a union of annotated classes) in a reference, and
    `direct` or `union` (of predicted classes) in a prediction.
    """

    kind: Kind
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Segmentation:
    """Integer layers (x, y, z) on one grid and the classes in them.

    `partial`: the grid is of the slices on which something was drawn; beside it is background.
    """

    layers: tuple[Array, ...]
    affine: Affine
    classes: Mapping[str, ClassPlace]
    partial: bool = False

    def mask(self, class_name: str) -> NDArray[np.bool_]:
        """Boolean mask (x, y, z) of a class.

        Raises:
            BenchError: the class is not in this segmentation.
        """
        place = self.classes.get(class_name)
        if place is None:
            raise BenchError(
                f"class `{class_name}` is not in this segmentation",
                hint=did_you_mean(class_name, list(self.classes)),
            )
        mask = np.zeros(self.shape, dtype=bool)
        for part in place.parts:
            mask |= np.isin(self.layers[part.layer], part.values)
        return mask

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of voxels along x, y, z."""
        return tuple(self.layers[0].shape)


def pack_masks(masks: Mapping[str, NDArray[np.bool_]], affine: Affine, kind: Kind) -> Segmentation:
    """Pack boolean masks (x, y, z), which may overlap, into few uint8 layers.

    A mask goes to the first layer in which all of its voxels are free (a greedy rule). Empty
    masks keep a value of their own, so that an annotated but absent class stays known.
    """
    layers: list[NDArray[np.uint8]] = []
    used: list[int] = []
    classes: dict[str, ClassPlace] = {}
    for name, mask in masks.items():
        # Slice by slice along the last axis: large masks come in Fortran order, where indexing a
        # whole volume with a whole mask costs ten times as much.
        slices = [z for z in range(mask.shape[-1]) if mask[..., z].any()]
        for index, layer in enumerate(layers):
            if used[index] < 255 and not any(layer[..., z][mask[..., z]].any() for z in slices):
                break
        else:
            layers.append(np.zeros(mask.shape, dtype=np.uint8, order="F"))
            used.append(0)
            index = len(layers) - 1
        used[index] += 1
        for z in slices:
            layers[index][..., z][mask[..., z]] = used[index]
        classes[name] = ClassPlace(kind=kind, parts=(Part(layer=index, values=(used[index],)),))
    return Segmentation(tuple(layers), affine, classes)


def union_place(places: Iterable[ClassPlace], kind: Kind) -> ClassPlace:
    """The union of several places as one look-up."""
    values: dict[int, set[int]] = {}
    for place in places:
        for part in place.parts:
            values.setdefault(part.layer, set()).update(part.values)
    parts = tuple(
        Part(layer=layer, values=tuple(sorted(found))) for layer, found in sorted(values.items())
    )
    return ClassPlace(kind=kind, parts=parts)
