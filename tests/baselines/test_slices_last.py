"""Oblique scans reach nnU-Net with their slices along one axis, and its answers come back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from nnunetv2.imageio.nibabel_reader_writer import NibabelIOWithReorient

from baselines.nnunet.export import slice_order, slices_last
from evaluation.cases import ImageCase
from evaluation.volumes.axes import array_turned_back, order_of
from evaluation.volumes.image_files import Volume, write_volume


@pytest.mark.parametrize("spacing_mm", [(1.4, 10.0, 1.4), (8.0, 1.3, 1.3), (1.4, 1.4, 8.0)])
@pytest.mark.parametrize(("dataset", "turns"), [("sunnybrook", True), ("mrspineseg", False)])
def test_nnunet_reads_slices_first_where_the_card_says_so(
    tmp_path: Path, spacing_mm: tuple[float, float, float], dataset: str, turns: bool
) -> None:
    shape = (6, 8, 10)
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    case = ImageCase(
        dataset, "a", "a", "mri", tmp_path, spacing_mm, shape,
        grid_axes=order_of("slices-last", spacing_mm),
    )  # fmt: skip
    order = slice_order(case)
    path = tmp_path / "image.nii.gz"
    write_volume(path, slices_last(Volume(array, np.diag([*spacing_mm, 1.0])), order))
    image, properties = NibabelIOWithReorient().read_images([str(path)])
    if turns:
        assert properties["spacing"][0] == pytest.approx(max(spacing_mm))
    else:
        np.testing.assert_allclose(properties["spacing"], spacing_mm[::-1])
    # What nnU-Net answers on its grid (z, y, x) lies on the case's again.
    np.testing.assert_array_equal(array_turned_back(image[0].T, order), array)
