"""A scan's fingerprint: voxel sketch, keypoints and extent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evaluation.audit.keypoints import Keypoints, find_keypoints
from evaluation.audit.sketch import Hashes, voxel_sketch
from evaluation.errors import BenchError
from evaluation.volumes.image_files import Volume

VERSION = 1
"""Part of every key in the store: raise it when a fingerprint comes out differently."""


@dataclass(frozen=True)
class Fingerprint:
    """What is kept of a scan: about 32 kB of sketch and 27 bytes for each keypoint.

    Args:
        sketch: ascending hashes.
        keypoints: possibly none.
        sides_mm: extent of the field of view along the scan's axes.
    """

    sketch: Hashes
    keypoints: Keypoints
    sides_mm: tuple[float, float, float]

    @property
    def blind(self) -> str:
        """Which ways of finding this scan again are closed; empty if none is."""
        missing = []
        if len(self.sketch) < MARKS_NEEDED:
            missing.append("too few voxel marks")
        if len(self.keypoints) < MARKS_NEEDED:
            missing.append("too few keypoints")
        return " and ".join(missing)


MARKS_NEEDED = 10
"""With fewer, no threshold can be reached; such scans are reported, never called clean."""


def fingerprint_of(volume: Volume) -> Fingerprint:
    """Fingerprint of a scan.

    Args:
        volume: image (x, y, z); spacing in mm from its affine.

    Raises:
        BenchError: complex or non-finite voxels.
    """
    array = volume.array
    if np.iscomplexobj(array):
        raise BenchError("image has complex voxels", found=array.dtype)
    if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
        raise BenchError("image holds NaN or infinity", expected="finite numbers")
    x, y, z = (float(n * mm) for n, mm in zip(array.shape, volume.spacing_mm, strict=True))
    return Fingerprint(voxel_sketch(array), find_keypoints(array, volume.spacing_mm), (x, y, z))
