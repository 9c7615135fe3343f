"""Cut a reference and an answer to it round what the reference shows.

For the space `cropped` alone: whatever a model finds outside of the box is not seen there.
"""

from __future__ import annotations

import numpy as np

from evaluation.volumes.segmentation import Segmentation

Box = tuple[slice, slice, slice]


def box_round(reference: Segmentation, margin: tuple[int, int, int], least: int = 0) -> Box | None:
    """Smallest box with all voxels that have a label, and a margin; None where there is none.

    Args:
        reference: layers (x, y, z).
        margin: voxels kept on each side, along x, y, z.
        least: a side of fewer voxels gets half of what it lacks, rounded down, on each side too.
    """
    sides: list[slice] = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        seen = np.zeros(reference.shape[axis], dtype=bool)
        for layer in reference.layers:
            seen |= layer.any(axis=others)
        at = np.flatnonzero(seen)
        if not len(at):
            return None
        first, stop = int(at[0]), int(at[-1]) + 1
        more = margin[axis] + max(0, least - (stop - first)) // 2
        sides.append(slice(max(0, first - more), min(len(seen), stop + more)))
    return sides[0], sides[1], sides[2]


def cut(segmentation: Segmentation, box: Box) -> Segmentation:
    """The layers within a box, copied, with the affine of its first voxel."""
    affine = segmentation.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ np.array([side.start for side in box])
    layers = tuple(np.asfortranarray(layer[box]) for layer in segmentation.layers)
    return Segmentation(layers, affine, segmentation.classes)
