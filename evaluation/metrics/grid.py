"""How layers become the label maps that a sweep reads: turned, narrowed, looked up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.errors import BenchError
from evaluation.metrics.areas import contour_lengths, surface_areas
from evaluation.metrics.offsets import corner_steps
from evaluation.metrics.passes import Numbers, Pass
from evaluation.metrics.peers import singleton_axis
from evaluation.volumes.image_files import Array

_NARROW = (np.uint8, np.uint16, np.int16)
LabelMap = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True)
class Grid:
    """How the axes of the layers are turned so that memory order becomes (z, y, x)."""

    order: tuple[int, int, int]
    flips: tuple[slice, slice, slice]
    flat: bool
    spacing_mm: tuple[float, float, float]

    @classmethod
    def of(cls, layer: Array, spacing_mm: tuple[float, float, float]) -> Grid:
        """The arrangement in which `layer` needs no copy; the axis of flat data comes first."""
        single = singleton_axis(layer.shape)
        z, y, x = sorted(range(3), key=lambda a: (a != single, -abs(layer.strides[a])))
        flips = [slice(None, None, -1 if layer.strides[a] < 0 else 1) for a in (z, y, x)]
        return cls((z, y, x), (flips[0], flips[1], flips[2]), single is not None, spacing_mm)

    def arrange(self, layer: LabelMap) -> LabelMap:
        """The layer as a contiguous array (z, y, x); a flat one twice, on top of itself."""
        turned = layer.transpose(self.order)[self.flips]
        return np.ascontiguousarray(np.concatenate([turned, turned]) if self.flat else turned)

    def steps(self, tolerances_mm: Sequence[float], shape: Sequence[int]) -> NDArray[np.int64]:
        """`corner_steps` with columns dz, dy, dx, level."""
        # Flat data have corners in one plane only.
        shape = [0 if self.flat and axis == self.order[0] else n for axis, n in enumerate(shape)]
        steps = corner_steps(self.spacing_mm, tolerances_mm, shape)
        return np.ascontiguousarray(steps[:, [*self.order, 3]])

    def lengths(self, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        """Lengths in mm of steps (dz, dy, dx), added up in the order of the data's axes."""
        squares = (steps[:, np.argsort(self.order)] * np.asarray(self.spacing_mm)) ** 2
        return np.asarray(np.sqrt((squares[:, 0] + squares[:, 1]) + squares[:, 2]))

    def areas(self) -> NDArray[np.float64]:
        """Surface (contour) of each neighbour code."""
        z, y, x = (self.spacing_mm[axis] for axis in self.order)
        return contour_lengths((y, x)) if self.flat else surface_areas((z, y, x))


@dataclass(frozen=True)
class Side:
    """Layers of one side, unsigned; `signed` says that values stand for two's complement."""

    layers: list[LabelMap]
    signed: list[bool]


@dataclass(frozen=True)
class Sources:
    """What the compiled loops read of one pass; pairs are (reference, prediction).

    Label maps (z, y, x) of one type, the class number of every value, whether values up to `top`
    are class numbers already (all larger ones being dropped), and that value.
    """

    maps: tuple[LabelMap, LabelMap]
    lookups: tuple[NDArray[np.uint8], NDArray[np.uint8]]
    plain: tuple[bool, bool]
    top: tuple[Any, Any]
    n_classes: int

    @classmethod
    def of(cls, part: Pass, sides: tuple[Side, Side]) -> Sources:
        """The label maps of one pass."""
        a, lookup_a = _source(part.numbers[0], sides[0])
        b, lookup_b = _source(part.numbers[1], sides[1])
        if a is None or b is None:
            # An empty side: any map of the right shape, looked up in a table of zeros.
            stand_in = a if b is None else b
            if stand_in is None:
                stand_in = (sides[0].layers or sides[1].layers)[0]
            a, b = (stand_in if source is None else source for source in (a, b))
        if a.dtype != b.dtype:
            a, b = (source.astype(np.uint16, copy=False) for source in (a, b))
        size = int(np.iinfo(a.dtype).max) + 1
        table_a, table_b = (np.pad(table, (0, size - table.size)) for table in (lookup_a, lookup_b))
        return cls(
            (a, b),
            (table_a, table_b),
            (is_plain(table_a), is_plain(table_b)),
            (a.dtype.type(table_a.max()), a.dtype.type(table_b.max())),
            len(part.members),
        )


def _source(numbers: Numbers, side: Side) -> tuple[LabelMap | None, NDArray[np.uint8]]:
    """The label map of one side of a pass and its look-up table."""
    tables = {layer: _table(values, side, layer) for layer, values in numbers.items()}
    if len(tables) == 1:
        ((layer, table),) = tables.items()
        return side.layers[layer], table
    joined: NDArray[np.uint8] | None = None
    for layer, table in tables.items():
        mask = table[side.layers[layer]]
        joined = mask if joined is None else np.maximum(joined, mask)
    return joined, np.arange(256 if joined is not None else 0, dtype=np.uint8) * (
        joined is not None
    )


def _table(values: dict[int, int], side: Side, layer: int) -> NDArray[np.uint8]:
    size = int(np.iinfo(side.layers[layer].dtype).max) + 1
    low, high = (-size // 2, size // 2) if side.signed[layer] else (0, size)
    table = np.zeros(size, dtype=np.uint8)
    for value, number in values.items():
        if low <= value < high:
            table[value % size] = number
    return table


def is_plain(table: NDArray[np.uint8]) -> bool:
    """Whether values up to the largest class number stay as they are and all others become 0."""
    top = int(table.max())
    return bool(np.array_equal(table[: top + 1], np.arange(top + 1)) and not table[top + 1 :].any())


def unsigned_layers(layers: Sequence[Array], grid: Grid) -> Side:
    """Layers as contiguous unsigned 8- or 16-bit arrays, without a copy where possible."""
    arranged: list[LabelMap] = []
    signed: list[bool] = []
    for layer in layers:
        narrow = layer
        if layer.dtype not in (np.uint8, np.uint16, np.int16):
            low, high = int(layer.min()), int(layer.max())
            fitting = [t for t in _NARROW if np.iinfo(t).min <= low and high <= np.iinfo(t).max]
            if not fitting:
                raise BenchError(
                    "label values do not fit into 16 bits",
                    found=f"{low} to {high}",
                    expected="0 to 65535, or -32768 to 32767",
                    hint="renumber the labels",
                )
            narrow = layer.astype(fitting[0])
        signed.append(narrow.dtype == np.int16)
        arranged.append(grid.arrange(narrow.view(np.uint16) if signed[-1] else narrow))
    return Side(arranged, signed)
