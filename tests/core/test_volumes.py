"""Reading, writing and comparing volumes; geometry in millimetres."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from evaluation.errors import BenchError
from evaluation.files import atomic_path
from evaluation.io import (
    Volume,
    orientation_of,
    read_volume,
    same_grid,
    spacing_of,
    stem_of,
    to_ras,
    write_volume,
)

OBLIQUE = np.array(
    [[-0.8, 0.0, 0.1, 12.0], [0.0, -0.9, 0.0, -7.0], [0.08, 0.0, 2.5, 30.0], [0, 0, 0, 1.0]]
)


def volume(dtype=np.int16, affine=OBLIQUE) -> Volume:
    generator = np.random.default_rng(3)
    return Volume(generator.integers(0, 90, (7, 6, 5)).astype(dtype), affine)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha", ".mhd"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_round_trip_keeps_voxels_type_and_geometry(tmp_path, suffix, dtype):
    before = volume(dtype)
    write_volume(tmp_path / f"v{suffix}", before)
    after = read_volume(tmp_path / f"v{suffix}")
    assert after.array.dtype == dtype
    np.testing.assert_array_equal(after.array, before.array)
    np.testing.assert_allclose(after.affine, before.affine, atol=1e-5)


def test_ras_moves_no_voxel_in_space():
    before = volume()
    after = to_ras(before)
    assert orientation_of(before.affine) == "LPS"
    assert orientation_of(after.affine) == "RAS"
    position = OBLIQUE @ [2, 3, 4, 1]
    index = np.linalg.inv(after.affine) @ position
    assert after.array[tuple(index[:3].round().astype(int))] == before.array[2, 3, 4]


def test_spacing_is_rounded_so_that_header_noise_does_not_count():
    assert spacing_of(np.diag([0.99999994, 1.0000001, 3.0, 1.0])) == (1.0, 1.0, 3.0)


def test_grid_comparison_sees_every_kind_of_difference():
    a = volume()
    assert same_grid(a, Volume(a.array, a.affine + 1e-5)) is None
    assert "shape" in str(same_grid(a, Volume(a.array[:-1], a.affine)))
    shifted = a.affine.copy()
    shifted[0, 3] += 0.5
    assert "corners differ by 0.5 mm" in str(same_grid(a, Volume(a.array, shifted)))
    flipped = a.affine @ np.diag([-1.0, 1, 1, 1])
    assert same_grid(a, Volume(a.array, flipped)) is not None


@pytest.mark.parametrize("cut", [0.02, 0.5, 0.98])
def test_truncated_file_is_one_clear_error(tmp_path, cut):
    path = tmp_path / "scan.nii.gz"
    write_volume(path, volume())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * cut)])
    with pytest.raises(BenchError, match="truncated or corrupt") as caught:
        read_volume(path)
    assert str(path) in str(caught.value)


def test_other_unusable_files(tmp_path):
    with pytest.raises(BenchError, match="not found"):
        read_volume(tmp_path / "absent.nii.gz")
    text = tmp_path / "text.nii.gz"
    text.write_bytes(gzip.compress(b"not an image"))
    with pytest.raises(BenchError, match="cannot be read"):
        read_volume(text)
    four = tmp_path / "four.nii.gz"
    write_volume(four, Volume(np.zeros((3, 3, 3, 2), np.uint8), np.eye(4)))
    with pytest.raises(BenchError, match="not three-dimensional"):
        read_volume(four)


def test_atomic_write_leaves_the_old_file_when_it_fails(tmp_path):
    path = tmp_path / "value.txt"
    path.write_text("old")

    def fail_half_way() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["value.txt"]


def test_stem_counts_nii_gz_as_one_suffix(tmp_path):
    assert stem_of(tmp_path / "case_01.nii.gz") == "case_01"
    assert stem_of(tmp_path / "scan.1.MHD") == "scan.1"
