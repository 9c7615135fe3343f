"""Folders as people have them: by case, by site, with images beside, with strays and odd names."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest

from evaluation.errors import BenchError

EXCHANGED = {1: 2, 2: 1}
RIGHT = {"1": 0.0, "2": 0.0}


def exchanged(tools):
    return np.choose(tools.blob(), [0, 2, 1]).astype(np.uint8)


def image(tools):
    """Grey values as a CT has them."""
    generator = np.random.default_rng(0)
    return generator.normal(-200, 300, tools.blob().shape).astype(np.int16)


LAYOUTS = {
    "flat": ["{case}.nii.gz"],
    "by case": ["{case}/segmentation.nii.gz"],
    "by case, named after it": ["{case}/{case}.nii.gz"],
    "by case, with a part of its name": ["{case}/{case}_seg.nii.gz"],
    "by case, nrrd": ["{case}/label.nrrd"],
    "by case, below a site": ["site1/{case}/label.nii.gz"],
    "by case, deep": ["a/b/{case}/label.nii.gz"],
    "by site": ["site{site}/{case}.nii.gz"],
    "by site, below a year": ["2020/site{site}/{case}.nii.gz"],
}


@pytest.mark.parametrize("beside", ["nothing", "image", "readme"])
@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_label_maps_are_never_made_binary(tools, tmp_path, layout, beside):
    for number in range(3):
        case = f"case_{number:05d}"
        for side, array in (("ref", tools.blob()), ("pred", exchanged(tools))):
            if side == "ref" and number == 0:
                array = (array == 1).astype(np.uint8)  # one organ alone is still a label map
            for place in LAYOUTS[layout]:
                path = tmp_path / side / place.format(case=case, site=number % 2)
                tools.save(path, array) if path.suffix != ".nrrd" else _nrrd(path, array)
                if beside == "readme":
                    (path.parent / "readme.txt").write_text("read me")
                if beside == "image" and side == "ref" and "by case" in layout:
                    tools.save(path.parent / "imaging.nii.gz", image(tools))
    outcome = tools.scored(tmp_path)
    assert len(outcome.rows) == 6
    assert set(outcome.rows["class"]) == {"1", "2"}
    scored = outcome.rows[outcome.rows["status"] == "scored"]
    assert (scored["dsc"] == 0).all()
    assert (outcome.rows["status"] != "prediction_missing").all(), outcome.missing


def _nrrd(path, array):
    from evaluation.volumes.image_files import Volume, write_volume

    write_volume(path, Volume(array, np.eye(4)))


@pytest.mark.parametrize(
    ("reference", "prediction"),
    [
        ("{case}/segmentation.nii.gz", "{case}.nii.gz"),
        ("{case}.nii.gz", "{case}/prediction.nii.gz"),
        ("{case}/label.nii.gz", "{case}/prediction.nii.gz"),
        ("{case}/label.nii.gz", "{case}/label.mha"),
        ("s/{case}/label.nii.gz", "s/{case}.nii.gz"),
    ],
)
def test_two_layouts_meet_by_the_name_of_the_case(tools, tmp_path, reference, prediction):
    for case in ("a", "b"):
        tools.save(tmp_path / "ref" / reference.format(case=case), tools.blob())
        path = tmp_path / "pred" / prediction.format(case=case)
        (_nrrd if path.suffix == ".mha" else tools.save)(path, tools.blob())
    outcome = tools.scored(tmp_path)
    assert len(outcome.rows) == 4
    assert (outcome.rows["dsc"] == 1).all()


@pytest.mark.parametrize("labels", ["none", "beside", "file"])
@pytest.mark.parametrize("stray", ["atlas.nii.gz", "case_0.nii.gz", "dataset.nii"])
@pytest.mark.parametrize("side", ["ref", "pred"])
def test_one_stray_label_map_hides_no_case_folder(tools, tmp_path, side, stray, labels):
    for case in ("case_0", "case_1", "case_2"):
        for folder in ("ref", "pred"):
            for number, name in enumerate(("liver", "spleen"), 1):
                mask = (tools.blob() == number).astype(np.uint8)
                tools.save(tmp_path / folder / case / f"{name}.nii.gz", mask)
    tools.save(tmp_path / side / stray, tools.blob())
    text = '{"labels": {"background": 0, "liver": 1, "spleen": 2}}'
    file = None
    if labels == "beside":
        (tmp_path / "ref/dataset.json").write_text(text)
    elif labels == "file":
        (file := tmp_path / "labels.json").write_text(text)
    outcome = tools.scored(tmp_path, file)
    sound = outcome.rows[outcome.rows["case"].isin(["case_1", "case_2"])]
    assert len(sound) == 4
    assert (sound["dsc"] == 1).all()
    told = {*outcome.failed, *outcome.missing, *outcome.unmatched}
    assert stray.partition(".")[0] in told


def test_an_image_beside_masks_is_no_class(tools, tmp_path):
    for case in ("a", "b"):
        for side in ("ref", "pred"):
            for number, name in enumerate(("liver", "spleen"), 1):
                mask = (tools.blob() == number).astype(np.uint8)
                tools.save(tmp_path / side / case / f"{name}.nii.gz", mask)
        tools.save(tmp_path / f"ref/{case}/ct.nii.gz", image(tools))
        tools.save(tmp_path / f"ref/{case}/{case}_0000.nii.gz", image(tools))
    outcome = tools.scored(tmp_path)
    assert tools.means(outcome) == {
        f"{case} {name}": 1.0 for case in "ab" for name in ("liver", "spleen")
    }


@pytest.mark.parametrize("form", [("NFC", "NFD"), ("NFD", "NFC")])
@pytest.mark.parametrize("what", ["flat", "folder", "mask"])
def test_names_in_another_unicode_form(tools, tmp_path, form, what):
    for side, kind in zip(("ref", "pred"), form, strict=True):
        name = unicodedata.normalize(kind, "M\u00fcller")
        place = {"flat": f"{name}.nii.gz", "folder": f"{name}/label.nii.gz",
                 "mask": f"s/{name}.nii.gz"}[what]  # fmt: skip
        array = tools.blob() if what != "mask" else (tools.blob() == 1).astype(np.uint8)
        tools.save(tmp_path / side / place, array)
    outcome = tools.scored(tmp_path)
    assert not outcome.missing
    assert (outcome.rows["dsc"] == 1).all()


@pytest.mark.parametrize("ending", [".NII.GZ", ".Nii.gz", ".nii.GZ", ".NII"])
@pytest.mark.parametrize("what", ["flat", "mask", "labels"])
def test_endings_in_any_case(tools, tmp_path, ending, what):
    array = (tools.blob() == 1).astype(np.uint8)
    lower = ending.lower()
    file = None
    for side in ("ref", "pred"):
        place = "c" if what == "flat" else "s/liver"
        path = tools.save(tmp_path / side / f"{place}{lower}", array)
        if side == "pred":
            path.rename(path.with_name(path.name[: -len(ending)] + ending))
    if what == "labels":
        (file := tmp_path / "labels.yaml").write_text(f"liver: liver{ending}\n")
    outcome = tools.scored(tmp_path, file)
    assert not outcome.missing
    assert (outcome.rows["dsc"] == 1).all()


@pytest.mark.parametrize(
    "pair", [("liver.nii", "liver.nii.gz"), ("liver.nrrd", "liver.mha"), ("liver.nii", "liver.NII")]
)
@pytest.mark.parametrize("side", ["ref", "pred"])
@pytest.mark.parametrize("place", ["c/", ""])
def test_two_files_of_one_name_are_refused(tools, tmp_path, pair, side, place):
    array = (tools.blob() == 1).astype(np.uint8)
    for folder in ("ref", "pred"):
        names = pair if folder == side else pair[:1]
        for name in names:
            path = tmp_path / folder / place / name
            _nrrd(path, array) if name.endswith(("nrrd", "mha")) else _named(tools, path, array)
    try:
        outcome = tools.scored(tmp_path)
        told = str(outcome.missing if side == "pred" else outcome.failed)
    except BenchError as error:
        told = str(error)
    assert "two files" in told or "several files" in told


def _named(tools, path, array):
    tools.write(path, tools.nifti(array))


def test_several_label_maps_of_one_case_are_refused(tools, tmp_path):
    for case in ("a", "b"):
        for side in ("ref", "pred"):
            for name in ("organs", "lesions"):
                tools.save(tmp_path / side / case / f"{name}.nii.gz", tools.blob())
    assert "several values" in tools.scored(tmp_path).failed["a"]
    (tmp_path / "labels.yaml").write_text("one: 1\ntwo: 2\n")
    assert len(tools.scored(tmp_path, tmp_path / "labels.yaml").rows) == 8


@pytest.mark.parametrize("ignored", [3, [3, 4]])
@pytest.mark.parametrize("layout", ["flat", "by case", "by site"])
def test_ignored_regions_count_on_neither_side(tools, tmp_path, layout, ignored):
    place = LAYOUTS[layout][0]
    for number in range(2):
        reference = tools.blob()
        reference[:, :, 5:] = 3
        if ignored != 3:
            reference[:, :, 6:] = 4
        where = {"case": f"c{number}", "site": 1}
        tools.save(tmp_path / "ref" / place.format(**where), reference)
        tools.save(tmp_path / "pred" / place.format(**where), tools.blob())
    (tmp_path / "ref/dataset.json").write_text(
        f'{{"labels": {{"background": 0, "organ": 1, "tumour": 2, "ignore": {ignored}}}}}'
    )
    outcome = tools.scored(tmp_path)
    assert len(outcome.rows) == 4
    assert (outcome.rows[["dsc", "nsd"]] == 1).all(axis=None)
    assert not outcome.unnamed


def test_a_reference_value_that_no_class_names_is_said(tools, tmp_path):
    for side in ("ref", "pred"):
        tools.save(tmp_path / side / "c.nii.gz", tools.blob())
    (tmp_path / "labels.yaml").write_text("organ: 1\n")
    said = tools.command("evaluate", tmp_path / "ref", tmp_path / "pred", "--labels",
                         tmp_path / "labels.yaml", "--out", tmp_path / "o.csv")  # fmt: skip
    assert "value 2 belongs to no class and counts as background in 1 references: c" in said
    assert "value 2 belongs to no class and counts as background in 1 predictions: c" in said


@pytest.mark.parametrize(
    "name", ["x\x1b]0;owned\x07", "a\rb", "a\nb", "\u202egnp", "tab\there", "\x7f"]
)
def test_a_name_never_steers_the_terminal(tools, tmp_path, name):
    tools.save(tmp_path / "ref/ok.nii.gz", tools.blob())
    tools.save(tmp_path / "pred/ok.nii.gz", tools.blob())
    tools.save(tmp_path / f"ref/{name}.nii.gz", tools.blob())
    said = tools.command(
        "evaluate", tmp_path / "ref", tmp_path / "pred", "--out", tmp_path / "o.csv"
    )
    assert not set(said) & set("\x1b\x07\r\u202e\x7f\t")
    text = (tmp_path / "o.csv").read_text()
    assert not set(text) & set("\x1b\x07\r\u202e\x7f\t")


@pytest.mark.parametrize("name", ["=1+1", "=HYPERLINK(a)", "+cmd", "-cmd", "@SUM(A1)"])
@pytest.mark.parametrize("what", ["case", "class", "model"])
def test_no_cell_is_a_formula(tools, tmp_path, name, what):
    import csv

    case = name if what == "case" else "c"
    for side in ("ref", "pred"):
        tools.save(tmp_path / side / f"{case}.nii.gz", tools.blob())
    labels = tmp_path / "labels.json"
    labels.write_text(f'{{"{name if what == "class" else "organ"}": 1}}')
    tools.scored(tmp_path, labels, model=name if what == "model" else "m")
    with (tmp_path / "out.csv").open() as stream:
        cells = [cell for row in csv.reader(stream) for cell in row]
    assert f"'{name}" in cells
    assert name not in cells
