"""Bad volumes on each side of `evaluate`, in the dataset readers, and as a scan to segment."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from evaluation.datasets.readers.base import RawCase
from evaluation.datasets.readers.volumes import read_raw
from evaluation.errors import BenchError
from evaluation.metrics.reading import read_labels
from evaluation.volumes.geometry import nifti_affine

ENTRIES = ("prediction", "reference", "mask", "reader")
SHEARED = np.eye(4)
SHEARED[1, 2] = 0.4
TWO_SIZES = {"spacing": (2, 2, 5), "sform": np.diag([0.7, 0.7, 5, 1.0])}
META = (
    "ObjectType = Image\nNDims = {dims}\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
    "{more}DimSize = {size}\nElementSpacing = {spacing}\nElementType = {kind}\n"
    "ElementDataFile = {data}\n"
)
NRRD = (
    "NRRD0005\n{more}type: {kind}\ndimension: {dims}\nsizes: {size}\nencoding: {encoding}\n"
    "{space}data file: {data}\n\n"
)


def meta(**says: Any) -> str:
    return META.format(**{
        "dims": 3, "more": "", "size": "12 11 10", "spacing": "1 1 1", "kind": "MET_UCHAR",
        "data": "LOCAL", **says,
    })  # fmt: skip


def nrrd(**says: Any) -> str:
    text = NRRD.format(**{
        "dims": 3, "more": "", "size": "12 11 10", "kind": "uchar", "encoding": "raw",
        "space": "", "data": "LOCAL", **says,
    })  # fmt: skip
    return text.replace("data file: LOCAL\n", "")


UNITS = 'space dimension: 3\nspace units: "{}" "{}" "mm"\n'
ZIPPED = meta(more="CompressedData = True\n")


def sized(data: bytes) -> bytes:
    return (
        ZIPPED.replace(
            "CompressedData = True\n", f"CompressedData = True\nCompressedDataSize = {len(data)}\n"
        ).encode()
        + data
    )


def _bytes(tools: Any) -> bytes:
    return tools.blob().tobytes(order="F")


def packed(raw: bytes) -> bytes:
    return gzip.compress(raw, mtime=0)


def bad_files(tools: Any) -> dict[str, tuple[str, bytes, str]]:
    """Name -> (ending, bytes, words that the refusal holds)."""
    array = tools.blob()
    whole = tools.nifti(array)
    voxels = _bytes(tools)
    header = bytes(whole)
    found: dict[str, tuple[str, bytes, str]] = {
        "empty": (".nii.gz", b"", ""),
        "empty plain": (".nii", b"", ""),
        "a text": (".nii.gz", b"no image", "cannot be read"),
        "a text, zipped": (".nii.gz", packed(b"no image" * 99), ""),
        "a page of HTML": (".nii", b"<html>login</html>" * 50, ""),
        "half of the gzip": (".nii.gz", packed(whole)[: len(packed(whole)) // 2], "truncated"),
        "without its last byte": (".nii.gz", packed(whole)[:-1], ""),
        "a wrong checksum": (".nii.gz", packed(whole)[:-8] + b"\0" * 8, ""),
        "half of the voxels": (".nii", whole[: 352 + len(voxels) // 2], ""),
        "half of the voxels, zipped": (".nii.gz", packed(whole[: 352 + len(voxels) // 2]), ""),
        "a header alone": (".nii", whole[:348], ""),
        "a header alone, zipped": (".nii.gz", packed(whole[:348]), ""),
        "a PNG": (".nii.gz", b"\x89PNG\r\n\x1a\n" + bytes(200), ""),
        "a DICOM": (".nii.gz", bytes(128) + b"DICM" + bytes(200), ""),
        "gzip of nothing": (".nii.gz", packed(b""), ""),
        "gzip in gzip": (".nii.gz", packed(packed(whole)), ""),
        "a bomb": (".nii.gz", packed(whole + bytes(60 << 20)), "bytes"),
        "sheared": (".nii", tools.nifti(array, sform=SHEARED), "not perpendicular"),
        "two voxel sizes": (".nii", tools.nifti(array, **TWO_SIZES), "two voxel sizes"),
        "an unknown unit": (".nii", tools.nifti(array, units=5), "unit of length"),
        "an affine of NaN": (".nii", tools.nifti(array, sform=np.full((4, 4), np.nan)), ""),
        "an affine of zeros": (".nii", tools.nifti(array, sform=np.zeros((4, 4))), ""),
        "a flat affine": (".nii", tools.nifti(array, sform=np.diag([1, 1, 0, 1.0])), ""),
        "an infinite affine": (".nii", tools.nifti(array, sform=np.diag([np.inf, 1, 1, 1])), ""),
        "a huge shape": (".nii", tools.nifti(array, dim=[3, 32767, 32767, 32767, 1, 1, 1, 1]), ""),
        "a huge shape, zipped": (
            ".nii.gz",
            packed(tools.nifti(array, dim=[3, 32767, 32767, 32767, 1, 1, 1, 1])),
            "memory",
        ),
        "a negative side": (".nii", tools.nifti(array, dim=[3, 12, -11, 10, 1, 1, 1, 1]), ""),
        "a side of 0": (".nii", tools.nifti(array, dim=[3, 12, 0, 10, 1, 1, 1, 1]), ""),
        "no dimension": (".nii", tools.nifti(array, dim=[0, 1, 1, 1, 1, 1, 1, 1]), ""),
        "nine dimensions": (".nii", tools.nifti(array, dim=[9, 12, 11, 10, 1, 1, 1, 1]), ""),
        "two points in time": (".nii", tools.nifti(np.stack([array] * 2, -1)), "three-dim"),
        "an unknown number type": (".nii", tools.nifti(array, datatype=77), ""),
        "complex numbers": (".nii", tools.nifti(array.astype(np.complex64)), "real numbers"),
        "NaN": (".nii", tools.nifti(np.where(array == 1, np.nan, array).astype("f4")), "NaN"),
        "infinity": (".nii", tools.nifti(np.where(array == 1, np.inf, array).astype("f4")), ""),
        "fractions": (".nii", tools.nifti(array.astype("f4") * 0.4), "whole numbers"),
        "values beyond 16 bits": (".nii", tools.nifti(array.astype("i4") * 100_000), "16 bits"),
        "values of 10^18": (".nii", tools.nifti(array.astype("i8") * 10**18), "16 bits"),
        "values of 10^30": (".nii", tools.nifti(array.astype("f8") * 1e30), "16 bits"),
        "an offset behind the end": (".nii", tools.nifti(array, vox_offset=10**6), ""),
        "an offset in the header": (".nii", tools.nifti(array, vox_offset=16), ""),
        "a slope of NaN and no whole intercept": (
            ".nii", tools.nifti(array, scl_slope=0.3, scl_inter=0.1), "whole numbers",
        ),
        "another magic": (".nii", header[:344] + b"xxx\0" + header[348:], ""),
        "NRRD without an end": (".nrrd", b"NRRD0005\n# " + b"x" * (17 << 20), "no end"),
        "NRRD, a text": (".nrrd", b"nothing", ""),
        "NRRD, empty": (".nrrd", b"", ""),
        "NRRD, cut": (".nrrd", nrrd().encode() + voxels[:99], ""),
        "NRRD, an unknown unit": (
            ".nrrd", nrrd(space=UNITS.format("elle", "elle")).encode() + voxels, "",
        ),
        "NRRD, two units": (".nrrd", nrrd(space=UNITS.format("m", "mm")).encode() + voxels,
                            "unit of length"),
        "NRRD, an unknown type": (".nrrd", nrrd(kind="words").encode() + voxels, ""),
        "NRRD, a negative side": (".nrrd", nrrd(size="12 -11 10").encode() + voxels, ""),
        "NRRD, a huge shape": (".nrrd", nrrd(size="99999 99999 9999").encode() + voxels, ""),
        "NRRD, a huge shape of doubles": (
            ".nrrd", nrrd(size="40000 40000 60", kind="double").encode() + voxels, "",
        ),
        "NRRD, sides that do not fit": (".nrrd", nrrd(size="12 11").encode() + voxels, ""),
        "NRRD, an unknown encoding": (".nrrd", nrrd(encoding="magic").encode() + voxels, ""),
        "NRRD, a cut gzip": (".nrrd", nrrd(encoding="gzip").encode() + packed(voxels)[:-20], ""),
        "NRRD, a wrong checksum": (
            ".nrrd", nrrd(encoding="gzip").encode() + packed(voxels)[:-8] + b"\0" * 8, "",
        ),
        "NRRD, vectors": (".nrrd", nrrd(dims=4, size="2 12 11 10",
                          space="kinds: vector domain domain domain\n").encode() + voxels * 2, ""),
        "NRRD, sheared": (".nrrd", nrrd(space="space: left-posterior-superior\n"
                          "space directions: (1,0,0) (0.4,1,0) (0,0,1)\nspace origin: (0,0,0)\n")
                          .encode() + voxels, ""),
        "MHA, a text": (".mha", b"nothing", ""),
        "MHA, empty": (".mha", b"", ""),
        "MHA, cut": (".mha", meta().encode() + voxels[:99], ""),
        "MHA, spacing 0": (".mha", meta(spacing="0 1 1").encode() + voxels, ""),
        "MHA, spacing NaN": (".mha", meta(spacing="nan 1 1").encode() + voxels, ""),
        "MHA, a huge shape": (".mha", meta(size="99999 99999 9999").encode() + voxels, ""),
        "MHA, a huge shape of doubles": (
            ".mha", meta(size="40000 40000 60", kind="MET_DOUBLE").encode() + voxels, "memory",
        ),
        "MHA, no zip": (".mha", ZIPPED.encode() + voxels, "corrupt"),
        "MHA, no size of the zip": (".mha", ZIPPED.encode() + zlib.compress(voxels), "corrupt"),
        "MHA, a cut zip": (".mha", sized(zlib.compress(voxels)[:-9]), "corrupt"),
        "MHA, a corrupt zip": (".mha", sized(zlib.compress(voxels)[:30] + bytes(20)), "corrupt"),
        "MHA, a zip of too little": (".mha", sized(zlib.compress(voxels[:99])), "corrupt"),
        "MHA, a zip of too much": (".mha", sized(zlib.compress(voxels * 99)), "corrupt"),
        "MHA, an unknown type": (".mha", meta(kind="MET_WORDS").encode() + voxels, ""),
        "MHA, an unknown unit": (".mha", meta(more="DistanceUnits = elle\n").encode() + voxels,
                                 "unit of length"),
        "MHD, no data file": (".mhd", meta(data="nothing.raw").encode(), ""),
        "MHD, a folder as data file": (".mhd", meta(data=".").encode(), ""),
        "MHD, itself as data file": (".mhd", meta(data="c.mhd").encode(), ""),
    }  # fmt: skip
    for name, path in {
        "relative": "../other/secret.raw", "absolute": "/etc/passwd",
        "odd": "./../other/secret.raw",
    }.items():  # fmt: skip
        for form in ("{}", "LIST\n{}", "{} "):
            data = form.format(path)
            found[f"MHD, a foreign file, {name} {form!r}"] = (
                ".mhd", meta(data=data).encode(), "outside its folder",
            )  # fmt: skip
            found[f"NHDR, a foreign file, {name} {form!r}"] = (
                ".nrrd", nrrd(data=data).encode(), "outside its folder",
            )  # fmt: skip
    found["MHD, colons"] = (
        ".mhd", meta(data="X").replace("= X", ": ../other/secret.raw").encode(),
        "outside its folder",
    )  # fmt: skip
    found["MHD, upper case"] = (
        ".MHD", meta(data="../other/secret.raw").encode(), "outside its folder",
    )  # fmt: skip
    found["NRRD, behind 64 KiB of comments"] = (
        ".nrrd", nrrd(more="# " + "x" * 70_000 + "\n", data="../other/secret.raw").encode(),
        "outside its folder",
    )  # fmt: skip
    found["MHA, a pattern of foreign files"] = (
        ".mha", meta(data="../other/s%d.raw 0 9 1").encode(), "outside its folder",
    )  # fmt: skip
    return found


@pytest.fixture(scope="module")
def files(tools):
    return bad_files(tools)


class _Names:
    """Only the names are wanted when tests are collected."""

    def __getattr__(self, name: str) -> Any:
        return {"blob": lambda: np.zeros((2, 2, 2), np.uint8)}.get(name, lambda *_a, **_k: b"")


NAMES = sorted(bad_files(_Names()))


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("name", NAMES)
def test_a_bad_volume_is_refused_by_name(tools, files, tmp_path, name, entry):
    ending, content, words = files[name]
    only_labels = name in (
        "NaN", "infinity", "fractions", "values beyond 16 bits", "values of 10^18",
        "values of 10^30", "a slope of NaN and no whole intercept",
    )  # fmt: skip
    side = {"prediction": "pred", "reference": "ref"}.get(entry, "pred")
    file = tmp_path / side / f"c{ending}"
    if entry == "mask":
        file = tmp_path / f"pred/c/liver{ending}"
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    (tmp_path / "other").mkdir(exist_ok=True)
    (tmp_path / "other/secret.raw").write_bytes(_bytes(tools))
    if entry == "reader":
        raw = RawCase("c", (file,), {}, roots=(tmp_path,) if "foreign" not in name else ())
        if only_labels:
            read_raw(raw, file)  # an image may hold such numbers
            return
        text = tools.refusal(read_raw, raw, file)
    elif entry == "mask":
        tools.save(tmp_path / "ref/c/liver.nii.gz", (tools.blob() == 1).astype(np.uint8))
        outcome = tools.scored(tmp_path)
        assert set(outcome.rows["status"]) == {"prediction_missing"}, outcome.rows
        text = outcome.missing["c"]
    else:
        other = {"pred": "ref", "ref": "pred"}[side]
        for case in ("c", "d"):
            tools.save(tmp_path / other / f"{case}.nii.gz", tools.blob())
        tools.save(tmp_path / side / "d.nii.gz", tools.blob())
        outcome = tools.scored(tmp_path)
        assert set(outcome.rows.loc[outcome.rows["case"] == "d", "dsc"]) == {1.0}
        if side == "ref":
            text = outcome.failed["c"]
        else:
            assert set(outcome.rows.loc[outcome.rows["case"] == "c", "status"]) == {
                "prediction_missing"
            }
            text = outcome.missing["c"]
    assert words in text or entry == "reader"
    assert "Error:" not in text or "found" in text


@pytest.mark.parametrize("name", ["big float", "big int8", "big slope"])
def test_memory_is_guarded_before_it_is_taken(tools, tmp_path, name):
    """Sparse plain files whose voxels would fill any machine."""
    kind = {"big float": "f8", "big int8": "i1", "big slope": "i2"}[name]
    extra = {"scl_slope": 0.5} if name == "big slope" else {}
    side = 10_000
    content = tools.nifti(np.zeros((1, 1, 1), kind), dim=[3, side, side, side, 1, 1, 1, 1], **extra)
    path = tmp_path / "c.nii"
    with path.open("wb") as stream:
        stream.write(content)
        stream.truncate(352 + np.dtype(kind).itemsize * side**3)
    assert "memory" in tools.refusal(read_labels, path)


@pytest.mark.parametrize("kind", ["folder", "link to nowhere", "link to itself", "pipe"])
@pytest.mark.parametrize("side", ["pred", "ref"])
def test_what_only_looks_like_a_file(tools, tmp_path, kind, side):
    import os

    other = "ref" if side == "pred" else "pred"
    for case in ("c", "d"):
        tools.save(tmp_path / other / f"{case}.nii.gz", tools.blob())
    tools.save(tmp_path / side / "d.nii.gz", tools.blob())
    path = tmp_path / side / "c.nii.gz"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("nothing.nii.gz" if kind == "link to nowhere" else "c.nii.gz")
    outcome = tools.scored(tmp_path)
    rows = outcome.rows[outcome.rows["case"] == "d"]
    assert (rows["dsc"] == 1).all()
    if side == "pred":
        assert (outcome.rows.loc[outcome.rows["case"] == "c", "status"] != "scored").all()
        assert (outcome.rows["case"] == "c").sum() == 2


@pytest.mark.parametrize("spacing", [1e-9, 1e-4, 1000.0, 1e6, 1e30])
@pytest.mark.parametrize("tolerance", [0.0, 1.0, 1000.0, 1e9])
def test_any_spacing_and_tolerance_ends_soon(tools, tmp_path, spacing, tolerance):
    affine = np.diag([spacing] * 3 + [1])
    for side, shift in (("ref", 0), ("pred", 1)):
        tools.save(tmp_path / side / "c.nii.gz", tools.blob(shift), affine)
    try:
        outcome = tools.scored(tmp_path, tolerances_mm=(tolerance,))
    except BenchError:
        return
    if outcome.failed:
        assert "geometry" in outcome.failed["c"]
        return
    expected = {"1": 0.75, "2": 0.6667}
    assert tools.means(outcome) == {f"c {name}": value for name, value in expected.items()}
    if tolerance >= 4 * spacing:
        assert (outcome.rows["nsd"] == 1).all()


def test_the_unit_of_a_header_is_no_byte_order():
    header = nib.Nifti1Header(endianness=">")
    header["xyzt_units"] = struct.pack("b", 1)[0]
    header["pixdim"][1:4] = 0.001
    header.set_data_shape((2, 2, 2))
    affine, remark = nifti_affine(header, Path("x"))
    np.testing.assert_allclose(np.abs(np.diag(affine)[:3]), 1)
    assert "metres" in remark
