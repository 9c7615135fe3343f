"""One rule for a header that says two things of its geometry, and voxels that lie elsewhere."""

from __future__ import annotations

import gzip

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from evaluation.errors import BenchError
from evaluation.volumes.headers import companions
from evaluation.volumes.image_files import Volume, read_grid, read_volume, write_volume

ARRAY = np.arange(60, dtype=np.uint8).reshape(5, 4, 3)
LOST = (1.31579, 1.31579, 10.0)


def nifti(path, pixdim, sform=None, qform=None, units=2, order="<", dtype="u1"):
    """A NIfTI whose header says exactly this; zipped if its name says so."""
    header = nib.Nifti1Header(endianness=order)
    header.set_data_dtype(np.dtype(dtype).newbyteorder(order))
    header.set_data_shape(ARRAY.shape)
    if qform is not None:
        header.set_qform(qform, 1)
    if sform is not None:
        header.set_sform(sform, 1)
    header["pixdim"][1:4] = pixdim
    header["xyzt_units"], header["vox_offset"], header["magic"] = units, 352, b"n+1\0"
    voxels = ARRAY.astype(np.dtype(dtype).newbyteorder(order)).tobytes(order="F")
    content = header.binaryblock + bytes(4) + voxels
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def turned(spacing) -> np.ndarray:
    """An affine with flipped x and y axes, as DICOM has them."""
    return np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])


@pytest.mark.parametrize("name", ["s.nii", "s.nii.gz"])
@pytest.mark.parametrize(
    ("says", "spacing", "lost"),
    [
        # sform of ones: the qform counts, and without one the sform's directions do.
        ({"pixdim": LOST, "qform": turned(LOST), "sform": turned((1, 1, 1))}, LOST, "sform"),
        ({"pixdim": LOST, "sform": turned((1, 1, 1))}, LOST, "sform"),
        ({"pixdim": (1, 1, 1), "sform": turned((0.7, 0.7, 5))}, (0.7, 0.7, 5), "pixdim"),
        # Rounded in one place, or only one place at all: no conflict.
        ({"pixdim": (0.703, 0.7, 5), "sform": turned((0.7031, 0.7, 5))}, (0.7031, 0.7, 5), ""),
        ({"pixdim": (0, 0, 0), "sform": turned((2, 2, 5))}, (2, 2, 5), "pixdim"),
        ({"pixdim": (2, 3, 4)}, (2, 3, 4), ""),
        ({"pixdim": (2, 3, 4), "qform": turned((2, 3, 4))}, (2, 3, 4), ""),
        ({"pixdim": (0.002, 0.003, 0.004), "units": 1}, (2, 3, 4), "metres"),
        ({"pixdim": (2000, 3000, 4000), "units": 3}, (2, 3, 4), "micrometres"),
        ({"pixdim": (2, 3, 4), "units": 0}, (2, 3, 4), ""),
        ({"pixdim": (2, 3, 4), "units": 2 | 8}, (2, 3, 4), ""),  # seconds beside mm
    ],
)  # fmt: skip
def test_what_a_nifti_header_says_in_two_places(tmp_path, name, says, spacing, lost):
    path = nifti(tmp_path / name, **says)
    found, grid = read_volume(path), read_grid(path)
    np.testing.assert_allclose(found.spacing_mm, spacing, rtol=1e-4)
    np.testing.assert_array_equal(found.array, ARRAY)
    assert found.spacing_mm == grid.spacing_mm
    assert lost in found.remark
    assert bool(found.remark) == bool(lost)
    if "sform" in says:
        assert (np.diag(found.affine)[:2] < 0).all()


def test_two_sizes_that_nobody_can_decide_between_are_refused(tmp_path):
    path = nifti(tmp_path / "s.nii.gz", (2, 2, 5), sform=turned((0.7, 0.7, 5)))
    with pytest.raises(BenchError, match=r"0\.7 x 0\.7 x 5 mm, pixdim 2 x 2 x 5 mm"):
        read_volume(path)
    with pytest.raises(BenchError, match="unit of length"):
        read_volume(nifti(tmp_path / "u.nii", (1, 1, 1), units=5))


def test_a_tilted_gantry_is_refused_and_an_oblique_scan_is_not(tmp_path):
    tilted = np.eye(4)
    tilted[1, 2] = np.tan(np.radians(15))
    angle = np.radians(20)
    oblique = np.eye(4)
    oblique[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    for name, affine in (("tilted", tilted), ("oblique", oblique @ np.diag([1, 2, 3, 1.0]))):
        nib.save(nib.Nifti1Image(ARRAY, affine), tmp_path / f"{name}.nii.gz")
    with pytest.raises(BenchError, match=r"(?s)not perpendicular.*75\.0 degrees"):
        read_volume(tmp_path / "tilted.nii.gz")
    assert read_volume(tmp_path / "oblique.nii.gz").spacing_mm == (1, 2, 3)


@pytest.mark.parametrize("dtype", ["i2", "u2", "i4", "f4", "f8"])
@pytest.mark.parametrize("name", ["s.nii", "s.nii.gz"])
def test_the_other_byte_order_reads_alike(tmp_path, name, dtype):
    found = read_volume(nifti(tmp_path / name, (1, 1, 1), order=">", dtype=dtype))
    np.testing.assert_array_equal(found.array, ARRAY)
    assert found.array.dtype.isnative


@pytest.mark.parametrize(
    ("words", "factor"), [('"m" "m" "m"', 1000), ('"mm" "mm" "mm"', 1), ('"um" "um" "um"', 0.001)]
)
def test_units_of_nrrd(tmp_path, words, factor):
    write_volume(tmp_path / "v.nrrd", Volume(ARRAY, np.diag([2, 3, 4, 1.0])))
    content = (tmp_path / "v.nrrd").read_bytes()
    content = content.replace(b"encoding:", f"space units: {words}\nencoding:".encode(), 1)
    (tmp_path / "v.nrrd").write_bytes(content)
    found = read_volume(tmp_path / "v.nrrd")
    np.testing.assert_allclose(found.spacing_mm, np.array([2, 3, 4]) * factor)
    assert bool(found.remark) == (factor != 1)
    (tmp_path / "v.nrrd").write_bytes(content.replace(words.encode(), b'"m" "mm" "m"'))
    with pytest.raises(BenchError, match="unit of length"):
        read_volume(tmp_path / "v.nrrd")


META = (
    "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n{more}"
    "DimSize = 5 4 3\nElementSpacing = 1 1 1\nElementType = MET_UCHAR\n{key}{data}\n"
)
NRRD = "NRRD0005\n{more}type: uchar\ndimension: 3\nsizes: 5 4 3\nencoding: raw\n{key}{data}\n\n"
LONG_META = "Comment = " + "x" * 70_000 + "\n"
LONG_NRRD = "# " + "x" * 70_000 + "\n"


@pytest.mark.parametrize(
    ("name", "header", "key", "more"),
    [
        ("c.mha", META, "ElementDataFile = ", ""),
        ("c.mhd", META, "ElementDataFile: ", ""),
        ("c.mhd", META, "ElementDataFile = ", LONG_META),
        ("c.nrrd", NRRD, "data file: ", LONG_NRRD),
        ("c.nrrd", NRRD, "datafile: ", ""),
    ],
)
@pytest.mark.parametrize("form", ["{}", "LIST\n{}", "LIST\n{}\n{}\n{}"])
def test_borrowed_voxels_in_every_form(tmp_path, name, header, key, more, form):
    for folder in ("ref", "pred"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "c.raw").write_bytes(ARRAY.tobytes(order="F"))
    file = tmp_path / "pred" / name
    file.write_text(header.format(more=more, key=key, data=form.replace("{}", "../ref/c.raw")))
    with pytest.raises(BenchError, match="outside its folder"):
        read_volume(file)
    assert (tmp_path / "pred/../ref/c.raw") in companions(file)
    if form == "{}" and more != LONG_META:  # so long a line ITK itself does not read
        file.write_text(header.format(more=more, key=key, data="c.raw"))
        np.testing.assert_array_equal(read_volume(file).array, ARRAY)


def test_one_file_for_each_slice(tmp_path):
    for z in range(3):
        (tmp_path / f"s{z}.raw").write_bytes(ARRAY[..., z].tobytes(order="F"))
    listed = "LIST\n" + "\n".join(f"s{z}.raw" for z in range(3))
    for number, data in enumerate((listed, "s%d.raw 0 2 1")):
        file = tmp_path / f"c{number}.mhd"
        file.write_text(META.format(more="", key="ElementDataFile = ", data=data))
        np.testing.assert_array_equal(read_volume(file).array, ARRAY)
        assert [part.name for part in companions(file)[1:]] == ["s0.raw", "s1.raw", "s2.raw"]
    short = "LIST\ns0.raw\ns1.raw"
    (tmp_path / "few.mhd").write_text(META.format(more="", key="ElementDataFile = ", data=short))
    with pytest.raises(BenchError, match="as many files as it has slices"):
        read_volume(tmp_path / "few.mhd")


def test_a_header_without_an_end_is_refused(tmp_path):
    (tmp_path / "v.mha").write_bytes(b"Comment = " + b"x" * (17 << 20))
    with pytest.raises(BenchError, match="no end"):
        read_volume(tmp_path / "v.mha")


def test_geometry_of_itk_formats_is_kept(tmp_path):
    image = sitk.GetImageFromArray(ARRAY.transpose(2, 1, 0))
    image.SetSpacing((2, 3, 4))
    for suffix in (".nrrd", ".mha", ".mhd"):
        sitk.WriteImage(image, str(tmp_path / f"v{suffix}"))
        assert read_volume(tmp_path / f"v{suffix}").spacing_mm == (2, 3, 4)
