"""Does a region find the text of its class? Measured on training patients kept out of stage 2."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from evaluation.confusions.names import other_side, rows_of
from evaluation.training.crops import Batch
from sat.atlas.model import AtlasModel
from sat.atlas.regions import Concepts, encode_regions


@dataclass(frozen=True)
class Retrieval:
    """Counts over regions; the gallery are the texts of all classes of the prompt book.

    Attributes:
        regions: number of regions.
        texts: size of the gallery. By chance, R@1 is 1 / texts.
        first: regions whose own text is the most similar one.
        first_five: regions whose own text is among the five most similar ones.
        first_ten: the same for ten.
        sided: regions of a class whose other side is in the gallery, too.
        side_confused: those to which the other side's text is at least as similar as their own.
        in_row: regions of a rib, vertebra or disc with another of its row in the gallery.
        neighbour_confused: those to which another one of the row is at least as similar.
    """

    regions: int
    texts: int
    first: int
    first_five: int
    first_ten: int
    sided: int
    side_confused: int
    in_row: int
    neighbour_confused: int

    def report(self) -> dict[str, Any]:
        """Counts and rates; None where there is nothing to count."""
        return {
            **asdict(self),
            "recall_at_1": _rate(self.first, self.regions),
            "recall_at_5": _rate(self.first_five, self.regions),
            "recall_at_10": _rate(self.first_ten, self.regions),
            "side_confusion": _rate(self.side_confused, self.sided),
            "neighbour_confusion": _rate(self.neighbour_confused, self.in_row),
            "chance_recall_at_1": 1 / self.texts,
        }


def _rate(part: int, whole: int) -> float | None:
    return round(part / whole, 5) if whole else None


def count_retrieval(
    similarity: Tensor, concept: Tensor, region: Tensor, names: Sequence[str]
) -> Retrieval:
    """Count hits and confusions; a tie counts against the region's own text.

    Args:
        similarity: (R, K) of regions and texts.
        concept: (R,) the text that each region is asked for.
        region: (R,) the same number for the same voxels; a text that is right for them as well
            is no competitor.
        names: class name of each text.
    """
    own = similarity.gather(1, concept[:, None])
    wanted = torch.nn.functional.one_hot(concept, len(names))
    right = ((region[:, None] == region[None, :]).long() @ wanted) > 0
    rank = ((similarity >= own) & ~right).sum(1) + 1
    number = {name: k for k, name in enumerate(names)}
    sides = {k: number.get(other_side(name) or "", -1) for name, k in number.items()}
    rows = {
        number[name]: [number[other] for other in members if other != name]
        for members in rows_of(names).values()
        for name in members
    }
    sided = side_confused = in_row = neighbour_confused = 0
    for row, right in enumerate(concept.tolist()):
        if (other := sides[right]) >= 0:
            sided += 1
            side_confused += int(similarity[row, other] >= own[row, 0])
        if others := rows.get(right):
            in_row += 1
            neighbour_confused += int((similarity[row, others] >= own[row, 0]).any())
    return Retrieval(
        regions=len(concept),
        texts=len(names),
        first=int((rank <= 1).sum()),
        first_five=int((rank <= 5).sum()),
        first_ten=int((rank <= 10).sum()),
        sided=sided,
        side_confused=side_confused,
        in_row=in_row,
        neighbour_confused=neighbour_confused,
    )


@torch.inference_mode()
def retrieve(
    model: AtlasModel, batches: Iterable[Batch], concepts: Concepts, minimum_voxels: int
) -> Retrieval:
    """Retrieval of the regions in some batches, the model in evaluation mode."""
    model.eval()
    found = encode_regions(model, batches, concepts, minimum_voxels)
    texts = model.texts(concepts.embeddings.to(found.concept.device))
    empty = texts.new_zeros(0, len(texts))
    similarity = found.vectors @ texts.T if len(found.concept) else empty
    return count_retrieval(
        similarity.cpu(), found.concept.cpu(), found.region.cpu(), concepts.names
    )
