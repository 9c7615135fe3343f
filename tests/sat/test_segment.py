"""`satbench segment` as a person with one scan meets it: formats, names, output, errors."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from evaluation.cli import build
from evaluation.datasets.phantoms.canvas import FieldOfView
from evaluation.datasets.phantoms.chaos import write_chaos_ct
from evaluation.datasets.phantoms.layouts import Pose, oriented, whole_numbers
from evaluation.datasets.phantoms.torso import draw_torso
from evaluation.errors import BenchError
from evaluation.scoring.segmentations import on_one_grid
from evaluation.training.checkpoints import save_content
from evaluation.volumes.image_files import (
    Volume,
    from_ras,
    orientation_of,
    read_volume,
    same_grid,
    to_ras,
    write_volume,
)
from evaluation.volumes.segmentation import Segmentation, pack_masks
from sat.model import SatModel
from sat.predict import segment
from sat.prompts.book import PromptBook
from sat.segment.answer import flattened
from sat.segment.many import scans_in, segment_all
from sat.segment.naming import embed, resolve
from sat.segment.overlay import class_colours, middle_of
from sat.segment.scan import doubts, read_scan
from sat.segment.segment import Progress, Request, segment_scan
from sat.text.encoder import TextEncoder, minilm_folder

TRAINED = ("left kidney", "right kidney", "liver", "aorta")


@pytest.fixture(scope="module")
def phantom():
    return draw_torso(
        np.random.default_rng(5), FieldOfView((40, 30, 22), (8.0, 8.0, 10.0), (0, 0, 0))
    )


@pytest.fixture(scope="module")
def model(toy) -> SatModel:
    values = toy.preset().model_dump()
    values["grid"]["spacing_mm"] = (10.0, 10.0, 10.0)
    torch.manual_seed(3)
    keys = tuple(("ct", name) for name in TRAINED)
    book = PromptBook(keys, TextEncoder(minilm_folder()).embed(TRAINED))
    made = SatModel(type(toy.preset()).model_validate(values), book, {"word": TRAINED})
    # Random weights, turned around until about a third of the voxels are foreground.
    with torch.no_grad():
        made.network.transformer_decoder_mlp[2].weight *= 8
    return made.eval()


@pytest.fixture(scope="module")
def checkpoint(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "checkpoint.pt"
    save_content(path, model.content())
    return path


@pytest.fixture
def scan(phantom, tmp_path):
    """A CT as many scanners store it: turned axes and an oblique direction."""
    path = tmp_path / "scan.nii.gz"
    write_volume(path, oriented(whole_numbers(phantom), phantom, Pose("LPI", (4.0, -3.0, 6.0))))
    return path


@pytest.fixture
def ask(checkpoint, tmp_path):
    """Segment and return the answer's folder, its classes, and the warnings."""

    def run(image, *prompts, out="out", **changes):
        warnings, steps = [], []
        progress = Progress(
            warnings.append, lambda done, total: steps.append(done / total), lambda *_: None
        )
        request = Request(image, "ct", checkpoint, tmp_path / out, prompts, device="cpu")
        request = Request(**{**request.__dict__, **changes})
        found = segment_scan(request, progress)
        assert steps[-1] == 1
        return tmp_path / out, found, warnings

    return run


def test_one_file_a_class_on_the_scan_s_own_grid(ask, scan):
    out, found, warnings = ask(scan, "kidney_left", "LIVER", "liver")
    assert warnings == []
    assert [item.file for item in found] == ["left_kidney.nii.gz", "liver.nii.gz"]
    for item in found:
        mask = read_volume(out / item.file)
        assert same_grid(read_volume(scan), mask) is None
        assert int(mask.array.sum()) == item.voxels > 0
        assert item.millilitres == pytest.approx(item.voxels * 0.64, rel=1e-4)
    assert nib.aff2axcodes(nib.load(out / "liver.nii.gz").affine) == ("L", "P", "I")
    record = json.loads((out / "labels.json").read_text())
    assert record["orientation"] == "LPI"
    assert record["classes"][1]["asked"] == ["LIVER", "liver"]
    assert (out / "overlay.png").stat().st_size > 5000


def test_thick_slices_lie_as_the_entries_of_the_training_had_them(ask, model, phantom, tmp_path):
    """A checkpoint with a grid for thick slices: coronal ones are its third axis."""
    values = model.preset.model_dump()
    values["grid"]["thick_slices"] = {"above_mm": 15, "spacing_mm": (12, 12, 20)}
    preset = type(model.preset).model_validate(values)
    thick = SatModel(preset, model.book, {"word": TRAINED}, model.network).eval()
    save_content(tmp_path / "thick.pt", thick.content())
    coronal = phantom.image[:, ::2], np.diag([8.0, 16, 10, 1])
    write_volume(tmp_path / "coronal.nii.gz", Volume(*coronal))
    changes = {"checkpoint": tmp_path / "thick.pt", "overlay": False}
    out, found, _ = ask(tmp_path / "coronal.nii.gz", "liver", **changes)
    image = read_volume(tmp_path / "coronal.nii.gz")
    prompts, embeddings = embed(thick, "ct", resolve(thick, "ct", ["liver"]), None)
    names = [prompt.name for prompt in prompts]
    expected = segment(thick, image, "ct", names, embeddings, axes="RSP").segmentation
    assert 0 < expected.mask("liver").mean() < 1
    assert np.array_equal(read_volume(out / found[0].file).array > 0, expected.mask("liver"))


def test_orientation_and_format_do_not_change_the_anatomy(ask, phantom, scan, tmp_path):
    answers = {}
    for number, (orientation, suffix) in enumerate(
        [("RAS", ".nii"), ("PIR", ".nii.gz"), ("LSA", ".nrrd"), ("ASL", ".mha")]
    ):
        path = tmp_path / f"scan{number}{suffix}"
        write_volume(path, oriented(whole_numbers(phantom), phantom, Pose(orientation)))
        out, found, _ = ask(path, "liver", out=f"out{number}", overlay=False)
        mask = read_volume(out / found[0].file)
        assert same_grid(read_volume(path), mask) is None
        assert orientation_of(mask.affine) == orientation
        answers[orientation] = to_ras(mask)
    first = answers["RAS"]
    assert 0 < first.array.mean() < 1
    for other in answers.values():
        assert same_grid(first, other) is None
        assert np.array_equal(first.array, other.array)


def test_a_dicom_seg_is_what_another_tool_reads_as_the_masks(ask, phantom, tmp_path):
    write_chaos_ct(tmp_path, "7", phantom, "seed")
    folder = tmp_path / "7" / "DICOM_anon"
    masks, found, _ = ask(folder, "liver", "left kidney", "aorta", out="masks")
    out, _, _ = ask(folder, "liver", "left kidney", "aorta", out="seg", dicom_seg=True)
    assert sorted(p.name for p in out.glob("*.dcm")) == ["segmentation.dcm"]
    (tmp_path / "itk").mkdir()
    tool = Path(sys.executable).with_name("segimage2itkimage")
    asked = ["--inputDICOM", out / "segmentation.dcm", "--outputDirectory", tmp_path / "itk"]
    subprocess.run([tool, *asked, "-t", "nrrd"], check=True, capture_output=True)
    about = json.loads((tmp_path / "itk/meta.json").read_text())
    labels = [s["SegmentLabel"] for group in about["segmentAttributes"] for s in group]
    assert sorted(labels) == sorted(item.prompt.name for item in found)
    for number, item in enumerate(found, start=1):
        there = read_volume(tmp_path / f"itk/{number}.nrrd")
        grids = [
            Segmentation((v.array,), v.affine, {}, partial=v is there)
            for v in (read_volume(masks / item.file), there)
        ]
        own, other, _ = on_one_grid(*grids, out, 1e-3, resample=False)
        assert np.count_nonzero(other.layers[0]) == item.voxels > 0
        np.testing.assert_array_equal(own.layers[0] != 0, other.layers[0] != 0)


def test_a_dicom_seg_needs_a_dicom_series(ask, scan):
    with pytest.raises(BenchError, match="DICOM series"):
        ask(scan, "liver", dicom_seg=True)


def test_a_dicom_folder(ask, phantom, tmp_path):
    write_chaos_ct(tmp_path, "7", phantom, "seed")
    folder = tmp_path / "7" / "DICOM_anon"
    out, found, warnings = ask(folder, "liver", overlay=False)
    assert warnings == []
    assert read_scan(folder).modality == "ct"
    mask = read_volume(out / found[0].file)
    assert same_grid(read_scan(folder).stored, mask, 0.01) is None
    # Another modality than the header's is doubted.
    assert "says ct, not mri" in doubts(read_scan(folder), "mri")[0]


def test_a_flat_map_lists_its_values(ask, scan):
    out, found, _ = ask(scan, every=True, flat=True)
    assert [item.prompt.name for item in found] == list(TRAINED)
    assert {p.name for p in out.iterdir()} == {"labels.json", "overlay.png", "segmentation.nii.gz"}
    labels = read_volume(out / "segmentation.nii.gz")
    assert same_grid(read_volume(scan), labels) is None
    listed = {c["value"] for c in json.loads((out / "labels.json").read_text())["classes"]}
    assert set(np.unique(labels.array).tolist()) - {0} <= listed == {1, 2, 3, 4}


def test_the_smaller_class_stays_visible():
    organ, tumour = np.zeros((6, 6, 6), bool), np.zeros((6, 6, 6), bool)
    organ[1:5, 1:5, 1:5] = tumour[2:4, 2:4, 2:6] = True
    for order in (("organ", "tumour"), ("tumour", "organ")):
        masks = {"organ": organ, "tumour": tumour}
        answer = pack_masks({n: masks[n] for n in order}, np.eye(4), "direct")
        labels, overlap = flattened(answer, order, {n: int(masks[n].sum()) for n in order})
        assert np.array_equal(labels == order.index("tumour") + 1, tumour)
        assert overlap == int((organ & tumour).sum())


def test_names_that_are_not_trained(ask, scan, model, tmp_path):
    out, found, warnings = ask(scan, "liver", "spleen", "kidny left", "kidney/../of the left")
    assert [item.prompt.origin for item in found] == ["trained", "vocabulary", "text", "text"]
    assert "not trained on" in warnings[0]
    assert "did you mean" not in warnings[0]
    assert "no known class" in warnings[1]
    assert "did you mean `left kidney`" in warnings[1]
    assert set(found[3].prompt.nearest[:2]) == {"left kidney", "right kidney"}
    assert {p.parent for p in tmp_path.rglob("*.nii.gz")} == {tmp_path, out}
    # A prompt's answer depends neither on the other prompts nor on how the run was asked.
    alone, same, _ = ask(scan, "liver", out="alone", overlay=False)
    first, second = (read_volume(f / "liver.nii.gz").array for f in (out, alone))
    # But for voxels on the threshold, which may turn with the last bit.
    assert (first != second).mean() < 1e-3
    assert same[0].voxels == pytest.approx(found[0].voxels, rel=1e-3)


def test_new_texts_use_the_checkpoint_s_statistics(model):
    prompts, embeddings = embed(model, "ct", resolve(model, "ct", ["liver", "a new thing"]))
    assert torch.equal(embeddings[0], model.book.embeddings[2])
    expected = TextEncoder(minilm_folder()).embed(["a new thing"])[0]
    assert torch.allclose(embeddings[1], expected, atol=1e-6)
    assert set(prompts[1].nearest) < set(TRAINED)
    single = model.queries(embeddings[1:])
    assert torch.allclose(model.queries(embeddings)[1:], single, atol=1e-5)


def test_any_text_says_how_near_it_is_and_warns_when_it_is_far(model):
    """Held-out words: those for a trained structure are near, words about something else far."""
    near = ("hepatic organ", "renal organ on the left", "main artery, aorta", "livers")
    far = ("a blue motor car", "quarterly sales figures", "Leber", "печень")
    prompts = embed(model, "ct", resolve(model, "ct", [*near, *far]))[0]
    assert [prompt.far for prompt in prompts] == [False] * len(near) + [True] * len(far)
    assert prompts[0].nearest[0] == "liver"
    assert f"{prompts[0].similarity:.2f}" in str(prompts[0].warning)
    assert "FAR" not in str(prompts[0].warning)
    assert all("FAR from all" in str(prompt.warning) for prompt in prompts[len(near) :])
    assert "not in Latin letters" in str(prompts[-1].warning)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("  ", "empty"),
        ("li\x00ver", "U\\+0000"),
        ("liver\u202e", "U\\+202E"),
        ("li\u200bver", "U\\+200B"),
        ("?!", "no letter"),
        ("liver " * 80, "too long"),
    ],
)
def test_what_is_no_prompt_is_refused_in_clear_words(model, text, words):
    with pytest.raises(BenchError, match=words) as error:
        resolve(model, "ct", ["liver", text])
    assert str(error.value).replace("\n", "").isprintable()


def test_what_a_stranger_types_leads_to_the_class_or_says_what_is_odd(model):
    """Order and punctuation are understood; lists, negations and other organs are said."""
    same = resolve(model, "ct", ["kidney, left", "LEFT  kidney!", "left_kidney"])
    assert [(prompt.name, prompt.origin) for prompt in same] == [("left kidney", "trained")]
    odd = {
        "liver, aorta": "it names `liver` and `aorta`: ask for each",
        "no tumour": "a negation is not understood",
        "foie": "FAR from all",
        "lungs": "NOT NEAR",
        "robert'); drop table cases;--": "FAR from all",
        "kidny": "did you mean `kidney`",
    }
    asked = embed(model, "ct", resolve(model, "ct", [*odd, "hepatic parenchyma of the liver"]))[0]
    for prompt, words in zip(asked, odd.values(), strict=False):
        assert words in prompt.warning
    assert "NEAR" not in asked[-1].warning
    assert not asked[-1].far


def test_a_list_of_what_the_checkpoint_knows(checkpoint):
    done = CliRunner().invoke(build(), ["segment", "--list", "-c", str(checkpoint)])
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert len(lines) == len(TRAINED) + 1
    assert any("left kidney" in line and "kidney_left" in line for line in lines)
    done = CliRunner().invoke(build(), ["segment", "-c", str(checkpoint), "-p", "liver"])
    assert done.exit_code == 2


def test_a_used_folder_is_kept_unless_told_otherwise(ask, scan, tmp_path):
    out, _, _ = ask(scan, "liver")
    with pytest.raises(BenchError, match="not empty"):
        ask(scan, "aorta")
    (out / "notes.txt").write_text("mine")
    outside = tmp_path / "precious.nii.gz"
    outside.write_text("mine")
    record = json.loads((out / "labels.json").read_text())
    record["classes"].append({"file": "../precious.nii.gz"})
    (out / "labels.json").write_text(json.dumps(record))
    ask(scan, "aorta", overwrite=True)
    assert sorted(p.name for p in out.iterdir()) == [
        "aorta.nii.gz", "labels.json", "notes.txt", "overlay.png",
    ]  # fmt: skip
    assert outside.read_text() == "mine"


class _Harmful:
    def __reduce__(self):
        return (print, ("this must never be printed",))


def test_bad_checkpoints(ask, scan, checkpoint, model, tmp_path, capsys):
    bad = tmp_path / "bad.pt"
    whole = checkpoint.read_bytes()
    content = model.content()
    broken = {k: torch.full_like(v, torch.nan) for k, v in content["network"].items()}
    sizes = {k: v[:1] for k, v in content["network"].items()}

    def pickled():
        with bad.open("wb") as stream:
            pickle.dump(_Harmful(), stream)

    for write, message in (
        (lambda: bad.write_bytes(whole[: len(whole) // 2]), "truncated or corrupt"),
        (lambda: bad.write_bytes(b""), "truncated or corrupt"),
        (lambda: bad.write_text("not weights"), "truncated or corrupt|refused"),
        (pickled, "refused"),
        (lambda: bad.write_bytes(scan.read_bytes()), "no file that torch has written"),
        (lambda: torch.save(_Harmful(), bad), r"refused[\s\S]*the Python object `print`"),
        (lambda: save_content(bad, {**content, "network": sizes}), "does not fit together"),
        (lambda: save_content(bad, {**content, "network": broken}), "not numbers"),
        (lambda: save_content(bad, {"state_dict": {}}), "not a SAT-Nano checkpoint"),
        (bad.unlink, "not found"),
    ):
        write()
        with pytest.raises(BenchError, match=message):
            ask(scan, "liver", checkpoint=bad)
    assert "never be printed" not in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_bad_images_and_prompts(ask, scan, model, tmp_path):
    volume = read_volume(scan)

    def written(array, name="bad"):
        path = tmp_path / f"{name}.nii.gz"
        write_volume(path, Volume(array.astype(np.float32), volume.affine))
        return path

    holed = volume.array.astype(np.float32)
    holed[3, 3, 3] = np.nan
    empty = tmp_path / "nothing"
    empty.mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "readme.txt").write_text("hello")
    (tmp_path / "slice.dcm").write_bytes(b"x")
    (tmp_path / "photo.png").write_bytes(b"x")
    for image, message in (
        (written(holed, "holed"), "not numbers"),
        (written(np.full_like(volume.array, -1000), "air"), "no voxel above 0"),
        (written(np.full_like(volume.array, 50), "even"), "constant"),
        (tmp_path / "absent.nii.gz", "not found"),
        (tmp_path / "slice.dcm", "one DICOM slice"),
        (tmp_path / "photo.png", "not an image format"),
        (empty, "no DICOM slice"),
        (tmp_path / "texts", "no DICOM slice"),
        (tmp_path, "cannot be read"),
    ):
        with pytest.raises(BenchError, match=message):
            ask(image, "liver")
    with pytest.raises(BenchError, match="no prompt"):
        ask(scan)
    with pytest.raises(BenchError, match="prompt is empty"):
        ask(scan, "liver", "  ")
    other = embed(model, "mri", resolve(model, "mri", ["liver"]))[0][0]
    assert "trained on for ct only" in str(other.warning)
    with pytest.raises(BenchError, match="not trained on any mri class"):
        ask(scan, every=True, modality="mri")
    with pytest.raises(BenchError, match="this is a file"):
        ask(scan, "liver", out="scan.nii.gz")
    with pytest.raises(BenchError, match="cannot be made"):
        ask(scan, "liver", out="scan.nii.gz/out")
    assert not (tmp_path / "out").exists()
    assert "no negative value" in doubts(read_scan(written(np.abs(volume.array))), "ct")[0]
    assert "is it a CT" in doubts(read_scan(scan), "mri")[0]


def test_the_command(scan, checkpoint, tmp_path):
    arguments = ["segment", str(scan), "-p", "liver", "-m", "ct", "-c", str(checkpoint)]
    arguments += ["-o", str(tmp_path / "answer"), "--no-overlay", "--threads", "1", "-m", "CT"]
    result = CliRunner().invoke(build(), arguments)
    assert result.exit_code == 0, result.output
    assert " ml  liver.nii.gz" in result.stdout
    assert (tmp_path / "answer" / "labels.json").is_file()
    result = CliRunner().invoke(build(), [*arguments, "-m", "pet"])
    assert isinstance(result.exception, BenchError)


CODES = st.tuples(st.permutations(["LR", "PA", "IS"]), st.tuples(*[st.booleans()] * 3)).map(
    lambda found: "".join(pair[side] for pair, side in zip(*found, strict=True))
)


@settings(max_examples=48, deadline=None)
@given(CODES)
def test_every_orientation_is_turned_back(code):
    turn = nib.orientations.axcodes2ornt(tuple(code))
    ras = np.arange(24).reshape(2, 3, 4)
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    change = nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), turn)
    stored = Volume(
        nib.orientations.apply_orientation(ras, change),
        affine @ nib.orientations.inv_ornt_aff(change, ras.shape),
    )
    assert orientation_of(stored.affine) == code
    back = from_ras(to_ras(stored), code)
    assert np.array_equal(back.array, stored.array)
    assert np.array_equal(back.affine, stored.affine)


def test_a_folder_of_scans(scan, phantom, checkpoint, tmp_path, monkeypatch):
    """Every scan has its own answer; one that fails ends nothing; what is answered stays."""
    folder, out = tmp_path / "scans", tmp_path / "answers"
    (folder / "b").mkdir(parents=True)
    scan.rename(folder / "a.nii.gz")
    volume = read_volume(folder / "a.nii.gz")
    write_volume(folder / "b" / "ct.nii.gz", volume)
    write_volume(folder / "air.nii.gz", Volume(volume.array * 0 - 1000, volume.affine))
    write_chaos_ct(folder, "7", phantom, "seed")
    names = {"a", "air", "b/ct", "7"}
    assert set(scans_in(folder)) == names
    among = Request(folder, "ct", checkpoint, folder / "b" / "..", ("liver",))
    with pytest.raises(BenchError, match="among the scans"):
        next(segment_all(among, scans_in(folder), print))
    arguments = ["segment", str(folder), "-p", "liver", "-m", "ct", "-c", str(checkpoint)]
    arguments += ["-o", str(out), "--no-overlay", "--threads", "1"]

    def call(*more):
        done = CliRunner().invoke(build(), [*arguments, *more])
        return done.exit_code, done.stdout.splitlines()[-1], done.stderr

    code, last, said = call()
    assert (code, last) == (3, f"{out}: 4 scans: 3 segmented, 0 kept, 1 failed")
    assert "failed: air: this image cannot be segmented" in said
    assert "segment: 4 of 4" in said
    for name in names - {"air"}:
        assert (out / name / "liver.nii.gz").is_file()
    assert not list(out.rglob(".*"))
    same = [read_volume(out / name / "liver.nii.gz").array for name in ("a", "b/ct")]
    assert np.array_equal(*same)
    # Again: nothing is done twice; another scan under the same name is not silently kept.
    times = {path: path.stat().st_mtime_ns for path in out.rglob("liver.nii.gz")}
    (folder / "air.nii.gz").unlink()
    assert call()[:2] == (0, f"{out}: 3 scans: 0 segmented, 3 kept, 0 failed")
    assert times == {path: path.stat().st_mtime_ns for path in out.rglob("liver.nii.gz")}
    write_volume(folder / "a.nii.gz", Volume(volume.array[::-1].copy(), volume.affine))
    code, last, said = call()
    assert code == 3
    assert last.endswith(": 0 segmented, 2 kept, 1 failed")
    assert "failed: a: the output folder is not empty" in said
    assert call("--overwrite")[1].endswith("1 segmented, 2 kept, 0 failed")
    # A call that is killed leaves nothing that the next one would refuse.
    monkeypatch.setattr("sat.segment.many.segment_scan", interrupted)
    write_volume(folder / "c.nii.gz", volume)
    assert CliRunner().invoke(build(), arguments).exit_code != 0
    assert not (out / "c").exists()
    assert not list(out.glob(".*"))


def interrupted(request, *_):
    request.out.mkdir(parents=True)
    (request.out / "liver.nii.gz").write_text("half")
    raise KeyboardInterrupt


def test_a_folder_is_one_scan_where_it_is_one_series(phantom, tmp_path):
    write_chaos_ct(tmp_path, "7", phantom, "seed")
    assert scans_in(tmp_path / "7" / "DICOM_anon") == {}
    assert scans_in(tmp_path / "7") == {}
    (tmp_path / "twice").mkdir()
    for suffix in (".nii.gz", ".nrrd"):
        (tmp_path / "twice" / f"a{suffix}").write_bytes(b"")
    with pytest.raises(BenchError, match="answered as `a`"):
        scans_in(tmp_path / "twice")


def test_planes_go_through_the_foreground():
    labels = np.zeros((9, 8, 7), np.uint8)
    labels[6, 2:6, 3:5] = 1
    labels[5:8, 3, 4] = 2
    assert middle_of(labels) == (6, 3, 4)
    assert middle_of(np.zeros((9, 8, 7))) == (4, 4, 3)
    for n in (1, 8, 40):
        assert len(set(class_colours(n))) == n
