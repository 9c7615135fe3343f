"""Scans to segment, folders of DICOM slices, checkpoints, text encoders, arrays in memory."""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    generate_uid,
)

import evaluation.api.satbench as satbench
from evaluation.datasets.readers.dicom import image_series, read_series, series_files
from evaluation.errors import BenchError
from evaluation.training.checkpoints import read_checkpoint
from evaluation.training.grid import GridMap, resample_image
from sat.segment.scan import read_scan
from sat.text.encoder import TextEncoder, encoder_shapes

N = 5


def series(folder: Path) -> list[Any]:
    """Slices of 8 x 6 voxels, in memory."""
    folder.mkdir(parents=True, exist_ok=True)
    uid = generate_uid()
    slices = []
    for k in range(N):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        item = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        item.SOPClassUID, item.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        item.Modality, item.SeriesInstanceUID = "CT", uid
        item.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        item.ImagePositionPatient = [0, 0, 3.0 * k]
        item.PixelSpacing = [2.0, 1.0]
        item.Rows, item.Columns, item.SamplesPerPixel = 6, 8, 1
        item.PhotometricInterpretation = "MONOCHROME2"
        item.BitsAllocated = item.BitsStored = 16
        item.HighBit, item.PixelRepresentation = 15, 0
        item.RescaleSlope, item.RescaleIntercept = 1, -1000
        item.PixelData = np.full((6, 8), 1000 + k, np.uint16).tobytes()
        slices.append(item)
    return slices


def keep(folder: Path, slices: list[Any]) -> Path:
    pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE
    for k, item in enumerate(slices):
        pydicom.dcmwrite(folder / f"{k}.dcm", item)
    return folder


def raw_tag(tag: str, value: bytes) -> Callable[[Any], None]:
    """A tag whose text is exactly this, as a broken writer leaves it."""

    def change(item: Any) -> None:
        element = item[tag]
        item[element.tag] = pydicom.dataelem.RawDataElement(
            element.tag, element.VR, len(value), value, 0, False, True, True
        )

    return change


def without(tag: str) -> Callable[[Any], None]:
    return lambda item: delattr(item, tag)


def set_to(**values: Any) -> Callable[[Any], None]:
    def change(item: Any) -> None:
        for name, value in values.items():
            setattr(item, name, value)

    return change


BAD_TAGS: dict[str, Callable[[Any], None]] = {
    "one number in PixelSpacing": raw_tag("PixelSpacing", b"1 "),
    "three numbers in PixelSpacing": raw_tag("PixelSpacing", b"1\\1\\1 "),
    "PixelSpacing 0": raw_tag("PixelSpacing", b"0\\0 "),
    "PixelSpacing negative": raw_tag("PixelSpacing", b"-1\\1"),
    "PixelSpacing empty": raw_tag("PixelSpacing", b""),
    "PixelSpacing a text": raw_tag("PixelSpacing", b"a\\b "),
    "PixelSpacing NaN": raw_tag("PixelSpacing", b"nan\\1 "),
    "PixelSpacing infinite": raw_tag("PixelSpacing", b"inf\\1 "),
    "no PixelSpacing": without("PixelSpacing"),
    "five numbers in the orientation": raw_tag("ImageOrientationPatient", b"1\\0\\0\\0\\1"),
    "orientation empty": raw_tag("ImageOrientationPatient", b""),
    "orientation of zeros": raw_tag("ImageOrientationPatient", b"0\\0\\0\\0\\0\\0 "),
    "orientation of NaN": raw_tag("ImageOrientationPatient", b"nan\\0\\0\\0\\1\\0 "),
    "orientation not perpendicular": raw_tag("ImageOrientationPatient", b"1\\0\\0\\1\\0\\0 "),
    "no orientation": without("ImageOrientationPatient"),
    "two numbers in the position": raw_tag("ImagePositionPatient", b"0\\0 "),
    "position empty": raw_tag("ImagePositionPatient", b""),
    "position NaN": raw_tag("ImagePositionPatient", b"0\\0\\nan "),
    "position a text": raw_tag("ImagePositionPatient", b"a\\b\\c "),
    "no position": without("ImagePositionPatient"),
    "no Rows": without("Rows"),
    "Rows 0": set_to(Rows=0),
    "Rows too many": set_to(Rows=6000),
    "Columns too many": set_to(Columns=6000),
    "no pixels": without("PixelData"),
    "pixels cut": set_to(PixelData=b"\0" * 20),
    "no BitsAllocated": without("BitsAllocated"),
    "BitsAllocated 7": set_to(BitsAllocated=7),
    "no SamplesPerPixel": without("SamplesPerPixel"),
    "colours": set_to(SamplesPerPixel=3, PhotometricInterpretation="RGB"),
    "several frames": set_to(NumberOfFrames=3),
    "RescaleSlope a text": raw_tag("RescaleSlope", b"ab"),
    "RescaleSlope NaN": raw_tag("RescaleSlope", b"nan "),
    "RescaleSlope infinite": raw_tag("RescaleSlope", b"inf "),
    "another modality": set_to(Modality="US"),
    "no modality": without("Modality"),
    "packed pixels that are none": lambda item: (
        setattr(item.file_meta, "TransferSyntaxUID", JPEG2000Lossless),
        setattr(item, "PixelData", pydicom.encaps.encapsulate([b"none" * 20])),
        setattr(item["PixelData"], "is_undefined_length", True),
    ),
}


@pytest.mark.parametrize("where", ["one slice", "all slices"])
@pytest.mark.parametrize("entry", ["segment", "reader"])
@pytest.mark.parametrize("name", list(BAD_TAGS))
@pytest.mark.filterwarnings("ignore")
def test_bad_dicom_is_refused(tools, tmp_path, name, entry, where):
    slices = series(tmp_path / "s")
    for item in slices if where == "all slices" else slices[2:3]:
        BAD_TAGS[name](item)
    keep(tmp_path / "s", slices)
    call = read_scan if entry == "segment" else lambda p: read_series(image_series(series_files(p)))
    if where == "one slice" and name in ("another modality", "no modality"):
        assert "evenly spaced" in tools.refusal(call, tmp_path / "s")
        return
    assert str(tmp_path) in tools.refusal(call, tmp_path / "s")


GOOD_TAGS: dict[str, Callable[[Any], None]] = {
    "plain": lambda _item: None,
    "RescaleSlope empty": raw_tag("RescaleSlope", b""),
    "RescaleIntercept empty": raw_tag("RescaleIntercept", b""),
    "no RescaleSlope": without("RescaleSlope"),
    "one frame": set_to(NumberOfFrames=1),
    "NumberOfFrames empty": set_to(NumberOfFrames=""),
    "SliceThickness wrong": set_to(SliceThickness=99),
    "deflated": lambda item: setattr(
        item.file_meta, "TransferSyntaxUID", DeflatedExplicitVRLittleEndian
    ),
}


@pytest.mark.parametrize("entry", ["segment", "reader"])
@pytest.mark.parametrize("name", list(GOOD_TAGS))
@pytest.mark.filterwarnings("ignore")
def test_odd_dicom_is_read(tmp_path, name, entry):
    slices = series(tmp_path / "s")
    for item in slices:
        GOOD_TAGS[name](item)
    keep(tmp_path / "s", slices)
    if entry == "segment":
        volume = read_scan(tmp_path / "s").stored
    else:
        volume = read_series(image_series(series_files(tmp_path / "s"))).volume
    assert volume.array.shape == (8, 6, N)
    assert volume.spacing_mm == (1, 2, 3)
    intercept = 0 if name == "RescaleIntercept empty" else -1000
    assert volume.array[0, 0].tolist() == [1000 + k + intercept for k in range(N)]


@pytest.mark.filterwarnings("ignore")
def test_a_deflated_slice_that_unpacks_beyond_measure(tools, tmp_path):
    slices = series(tmp_path / "s")
    keep(tmp_path / "s", slices)
    item = slices[0]
    item.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    pydicom.dcmwrite(tmp_path / "small.dcm", item, enforce_file_format=True)
    content = (tmp_path / "small.dcm").read_bytes()
    meta = pydicom.filereader.read_file_meta_info(tmp_path / "small.dcm")
    start = 132 + 12 + int(meta.FileMetaInformationGroupLength)
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(300)) + packer.flush()
    (tmp_path / "s/0.dcm").write_bytes(content[:start] + bomb)
    assert "unpacks" in tools.refusal(read_scan, tmp_path / "s")


FOLDERS = {
    "empty": lambda _folder: None,
    "a text": lambda f: (f / "readme.txt").write_text("x"),
    "a text named dcm": lambda f: (f / "x.dcm").write_text("x"),
    "a pipe": lambda f: os.mkfifo(f / "x.dcm"),
    "a link to nowhere": lambda f: (f / "x.dcm").symlink_to("nothing"),
    "a link to itself": lambda f: (f / "x.dcm").symlink_to("x.dcm"),
    "a device": lambda f: (f / "x.dcm").symlink_to("/dev/zero"),
    "a folder named dcm": lambda f: (f / "x.dcm").mkdir(),
    "one slice": lambda f: keep(f, series(f)[:1]),
    "a slice twice": lambda f: keep(f, [*series(f)] * 2),
    "a slice missing": lambda f: keep(f, [s for k, s in enumerate(series(f)) if k != 2]),
    "two series": lambda f: (keep(f, series(f)), keep(sub(f), series(sub(f)))),
    "cut": lambda f: (keep(f, series(f)), (f / "1.dcm").write_bytes(b"\0" * 128 + b"DICM\x02")),
    "an empty slice": lambda f: (keep(f, series(f)), (f / "1.dcm").write_bytes(b"")),
    "half a slice": lambda f: (
        keep(f, series(f)), (f / "1.dcm").write_bytes((f / "1.dcm").read_bytes()[:400])
    ),
    "a NIfTI": lambda f: (f / "x.nii.gz").write_bytes(b"x"),
}  # fmt: skip


def sub(folder: Path) -> Path:
    inner = folder / "inner"
    inner.mkdir(exist_ok=True)
    return inner


@pytest.mark.parametrize("name", list(FOLDERS))
@pytest.mark.filterwarnings("ignore")
def test_folders_that_hold_no_series(tools, tmp_path, name):
    folder = tmp_path / "s"
    folder.mkdir()
    FOLDERS[name](folder)
    tools.refusal(read_scan, folder)


SCANS = {
    "missing": None, "a slice": "x.dcm", "a picture": "x.png", "a text": "x.txt",
    "a NIfTI that is none": "x.nii.gz", "an Analyze header": "x.hdr", "an archive": "x.zip",
}  # fmt: skip


@pytest.mark.parametrize("name", list(SCANS))
def test_files_that_are_no_scan(tools, tmp_path, name):
    path = tmp_path / (SCANS[name] or "nothing.nii.gz")
    if SCANS[name]:
        path.write_bytes(b"x" * 500)
    tools.refusal(read_scan, path)


@pytest.mark.parametrize("spacing", [1000.0, 1e6, 1e9])
@pytest.mark.parametrize("axes", [(0,), (2,), (0, 1, 2)])
def test_metres_taken_for_millimetres_are_refused_before_memory_is_taken(tools, spacing, axes):
    native = tuple(spacing if axis in axes else 1.0 for axis in range(3))
    shape = (64, 64, 64) if len(axes) == 3 else tuple(20_000 if a in axes else 64 for a in range(3))
    grid = GridMap(shape, native, (0.1, 0.1, 0.1))
    image = np.broadcast_to(np.float32(0), shape)
    assert "units mm" in tools.refusal(resample_image, image, grid)


CHECKPOINTS: dict[str, bytes] = {
    "empty": b"", "a text": b"weights", "zeros": bytes(5000), "a zip": b"PK\x03\x04" + bytes(500),
    "a pickle": b"\x80\x04cos\nsystem\n(S'touch owned'\ntR.", "a page": b"<html></html>",
    "a cut zip": b"PK\x03\x04\x14\x00", "a number": b"\x80\x04K\x07.", "a list": b"\x80\x04]\x94.",
}  # fmt: skip


@pytest.mark.parametrize("name", list(CHECKPOINTS))
def test_files_that_are_no_checkpoint(tools, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.pt").write_bytes(CHECKPOINTS[name])
    tools.refusal(read_checkpoint, tmp_path / "c.pt")
    assert not (tmp_path / "owned").exists()


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Path:
    """A whole, tiny BERT."""
    from transformers import BertConfig, BertModel, BertTokenizer

    folder = tmp_path_factory.mktemp("bert")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "liver"]
    (folder / "vocab.txt").write_text("\n".join(words))
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    BertModel(BertConfig(vocab_size=6, intermediate_size=8, **sizes)).save_pretrained(folder)
    return folder


AUTO = {"auto_map": {"AutoModel": "own.Model", "AutoConfig": "own.Config"}}
ENCODERS: dict[str, dict[str, Any]] = {
    "auto_map": AUTO,
    "auto_map of the tokenizer": {"auto_map": {"AutoTokenizer": ["own.Tokenizer", None]}},
    "auto_map, unknown kind": {**AUTO, "model_type": "own"},
    "an unknown kind": {"model_type": "own"},
    "10^6 layers": {"num_hidden_layers": 10**6},
    "a width of 10^9": {"hidden_size": 10**9},
    "a vocabulary of 10^12": {"vocab_size": 10**12},
    "layers of text": {"num_hidden_layers": "many"},
    "negative layers": {"hidden_size": -8},
    "heads that do not divide": {"num_attention_heads": 3},
    "another width": {"hidden_size": 16},
    "10^6 layers, whole as a float": {"num_hidden_layers": 1e6},
}


# The tokenizer's file says nothing of the network.
OF_FILES = [
    *((name, "config.json") for name in ENCODERS),
    *((name, "tokenizer_config.json") for name in ENCODERS if "auto_map" in name),
]


@pytest.mark.parametrize(("name", "file"), OF_FILES)
@pytest.mark.filterwarnings("ignore")
def test_encoders_that_ask_to_run_code_or_for_all_memory(tools, encoder, tmp_path, name, file):
    folder = tmp_path / "bert"
    shutil.copytree(encoder, folder)
    canary = f"open({str(tmp_path / 'owned')!r}, 'w')\nclass Model: pass\nclass Config: pass\n"
    (folder / "own.py").write_text(canary)
    values = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(values | ENCODERS[name]))
    text = tools.refusal(TextEncoder, folder)
    if "auto_map" in name:
        assert "auto_map" in text
        tools.refusal(encoder_shapes, folder)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    "text", ["", "[1]", "{", "7", "null", "\xff", "[" * 100_000, '{"a":1,"a":2}']
)
@pytest.mark.filterwarnings("ignore")
def test_encoders_whose_configuration_is_none(tools, encoder, tmp_path, text):
    folder = tmp_path / "bert"
    shutil.copytree(encoder, folder)
    (folder / "config.json").write_text(text, encoding="latin-1")
    tools.refusal(TextEncoder, folder)


MASK = np.zeros((4, 4, 4), np.uint8)
SCORES: dict[str, tuple[Any, ...]] = {
    "other shapes": (MASK, MASK[:3], (1, 1, 1), 1, {"a": 1}),
    "two dimensions": (MASK[0], MASK[0], (1, 1, 1), 1, {"a": 1}),
    "four dimensions": (MASK[None], MASK[None], (1, 1, 1), 1, {"a": 1}),
    "a spacing of 0": (MASK, MASK, (0, 1, 1), 1, {"a": 1}),
    "a spacing of NaN": (MASK, MASK, (float("nan"), 1, 1), 1, {"a": 1}),
    "a spacing of infinity": (MASK, MASK, (float("inf"), 1, 1), 1, {"a": 1}),
    "a negative spacing": (MASK, MASK, (-1, 1, 1), 1, {"a": 1}),
    "two spacings": (MASK, MASK, (1, 1), 1, {"a": 1}),
    "tolerance -1": (MASK, MASK, (1, 1, 1), -1, {"a": 1}),
    "tolerance NaN": (MASK, MASK, (1, 1, 1), float("nan"), {"a": 1}),
    "no tolerance": (MASK, MASK, (1, 1, 1), [], {"a": 1}),
    "names for label maps": (MASK, MASK, (1, 1, 1), 1, ["a"]),
    "fractions": (MASK + 0.5, MASK, (1, 1, 1), 1, {"a": 1}),
    "NaN": (MASK * np.nan, MASK, (1, 1, 1), 1, {"a": 1}),
    "complex": (MASK * 1j, MASK, (1, 1, 1), 1, {"a": 1}),
    "texts": (MASK.astype(str), MASK, (1, 1, 1), 1, {"a": 1}),
    "values beyond 16 bits": (MASK.astype(int) + 10**9, MASK, (1, 1, 1), 1, {"a": 1}),
    "masks of other shapes": ({"a": MASK, "b": MASK[:3]}, None, (1, 1, 1), 1, ["a", "b"]),
    "a soft mask": ({"a": MASK + 0.5}, {"a": MASK}, (1, 1, 1), 1, ["a"]),
    "a label map as mask": (
        {"a": MASK}, {"a": np.arange(64).reshape(4, 4, 4)}, (1, 1, 1), 1, ["a"],
    ),
    "no voxel": (MASK[:0], MASK[:0], (1, 1, 1), 1, {"a": 1}),
    "nothing": (None, None, (1, 1, 1), 1, {"a": 1}),
    "an unknown metric": (MASK, MASK, (1, 1, 1), 1, {"a": 1}, ["moon"]),
    "an unknown engine": (MASK, MASK, (1, 1, 1), 1, {"a": 1}, ["dsc"], "moon"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(SCORES))
def test_arrays_that_cannot_be_scored(tools, name):
    tools.refusal(satbench.score, *SCORES[name])


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("metrics", ["moon"]), ("tolerance_mm", -1.0), ("tolerance_mm", []), ("modality", "x"),
        ("engine", "moon"), ("resample", "linear"), ("patient_pattern", "("), ("out", "x.txt"),
        ("labels", "missing.yaml"), ("patient_pattern", "x"),
    ],
    ids=str,
)  # fmt: skip
def test_unusable_options_of_the_python_interface(tools, tmp_path, monkeypatch, option, value):
    monkeypatch.chdir(tmp_path)
    for side in ("ref", "pred"):
        tools.save(tmp_path / side / "c.nii.gz", tools.blob())
    tools.refusal(satbench.evaluate, "ref", "pred", **{option: value})


def test_a_refusal_is_one_of_ours():
    with pytest.raises(BenchError):
        satbench.evaluate("nothing", "nothing")
