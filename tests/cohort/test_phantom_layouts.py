"""The five layouts as any reader of those formats sees them, and the anatomy in millimetres."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from evaluation.datasets.phantoms import roster, write_cohort
from evaluation.datasets.phantoms.structures import V1_STRUCTURES
from evaluation.volumes.image_files import orientation_of, read_volume, to_ras

N = 3


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cohort")
    write_cohort(root, ["totalsegmentator", "chaos_ct", "msd_spleen", "acdc", "promise12"], N, 0)
    return root


def ras_mask(path: Path) -> tuple[np.ndarray, float, np.ndarray]:
    """Mask in RAS, millilitres, and centre of mass in RAS mm."""
    volume = to_ras(read_volume(path))
    index = np.argwhere(volume.array > 0)
    centre = nib.affines.apply_affine(volume.affine, index).mean(axis=0)
    return volume.array > 0, len(index) * float(np.prod(volume.spacing_mm)) / 1000, centre


def test_names_are_those_of_the_published_structures(shared: Path) -> None:
    with (shared / "reference/dataset_classes.csv").open() as stream:
        rows = [r for r in csv.DictReader(stream) if r["dataset"] == "TotalSegmentor"]
    names = {r["raw_value_or_file"] for r in rows if r["kind"] == "annotated"}
    assert set(V1_STRUCTURES) == names | {"face"}
    assert len(V1_STRUCTURES) == 104


def test_totalsegmentator_has_every_mask_on_the_grid_of_its_scan(raw: Path) -> None:
    orientations = set()
    for row in roster("totalsegmentator", N, 1):
        subject = raw / "TotalSegmentator" / row.case
        scan: Any = nib.load(subject / "ct.nii.gz")
        assert scan.get_data_dtype() == np.int16
        masks = sorted((subject / "segmentations").glob("*.nii.gz"))
        assert [p.name for p in masks] == [f"{name}.nii.gz" for name in V1_STRUCTURES]
        present = 0
        for path in masks:
            mask: Any = nib.load(path)
            assert mask.shape == scan.shape
            np.testing.assert_array_equal(mask.affine, scan.affine)
            values = set(np.unique(mask.dataobj).tolist())
            assert values <= {0, 1}
            present += 1 in values
        assert present >= 40
        orientations.add(orientation_of(scan.affine))
        hu = np.asarray(scan.dataobj)
        assert hu.min() >= -1024
        assert -1010 < np.median(hu[hu < -800]) < -780
        assert hu.max() > 150
    assert len(orientations) > 1


def test_organs_have_plausible_volumes_and_lie_on_their_sides(raw: Path) -> None:
    # Slim virtual adults whose organs may be cut by the field of view.
    volumes_ml = {
        "liver": (400, 1900),
        "spleen": (40, 350),
        "kidney_left": (60, 280),
        "kidney_right": (60, 280),
        "stomach": (90, 500),
        "pancreas": (25, 150),
        "gallbladder": (6, 60),
        "aorta": (40, 250),
        "autochthon_left": (60, 500),
        "autochthon_right": (60, 500),
    }
    for row in roster("totalsegmentator", N, 1):
        folder = raw / "TotalSegmentator" / row.case / "segmentations"
        centre: dict[str, np.ndarray] = {}
        for name, (least, most) in volumes_ml.items():
            _, millilitres, centre[name] = ras_mask(folder / f"{name}.nii.gz")
            assert least < millilitres < most, (row.case, name, millilitres)
        middle = (centre["autochthon_left"] + centre["autochthon_right"]) / 2
        # In RAS the patient's right has the larger x, the front the larger y.
        for name in ("kidney", "autochthon", "iliopsoas"):
            right = ras_mask(folder / f"{name}_right.nii.gz")[2]
            left = ras_mask(folder / f"{name}_left.nii.gz")[2]
            assert right[0] > left[0] + 20
        assert centre["liver"][0] > middle[0] + 10
        assert centre["spleen"][0] < middle[0] - 30
        assert centre["stomach"][0] < middle[0]
        assert centre["aorta"][1] > middle[1]
        assert centre["kidney_right"][2] < centre["liver"][2]


def test_paired_structures_mirror_each_other_in_an_asymmetric_body(raw: Path) -> None:
    for row in roster("totalsegmentator", N, 1):
        folder = raw / "TotalSegmentator" / row.case / "segmentations"
        _, right_ml, right = ras_mask(folder / "autochthon_right.nii.gz")
        _, left_ml, left = ras_mask(folder / "autochthon_left.nii.gz")
        assert 0.6 < right_ml / left_ml < 1.7
        assert abs(right[1] - left[1]) < 15


def test_chaos_tells_its_true_step_in_positions_only(raw: Path) -> None:
    for row in roster("chaos_ct", N, 1):
        folder = raw / "CHAOS/Train_Sets/CT" / row.case
        slices = [pydicom.dcmread(p) for p in sorted((folder / "DICOM_anon").glob("*.dcm"))]
        masks = [
            sitk.GetArrayFromImage(sitk.ReadImage(str(p)))
            for p in sorted((folder / "Ground").glob("liver_GT_*.png"))
        ]
        assert len(slices) == len(masks) == 34
        z = np.array([float(s.ImagePositionPatient[2]) for s in slices])
        step = -np.diff(z)
        assert (step > 0).all(), "slices run from head to foot"
        assert np.ptp(step) < 1e-3
        assert float(slices[0].SliceThickness) > 1.4 * step[0]
        assert len({s.SOPInstanceUID for s in slices}) == 34
        assert len({s.SeriesInstanceUID for s in slices}) == 1
        hu = np.stack([s.pixel_array.astype(float) + float(s.RescaleIntercept) for s in slices])
        liver = np.stack(masks) == 255
        assert 0 < liver.sum() == (np.stack(masks) > 0).sum()
        assert 40 < hu[liver].mean() < 130
        # Columns run to the patient's left, so the liver lies in the first half of the body.
        body = hu.max(axis=0) > -500
        assert np.argwhere(liver)[:, 2].mean() < np.argwhere(body)[:, 1].mean()


def test_itk_reads_the_series_in_the_same_millimetres(raw: Path) -> None:
    folder = raw / "CHAOS/Train_Sets/CT/1/DICOM_anon"
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    first = pydicom.dcmread(folder / "i0000,0000b.dcm")
    second = pydicom.dcmread(folder / "i0001,0000b.dcm")
    step = abs(float(first.ImagePositionPatient[2]) - float(second.ImagePositionPatient[2]))
    assert image.GetSize() == (48, 38, 34)
    assert image.GetSpacing()[2] == pytest.approx(step, abs=1e-4)


def test_decathlon_pairs_images_and_labels(raw: Path) -> None:
    import json

    task = raw / "MSD_Spleen/Task09_Spleen"
    listing = json.loads((task / "dataset.json").read_text())
    assert listing["numTraining"] == len(listing["training"]) == N
    for pair in listing["training"]:
        image, label = read_volume(task / pair["image"]), read_volume(task / pair["label"])
        np.testing.assert_allclose(image.affine, label.affine)
        assert set(np.unique(label.array).tolist()) == {0, 1}
        assert 50 < image.array[label.array == 1].mean() < 150


def test_acdc_frames_show_one_heart_that_contracts(raw: Path) -> None:
    rows = roster("acdc", N, 1)
    for relaxed, contracted in zip(rows[::2], rows[1::2], strict=True):
        folder = raw / "ACDC/database/training" / relaxed.patient
        info = dict(line.split(": ") for line in (folder / "Info.cfg").read_text().splitlines())
        assert f"frame{int(info['ED']):02d}" in relaxed.case
        assert f"frame{int(info['ES']):02d}" in contracted.case
        volumes = []
        for row in (relaxed, contracted):
            image, truth = (
                read_volume(folder / f"{row.case}.nii.gz"),
                to_ras(read_volume(folder / f"{row.case}_gt.nii.gz")),
            )
            assert image.array.min() >= 0
            assert set(np.unique(truth.array).tolist()) == {0, 1, 2, 3}
            ml = float(np.prod(truth.spacing_mm)) / 1000
            volumes.append([int((truth.array == v).sum()) * ml for v in (1, 2, 3)])
            right = np.argwhere(truth.array == 1)[:, 0].mean()
            assert right > np.argwhere(truth.array == 3)[:, 0].mean()
        ejected = 1 - volumes[1][2] / volumes[0][2]
        assert 0.2 < ejected < 0.75
        assert 25 < volumes[0][2] < 250


def test_promise12_is_a_meta_image_with_its_raw_file(raw: Path) -> None:
    folder = raw / "PROMISE12/TrainingData_Part1"
    orientations = set()
    for row in roster("promise12", N, 1):
        header = (folder / f"{row.case}.mhd").read_text()
        assert f"ElementDataFile = {row.case}.raw" in header
        image = read_volume(folder / f"{row.case}.mhd")
        mask = read_volume(folder / f"{row.case}_segmentation.mhd")
        np.testing.assert_allclose(image.affine, mask.affine)
        orientations.add(orientation_of(image.affine))
        millilitres = (mask.array == 1).sum() * float(np.prod(mask.spacing_mm)) / 1000
        assert 15 < millilitres < 120
    assert len(orientations) > 1
