"""Broken and hostile raw folders: one clear message each, the other cases go on."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import MPEG2MPML, JPEGLosslessSV1

from evaluation.datasets.readers import get_reader
from evaluation.datasets.readers.dicom import read_series, series_files
from evaluation.datasets.readers.patterns import Finder
from evaluation.datasets.registry import find_card
from evaluation.datasets.standardise import kept_case, standardise_case
from evaluation.errors import BenchError


@pytest.fixture
def spleen(tmp_path: Path, phantom, raw_files):
    """Two good cases of MSD Spleen: (card, folder, image path, label path) of the first."""
    card = find_card("msd_spleen")
    folder = tmp_path / "raw" / card.folder
    scan = phantom("LPS", (1,))
    task = folder / "Task09_Spleen"
    for case in ("spleen_10", "spleen_2"):
        raw_files.image(task / f"imagesTr/{case}.nii.gz", scan.image, scan.affine)
        raw_files.image(task / f"labelsTr/{case}.nii.gz", scan.labels, scan.affine)
    return card, folder, task / "imagesTr/spleen_10.nii.gz", task / "labelsTr/spleen_10.nii.gz"


def refused(spleen, tmp_path: Path) -> str:
    """The message about `spleen_10`; nothing of it is left and `spleen_2` still goes through."""
    card, folder, _, _ = spleen
    reader = get_reader(card)
    out = tmp_path / "cases"
    bad, good = reader.discover(folder)
    with pytest.raises(BenchError) as error:
        standardise_case(card, reader, bad, card.classes, out / bad.case)
    standardise_case(card, reader, good, card.classes, out / good.case)
    assert sorted(p.name for p in out.iterdir()) == ["spleen_2"]
    return str(error.value)


def test_truncated_volume(spleen, tmp_path: Path) -> None:
    image = spleen[2]
    image.write_bytes(image.read_bytes()[: image.stat().st_size // 2])
    message = refused(spleen, tmp_path)
    assert "truncated" in message
    assert str(image) in message
    assert "download" in message


def test_volume_that_is_no_volume(spleen, tmp_path: Path) -> None:
    spleen[3].write_bytes(gzip.compress(b"<html>please log in</html>"))
    assert "cannot be read" in refused(spleen, tmp_path)


@pytest.mark.parametrize("change", ["shape", "spacing", "origin", "mirrored"])
def test_mask_on_another_grid(change: str, spleen, tmp_path: Path, phantom, raw_files) -> None:
    scan = phantom("LPS", (1,))
    labels, affine = scan.labels, scan.affine.copy()
    if change == "shape":
        labels = labels[:, :, :-1]
    elif change == "spacing":
        affine[2, 2] *= 1.05
    elif change == "origin":
        affine[0, 3] += 0.4
    else:
        affine[0, 0] *= -1
    raw_files.image(spleen[3], labels, affine)
    message = refused(spleen, tmp_path)
    assert "different grids" in message
    assert str(spleen[3]) in message
    assert str(spleen[2]) in message


def test_unknown_label_value(spleen, tmp_path: Path, phantom, raw_files) -> None:
    scan = phantom("LPS", (1, 4))
    raw_files.image(spleen[3], scan.labels, scan.affine)
    message = refused(spleen, tmp_path)
    assert "unknown label values" in message
    assert "[4]" in message
    assert "[0, 1]" in message
    assert str(spleen[3]) in message


@pytest.mark.parametrize("value", [np.nan, 0.5, np.inf])
def test_labels_that_are_no_integers(value, spleen, tmp_path, phantom, raw_files) -> None:
    scan = phantom("LPS", (1,))
    labels = scan.labels.astype(np.float32)
    labels[3, 3, 3] = value
    raw_files.image(spleen[3], labels, scan.affine)
    assert "not integers" in refused(spleen, tmp_path)


def test_nan_in_the_image(spleen, tmp_path: Path, phantom, raw_files) -> None:
    scan = phantom("LPS", (1,))
    image = scan.image.astype(np.float32)
    image[0, 0, 0] = np.nan
    raw_files.image(spleen[2], image, scan.affine)
    assert "NaN" in refused(spleen, tmp_path)


def test_missing_mask(spleen, tmp_path: Path) -> None:
    spleen[3].unlink()
    message = refused(spleen, tmp_path)
    assert "mask file is missing" in message
    assert str(spleen[3]) in message
    assert "exclude" in message


def test_link_out_of_the_dataset(spleen, tmp_path: Path) -> None:
    elsewhere = tmp_path / "secret.nii.gz"
    spleen[3].rename(elsewhere)
    spleen[3].symlink_to(elsewhere)
    message = refused(spleen, tmp_path)
    assert "link leads out" in message
    assert str(elsewhere) in message


def test_link_within_the_dataset_and_linked_dataset_folder(spleen, tmp_path: Path) -> None:
    card, folder, image, _ = spleen
    image.rename(folder / "scan.nii.gz")
    image.symlink_to(folder / "scan.nii.gz")
    (tmp_path / "linked").symlink_to(folder)
    reader = get_reader(card)
    for place in (folder, tmp_path / "linked"):
        assert reader.read(reader.discover(place)[0]).image.array.shape == (12, 10, 9)


def test_meta_image_data_outside(tmp_path: Path, phantom, raw_files) -> None:
    card = find_card("promise12")
    scan = phantom("LPS", (1,))
    folder = tmp_path / "PROMISE12"
    part = folder / "TrainingData_Part1"
    raw_files.image(part / "Case00.mhd", scan.image, scan.affine)
    raw_files.image(part / "Case00_segmentation.mhd", scan.labels, scan.affine)
    (part / "Case00.raw").rename(tmp_path / "outside.raw")
    header = (part / "Case00.mhd").read_text()
    (part / "Case00.mhd").write_text(header.replace("Case00.raw", "../../outside.raw"))
    reader = get_reader(card)
    (raw,) = reader.discover(folder)
    with pytest.raises(BenchError, match="leads out"):
        reader.read(raw)
    (part / "Case00.mhd").write_text(header)
    with pytest.raises(BenchError, match="voxels that a header names are missing"):
        reader.read(raw)


def test_hidden_files_are_no_cases(spleen) -> None:
    card, folder, image, label = spleen
    (image.parent / "._spleen_10.nii.gz").write_bytes(b"\0")
    (label.parent / "._spleen_10.nii.gz").write_bytes(b"\0")
    assert [raw.case for raw in get_reader(card).discover(folder)] == ["spleen_10", "spleen_2"]


def test_two_files_with_one_id(tmp_path: Path, phantom, raw_files) -> None:
    card = find_card("word")
    scan = phantom("LPS", (1,))
    for half in ("Tr", "Ts"):
        raw_files.image(tmp_path / f"images{half}/word_0001.nii.gz", scan.image, scan.affine)
        raw_files.image(tmp_path / f"labels{half}/word_0001.nii.gz", scan.labels, scan.affine)
    raw_files.image(tmp_path / "imagesTr/word_0002.nii.gz", scan.image, scan.affine)
    raw_files.image(tmp_path / "labelsTr/word_0002.nii.gz", scan.labels, scan.affine)
    reader = get_reader(card)
    twice, once = reader.discover(tmp_path)
    with pytest.raises(BenchError, match="two scans have the id `word_0001`"):
        reader.read(twice)
    assert reader.read(once).label_map is not None


def test_chaos_stack_of_another_length_or_with_a_missing_slice(
    tmp_path, phantom, raw_files
) -> None:
    card = find_card("chaos_ct")
    scan = phantom("LPS", (1,))
    case = tmp_path / "Train_Sets/CT/5"
    raw_files.dicom(case / "DICOM_anon", scan.image, scan.affine)
    raw_files.png_masks(case / "Ground", scan.labels * 255, scan.affine)
    reader = get_reader(card)
    (case / "Ground" / "liver_GT_004.png").unlink()
    with pytest.raises(BenchError, match="not as many as the slices") as error:
        reader.read(reader.discover(tmp_path)[0])
    assert "8 PNG masks" in str(error.value)
    assert "9, one for each slice" in str(error.value)
    (case / "DICOM_anon" / "i0004,0000b.dcm").unlink()
    with pytest.raises(BenchError, match="not evenly spaced") as error:
        reader.read(reader.discover(tmp_path)[0])
    assert "6.000 mm" in str(error.value)


def test_truncated_dicom_and_unknown_grey(tmp_path: Path, phantom, raw_files) -> None:
    card = find_card("chaos_mr")
    scan = phantom("LPS", (63, 90))
    base = tmp_path / "Train_Sets/MR/1/T2SPIR"
    raw_files.dicom(base / "DICOM_anon", scan.image, scan.affine, "MR")
    raw_files.png_masks(base / "Ground", scan.labels, scan.affine)
    reader = get_reader(card)
    (raw,) = reader.discover(tmp_path)
    with pytest.raises(BenchError, match="grey levels that mean nothing") as error:
        reader.read(raw)
    assert "[90]" in str(error.value)
    file = raw.image[3]
    file.write_bytes(file.read_bytes()[:-50])
    with pytest.raises(BenchError, match="truncated or corrupt") as error:
        reader.read(raw)
    assert str(file) in str(error.value)


def _in_lossless_jpeg(file: Path) -> None:
    """Encode a slice as most archives do; pydicom alone cannot decode it."""
    item = pydicom.dcmread(file)
    coded = file.with_suffix(".coded")
    writer = sitk.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.SetFileName(str(coded))
    writer.UseCompressionOn()
    writer.SetCompressor("JPEG")
    writer.Execute(sitk.GetImageFromArray(item.pixel_array[None]))
    jpeg = pydicom.dcmread(coded)
    coded.unlink()
    item.PixelData = jpeg.PixelData
    item["PixelData"].is_undefined_length = True
    item.file_meta.TransferSyntaxUID = jpeg.file_meta.TransferSyntaxUID
    pydicom.dcmwrite(file, item, enforce_file_format=True)


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_lossless_jpeg_reads_as_the_raw_series(tmp_path, phantom, raw_files, modality) -> None:
    scan = phantom("LPS", (1,))
    raw_files.dicom(tmp_path / "a", scan.image, scan.affine, modality)
    files = series_files(tmp_path / "a")
    raw = read_series(files)
    for file in files:
        _in_lossless_jpeg(file)
    assert pydicom.dcmread(files[0]).file_meta.TransferSyntaxUID == JPEGLosslessSV1
    assert not get_decoder(JPEGLosslessSV1).is_available
    coded = read_series(files)
    assert coded.order == raw.order
    assert coded.volume.array.dtype == raw.volume.array.dtype
    assert np.array_equal(coded.volume.array, raw.volume.array)
    assert np.array_equal(coded.volume.affine, raw.volume.affine)


def test_an_unknown_transfer_syntax_is_named(tmp_path: Path, phantom, raw_files) -> None:
    scan = phantom("LPS", (1,))
    raw_files.dicom(tmp_path, scan.image, scan.affine)
    files = series_files(tmp_path)
    for file in files:
        _in_lossless_jpeg(file)
    # The syntax of a video; then pixels that end in the middle, and a file that does.
    whole = files[2].read_bytes()
    item = pydicom.dcmread(files[2])
    item.file_meta.TransferSyntaxUID = MPEG2MPML
    pydicom.dcmwrite(files[2], item, enforce_file_format=True)
    with pytest.raises(BenchError, match="no decoder for their transfer syntax") as error:
        read_series(files)
    assert str(files[2]) in str(error.value)
    assert MPEG2MPML in str(error.value)
    assert "MPEG2" in str(error.value)
    assert "gdcmconv --raw" in str(error.value)
    item.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    (frame,) = generate_frames(item.PixelData, number_of_frames=1)
    item.PixelData = encapsulate([frame[: len(frame) // 2]])
    pydicom.dcmwrite(files[2], item, enforce_file_format=True)
    with pytest.raises(BenchError, match="cannot be decoded"):
        read_series(files)
    files[2].write_bytes(whole[:-100])
    with pytest.raises(BenchError, match="truncated or corrupt"):
        read_series(files)


@pytest.mark.parametrize("missing", ["error", "empty", "not_annotated"])
def test_missing_structure_file(missing: str, tmp_path: Path, phantom, raw_files) -> None:
    card = find_card("totalsegmentator")
    kept = [card.class_entry(n) for n in ("spleen", "left kidney", "right kidney", "kidney")]
    card = card.model_copy(
        update={
            "classes": tuple(kept),
            "reader_args": {**card.reader_args, "missing": missing},
        }
    )
    scan = phantom("LPS", (1, 2))
    folder = tmp_path / "raw/s0001"
    raw_files.image(folder / "ct.nii.gz", scan.image, scan.affine)
    for value, file in ((1, "spleen"), (2, "kidney_left")):
        mask = (scan.labels == value).astype(np.uint8)
        raw_files.image(folder / f"segmentations/{file}.nii.gz", mask, scan.affine)
    reader = get_reader(card)
    (raw,) = reader.discover(tmp_path / "raw")
    if missing == "error":
        with pytest.raises(BenchError, match="mask file is missing") as error:
            standardise_case(card, reader, raw, card.classes, tmp_path / "out/s0001")
        assert "kidney_right.nii.gz" in str(error.value)
        assert not (tmp_path / "out/s0001").exists()
        return
    record = standardise_case(card, reader, raw, card.classes, tmp_path / "out/s0001")
    if missing == "empty":
        assert record.not_annotated == ()
    else:
        # Half a kidney pair is no reference for the pair.
        assert record.not_annotated == ("right kidney", "kidney")


def test_partial_mask_off_the_grid(tmp_path: Path, phantom, raw_files) -> None:
    card = find_card("han_seg")
    scan = phantom("LPS", (1,))
    case = tmp_path / "set_1/case_01"
    raw_files.image(case / "case_01_IMG_CT.nrrd", scan.image, scan.affine)
    affine = scan.affine.copy()
    affine[:3, 3] += [0.4, 0, 0]
    raw_files.image(case / "case_01_OAR_Lips.seg.nrrd", scan.labels[:5, :5, :5], affine)
    reader = get_reader(card)
    (raw,) = reader.discover(tmp_path)
    with pytest.raises(BenchError, match="does not lie on voxels"):
        reader.read(raw).masks["Lips"]
    affine[:3, 3] = (scan.affine @ [9, 8, 7, 1])[:3]
    raw_files.image(case / "case_01_OAR_Lips.seg.nrrd", np.ones((6, 5, 4), np.uint8), affine)
    with pytest.raises(BenchError, match="reaches out"):
        reader.read(raw).masks["Lips"]


def test_resumes_only_what_was_made_the_same_way(
    spleen, tmp_path: Path, phantom, raw_files
) -> None:
    card, folder, _, label = spleen
    reader, out = get_reader(card), tmp_path / "cases/spleen_10"
    raw = reader.discover(folder)[0]
    assert not kept_case(card, raw, card.classes, out)
    standardise_case(card, reader, raw, card.classes, out)
    assert kept_case(card, raw, card.classes, out)
    ignoring = card.model_copy(update={"ignore_values": (7,)})
    assert not kept_case(ignoring, raw, card.classes, out)
    raw_files.image(label, phantom("LPS", (1, 1, 1)).labels, phantom("LPS").affine)
    assert not kept_case(card, raw, card.classes, out)
    (out / "case.json").write_text("{")
    assert not kept_case(card, raw, card.classes, out)


@pytest.mark.parametrize(
    ("reader", "arguments", "expected"),
    [
        ("decathlonn", {}, "did you mean `decathlon`"),
        ("decathlon", {"tasks": "x"}, "did you mean `task`"),
        ("paired", {"scans": []}, "scans"),
        ("paired", {"scans": [{"image": "../{case}.nii", "label": "a"}]}, "stay inside"),
        ("paired", {"scans": [{"image": "{case:\\d+}.nii", "label": "a"}]}, "braces hold a name"),
        (
            "paired",
            {"names": {"case": "s["}, "scans": [{"image": "{case}.nii", "label": "a"}]},
            "`s[` is not a regular expression",
        ),
        (
            "paired",
            {"names": {"cse": "s"}, "scans": [{"image": "{case}.nii", "label": "a"}]},
            "no file pattern has the field {cse}",
        ),
        ("no_such_module:Reader", {}, "cannot be loaded"),
        ("evaluation.datasets.card:Nothing", {}, "cannot be loaded"),
    ],
)
def test_wrong_cards(reader: str, arguments: dict, expected: str) -> None:
    card = find_card("msd_spleen").model_copy(update={"reader": reader, "reader_args": arguments})
    with pytest.raises(BenchError) as error:
        get_reader(card)
    assert expected in str(error.value)
    assert "card `msd_spleen`" in str(error.value)


def test_a_reader_of_ones_own() -> None:
    own = "evaluation.datasets.readers.decathlon:DecathlonReader"
    card = find_card("msd_spleen").model_copy(update={"reader": own})
    assert type(get_reader(card)).__name__ == "DecathlonReader"


def test_folder_without_the_layout(tmp_path: Path) -> None:
    reader = get_reader(find_card("msd_spleen"))
    with pytest.raises(BenchError, match="not found"):
        reader.discover(tmp_path / "nowhere")
    with pytest.raises(BenchError, match="no case in this folder"):
        reader.discover(tmp_path)


def test_a_folder_of_other_names_says_what_lies_there(tmp_path: Path) -> None:
    (tmp_path / "kits21" / "data" / "KiTS-00250").mkdir(parents=True)
    with pytest.raises(BenchError) as error:
        get_reader(find_card("kits21")).discover(tmp_path)
    assert f"in {tmp_path}/kits21/data: KiTS-00250" in str(error.value)
    assert r"files such as data/{case}/imaging.nii.gz, {case} = case_\d+" in str(error.value)


def test_patterns(tmp_path: Path) -> None:
    for name in (
        "a/x1/x1_t1.nii", "top/a/x2/x2_T1.NII", "a/x1/x9_t1.nii", "a/.x3/.x3_t1.nii", "a/y/y_t1.nii"
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    finder = Finder("top", {"p": r"x\d{1,2}"})
    pattern = "a/{p}/{p}_t1.nii"
    assert [match.values["p"] for match in finder.find(tmp_path, pattern)] == ["x1", "x2"]
    assert finder.find(tmp_path, pattern, {"p": "x2"})[0].path.name == "x2_T1.NII"
    assert [match.values["p"] for match in Finder().find(tmp_path, pattern)] == ["x1", "y"]
    assert finder.expected_path(tmp_path, "{p}_{q}.nii", {"p": "x2"}) == tmp_path / "top/x2_*.nii"
    (tmp_path / "a/x1/X1_t1.nii").touch()
    exact = finder.find(tmp_path, pattern, {"p": "x1"})
    assert [match.path.name for match in exact] == ["x1_t1.nii"]


def test_regular_expressions_may_have_groups_and_signs_are_plain_text(tmp_path: Path) -> None:
    for name in ("s.1+a.nii", "sx1+a.nii", "s.1+b.nii", "s.1+ab.nii"):
        (tmp_path / name).touch()
    found = Finder(names={"c": "(a|b)"}).find(tmp_path, "s.1+{c}.nii")
    assert [match.values for match in found] == [{"c": "a"}, {"c": "b"}]


def test_image_types_are_exact(spleen, tmp_path: Path, raw_files, phantom) -> None:
    card, folder, image, _ = spleen
    scan = phantom("LPS", (1,))
    reader = get_reader(card)
    for values, dtype in (
        (scan.image % 256, np.uint8),
        (scan.image.astype(np.float64) - 500, np.int16),
        (scan.image.astype(np.float32) / 3, np.float32),
        (scan.image.astype(np.int32) * 1000, np.float32),
    ):
        raw_files.image(image, values, scan.affine)
        raw = reader.discover(folder)[0]
        standardise_case(card, reader, raw, card.classes, tmp_path / "c/spleen_10")
        stored = nib.load(tmp_path / "c/spleen_10/image.nii.gz")
        assert stored.get_data_dtype() == dtype
        assert np.array_equal(np.asanyarray(stored.dataobj)[::-1, ::-1], values.astype(dtype))
