"""Regions of a step: the classes that its crops show, with their texts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluation.training.crops import Batch
from sat.atlas.model import AtlasModel
from sat.config import PromptSettings
from sat.prompts.book import PromptBook, prompt_text


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


def same_regions(masks: Tensor, sample: Tensor) -> Tensor:
    """A number (R,) for each region, shared by classes that have the same voxels of one crop.

    A crop that shows one kidney has one region for `kidney` and `left kidney`: both texts are
    right for it, and neither is a negative of the other.

    Args:
        masks: (R, X, Y, Z) bool.
        sample: (R,) crop of each region.
    """
    voxels = masks.flatten(1).sum(1)
    number = torch.arange(len(masks), device=masks.device)
    for row in range(len(masks)):
        alike = (sample[:row] == sample[row]) & (voxels[:row] == voxels[row])
        for other in alike.nonzero().squeeze(1).tolist():
            if torch.equal(masks[other], masks[row]):
                number[row] = number[other]
                break
    return number


@dataclass(frozen=True)
class Regions:
    """Encoded regions; there may be none.

    Attributes:
        vectors: (R, width) of unit length.
        concept: (R,) the text that belongs to each.
        region: (R,) the same number for the same voxels.
    """

    vectors: Tensor
    concept: Tensor
    region: Tensor


def encode_regions(
    model: AtlasModel, batches: Iterable[Batch], concepts: Concepts, minimum_voxels: int
) -> Regions:
    """All regions in some batches."""
    device = next(model.parameters()).device
    vectors, concept, region = [], [], []
    count = 0
    of_row = concepts.of_row.to(device)
    for read in batches:
        # Counting and comparing masks is the device's work: a crop's can be a quarter of a GiB.
        batch = read.to(device)
        sample, column = visible(batch, minimum_voxels)
        if not len(sample):
            continue
        masks = batch.targets[sample, column]
        vectors.append(model.regions(batch.image, masks, sample))
        concept.append(of_row[batch.prompts[sample, column]])
        region.append(same_regions(masks, sample) + count)
        count += len(sample)
    if not vectors:
        nothing = torch.zeros(0, dtype=torch.long, device=device)
        return Regions(torch.zeros(0, 0, device=device), nothing, nothing)
    return Regions(torch.cat(vectors), torch.cat(concept), torch.cat(region))
