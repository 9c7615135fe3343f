"""The real cases of the development data, in their public layouts."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml
from scipy import ndimage

from baselines.universal.config import load_preset as load_universal
from evaluation.cases import read_image_case, read_reference
from evaluation.config import RunConfig
from evaluation.datasets.readers import get_reader
from evaluation.datasets.registry import find_card
from evaluation.datasets.scope import classes_in_scope
from evaluation.datasets.standardise import standardise_case
from evaluation.errors import BenchError
from evaluation.training.prepared_case import prepare_case
from evaluation.volumes.image_files import read_volume
from sat.config import load_preset


def standardise_one(dataset: str, shared: Path, folder: Path, case: str | None = None, **arguments):
    card = find_card(dataset)
    if arguments:
        card = card.model_copy(update={"reader_args": {**card.reader_args, **arguments}})
    reader = get_reader(card)
    found = {raw.case: raw for raw in reader.discover(shared / "data" / card.folder)}
    raw = found[case] if case else next(iter(found.values()))
    standardise_case(card, reader, raw, card.classes, folder)
    record, reference = read_reference(folder)
    return record, reference, read_image_case(folder).image()


def test_hippocampus_lists_the_260_published_cases(shared: Path) -> None:
    card = find_card("msd_hippocampus")
    found = [raw.case for raw in get_reader(card).discover(shared / "data" / card.folder)]
    with (shared / "paper" / "published_splits.csv").open() as stream:
        published = {
            row["case"].removesuffix(".nii.gz")
            for row in csv.DictReader(stream)
            if row["dataset"] == "MSD Hippocampus"
        }
    assert len(found) == card.expected_cases == 260
    assert set(found) == published


@pytest.mark.parametrize("case", ["hippocampus_001", "hippocampus_003", "hippocampus_203"])
def test_hippocampus(case: str, shared: Path, tmp_path: Path) -> None:
    record, reference, image = standardise_one("msd_hippocampus", shared, tmp_path / case, case)
    source = nib.load(
        shared / f"data/MSD_Hippocampus/Task04_Hippocampus/labelsTr/{case}.nii.gz"
    ).get_fdata()
    assert record.spacing_mm == (1.0, 1.0, 1.0)
    assert set(record.classes) == {
        "anterior hippocampus",
        "posterior hippocampus",
        "hippocampus",
    }
    assert reference.mask("anterior hippocampus").sum() == (source == 1).sum()
    assert reference.mask("hippocampus").sum() == (source > 0).sum()
    assert image.array.dtype in (np.uint8, np.int16, np.float32)
    assert len(record.source_sha256) == 2


def test_chaos_ct_in_true_millimetres(shared: Path, tmp_path: Path) -> None:
    record, reference, image = standardise_one("chaos_ct", shared, tmp_path / "3", "3")
    assert record.shape == (512, 512, 78)
    assert record.spacing_mm == (0.72656, 0.72656, 2.0)  # the SliceThickness tag says 3.2 mm
    liver = reference.mask("liver")
    # The mask lies on the organ: contrast-enhanced liver, hardly any air or bone in it. With the
    # stack upside down the mean is 36 HU and the standard deviation 248.
    inside = image.array[liver].astype(float)
    assert 100 < np.median(inside) < 180
    assert inside.std() < 45
    # One organ of a plausible volume, on the patient's right, where x in RAS grows.
    organ = liver[ndimage.find_objects(liver.view(np.uint8))[0]]
    labels, _ = ndimage.label(organ)
    assert np.bincount(labels[organ]).max() > 0.98 * organ.sum()
    body = image.array[:, :, ::4] > -300
    middle_mm = (image.affine @ [*np.argwhere(body).mean(axis=0), 1])[0]
    liver_mm = image.affine @ [*np.argwhere(liver).mean(axis=0), 1]
    assert liver_mm[0] > middle_mm + 20
    litres = liver.sum() * np.prod(record.spacing_mm) / 1e6
    assert 1.0 < litres < 2.5
    # Superior is up: lung (air inside the body) lies above the liver, not below it.
    z_mm = image.affine[2, 2] * np.arange(78) + image.affine[2, 3]
    assert 1536 <= z_mm.min() < z_mm.max() <= 1691
    inside_body = ndimage.binary_fill_holes(body.any(axis=2))[..., None]
    lung = [((image.array[..., part] < -700) & inside_body).sum() for part in np.s_[-10:, :10]]
    assert lung[0] > lung[1]


def test_isles_dwi_and_adc_share_the_mask(shared: Path, tmp_path: Path) -> None:
    dwi, dwi_mask, dwi_image = standardise_one(
        "isles2022", shared, tmp_path / "dwi", "sub-strokecase0009_dwi"
    )
    adc, adc_mask, adc_image = standardise_one(
        "isles2022", shared, tmp_path / "adc", "sub-strokecase0009_adc"
    )
    assert (dwi.sequence, adc.sequence) == ("dwi", "adc")
    assert dwi.patient == adc.patient == "sub-strokecase0009"
    assert dwi.spacing_mm == (2.0, 2.0, 2.0)
    assert dwi.source_orientation == "LAS"
    lesion = dwi_mask.mask("stroke")
    assert lesion.sum() == 523
    assert (lesion == adc_mask.mask("stroke")).all()
    # An acute infarct is bright in DWI and dark in ADC, against the brain around it.
    brain = (dwi_image.array > 50) & ~lesion
    assert dwi_image.array[lesion].mean() > 1.5 * dwi_image.array[brain].mean()
    assert adc_image.array[lesion].mean() < adc_image.array[brain].mean()


def test_totalsegmentator(shared: Path, tmp_path: Path) -> None:
    # This case has the structure names of version 2: what version 1 calls otherwise is missing.
    record, reference, image = standardise_one(
        "totalsegmentator", shared, tmp_path / "s0000", missing="not_annotated"
    )
    assert record.spacing_mm == (3.0, 3.0, 3.0)
    assert "heart atrium" in record.not_annotated
    assert len(record.classes) + len(record.not_annotated) == 128
    source = shared / "data/TotalSegmentator/s0000/segmentations"
    for name, file in (("liver", "liver"), ("left kidney", "kidney_left"), ("l3", "vertebrae_L3")):
        name = next(n for n in record.classes if name in n)
        assert (
            reference.mask(name).sum()
            == (nib.load(source / f"{file}.nii.gz").get_fdata() > 0).sum()
        )
    assert record.n_layers <= 2
    both = reference.mask("left kidney").sum() + reference.mask("right kidney").sum()
    assert reference.mask("kidney").sum() == both
    assert 0 < np.median(image.array[reference.mask("liver")]) < 200


def test_totalsegmentator_version_2_is_named_and_can_be_used(shared: Path, tmp_path: Path) -> None:
    card = find_card("totalsegmentator")
    reader = get_reader(card)
    (raw,) = reader.discover(shared / "data" / card.folder)
    with pytest.raises(BenchError, match="comes from version 2") as caught:
        standardise_case(card, reader, raw, card.classes, tmp_path / "s0000")
    assert not (tmp_path / "s0000").exists()
    # The message holds what to write into the configuration.
    advice = re.search(r"classes: (\{.*\})", str(caught.value))
    assert advice is not None
    classes = yaml.safe_load(advice[1])
    config = RunConfig(
        name="v2",
        study="sat",
        data_kind="real",
        raw_root="x",
        entries=[card.id],
        models=["m"],
        classes=classes,
    )
    scope = classes_in_scope(card, config)
    record = standardise_case(card, reader, raw, scope, tmp_path / "s0000")
    assert len([entry for entry in scope if entry.kind == "annotated"]) == 103 - 6
    assert set(record.classes) == {entry.name for entry in scope}
    assert not {"heart atrium", "heart ventricle", "heart myocardium"} & set(record.classes)
    assert not record.not_annotated
    mixed = config.model_copy(update={"classes": {card.id: ["-liver", "spleen"]}})
    with pytest.raises(BenchError, match="some names have a minus"):
        classes_in_scope(card, mixed)


def test_spleen_crop(shared: Path, tmp_path: Path) -> None:
    record, reference, image = standardise_one("msd_spleen", shared, tmp_path / "s", "spleen_2")
    assert record.shape == (164, 166, 26)
    assert record.spacing_mm[2] == 5.0
    assert 60 < image.array[reference.mask("spleen")].mean() < 130
    assert image.array.dtype == np.int16


def test_sunnybrook_in_the_layout_of_mnms(shared: Path, tmp_path: Path) -> None:
    """Five real hearts: the relaxed frame holds more blood, as the publishers' volumes say."""
    card = find_card("mnms").model_copy(update={"folder": "Sunnybrook"})
    reader = get_reader(card)
    found = {raw.case: raw for raw in reader.discover(shared / "data/Sunnybrook")}
    with (shared / "data/Sunnybrook/cases.csv").open() as stream:
        listed = list(csv.DictReader(stream))
    patients = {row["case"] for row in listed}
    assert set(found) == {f"{p}_{phase}" for p in patients for phase in ("ed", "es")}
    for patient in ("SC-HF-I-1", "SC-HF-I-6"):
        (row,) = (r for r in listed if r["case"] == patient)
        for phase in ("ed", "es"):
            folder = tmp_path / f"{patient}_{phase}"
            standardise_case(card, reader, found[folder.name], card.classes, folder)
            record, reference = read_reference(folder)
            assert record.sequence == "cine"
            millilitres = np.prod(record.spacing_mm) / 1000
            cavity = reference.mask("left ventricle cavity").sum() * millilitres
            assert cavity == pytest.approx(float(row[f"{phase}_lv_ml"]), rel=0.02)


def test_a_window_of_the_preset_real_holds_a_left_ventricle(shared: Path, tmp_path: Path) -> None:
    """Smaller windows marked hearts all over: DSC 0.2 (docs/pages/results_universal.md)."""
    presets = [load_preset("real"), load_universal("real").of("hermes-r")]
    card = find_card("sunnybrook")
    reader = get_reader(card)
    for raw in reader.discover(shared / "data/Sunnybrook"):
        standardise_case(card, reader, raw, card.classes, tmp_path / raw.case)
        record, reference = read_reference(tmp_path / raw.case)
        for preset in presets:
            prepared = prepare_case(
                tmp_path / "store", "sunnybrook", raw.case, "mri",
                read_volume(tmp_path / raw.case / "image.nii.gz"), reference, preset.grid,
                axes=record.grid_axes,
            )  # fmt: skip
            heart = np.array(prepared.label_size)
            assert heart.min() > 5
            assert (heart <= preset.inference.patch).all(), raw.case
