"""Odd volumes that can be understood: read as they are meant, whatever the layout of the file."""

from __future__ import annotations

import gzip
import zlib
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from evaluation.metrics.reading import read_labels
from evaluation.volumes.image_files import Volume, read_volume, write_volume

KINDS = ("u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8")


def check(path: Any, expected: np.ndarray, spacing: tuple[float, ...] = (1, 1, 1)) -> None:
    found = read_labels(path)
    np.testing.assert_array_equal(found.array, expected)
    np.testing.assert_allclose(found.spacing_mm, spacing, rtol=1e-4)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".NII.GZ"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_number_type_in_every_byte_order(tools, tmp_path, kind, order, ending, version):
    content = tools.nifti(tools.blob().astype(kind), order=order, version=version)
    path = tmp_path / f"c{ending}"
    path.write_bytes(gzip.compress(content) if ending.lower().endswith("gz") else content)
    check(path, tools.blob())


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("where", ["sform", "qform", "pixdim", "both"])
@pytest.mark.parametrize(("units", "factor"), [(0, 1), (1, 0.001), (2, 1), (3, 1000), (2 | 8, 1)])
def test_units_wherever_they_stand(tools, tmp_path, units, factor, where, ending):
    spacing = tuple(mm * factor for mm in (2.0, 3.0, 4.0))
    affine = np.diag([*spacing, 1.0])
    forms = {"sform": ("sform",), "qform": ("qform",), "both": ("sform", "qform")}.get(where, ())
    content = tools.nifti(
        tools.blob(), spacing=spacing, units=units, **dict.fromkeys(forms, affine)
    )
    check(tools.write(tmp_path / f"c{ending}", content), tools.blob(), (2, 3, 4))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("size", [1, 7, 100, 347, 348, 4096, 70_000])
def test_gzip_members_of_any_size(tools, tmp_path, size, order):
    content = tools.nifti(tools.blob().astype("i2"), order=order)
    head, rest = content[:size], content[size:]
    packed = gzip.compress(head) + (gzip.compress(rest) if rest else b"")
    (tmp_path / "c.nii.gz").write_bytes(packed)
    check(tmp_path / "c.nii.gz", tools.blob())


@pytest.mark.parametrize("step", [1, 9, 50])
def test_many_small_gzip_members(tools, tmp_path, step):
    content = tools.nifti(tools.blob())
    parts = [gzip.compress(content[i : i + step]) for i in range(0, len(content), step)]
    (tmp_path / "c.nii.gz").write_bytes(b"".join(parts))
    check(tmp_path / "c.nii.gz", tools.blob())


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("size", [16, 1 << 16, (1 << 20) + 16, 3 << 20])
def test_header_extensions_of_any_size(tools, tmp_path, size, ending):
    image = nib.Nifti1Image(tools.blob(), np.eye(4))
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"x" * (size - 8)))
    nib.save(image, tmp_path / f"c{ending}")
    check(tmp_path / f"c{ending}", tools.blob())


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("more", [(1,), (1, 1), (1, 1, 1)])
def test_one_point_in_time_is_a_volume(tools, tmp_path, more, ending):
    array = tools.blob()
    tools.save(tmp_path / f"c{ending}", array.reshape(array.shape + more))
    check(tmp_path / f"c{ending}", array)


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_one_point_in_time_of_itk(tools, tmp_path, ending):
    image = sitk.JoinSeries([sitk.GetImageFromArray(tools.blob().transpose(2, 1, 0).copy())])
    sitk.WriteImage(image, str(tmp_path / f"c{ending}"))
    check(tmp_path / f"c{ending}", tools.blob())


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".mhd", ".MHA"])
def test_what_itk_writes(tools, tmp_path, ending, kind, packed):
    image = sitk.GetImageFromArray(tools.blob().astype(kind).transpose(2, 1, 0).copy())
    image.SetSpacing((2, 3, 4))
    lower = tmp_path / f"c{ending.lower()}"
    sitk.WriteImage(image, str(lower), useCompression=packed)
    path = lower.rename(tmp_path / f"c{ending}")
    check(path, tools.blob(), (2, 3, 4))


META = (
    "ObjectType = Image\nNDims = 3\nBinaryData = {binary}\nBinaryDataByteOrderMSB = {msb}\n"
    "{more}DimSize = 12 11 10\nElementSpacing = 1 1 1\nElementType = MET_SHORT\n"
    "ElementDataFile = LOCAL\n"
)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("packed", [False, True])
def test_meta_image_in_both_byte_orders(tools, tmp_path, order, packed):
    voxels = tools.blob().astype(f"{order}i2").tobytes(order="F")
    data = zlib.compress(voxels) if packed else voxels
    more = f"CompressedData = True\nCompressedDataSize = {len(data)}\n" if packed else ""
    head = META.format(binary="True", msb=str(order == ">"), more=more)
    (tmp_path / "c.mha").write_bytes(head.encode() + data)
    check(tmp_path / "c.mha", tools.blob())


@pytest.mark.parametrize("unit", ["mm", "um", "micron", "cm", "m"])
def test_units_of_meta_image_and_nrrd(tools, tmp_path, unit):
    factor = {"mm": 1, "um": 0.001, "micron": 0.001, "cm": 10, "m": 1000}[unit]
    write_volume(tmp_path / "c.mha", Volume(tools.blob(), np.diag([2.0, 3.0, 4.0, 1.0])))
    content = (tmp_path / "c.mha").read_bytes()
    content = content.replace(b"DimSize", f"DistanceUnits = {unit}\nDimSize".encode(), 1)
    (tmp_path / "c.mha").write_bytes(content)
    spacing = tuple(mm * factor for mm in (2, 3, 4))
    check(tmp_path / "c.mha", tools.blob(), spacing)
    write_volume(tmp_path / "c.nrrd", Volume(tools.blob(), np.diag([2.0, 3.0, 4.0, 1.0])))
    content = (tmp_path / "c.nrrd").read_bytes()
    units = " ".join([f'"{unit}"'] * 3)
    content = content.replace(b"encoding:", f"space units: {units}\nencoding:".encode(), 1)
    (tmp_path / "c.nrrd").write_bytes(content)
    check(tmp_path / "c.nrrd", tools.blob(), spacing)


@pytest.mark.parametrize("slope", [(1, 0), (2, 0), (1, 3), (0.5, 0), (float("nan"), 0), (0, 0)])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_scale_factors(tools, tmp_path, slope, ending):
    content = tools.nifti(tools.blob() * 4, scl_slope=slope[0], scl_inter=slope[1])
    found = read_volume(tools.write(tmp_path / f"c{ending}", content))
    scale, add = slope if np.isfinite(slope[0]) and slope[0] != 0 else (1, 0)
    np.testing.assert_allclose(found.array, tools.blob() * 4.0 * scale + add)


@pytest.mark.parametrize("turn", ["RAS", "LPS", "LAS", "PIR", "ASL"])
@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_a_turned_prediction_is_the_same_grid(tools, tmp_path, turn, ending):
    image = nib.Nifti1Image(tools.blob(), np.diag([1.0, 2.0, 3.0, 1.0]))
    tools.save(tmp_path / "ref/c.nii.gz", tools.blob(), image.affine)
    axes = nib.orientations
    change = axes.ornt_transform(axes.axcodes2ornt("RAS"), axes.axcodes2ornt(turn))
    turned = image.as_reoriented(change)
    volume = Volume(np.asarray(turned.dataobj), turned.affine)
    write_volume(tmp_path / f"pred/c{ending}", volume)
    assert tools.means(tools.scored(tmp_path)) == {"c 1": 1.0, "c 2": 1.0}


@pytest.mark.parametrize("side", ["ref", "pred"])
@pytest.mark.parametrize("scale", [1e-6, 1e-4])
def test_rounded_affines_are_accepted_or_the_option_is_named(tools, tmp_path, side, scale):
    other = "ref" if side == "pred" else "pred"
    tools.save(tmp_path / other / "c.nii.gz", tools.blob())
    tools.save(tmp_path / side / "c.nii.gz", tools.blob(), np.diag([1 + scale] * 3 + [1.0]))
    outcome = tools.scored(tmp_path)
    if outcome.missing:
        assert "--grid-tolerance-mm" in outcome.missing["c"]
        outcome = tools.scored(tmp_path, grid_tolerance_mm=0.01)
    assert (outcome.rows["dsc"] == 1).all()


def test_grid_tolerance_between_masks_of_one_case(tools, tmp_path):
    for side in ("ref", "pred"):
        for number, name in enumerate(("liver", "spleen"), 1):
            affine = np.diag([1 + 0.001 * (number - 1)] * 3 + [1.0])
            mask = (tools.blob() == number).astype(np.uint8)
            tools.save(tmp_path / side / f"c/{name}.nii.gz", mask, affine)
    assert "--grid-tolerance-mm" in tools.scored(tmp_path).failed["c"]
    outcome = tools.scored(tmp_path, grid_tolerance_mm=0.1)
    assert tools.means(outcome) == {"c liver": 1.0, "c spleen": 1.0}


def segments(path: Any, layers: list[np.ndarray], names: list[tuple[str, int, int]]) -> None:
    """A file as 3D Slicer writes it: name, layer and value of each segment."""
    parts = [sitk.GetImageFromArray(layer.transpose(2, 1, 0).copy()) for layer in layers]
    image = sitk.Compose(parts) if len(parts) > 1 else parts[0]
    path.parent.mkdir(parents=True, exist_ok=True)
    for number, (name, layer, value) in enumerate(names):
        image.SetMetaData(f"Segment{number}_Name", name)
        image.SetMetaData(f"Segment{number}_Layer", str(layer))
        image.SetMetaData(f"Segment{number}_LabelValue", str(value))
    sitk.WriteImage(image, str(path))


@pytest.mark.parametrize("order", ["same", "exchanged values", "two layers"])
def test_segments_of_3d_slicer_go_by_their_names(tools, tmp_path, order):
    whole = (tools.blob() > 0).astype(np.uint8)
    segments(tmp_path / "ref/c.seg.nrrd", [tools.blob()], [("Liver", 0, 1), ("Spleen", 0, 2)])
    if order == "same":
        segments(tmp_path / "pred/c.seg.nrrd", [tools.blob()], [("Spleen", 0, 2), ("Liver", 0, 1)])
        expected = {"c Liver": 1.0, "c Spleen": 1.0}
    elif order == "exchanged values":
        other = np.choose(tools.blob(), [0, 2, 1]).astype(np.uint8)
        segments(tmp_path / "pred/c.seg.nrrd", [other], [("Liver", 0, 2), ("Spleen", 0, 1)])
        expected = {"c Liver": 1.0, "c Spleen": 1.0}
    else:
        spleen = (tools.blob() == 2).astype(np.uint8)
        segments(tmp_path / "pred/c.seg.nrrd", [whole, spleen], [("Liver", 0, 1), ("Spleen", 1, 1)])
        expected = {"c Liver": round(2 * 120 / (120 + 210), 4), "c Spleen": 1.0}
    assert tools.means(tools.scored(tmp_path)) == expected


def test_segments_beside_label_maps(tools, tmp_path):
    segments(tmp_path / "ref/c.seg.nrrd", [tools.blob()], [("Liver", 0, 1), ("Spleen", 0, 2)])
    tools.save(tmp_path / "pred/c.nii.gz", tools.blob(), np.diag([-1.0, -1.0, 1.0, 1.0]))
    assert tools.means(tools.scored(tmp_path)) == {"c Liver": 1.0, "c Spleen": 1.0}


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([("Liver", 0, 1), ("Liver", 0, 2)], "two segments"),
        ([("Liver", 3, 1)], "layer that is not there"),
        ([("Liver", -1, 1)], "layer that is not there"),
        ([("Heart", 0, 9)], "no segment has the name"),
    ],
)
def test_segments_that_cannot_be_meant(tools, tmp_path, names, words):
    segments(tmp_path / "ref/c.seg.nrrd", [tools.blob()], [("Liver", 0, 1), ("Spleen", 0, 2)])
    segments(tmp_path / "pred/c.seg.nrrd", [tools.blob()], names)
    assert words in tools.scored(tmp_path).missing["c"]
