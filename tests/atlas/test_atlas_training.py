"""Stage 2 as a training: exact resume, and what the segmentation takes from it."""

import csv
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from evaluation.errors import BenchError
from evaluation.files.writing import sha256
from evaluation.spent import read_spent
from evaluation.training.checkpoints import read_checkpoint, save_content
from sat.architecture.blocks import Backbone
from sat.atlas.setup import AtlasRun, prepare_atlas
from sat.atlas.training import measure_atlas, train_atlas
from sat.atlas.transfer import load_encoder, save_encoder
from sat.config import Preset
from sat.model import SatModel, load_model
from sat.prompts.book import PromptBook
from sat.train import train

_KILLED = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from sat.prompts.book import PromptBook
from sat.atlas.setup import prepare_atlas
from sat.atlas.training import train_atlas
from sat.config import Preset
preset = Preset.model_validate_json({preset!r})
content = torch.load({book!r}, weights_only=True)
book = PromptBook(tuple(content["keys"]), content["embeddings"])
run = prepare_atlas(Path({work!r}), Path({work!r}) / "prepared", preset, 3, book)
train_atlas(run, progress=False)
"""


def atlas_of(work: Path, preset: Preset, seed: int, book: PromptBook | None = None) -> AtlasRun:
    return prepare_atlas(work, work / "prepared", preset, seed, book)


def _state(work: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(work / "atlas/last.pt")["model"]


def _log(work: Path) -> list[tuple[str, ...]]:
    with (work / "atlas/metrics.csv").open() as stream:
        return [(r["step"], r["loss"], r["gradient_norm"]) for r in csv.DictReader(stream)]


@pytest.mark.long
def test_a_killed_training_goes_on_exactly(tmp_path, toy):
    preset = toy.preset(steps=14, checkpoint_every=3)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for work in (whole, killed):
        toy.store(work, preset)
    train_atlas(atlas_of(whole, preset, 3, toy.book()), progress=False)
    book, file = toy.book(), tmp_path / "book.pt"
    torch.save({"keys": book.keys, "embeddings": book.embeddings}, file)
    code = _KILLED.format(work=str(killed), preset=preset.model_dump_json(), book=str(file))
    process = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 300
    while not (killed / "atlas/last.pt").is_file() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert (killed / "atlas/last.pt").is_file()
    # Wherever the kill fell: from here on step by step, stopping once more.
    run = atlas_of(killed, preset, 3, toy.book())
    spent = [read_spent(killed / "atlas" / "spent.json")]
    for stop in (1, None):
        train_atlas(run, stop_after=stop, progress=False)
        spent.append(read_spent(killed / "atlas" / "spent.json"))
    assert 0 < spent[0].seconds < spent[1].seconds < spent[2].seconds
    assert all(torch.equal(v, _state(killed)[k]) for k, v in _state(whole).items())
    assert _log(whole) == _log(killed)
    encoders = [read_checkpoint(work / "atlas/encoder.pt")["encoder"] for work in (whole, killed)]
    assert all(torch.equal(v, encoders[1][k]) for k, v in encoders[0].items())


def test_reading_ahead_changes_no_step(tmp_path, toy):
    alone, ahead = toy.preset(steps=5), toy.preset({"workers": 2}, steps=5)
    for preset, work in ((alone, tmp_path / "alone"), (ahead, tmp_path / "ahead")):
        toy.store(work, preset)
        train_atlas(atlas_of(work, preset, 3, toy.book()), progress=False)
    there = _state(tmp_path / "ahead")
    assert all(torch.equal(v, there[k]) for k, v in _state(tmp_path / "alone").items())


def test_the_segmentation_takes_exactly_the_encoder(tmp_path, toy):
    preset = toy.preset({"steps": 1, "initial_encoder": "atlas/encoder.pt", "learning_rate": 1e-30})
    plain = toy.preset({"steps": 1, "learning_rate": 1e-30})
    toy.store(tmp_path, preset)
    with pytest.raises(BenchError, match="encoder that is not there"):
        train(tmp_path, tmp_path / "prepared", preset, seed=0, progress=False)
    train_atlas(atlas_of(tmp_path, preset, 5, toy.book()), progress=False)
    given = read_checkpoint(tmp_path / "atlas/encoder.pt")["encoder"]
    # With a learning rate of nothing and no decay, the checkpoint holds the start.
    preset, plain = (
        p.model_copy(update={"training": p.training.model_copy(update={"weight_decay": 0.0})})
        for p in (preset, plain)
    )
    train(tmp_path, tmp_path / "prepared", preset, seed=0, progress=False)
    started = read_checkpoint(tmp_path / "checkpoint.pt")
    file = tmp_path / "atlas/encoder.pt"
    assert started["initial_encoder"] == {"file": "atlas/encoder.pt", "sha256": sha256(file)}
    assert load_model(tmp_path / "checkpoint.pt").initial_encoder == started["initial_encoder"]
    train(tmp_path, tmp_path / "prepared", plain, seed=0, progress=False)
    random = read_checkpoint(tmp_path / "checkpoint.pt")
    assert random["initial_encoder"] is None
    prefix = "backbone.encoder."
    for name, value in started["network"].items():
        if name.startswith(prefix):
            torch.testing.assert_close(value, given[name.removeprefix(prefix)])
        else:
            torch.testing.assert_close(value, random["network"][name])
    assert {n.removeprefix(prefix) for n in started["network"] if n.startswith(prefix)} == set(
        given
    )
    for name, value in started["projection"].items():
        torch.testing.assert_close(value, random["projection"][name])


def test_another_encoder_starts_the_training_afresh(tmp_path, toy, caplog):
    preset = toy.preset({"initial_encoder": "atlas/encoder.pt"})
    toy.store(tmp_path, preset)
    for seed in (0, 1):
        torch.manual_seed(seed)
        encoder = Backbone(preset.network).encoder
        save_encoder(tmp_path / "atlas/encoder.pt", encoder, {"seed": seed})
        done = train(tmp_path, tmp_path / "prepared", preset, seed=0, stop_after=2, progress=False)
        assert done.steps_now == 2
    assert "other data or settings" in caplog.text


def test_an_encoder_that_does_not_fit_names_every_fault(tmp_path, toy):
    torch.manual_seed(0)
    encoder = Backbone(toy.preset().network).encoder
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    tensors = dict(encoder.state_dict())
    names = list(tensors)
    tensors["decoder.extra"] = torch.zeros(1)
    del tensors[names[0]]
    tensors[names[2]] = torch.zeros(1, 2)
    tensors[names[3]] = torch.full_like(tensors[names[3]], torch.nan)
    path = tmp_path / "encoder.pt"
    torch.save({"kind": "sat-encoder-1", "encoder": tensors, "origin": {}}, path)
    with pytest.raises(BenchError) as caught:
        load_encoder(encoder, path)
    told = str(caught.value)
    assert f"{names[0]}: missing" in told
    assert "decoder.extra: unknown" in told
    assert f"{names[2]}: (1, 2) instead of" in told
    assert f"{names[3]}: not finite" in told
    assert all(torch.equal(v, before[n]) for n, v in encoder.state_dict().items())
    torch.save({"network": {}}, path)
    with pytest.raises(BenchError, match="no encoder to start from"):
        load_encoder(encoder, path)


def test_old_checkpoints_without_an_initial_encoder_load(tmp_path, toy):
    book = PromptBook((("ct", "liver"),), torch.ones(1, 12))
    content = SatModel(toy.preset(), book, {"toy": ("liver",)}).content()
    del content["initial_encoder"]
    save_content(tmp_path / "old.pt", content)
    assert load_model(tmp_path / "old.pt").initial_encoder is None


def test_what_cannot_work_is_refused(tmp_path, toy):
    preset = toy.preset()
    with pytest.raises(BenchError, match="no prepared training data"):
        atlas_of(tmp_path, preset, 0, toy.book())
    with pytest.raises(BenchError, match="no text-atlas stage"):
        atlas_of(tmp_path, preset.model_copy(update={"atlas": None}), 0)
    with pytest.raises(ValidationError, match="needs the section atlas"):
        Preset.model_validate(
            toy.preset({"initial_encoder": "atlas/encoder.pt"}).model_dump() | {"atlas": None}
        )
    toy.store(tmp_path, preset)
    with pytest.raises(BenchError, match="no class is large enough"):
        prepare_atlas(
            tmp_path, tmp_path / "prepared", toy.preset(minimum_voxels=10**6), 0, toy.book()
        )
    with pytest.raises(BenchError, match="not trained to its end"):
        measure_atlas(atlas_of(tmp_path, preset, 0, toy.book()))
    train_atlas(
        atlas_of(tmp_path, preset, 0, toy.book()),
        stop_after=2,
        progress=False,
    )
    with pytest.raises(BenchError, match="not trained to its end"):
        measure_atlas(atlas_of(tmp_path, preset, 0, toy.book()))


def test_a_finished_stage_leaves_its_file_with_the_same_hash(tmp_path, toy):
    preset = toy.preset(steps=2)
    toy.store(tmp_path, preset)
    run = atlas_of(tmp_path, preset, 3, toy.book())
    train_atlas(run, progress=False)
    encoder = tmp_path / "atlas/encoder.pt"
    before = sha256(encoder)
    assert train_atlas(run, progress=False).steps_now == 0
    assert sha256(encoder) == before, "a segmentation that started from it would start afresh"


def test_a_store_on_another_grid_is_refused(tmp_path, toy):
    preset = toy.preset()
    toy.store(tmp_path, preset)
    grid = preset.grid.model_copy(update={"spacing_mm": (2.0, 2.0, 2.0)})
    with pytest.raises(BenchError, match="another grid"):
        prepare_atlas(
            tmp_path, tmp_path / "prepared", preset.model_copy(update={"grid": grid}), 3, toy.book()
        )


def test_retrieval_is_measured_on_plain_crops_of_all_entries(tmp_path, toy):
    sampling = toy.preset().training.sampling.model_dump()
    changed = {
        "augmentation": {"noise_p": 1.0},
        "sampling": sampling | {"curriculum": {"toy_mri": 0.9}},
    }
    preset = toy.preset(changed, validation_part=0.3)
    toy.store(tmp_path, preset)
    run = atlas_of(tmp_path, preset, 3, toy.book())
    plain = prepare_atlas(
        tmp_path, tmp_path / "prepared", toy.preset(validation_part=0.3), 3, toy.book()
    )
    crops, same = list(run.validation_batches()), list(plain.validation_batches())
    assert len(crops) == len(same) > 0
    for one, other in zip(crops, same, strict=True):
        assert torch.equal(one.image, other.image)
