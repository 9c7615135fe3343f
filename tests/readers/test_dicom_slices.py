"""DICOM headers as they should not be: each is one clear error, and none takes memory or waits."""

from __future__ import annotations

import os
import zlib

import numpy as np
import pydicom
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian

from evaluation.datasets.readers.dicom import read_series, series_files
from evaluation.datasets.readers.dicom_slice import LARGEST_SLICE
from evaluation.errors import BenchError

ARRAY = np.arange(60, dtype=np.int16).reshape(5, 4, 3)


@pytest.fixture
def folder(tmp_path, raw_files):
    raw_files.dicom(tmp_path / "series", ARRAY, np.diag([0.7, 0.8, 2.5, 1.0]))
    return tmp_path / "series"


def change(folder, **tags):
    file = series_files(folder)[1]
    item = pydicom.dcmread(file)
    with pydicom.config.disable_value_validation():
        for tag, value in tags.items():
            setattr(item, tag, value)
        item.save_as(file)
    return file


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        ("PixelSpacing", "0.7"),
        ("PixelSpacing", ["0", "0"]),
        ("PixelSpacing", ""),
        ("PixelSpacing", ["-1", "1"]),
        ("ImageOrientationPatient", ["1", "0", "0", "0", "1"]),
        ("ImageOrientationPatient", ["1", "0", "0", "1", "0", "0"]),
        ("ImagePositionPatient", ["0", "0"]),
        ("ImagePositionPatient", ["0", "0", "nan"]),
        ("ImagePositionPatient", ""),
    ],
)
def test_a_tag_without_usable_numbers_is_named(folder, tag, value):
    file = change(folder, **{tag: value})
    with pytest.raises(BenchError, match=f"no usable {tag}") as caught:
        read_series(series_files(folder))
    assert str(file) in str(caught.value)


def test_an_empty_rescale_slope_says_nothing(folder):
    before = read_series(series_files(folder)).volume.array
    change(folder, RescaleSlope=None, RescaleIntercept=None)
    after = read_series(series_files(folder)).volume.array
    np.testing.assert_array_equal(after[..., 0], before[..., 0])
    assert after.shape == before.shape


def test_several_frames_in_one_file_are_refused_by_name(folder):
    change(folder, NumberOfFrames="3")
    with pytest.raises(BenchError, match="multi-frame"):
        read_series(series_files(folder))


def test_a_tilted_stack_is_refused(folder):
    for number, file in enumerate(series_files(folder)):
        item = pydicom.dcmread(file)
        x, y, z = item.ImagePositionPatient
        item.ImagePositionPatient = [x, y + 1.5 * number, z]
        item.save_as(file)
    with pytest.raises(BenchError, match="not perpendicular"):
        read_series(series_files(folder))


def test_a_deflated_slice_cannot_take_all_memory(folder):
    """It is read where it is small, and refused before it is unpacked where it is not."""
    before = read_series(series_files(folder)).volume.array
    file = series_files(folder)[1]
    item = pydicom.dcmread(file)
    item.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    item.save_as(file, enforce_file_format=True)
    np.testing.assert_array_equal(read_series(series_files(folder)).volume.array, before)
    content = file.read_bytes()
    meta = pydicom.filereader.read_file_meta_info(str(file))
    start = 144 + meta.FileMetaInformationGroupLength
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = [packer.compress(bytes(1 << 20)) for _ in range((LARGEST_SLICE >> 20) + 1)]
    file.write_bytes(content[:start] + b"".join(packed) + packer.flush())
    assert file.stat().st_size < 1 << 20
    with pytest.raises(BenchError, match="unpacks to more"):
        read_series(series_files(folder))


def test_a_pipe_among_the_slices_is_left_out(folder):
    files = series_files(folder)
    os.mkfifo(folder / "x.dcm")
    assert series_files(folder) == files
