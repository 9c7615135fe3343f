"""Which text CLIP-driven has: what its rows are called, and the files of vectors that it takes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from baselines.universal.config import load_preset
from baselines.universal.entries import catalogue
from baselines.universal.text import class_vectors, text_width
from evaluation.config import RunConfig
from evaluation.errors import BenchError
from evaluation.models.card import find_model
from evaluation.models.presets import freeze_preset, named_preset, title_with_preset
from evaluation.paths import RunPaths

SPLEEN, LIVER = "A computerized tomography of a spleen", "A computerized tomography of a liver"
KNOWN = catalogue({"totalsegmentator": ("spleen", "liver")}, {})


def preset_with(text):
    return load_preset("smoke").of("clip-driven").model_copy(update={"text": str(text)})


@pytest.fixture
def vectors(tmp_path):
    def write(**arrays):
        path = tmp_path / "clip.npz"
        names = {"spleen": SPLEEN, "liver": LIVER}
        np.savez(path, **{names[name]: array for name, array in arrays.items()})
        return path

    return write


@pytest.mark.parametrize("shape", [(512,), (1, 512)])
@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_vectors_may_have_a_row_of_their_own(vectors, shape, kind):
    spleen, liver = np.linspace(-1, 1, 512, dtype=kind), np.arange(512, dtype=kind)
    preset = preset_with(vectors(spleen=spleen.reshape(shape), liver=liver.reshape(shape)))
    assert text_width(preset) == 512
    found = class_vectors(preset, KNOWN)
    assert found.dtype == torch.float32
    wanted = [{"spleen": spleen, "liver": liver}[name] for _, name in KNOWN.prompts]
    np.testing.assert_array_equal(found.numpy(), np.stack(wanted).astype(np.float32))


@pytest.mark.parametrize(
    ("liver", "said"),
    [
        (np.ones(5), "differ in length.*4 and 5 numbers.*all of one length"),
        (np.float32(1), r"liver` has no text vector.*shape \(\).*\(1, E\)"),
        (np.ones((2, 2)), r"liver` has no text vector.*shape \(2, 2\)"),
        (np.ones(0), r"liver` has no text vector.*shape \(0,\)"),
        (np.array([1, np.nan, 3, np.inf]), "liver` has no text vector.*2 of 4 values.*finite"),
        (np.array([1, 1e300, 3, 4]), "liver` has no text vector.*1 of 4 values"),
        (np.array(["a", "b", "c", "d"]), "liver` has no text vector.*type <U1"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
@pytest.mark.parametrize("read", [text_width, lambda preset: class_vectors(preset, KNOWN)])
def test_what_is_no_vector_is_refused(vectors, liver, said, read):
    path = vectors(spleen=np.ones(4), liver=liver)
    with pytest.raises(BenchError, match=rf"(?s){said}") as raised:
        read(preset_with(path))
    assert str(path) in str(raised.value)


def test_files_of_another_kind_are_refused(tmp_path):
    saved, plain, broken = (tmp_path / name for name in ("clip.pt", "clip.npy", "clip.npz"))
    torch.save({SPLEEN: torch.ones(4)}, saved)
    np.save(plain, np.ones((2, 4)))
    broken.write_bytes(b"no archive")
    for path in (saved, plain, broken):
        with pytest.raises(BenchError, match=r"text vector.*(?s:.)*a \.npz file") as raised:
            text_width(preset_with(path))
        assert "snakemake" not in str(raised.value)
    with pytest.raises(BenchError, match="no such file"):
        text_width(preset_with(tmp_path / "none.npz"))


def test_a_prompt_without_vector_is_named(vectors):
    with pytest.raises(BenchError, match=LIVER):
        class_vectors(preset_with(vectors(spleen=np.ones(4))), KNOWN)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("minilm", "MiniLM text"),
        ("learnt", "learnt vectors"),
        ("/mine/clip_b32.npz", "text of clip_b32.npz"),
    ],
)
def test_the_name_of_a_row_says_which_text_it_has(tmp_path, text, words):
    """From the frozen preset; a run that knows none says nothing of it."""
    paths, card = RunPaths(tmp_path), find_model("clip-driven")
    config = RunConfig(
        name="named",
        study="hermes",
        data_kind="real",
        raw_root="x",
        models=["clip-driven", "multitalent"],
        entries=["totalsegmentator"],
    )
    assert title_with_preset(paths, config, card) == card.title == "CLIP-driven (on the ResUNet)"
    own = tmp_path / "own.yaml"
    own.write_text(
        f"{{extends: smoke, name: own, description: x, systems: {{clip-driven: {{text: {text}}}}}}}"
    )
    for model in config.models:
        freeze_preset(paths, model, named_preset(find_model(model), str(own)))
    own.unlink()
    assert title_with_preset(paths, config, card) == f"{card.title}, {words}"
    other = find_model("multitalent")
    assert title_with_preset(paths, config, other) == other.title
