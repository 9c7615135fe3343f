"""Regions of a step: the classes that its crops show, with their texts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from sat.atlas.model import AtlasModel
from sat.config import PromptSettings
from sat.data import Batch
from sat.prompts import PromptBook, prompt_text


@dataclass(frozen=True)
class Concepts:
    """The texts of a prompt book, each once: a liver in CT and one in MR are one concept.

    Attributes:
        of_row: (N,) concept of each row of the book.
        names: class name of each concept, of the first row that has it.
        embeddings: (K, E) text embedding of each concept.
    """

    of_row: Tensor
    names: tuple[str, ...]
    embeddings: Tensor


def concepts_of(settings: PromptSettings, book: PromptBook) -> Concepts:
    """Concepts of a prompt book: rows with the same text are one."""
    numbers: dict[str, int] = {}
    first: list[int] = []
    of_row = []
    for row, key in enumerate(book.keys):
        text = prompt_text(settings, key)
        if text not in numbers:
            numbers[text] = len(numbers)
            first.append(row)
        of_row.append(numbers[text])
    return Concepts(
        torch.tensor(of_row), tuple(book.keys[row][1] for row in first), book.embeddings[first]
    )


def visible(batch: Batch, minimum_voxels: int) -> tuple[Tensor, Tensor]:
    """Crop and column (both (R,)) of every annotated class that is large enough in its crop."""
    voxels = batch.targets.flatten(2).sum(-1)
    sample, column = ((voxels >= minimum_voxels) & batch.valid).nonzero(as_tuple=True)
    return sample, column


def encode_regions(
    model: AtlasModel, batches: Iterable[Batch], concepts: Concepts, minimum_voxels: int
) -> tuple[Tensor, Tensor]:
    """Vectors (R, width) of all regions in some batches, and the concept (R,) of each.

    R may be zero.
    """
    device = next(model.parameters()).device
    vectors, found = [torch.zeros(0, 0, device=device)], [torch.zeros(0, dtype=torch.long)]
    for batch in batches:
        sample, column = visible(batch, minimum_voxels)
        if len(sample):
            masks = batch.targets[sample, column].to(device)
            vectors.append(model.regions(batch.image.to(device), masks, sample.to(device)))
            found.append(concepts.of_row[batch.prompts[sample, column]])
    if len(vectors) > 1:
        del vectors[0]
    return torch.cat(vectors), torch.cat(found).to(device)
