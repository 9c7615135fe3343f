"""Disjoint leaf labels for nnU-Net, and the way back from them to every scored class.

nnU-Net trains on one label per voxel, while annotated classes may overlap. The leaves of a
specialist follow from the card alone:

- Classes of a label map (`values`): raw values that belong to the same classes form one leaf.
  KiTS has kidney = 1, 2, 3, tumour = 2, cyst = 3 and so the leaves kidney tissue, tumour, cyst.
- Classes with a mask file of their own: one leaf each. Where masks overlap, the class that stands
  later in the card wins the voxel.
- `CONTAINED` declares masks that lie inside others by definition: the voxels of the inner one are
  part of the outer class as well (NSCLC: cavity without effusion, effusion).

Every class is then a union of leaves. A class that a case has no annotation for counts as absent
from that case, as the paper's single-label training has it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evaluation.classes.entry import ClassEntry
from evaluation.errors import BenchError

if TYPE_CHECKING:
    # Planning a run needs leaves, but no image library.
    from evaluation.volumes.segmentation import ClassPlace, Segmentation

# dataset -> inner class -> outer class, for masks that come as separate files.
CONTAINED: Mapping[str, Mapping[str, str]] = {"nsclc": {"lung effusion": "thoracic cavity"}}

# Above this many combinations of layer values, one look-up table is no longer worth its memory.
_MAX_COMBINATIONS = 1 << 22


@dataclass(frozen=True)
class Leaf:
    """One label of nnU-Net: value, name, and the classes that its voxels belong to.

    `owner` is the class that the leaf stands for: the most specific one of `classes`.
    """

    value: int
    name: str
    owner: str
    classes: frozenset[str]


def leaves_of(entries: Sequence[ClassEntry], dataset: str) -> tuple[Leaf, ...]:
    """Leaves of some annotated classes of a card, values counted from 1 in the card's order.

    Raises:
        BenchError: there are more leaves than a uint8 label map can hold.
    """
    order = {entry.name: position for position, entry in enumerate(entries)}
    extent = {e.name: len(e.values) for e in entries if e.values is not None}
    signatures: dict[frozenset[str], int] = {}
    for value in sorted({v for e in entries for v in e.values or ()}):
        members = frozenset(e.name for e in entries if value in (e.values or ()))
        signatures.setdefault(members, value)
    found = []
    for members in signatures:
        owner = min(members, key=lambda name: (extent[name], order[name]))
        found.append((order[owner], owner, members))
    contained = CONTAINED.get(dataset, {})
    for entry in entries:
        if entry.file is not None:
            outer = contained.get(entry.name)
            members = frozenset({entry.name, outer} if outer in order else {entry.name})
            found.append((order[entry.name], entry.name, frozenset(str(m) for m in members)))
    found.sort(key=lambda leaf: (leaf[0], len(leaf[2]), sorted(leaf[2])))
    if len(found) > 254:
        raise BenchError(f"`{dataset}` needs {len(found)} leaf labels", expected="at most 254")
    return tuple(
        Leaf(value=value, name=f"{value:03d} {owner}", owner=owner, classes=members)
        for value, (_, owner, members) in enumerate(found, start=1)
    )


def places_of(leaves: Sequence[Leaf], classes: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """For each class the leaf values whose union it is."""
    return {name: tuple(leaf.value for leaf in leaves if name in leaf.classes) for name in classes}


def leaf_of(leaves: Sequence[Leaf], members: frozenset[str]) -> tuple[int, bool]:
    """The leaf of a voxel that belongs to these classes, and whether an overlap was resolved."""
    if not members:
        return 0, False
    for leaf in leaves:
        if leaf.classes == members:
            return leaf.value, False
    owned = [leaf.value for leaf in leaves if leaf.owner in members]
    return max(owned or [leaf.value for leaf in leaves if leaf.classes & members]), True


@dataclass(frozen=True)
class LeafMap:
    """Leaf labels (x, y, z) uint8 of one case, and how many voxels an overlap rule decided."""

    labels: NDArray[np.uint8]
    resolved_voxels: int


@dataclass(frozen=True)
class LeafTable:
    """From label layers to leaves, for cases whose classes have the same places.

    Attributes:
        numbers: for each layer with a class, its index, the number of kinds of its voxels, and
            the kind of each value.
        leaves: leaf of each combination of kinds.
        resolved: whether an overlap rule decided it.
    """

    numbers: tuple[tuple[int, int, NDArray[np.uint32]], ...]
    leaves: NDArray[np.uint8]
    resolved: NDArray[np.bool_]

    def labels(self, layers: Sequence[NDArray[Any]]) -> tuple[NDArray[np.uint8], int]:
        """Leaf labels (x, y, z) of layers or of a crop of them, and the voxels of overlaps."""
        code = np.zeros(layers[0].shape, dtype=np.uint32)
        for index, kinds, numbers in self.numbers:
            # Values beyond the table find its last one, which is of no class.
            code = code * np.uint32(kinds) + numbers.take(layers[index], mode="clip")
        count = 0
        if self.resolved.any():
            counts = np.bincount(code.ravel(), minlength=len(self.leaves))
            count = int(counts[self.resolved].sum())
        return self.leaves[code], count


def leaf_table(
    places: Mapping[str, ClassPlace], n_layers: int, leaves: Sequence[Leaf]
) -> LeafTable:
    """The look-up of cases whose classes lie at `places`.

    Each layer's values are numbered by the set of classes that they belong to, the numbers of all
    layers are combined, and one table turns a combination into a leaf.

    Raises:
        BenchError: there are too many combinations for a table.
    """
    combinations: list[frozenset[str]] = [frozenset()]
    numbers = []
    for index in range(n_layers):
        members = _members(index, places)
        if not members:
            continue
        kinds = list(dict.fromkeys([frozenset[str](), *members.values()]))
        of_value = np.zeros(max(members) + 2, dtype=np.uint32)
        for value, names in members.items():
            of_value[value] = kinds.index(names)
        numbers.append((index, len(kinds), of_value))
        combinations = [old | new for old in combinations for new in kinds]
        if len(combinations) > _MAX_COMBINATIONS:
            raise BenchError("the layers of this case combine in too many ways")
    answers = [leaf_of(leaves, names) for names in combinations]
    return LeafTable(
        numbers=tuple(numbers),
        leaves=np.array([value for value, _ in answers], dtype=np.uint8),
        resolved=np.array([flag for _, flag in answers]),
    )


def leaf_map(segmentation: Segmentation, leaves: Sequence[Leaf], classes: Sequence[str]) -> LeafMap:
    """Turn a reference's layers into one leaf label map, by one look-up for each layer."""
    places = {name: segmentation.classes[name] for name in classes if name in segmentation.classes}
    table = leaf_table(places, len(segmentation.layers), leaves)
    return LeafMap(*table.labels(segmentation.layers))


def _members(layer: int, places: Mapping[str, ClassPlace]) -> dict[int, frozenset[str]]:
    """For each value of a layer the classes that it belongs to."""
    found: dict[int, set[str]] = {}
    for name, place in places.items():
        for part in place.parts:
            if part.layer == layer:
                for value in part.values:
                    found.setdefault(value, set()).add(name)
    return {value: frozenset(names) for value, names in found.items()}
