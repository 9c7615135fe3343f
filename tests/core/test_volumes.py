"""Reading, writing and comparing volumes; geometry in millimetres."""

from __future__ import annotations

import gzip
import io

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from evaluation.errors import BenchError
from evaluation.files.writing import atomic_path
from evaluation.volumes.headers import companions
from evaluation.volumes.image_files import (
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
    [[-0.8, 0.0, 0.25, 12.0], [0.0, -0.9, 0.0, -7.0], [0.08, 0.0, 2.5, 30.0], [0, 0, 0, 1.0]]
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


def nifti_bytes(array: np.ndarray, slope: float = 1.0, inter: float = 0.0) -> bytes:
    """A NIfTI file whose header scales its numbers, as scanners' converters write them."""
    header = nib.Nifti1Header()
    header.set_data_dtype(array.dtype)
    header.set_data_shape(array.shape)
    header.set_sform(OBLIQUE, 1)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    header["scl_slope"], header["scl_inter"] = slope, inter
    return header.binaryblock + bytes(4) + array.tobytes("F")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize(("slope", "inter"), [(1.0, -1024.0), (0.5, 0.0), (0.0, 0.0)])
def test_a_scale_factor_in_the_header_is_applied(tmp_path, suffix, slope, inter):
    array = volume().array
    content = nifti_bytes(array, slope, inter)
    path = tmp_path / f"scan{suffix}"
    path.write_bytes(content if suffix == ".nii" else gzip.compress(content))
    found = read_volume(path).array
    # A slope of 0 means by the standard that there is none.
    expected = array if slope == 0 else array * slope + inter
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == (np.int16 if slope == 0 else np.float32)


def test_voxels_that_are_no_single_real_numbers(tmp_path):
    colours = np.zeros((4, 4, 4), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    for name, array in (("complex", np.zeros((4, 4, 4), np.complex64)), ("rgb", colours)):
        nib.save(nib.Nifti1Image(array, OBLIQUE), tmp_path / f"{name}.nii.gz")
        with pytest.raises(BenchError, match="not real numbers"):
            read_volume(tmp_path / f"{name}.nii.gz")
    vectors = sitk.GetImageFromArray(np.zeros((4, 4, 4, 2), np.uint8), isVector=True)
    four = sitk.GetImageFromArray(np.zeros((2, 4, 4, 4), np.uint8), isVector=False)
    for name, image in (("vectors.nrrd", vectors), ("four.mha", four)):
        sitk.WriteImage(image, str(tmp_path / name))
        with pytest.raises(BenchError, match="not three-dimensional"):
            read_volume(tmp_path / name)


def test_a_flat_image_is_one_slice(tmp_path):
    flat = np.arange(20, dtype=np.uint8).reshape(5, 4)
    nib.save(nib.Nifti1Image(flat, np.diag([2.0, 3.0, 1.0, 1.0])), tmp_path / "flat.nii.gz")
    image = sitk.GetImageFromArray(flat.T)
    image.SetSpacing((2.0, 3.0))
    sitk.WriteImage(image, str(tmp_path / "flat.mha"))
    for name in ("flat.nii.gz", "flat.mha"):
        found = read_volume(tmp_path / name)
        np.testing.assert_array_equal(found.array, flat[..., None])
        assert found.spacing_mm[:2] == (2.0, 3.0)


def test_a_small_file_cannot_take_all_memory(tmp_path):
    """A header that claims terabytes, and a stream that goes on after the voxels."""
    array = volume(np.uint8).array
    lie = nib.Nifti1Header.from_fileobj(io.BytesIO(nifti_bytes(array)))
    lie.set_data_shape((30_000, 30_000, 30_000))
    (tmp_path / "claim.nii.gz").write_bytes(gzip.compress(lie.binaryblock + bytes(100)))
    nrrd = "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 30000 30000 30000\nencoding: raw\n\n"
    (tmp_path / "claim.nrrd").write_text(nrrd)
    for name in ("claim.nii.gz", "claim.nrrd"):
        with pytest.raises(BenchError, match="does not fit into memory"):
            read_volume(tmp_path / name)
    bomb = gzip.compress(nifti_bytes(array) + bytes(64 << 20))
    (tmp_path / "bomb.nii.gz").write_bytes(bomb)
    assert len(bomb) < 1 << 17
    with pytest.raises(BenchError, match=r"more than the .* bytes that its header allows"):
        read_volume(tmp_path / "bomb.nii.gz")
    trailing = gzip.compress(nifti_bytes(array) + bytes(500))
    (tmp_path / "trailing.nii.gz").write_bytes(trailing)
    np.testing.assert_array_equal(read_volume(tmp_path / "trailing.nii.gz").array, array)


def test_a_header_cannot_borrow_voxels_from_elsewhere(tmp_path):
    """A prediction whose header points at the reference would score 1."""
    before = volume(np.uint8)
    write_volume(tmp_path / "reference/scan.mhd", before)
    (data,) = companions(tmp_path / "reference/scan.mhd")[1:]
    header = (tmp_path / "reference/scan.mhd").read_text()
    nrrd = (
        "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 7 6 5\nencoding: raw\n"
        "data file: ../reference/voxels.raw\n\n"
    )
    (tmp_path / "prediction").mkdir()
    stolen = header.replace(data.name, f"../reference/{data.name}")
    for name, text in (("scan.mhd", stolen), ("scan.nrrd", nrrd)):
        (tmp_path / "prediction" / name).write_text(text)
        with pytest.raises(BenchError, match="outside its folder"):
            read_volume(tmp_path / "prediction" / name)
    # Beside the header the same is fine, and so are voxels in the header's own file.
    (tmp_path / "reference/voxels.raw").write_bytes(before.array.tobytes("F"))
    (tmp_path / "reference/detached.nrrd").write_text(nrrd.replace("../reference/", ""))
    detached = read_volume(tmp_path / "reference/detached.nrrd")
    np.testing.assert_array_equal(detached.array, before.array)
    write_volume(tmp_path / "whole.nrrd", before)
    assert companions(tmp_path / "whole.nrrd") == (tmp_path / "whole.nrrd",)
