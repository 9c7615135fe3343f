"""Every entry's raw layout, written by hand, is found, read and placed right in millimetres."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from evaluation.cases import read_image_case, read_reference
from evaluation.datasets.card import DatasetCard
from evaluation.datasets.readers import get_reader
from evaluation.datasets.registry import CARD_FOLDER, find_card, load_cards
from evaluation.datasets.standardise import patient_of, standardise_case
from evaluation.errors import BenchError

UID = "1.3.6.1.4.1.14519.5.2.1.6279.6001.120196332569034738680965284519"
MSD = "Task{0}/imagesTr/{1}.nii.gz", "Task{0}/labelsTr/{1}.nii.gz"


def msd(task: str, case: str) -> tuple[str, str, str, str]:
    return MSD[0].format(task, case), MSD[1].format(task, case), case, case


# entry -> (image file, label file, case, patient)
LABEL_MAPS: dict[str, list[tuple[str, str, str, str]]] = {
    "challenge_4c2021": [("images/002.nii.gz", "labels/002.nii.gz", "002", "002")],
    "acdc": [
        (
            f"{half}/{p}/{p}_frame{f}.nii.gz",
            f"{half}/{p}/{p}_frame{f}_gt.nii.gz",
            f"{p}_frame{f}",
            p,
        )
        for half, p, f in (
            ("training", "patient001", "01"),
            ("training", "patient001", "12"),
            ("testing", "patient101", "01"),
        )
    ],
    "covid19_ct_seg": [
        (f"{c}.nii.gz", f"Lung_and_Infection_Mask/{c}.nii.gz", c, p)
        for c, p in (
            ("coronacases_003", "coronacases_003"),
            ("radiopaedia_14_85914_0", "radiopaedia_14"),  # one publication case, several series
        )
    ],
    "openms": [
        (
            f"cross_sectional/patient07/{file}.nii.gz",
            "cross_sectional/patient07/consensus_gt.nii.gz",
            f"patient07_{name}",
            "patient07",
        )
        for file, name in (("T1W", "t1"), ("T2W", "t2"), ("FLAIR", "flair"))
    ],
    "luna16": [(f"subset3/{UID}.mhd", f"seg-lungs-LUNA16/{UID}.mhd", UID, UID)],
    "msd_lung": [msd("06_Lung", "lung_065")],
    "msd_colon": [msd("10_Colon", "colon_046")],
    "msd_hepaticvessel": [msd("08_HepaticVessel", "hepaticvessel_223")],
    "msd_liver": [msd("03_Liver", "liver_39")],
    "msd_pancreas": [msd("07_Pancreas", "pancreas_391")],
    "msd_spleen": [msd("09_Spleen", "spleen_33")],
    "msd_hippocampus": [msd("04_Hippocampus", "hippocampus_203")],
    "msd_heart": [msd("02_Heart", "la_024")],
    "abdomenct1k": [
        ("Images/Case_00558_0000.nii.gz", "Masks/Case_00558.nii.gz", "Case_00558", "Case_00558")
    ],
    "couinaud": [
        (
            "../MSD_HepaticVessel/Task08_HepaticVessel/imagesTr/hepaticvessel_223.nii.gz",
            "hepaticvessel_223.nii.gz",
            "hepaticvessel_223",
            "hepaticvessel_223",
        )
    ],
    "flare22": [
        (
            "images/FLARE22_Tr_0031_0000.nii.gz",
            "labels/FLARE22_Tr_0031.nii.gz",
            "FLARE22_Tr_0031",
            "FLARE22_Tr_0031",
        )
    ],
    "kits21": [
        (
            "kits21/data/case_00250/imaging.nii.gz",
            "kits21/data/case_00250/aggregated_MAJ_seg.nii.gz",
            "case_00250",
            "case_00250",
        )
    ],
    "sliver07": [
        ("scan/liver-orig011.mhd", "label/liver-seg011.mhd", "liver-orig011", "liver-orig011")
    ],
    "word": [
        (f"images{h}/{c}.nii.gz", f"labels{h}/{c}.nii.gz", c, c)
        for h, c in (("Tr", "word_0002"), ("Val", "word_0001"), ("Ts", "word_0033"))
    ],
    "brain_atlas": [("Hammers_data/a07.nii.gz", "Hammers_data/a07-seg.nii.gz", "a07", "a07")],
    "brats2021": [
        (
            f"BraTS2021_00081/BraTS2021_00081_{s}.nii.gz",
            "BraTS2021_00081/BraTS2021_00081_seg.nii.gz",
            f"BraTS2021_00081_{s}",
            "BraTS2021_00081",
        )
        for s in ("flair", "t1", "t1ce", "t2")
    ],
    "isles2022": [
        (
            f"rawdata/{p}/ses-0001/{p}_ses-0001_{s}.nii.gz",
            f"derivatives/{p}/ses-0001/{p}_ses-0001_msk.nii.gz",
            f"{p}_{s}",
            p,
        )
        for p in ("sub-strokecase0001",)
        for s in ("adc", "dwi")
    ],
    "wmh": [
        (
            "test/Amsterdam/GE3T/117/orig/FLAIR.nii.gz",
            "test/Amsterdam/GE3T/117/wmh.nii.gz",
            "117",
            "117",
        ),
        ("training/Utrecht/17/orig/FLAIR.nii.gz", "training/Utrecht/17/wmh.nii.gz", "17", "17"),
    ],
    "ski10": [
        ("training/image-015.mhd", "training/labels-015.mhd", "015", "015"),
        ("validation/image-070.mhd", "validation/labels-070.mhd", "070", "070"),
    ],
    "mrspineseg": [
        ("train/MR/Case103.nii.gz", "train/Mask/mask_case103.nii.gz", "Case103", "Case103")
    ],
    "bcv": [
        (
            "RawData/Training/img/img0021.nii.gz",
            "RawData/Training/label/label0021.nii.gz",
            "img0021",
            "img0021",
        )
    ],
    "lits": [
        ("volume-0.nii", "segmentation-0.nii", "volume-0", "volume-0"),
        (
            "Training Batch 2/volume-130.nii",
            "Training Batch 2/segmentation-130.nii",
            "volume-130",
            "volume-130",
        ),
    ],
    "kits19": [
        (f"data/{c}/imaging.nii.gz", f"data/{c}/segmentation.nii.gz", c, c)
        for c in ("case_00000", "case_00209")
    ],
    "amos_ct": [
        (f"amos22/images{half}/{c}.nii.gz", f"amos22/labels{half}/{c}.nii.gz", c, c)
        for half, c in (("Tr", "amos_0001"), ("Va", "amos_0410"))
    ],
    "amos_mr": [
        (f"amos22/images{half}/{c}.nii.gz", f"amos22/labels{half}/{c}.nii.gz", c, c)
        for half, c in (("Tr", "amos_0600"), ("Va", "amos_0507"))
    ],
    "structseg_thorax": [("Thoracic_OAR/7/data.nii.gz", "Thoracic_OAR/7/label.nii.gz", "7", "7")],
    "structseg_head_neck": [("HaN_OAR/50/data.nii.gz", "HaN_OAR/50/label.nii.gz", "50", "50")],
    "autopet": [
        (f"{folder}/SUV.nii.gz", f"{folder}/SEG.nii.gz", case, "PETCT_b11f3deafd")
        for folder, case in (
            (
                "FDG-PET-CT-Lesions/PETCT_b11f3deafd/03-23-2003-NA-PET-CT Ganzkoerper  KM-10445",
                "PETCT_b11f3deafd_03-23-2003_10445",
            ),
            ("FDG-PET-CT-Lesions/PETCT_b11f3deafd/study2", "PETCT_b11f3deafd_study2"),
        )
    ],
    "segthor": [
        (
            "train/Patient_01/Patient_01.nii.gz",
            "train/Patient_01/GT.nii.gz",
            "Patient_01",
            "Patient_01",
        )
    ],
    "promise12": [
        (
            "TrainingData_Part1/Case00.mhd",
            "TrainingData_Part1/Case00_segmentation.mhd",
            "Case00",
            "Case00",
        )
    ],
}
# Files that real archives hold beside the scans and that must not become cases.
BESIDE = {
    "acdc": ["training/patient001/patient001_4d.nii.gz", "training/patient001/Info.cfg"],
    "msd_lung": ["Task06_Lung/imagesTr/._lung_065.nii.gz", "Task06_Lung/dataset.json"],
    "isles2022": ["rawdata/sub-strokecase0001/ses-0001/sub-strokecase0001_ses-0001_flair.nii.gz"],
    "wmh": ["training/Utrecht/17/orig/T1.nii.gz", "training/Utrecht/17/pre/FLAIR.nii.gz"],
    "couinaud": ["../MSD_HepaticVessel/Task08_HepaticVessel/imagesTr/hepaticvessel_001.nii.gz"],
    "kits21": ["kits21/data/case_00250/aggregated_OR_seg.nii.gz", "kits21/data/kits.json"],
    "brain_atlas": ["Hammers_data/._a07.nii.gz"],
    "kits19": ["data/case_00210/imaging.nii.gz", "data/kits.json"],
    "amos_ct": ["amos22/imagesTr/amos_0507.nii.gz", "amos22/imagesTs/amos_0003.nii.gz"],
    "amos_mr": ["amos22/imagesTr/amos_0410.nii.gz", "amos22/imagesTs/amos_0590.nii.gz"],
    "structseg_thorax": ["HaN_OAR/7/data.nii.gz"],
    "autopet": ["FDG-PET-CT-Lesions/PETCT_b11f3deafd/study2/CTres.nii.gz"],
}


def all_values(card: DatasetCard) -> tuple[int, ...]:
    return tuple(sorted({v for entry in card.annotated for v in entry.values or ()}))


def check_case(card, reader, raw, folder, truth, raw_files) -> None:
    """Standardise; every class must lie where the phantom has it, image number by number."""
    record = standardise_case(card, reader, raw, card.classes, folder)
    record, reference = read_reference(folder)
    image = read_image_case(folder).image()
    assert record.spacing_mm == (0.8, 1.1, 3.0)
    assert (np.diag(image.affine)[:3] > 0).all()
    for entry in card.classes:
        if entry.name in record.not_annotated:
            continue
        got = raw_files.positions(reference.mask(entry.name), image.array, image.affine)
        assert got == truth(entry), entry.name
        assert got
    assert not list(folder.parent.glob(".partial-*"))


@pytest.mark.parametrize("orientation", ["LPS", "RPI"])
@pytest.mark.parametrize("dataset", sorted(LABEL_MAPS))
def test_label_maps(dataset, orientation, tmp_path: Path, phantom, raw_files) -> None:
    card = find_card(dataset)
    scan = phantom(orientation, all_values(card))
    folder = tmp_path / "raw" / card.folder
    for image, label, _, _ in LABEL_MAPS[dataset]:
        raw_files.image(folder / image, scan.image, scan.affine)
        stored = scan.labels.astype(np.float32) if "Mask" in label else scan.labels
        raw_files.image(folder / label, stored, scan.affine)
    for name in BESIDE.get(dataset, ()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"not a volume")
    raw_files.sprinkle(folder)
    reader = get_reader(card)
    found = reader.discover(folder)
    assert [raw.case for raw in found] == sorted(case for _, _, case, _ in LABEL_MAPS[dataset])
    patients = {case: patient for _, _, case, patient in LABEL_MAPS[dataset]}

    def truth(entry):
        parts = [card.class_entry(n) for n in entry.union_of or (entry.name,)]
        values = [v for part in parts for v in part.values]
        return scan.positions(np.isin(scan.labels, values))

    for raw in found:
        assert patient_of(card, raw.case) == patients[raw.case]
        check_case(card, reader, raw, tmp_path / "out" / raw.case, truth, raw_files)


def test_prostate_channels_are_cases(tmp_path: Path, phantom, raw_files) -> None:
    card = find_card("msd_prostate")
    scan = phantom("RAS", (1, 2))
    folder = tmp_path / card.folder
    both = np.stack([scan.image, scan.image[::-1]], axis=-1)
    raw_files.image(folder / "Task05_Prostate/imagesTr/prostate_35.nii.gz", both, scan.affine)
    raw_files.image(
        folder / "Task05_Prostate/labelsTr/prostate_35.nii.gz", scan.labels, scan.affine
    )
    raw_files.sprinkle(folder)
    reader = get_reader(card)
    adc, t2 = reader.discover(folder)
    assert [adc.case, t2.case] == ["prostate_35_adc", "prostate_35_t2"]
    assert {patient_of(card, raw.case) for raw in (adc, t2)} == {"prostate_35"}
    assert (reader.read(t2).image.array == scan.image).all()
    assert (reader.read(adc).image.array == scan.image[::-1]).all()


@pytest.mark.parametrize("dataset", ["totalsegmentator", "brainptm", "han_seg"])
def test_one_mask_file_for_each_structure(dataset, tmp_path: Path, phantom, raw_files) -> None:
    card = find_card(dataset)
    files = [entry.file for entry in card.annotated]
    scan = phantom("LPS", tuple(range(1, len(files) + 1)))
    folder = tmp_path / "raw" / card.folder
    image, mask, case = {
        "totalsegmentator": ("s0123/ct.nii.gz", "s0123/segmentations/{}.nii.gz", "s0123"),
        "brainptm": (
            "sheba75_data_train/case_27/T1.nii.gz",
            "sheba75_tracts_train/case_27/{}.nii.gz",
            "case_27",
        ),
        "han_seg": (
            "set_1/case_10/case_10_IMG_CT.nrrd",
            "set_1/case_10/case_10_OAR_{}.seg.nrrd",
            "case_10",
        ),
    }[dataset]
    raw_files.image(folder / image, scan.image, scan.affine)
    for value, file in enumerate(files, start=1):
        array, affine = (scan.labels == value).astype(np.uint8), scan.affine.copy()
        path = folder / mask.format(file)
        if dataset == "han_seg":
            # 3D Slicer crops a segment to its extent.
            low, high = np.argwhere(array).min(0), np.argwhere(array).max(0) + 1
            array = array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
            affine[:3, 3] = (scan.affine @ [*low, 1])[:3]
        if file == "brain_mask":
            path, array = folder / "sheba75_data_train/case_27/brain_mask.nii.gz", array[::-1]
        raw_files.image(path, array, affine)
    absent = files[1]
    if dataset != "totalsegmentator":
        (folder / mask.format(absent)).unlink()
    raw_files.sprinkle(folder)
    reader = get_reader(card)
    (raw,) = reader.discover(folder)
    assert raw.case == case

    def truth(entry):
        parts = [card.class_entry(n) for n in entry.union_of or (entry.name,)]
        values = [files.index(part.file) + 1 for part in parts]
        return scan.positions(np.isin(scan.labels, values))

    check_case(card, reader, raw, tmp_path / "out" / case, truth, raw_files)
    record, _ = read_reference(tmp_path / "out" / case)
    expected = {
        entry.name
        for entry in card.classes
        if absent in [card.class_entry(n).file for n in entry.union_of or (entry.name,)]
    }
    assert set(record.not_annotated) == (expected if dataset != "totalsegmentator" else set())


def test_chaos_ct_and_mr(tmp_path: Path, phantom, raw_files) -> None:
    ct, mr = find_card("chaos_ct"), find_card("chaos_mr")
    folder = tmp_path / "raw" / "CHAOS"
    scan = phantom("LPS", (1,))
    base = folder / "Train_Sets/CT/21"
    raw_files.dicom(base / "DICOM_anon", scan.image, scan.affine)
    raw_files.png_masks(base / "Ground", scan.labels * 255, scan.affine)
    grey = phantom("LPS", (63, 126, 189, 252))
    for sequence, phase in (("T1DUAL", "InPhase"), ("T1DUAL", "OutPhase"), ("T2SPIR", "")):
        base = folder / "Train_Sets/MR/34" / sequence
        raw_files.dicom(base / "DICOM_anon" / phase, grey.image, grey.affine, "MR")
        drawn = np.where(grey.labels == 63, 58, grey.labels)  # within liver's range of greys
        raw_files.png_masks(base / "Ground", drawn, grey.affine)
    raw_files.sprinkle(folder)
    for card, cases in ((ct, ["21"]), (mr, ["34_t1in", "34_t1out", "34_t2spir"])):
        reader = get_reader(card)
        found = reader.discover(folder)
        assert [raw.case for raw in found] == cases
        source = scan if card is ct else grey

        def truth(entry, card=card, source=source):
            parts = [card.class_entry(n) for n in entry.union_of or (entry.name,)]
            values = [v for part in parts for v in part.values]
            return source.positions(np.isin(source.labels, values))

        for raw in found:
            check_case(card, reader, raw, tmp_path / card.id / raw.case, truth, raw_files)


def test_nsclc_masks_in_another_orientation(tmp_path: Path, phantom, raw_files) -> None:
    card = find_card("nsclc")
    folder = tmp_path / "raw" / card.folder
    scan = phantom("LPS", (1, 2))
    effusion, cavity = scan.labels == 1, scan.labels > 0
    for case in ("LUNG1-325", "LUNG1-326"):
        series = folder / "NSCLC-Radiomics" / case / "study" / "0.000000-CT"
        raw_files.dicom(series, scan.image, scan.affine)
        contours = folder / "NSCLC-Radiomics" / case / "study" / "3.000000-RTSTRUCT"
        raw_files.dicom(contours, scan.image[..., :1], scan.affine, "RTSTRUCT")
    # Stored back to front along y and from the feet down: only the affine tells.
    turned = scan.affine @ np.array(
        [[1, 0, 0, 0], [0, -1, 0, 9], [0, 0, -1, 8], [0, 0, 0, 1]], dtype=float
    )
    place = folder / "Thoracic_Cavities/LUNG1-325/LUNG1-325_thor_cav_primary_reviewer.nii.gz"
    raw_files.image(place, cavity[:, ::-1, ::-1].astype(np.uint8) * 255, turned)
    place = folder / "Effusions/LUNG1-325/LUNG1-325_effusion_first_reviewer.nii.gz"
    raw_files.image(place, effusion[:, ::-1, ::-1].astype(np.float32), turned)
    raw_files.sprinkle(folder)
    reader = get_reader(card)
    (raw,) = reader.discover(folder)
    assert raw.case == "LUNG1-325"

    def truth(entry):
        return scan.positions(effusion if "effusion" in entry.name else cavity)

    check_case(card, reader, raw, tmp_path / "out" / raw.case, truth, raw_files)
    record, reference = read_reference(tmp_path / "out" / raw.case)
    assert record.n_layers == 2  # the cavity holds the effusion: both stay exact
    assert (reference.mask("thoracic cavity") & reference.mask("lung effusion")).sum() == 3


@pytest.mark.parametrize("relaxed", [0, 9])
def test_mnms_frames_with_labels_are_cases(relaxed, tmp_path: Path, phantom, raw_files) -> None:
    card = find_card("mnms")
    one, other = phantom("LPS", (1, 2, 3)), phantom("LPS", (1, 2, 3))
    # Three voxels of cavity less; the end of diastole may come first or last.
    other.labels[other.labels == 1] *= np.arange(3, dtype=np.uint8) == 0
    frames = {relaxed: one, 9 - relaxed: other}
    image = np.stack([frames.get(k, one).image[:: 1 - 2 * (k % 2)] for k in range(10)], axis=-1)
    labels = np.stack([frames[k].labels if k in frames else one.labels * 0 for k in range(10)], -1)
    folder = tmp_path / "raw" / card.folder
    for part in ("Training/Labeled/A1D0Q7", "Validation/A8C5E9", "Testing/A1K2P5"):
        stem = f"{part}/{Path(part).name}_sa"
        raw_files.image(folder / f"{stem}.nii.gz", image, one.affine)
        raw_files.image(folder / f"{stem}_gt.nii.gz", labels, one.affine)
    raw_files.image(folder / "Training/Unlabeled/E1/E1_sa.nii.gz", image, one.affine)
    raw_files.sprinkle(folder)
    reader = get_reader(card)
    found = reader.discover(folder)
    codes = ("A1D0Q7", "A1K2P5", "A8C5E9")
    assert [raw.case for raw in found] == [f"{c}_{phase}" for c in codes for phase in ("ed", "es")]
    assert [patient_of(card, raw.case) for raw in found[:2]] == ["A1D0Q7", "A1D0Q7"]
    for raw, frame in zip(found[:2], (relaxed, 9 - relaxed), strict=True):
        scan = frames[frame]
        shown = scan.image[:: 1 - 2 * (frame % 2)]

        def truth(entry, scan=scan, shown=shown):
            mask = np.isin(scan.labels, entry.values)
            return raw_files.positions(mask, shown, scan.affine)

        check_case(card, reader, raw, tmp_path / "out" / raw.case, truth, raw_files)
        record, _ = read_reference(tmp_path / "out" / raw.case)
        assert record.sequence == "cine"


def test_mnms_without_two_annotated_frames_is_refused(tmp_path: Path, phantom, raw_files) -> None:
    card, scan = find_card("mnms"), phantom("LPS", (1, 2, 3))
    series = np.stack([scan.image] * 3, axis=-1)
    place = tmp_path / "Testing/A1K2P5/A1K2P5_sa.nii.gz"
    raw_files.image(place, series, scan.affine)
    reader = get_reader(card)
    raw = reader.discover(tmp_path)[0]
    with pytest.raises(BenchError, match="mask file is missing"):
        reader.read(raw)
    labels = np.stack([scan.labels] * 3, axis=-1)
    raw_files.image(place.with_name("A1K2P5_sa_gt.nii.gz"), labels, scan.affine)
    with pytest.raises(BenchError, match=r"not two annotated frames(.|\n)*\[0, 1, 2\] of 3"):
        reader.read(raw)


def test_dlbs_takes_the_likeliest_tissue(tmp_path: Path, phantom, raw_files) -> None:
    card = find_card("dlbs")
    scan = phantom("LPS", (1, 2, 3))
    folder = tmp_path / "raw" / card.folder
    maps = {name: np.zeros(scan.labels.shape, np.float32) for name in ("gray", "white", "csf")}
    for value, map_ in enumerate(maps.values(), start=1):
        map_[scan.labels == value] = 0.4
        map_[(scan.labels != value) & (scan.labels > 0)] = 0.3
    stem = folder / "train/image/dlbs_0028401_img.nii"
    raw_files.image(stem, scan.image, scan.affine)
    for name, file in (("gray", "graymatter"), ("white", "whitematter"), ("csf", "csf")):
        place = folder / f"train/mask/dlbs_0028401_probmask_{file}.nii"
        raw_files.image(place, maps[name], scan.affine)
    raw_files.image(folder / "valid/image/dlbs_0028500_img.nii", scan.image, scan.affine)
    raw_files.sprinkle(folder)
    reader = get_reader(card)
    raw, without = reader.discover(folder)
    assert (raw.case, without.case) == ("dlbs_0028401", "dlbs_0028500")

    def truth(entry):
        return scan.positions(np.isin(scan.labels, entry.values))

    check_case(card, reader, raw, tmp_path / "out" / raw.case, truth, raw_files)
    assert read_reference(tmp_path / "out" / raw.case)[0].sequence == "T1"
    with pytest.raises(BenchError, match="mask file is missing"):
        reader.read(without)
    maps["csf"][0, 0, 0] = -0.5
    raw_files.image(folder / "train/mask/dlbs_0028401_probmask_csf.nii", maps["csf"], scan.affine)
    with pytest.raises(BenchError, match="not a probability map"):
        reader.read(raw)


def test_lits_headers_that_are_wrong_are_corrected_and_kept(
    tmp_path: Path, phantom, raw_files
) -> None:
    card, scan = find_card("lits"), phantom("LPS", (1, 2))
    for name in ("volume-28", "volume-29"):
        raw_files.image(tmp_path / f"{name}.nii", scan.image, scan.affine)
        label = name.replace("volume", "segmentation")
        raw_files.image(tmp_path / f"{label}.nii", scan.labels, scan.affine)
    reader = get_reader(card)
    wrong, right = reader.discover(tmp_path)
    assert [wrong.case, right.case] == ["volume-28", "volume-29"]
    found = standardise_case(card, reader, wrong, card.classes, tmp_path / "out" / wrong.case)
    assert found.spacing_mm == (1, 1, 1.7)
    assert found.geometry == (
        "the header's spacing is 0.8x1.1x3 mm, which its card corrects to 1x1x1.7 mm"
    )
    assert found.source_orientation == "LPS"
    image = read_image_case(tmp_path / "out" / wrong.case)
    _, reference = read_reference(tmp_path / "out" / wrong.case)
    volume = image.image()
    assert set(volume.array[reference.mask("liver")]) == set(scan.image[scan.labels > 0])
    kept = standardise_case(card, reader, right, card.classes, tmp_path / "out" / right.case)
    assert (kept.spacing_mm, kept.geometry) == ((0.8, 1.1, 3.0), "")


def test_every_entry_has_a_layout_test() -> None:
    others = {"msd_prostate", "totalsegmentator", "brainptm", "han_seg", "chaos_ct", "chaos_mr"}
    others |= {"nsclc", "mnms", "dlbs", "sunnybrook"}
    assert set(load_cards(CARD_FOLDER)) == set(LABEL_MAPS) | others


def test_suffixes_in_upper_case_and_another_top_folder(tmp_path, phantom, raw_files) -> None:
    card = find_card("kits21")
    scan = phantom("RAS", (1, 2, 3))
    folder = tmp_path / "data" / "Case_00250"
    raw_files.image(folder / "imaging.nii.gz", scan.image, scan.affine)
    raw_files.image(folder / "label.nii.gz", scan.labels, scan.affine)
    (folder / "imaging.nii.gz").rename(folder / "Imaging.NII.GZ")
    (folder / "label.nii.gz").rename(folder / "aggregated_maj_seg.NII.gz")
    raw_files.sprinkle(folder)
    reader = get_reader(card)
    (raw,) = reader.discover(tmp_path)
    assert raw.case == "Case_00250"
    assert (reader.read(raw).label_map == scan.labels).all()
