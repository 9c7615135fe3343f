"""How good a perfect answer can be that was given on a common grid: the grid's ceiling by entry.

The reference goes to the grid by nearest neighbour, as in the space `resampled` and in a prepared
store, and comes back in two ways: by nearest neighbour, and interpolated linearly and cut at one
half, which is the way of a network whose probabilities are interpolated. DSC with the reference on
the native grid is what a model that never errs on the grid would reach. Where a grid has one side
of another length, the ceiling depends on which direction it lies along.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np
from numpy.typing import NDArray

from evaluation.cases import read_reference
from evaluation.datasets.collection import case_folders
from evaluation.datasets.registry import find_card
from evaluation.errors import BenchError
from evaluation.volumes.axes import AS_STORED, SLICES_LAST, AxisOrder, GridAxes, along_ras, order_of
from evaluation.volumes.image_files import Array
from evaluation.volumes.resample import grid_of_spacing, resample_nearest
from evaluation.volumes.segmentation import Segmentation

if TYPE_CHECKING:
    import pandas as pd

Sides = tuple[float, float, float]
WORTH_A_WARNING = 0.01


def orders_of(spacing_mm: Sides) -> dict[Sides, AxisOrder]:
    """The ways in which a grid's sides can lie along R, A, S, each with an axis order for it."""
    found: dict[Sides, AxisOrder] = {}
    for order in get_args(AxisOrder):
        found.setdefault(along_ras(spacing_mm, order), order)
    return found


def ceilings_of_run(run: Path, spacing_mm: Sides, most: int) -> tuple[pd.DataFrame, list[str]]:
    """The ceilings of all entries of a run, one row for each way in which the sides can lie.

    The last way is each scan's own, with its slices last.

    Args:
        run: a run whose cases are standardised.
        spacing_mm: the grid's sides.
        most: cases of an entry that are read, spread evenly over their ids.

    Returns:
        Columns `dataset, sides_mm` (along R, A, S), `order` (the `grid_axes` that lay them so),
        `of_card` (whether the entry's card does), `cases, masks, nearest, linear`; and a sentence
        for each entry whose card lays them worse than another order does.

    Raises:
        BenchError: the run has no case, or one cannot be read.
    """
    import pandas as pd

    entries: dict[str, list[Path]] = {}
    for folder in case_folders(run):
        entries.setdefault(folder.parent.name, []).append(folder)
    if not entries:
        raise BenchError("this run has no standardised case", file=run / "cases")
    rows: list[dict[str, object]] = []
    warnings: list[str] = []
    for dataset, folders in entries.items():
        sides_of: dict[GridAxes, Sides] = {o: s for s, o in orders_of(spacing_mm).items()}
        chosen = find_card(dataset).grid_axes
        ways: list[GridAxes] = [*sides_of, *([SLICES_LAST] if len(sides_of) > 1 else [])]
        if chosen not in ways:
            fixed = AS_STORED if chosen == "slices-last" else chosen
            chosen = orders_of(spacing_mm)[along_ras(spacing_mm, fixed)]
        read = folders[:: -(-len(folders) // most)]
        found = {order: _mean_ceiling(read, order, spacing_mm) for order in ways}
        for order, (masks, nearest, linear) in found.items():
            sides = sides_of.get(order)
            rows.append(
                {
                    "dataset": dataset,
                    "sides_mm": "by scan" if sides is None else " ".join(f"{s:g}" for s in sides),
                    "order": order,
                    "of_card": order == chosen,
                    "cases": len(read),
                    "masks": masks,
                    "nearest": nearest,
                    "linear": linear,
                }
            )
        best = max(found, key=lambda sides: found[sides][2])
        if found[best][2] > found[chosen][2] + WORTH_A_WARNING:
            warnings.append(
                f"{dataset}: perfect masks reach {found[chosen][2]:.3f} on its grid and "
                f"{found[best][2]:.3f} with `grid_axes: {best}`"
            )
    return pd.DataFrame(rows), warnings


def _mean_ceiling(
    folders: Sequence[Path], axes: GridAxes, spacing_mm: Sides
) -> tuple[int, float, float]:
    """Number of masks, and mean DSC by nearest neighbour and by linear interpolation."""
    pairs: list[tuple[float, float]] = []
    for folder in folders:
        record, reference = read_reference(folder)
        sides = along_ras(spacing_mm, order_of(axes, record.spacing_mm))
        pairs += _of_case(reference, sides)
    nearest, linear = np.array(pairs, dtype=float).reshape(-1, 2).T
    if not pairs:
        return 0, float("nan"), float("nan")
    return len(pairs), float(nearest.mean()), float(linear.mean())


def _of_case(reference: Segmentation, sides: Sides) -> Iterator[tuple[float, float]]:
    shape, affine = grid_of_spacing(reference.shape, reference.affine, sides)
    own = resample_nearest(reference, shape, affine)
    back = resample_nearest(own, reference.shape, reference.affine)
    # Own voxel j lies at native index j * step, the first voxels coincide.
    steps = np.linalg.norm(affine[:3, :3], axis=0) / np.linalg.norm(
        reference.affine[:3, :3], axis=0
    )
    for name in reference.classes:
        truth = reference.mask(name)
        if truth.any():
            smooth = _linear(own.mask(name), truth.shape, steps) >= 0.5
            yield _dsc(truth, back.mask(name)), _dsc(truth, smooth)


def _linear(
    mask: NDArray[np.bool_], shape: Sequence[int], steps: NDArray[np.float64]
) -> NDArray[np.float32]:
    """A mask on the grid at all native voxels, interpolated linearly and held at the borders."""
    out: Array = mask.astype(np.float32)
    for axis in range(3):
        index = np.clip(np.arange(shape[axis]) / steps[axis], 0, mask.shape[axis] - 1)
        low = index.astype(np.intp)
        high = np.minimum(low + 1, mask.shape[axis] - 1)
        weight = (
            (index - low).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
        )
        out = out.take(low, axis) * (1 - weight) + out.take(high, axis) * weight
    return out


def _dsc(truth: NDArray[np.bool_], answer: NDArray[np.bool_]) -> float:
    return 2 * float((truth & answer).sum()) / float(truth.sum() + answer.sum())
