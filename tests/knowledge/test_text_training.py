"""Stage 1 on a very small encoder: it learns, survives a kill, and its folder loads again."""

import csv
import json
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from evaluation.errors import BenchError
from evaluation.spent import read_spent
from sat.knowledge.encoder import LearningEncoder
from sat.knowledge.open_set import class_definitions
from sat.knowledge.record import load_text_encoder, read_record
from sat.knowledge.retrieval import definition_recall
from sat.knowledge.train import train_text
from sat.text.encoder import TextEncoder

TEXTS = ["left kidney", "right kidney", "a long text about the liver " * 20]


def _weights(folder):
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def test_windows_lie_at_random_places_of_a_long_text(tiny_bert):
    encoder = LearningEncoder(tiny_bert, "mean", "all", max_tokens=12)
    words = "left right liver kidney lung heart bone muscle artery vein nerve skin brain"
    short, long = "left kidney", f"{words} {words}"
    random = np.random.default_rng(0)
    whole = encoder._tokenizer(long, add_special_tokens=False)["input_ids"]
    starts = set()
    for _ in range(200):
        window = encoder.tokenizer.windows([long], random)[0]
        assert len(window) == 12
        assert (window[0], window[-1]) == (2, 3)
        inside = list(window[1:-1])
        matches = [i for i in range(len(whole)) if whole[i : i + 10] == inside]
        assert matches
        starts |= set(matches)
    assert starts == set(range(len(whole) - 10 + 1))
    known = encoder._tokenizer(short)["input_ids"]
    assert encoder.tokenizer.windows([short], random) == [tuple(known)]


def test_order_and_padding_do_not_change_an_embedding(tiny_bert):
    encoder = LearningEncoder(tiny_bert, "mean", "head", max_tokens=24).eval()
    random = np.random.default_rng(0)
    windows = encoder.tokenizer.windows(
        ["liver", "the left lobe of the liver", "left kidney and right kidney and bladder"], random
    )
    together = encoder([windows[1], windows[0], windows[2]])
    alone = torch.cat([encoder([window]) for window in windows])
    assert torch.allclose(together, alone[[1, 0, 2]], atol=1e-5)
    plainly = TextEncoder(tiny_bert).embed(["liver"])[0]
    assert torch.allclose(torch.nn.functional.normalize(alone[0], dim=0), plainly, atol=1e-5)


@pytest.mark.parametrize(("trainable", "changed"), [(1, "layer.1"), ("all", ""), ("head", None)])
def test_only_what_is_trainable_changes(tmp_path, tiny_bert, tiny_settings, trainable, changed):
    out = tmp_path / "text"
    train_text(out, tiny_settings(trainable=trainable, steps=3), seed=0, progress=False)
    before, after = _weights(tiny_bert), _weights(out)
    differ = {name for name in before if not torch.equal(before[name], after[name])}
    if changed is None:
        assert not differ
        base = TextEncoder(tiny_bert, unit_length=False).embed(TEXTS)
        from safetensors.torch import load_file

        weight = load_file(out / "text_head.safetensors")["weight"]
        assert not torch.equal(weight, torch.eye(32))
        mapped = torch.nn.functional.normalize(base @ weight.T, dim=-1)
        assert torch.allclose(load_text_encoder(out).embed(TEXTS), mapped, atol=1e-6)
    else:
        assert differ
        assert all(changed in name for name in differ)
        assert not (out / "text_head.safetensors").exists()


def test_a_killed_training_goes_on_exactly(tmp_path, tiny_settings):
    settings = tiny_settings(steps=40, checkpoint_every=4)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    train_text(whole, settings, seed=3, progress=False)
    code = (
        "import sys, torch; torch.set_num_threads(1)\n"
        "from pathlib import Path\n"
        "from sat.knowledge import train\n"
        "from sat.knowledge.loop import TextLoop\n"
        "from sat.knowledge.settings import KnowledgeSettings\n"
        "import time\n"
        "step = TextLoop._step\n"
        "def slow(self, number, out):\n"
        "    time.sleep(0.05)\n"
        "    return step(self, number, out)\n"
        "TextLoop._step = slow\n"
        "settings = KnowledgeSettings.model_validate_json(sys.argv[2])\n"
        "train.train_text(Path(sys.argv[1]), settings, 3, progress=False)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(killed), settings.model_dump_json()]
    )
    deadline = time.monotonic() + 300
    while not (killed / "last.pt").is_file() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert (killed / "last.pt").is_file()
    assert not (killed / "knowledge.json").exists()
    with pytest.raises(BenchError, match="no text encoder with knowledge"):
        load_text_encoder(killed)
    done = train_text(killed, settings, seed=3, progress=False)
    assert 0 < done.steps_now < 40
    first, second = _weights(whole), _weights(killed)
    assert all(torch.equal(first[name], second[name]) for name in first)
    logs = []
    for folder in (whole, killed):
        with (folder / "metrics.csv").open() as stream:
            logs.append([(row["step"], row["loss"]) for row in csv.DictReader(stream)])
        assert not (folder / "last.pt").exists()
    assert logs[0] == logs[1]
    assert len(logs[0]) == 40
    assert train_text(killed, settings, seed=3, progress=False).steps_now == 0


def test_the_map_alone_resumes_exactly_too(tmp_path, tiny_settings):
    settings = tiny_settings(trainable="head")
    train_text(tmp_path / "whole", settings, seed=1, progress=False)
    train_text(tmp_path / "parts", settings, seed=1, stop_after=5, progress=False)
    before = read_spent(tmp_path / "parts" / "spent.json")
    assert train_text(tmp_path / "parts", settings, seed=1, progress=False).steps_now == 4
    after = read_spent(tmp_path / "parts" / "spent.json")
    assert (before.steps, after.steps) == (5, 9)
    assert 0 < before.seconds < after.seconds <= read_record(tmp_path / "parts").seconds
    for name in ("text_head.safetensors", "model.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()


def test_another_seed_or_knowledge_starts_afresh(tmp_path, caplog, tiny_settings):
    relations = tmp_path / "relations.csv"
    relations.write_text("head,relation,tail\nliver,right of,stomach\n", encoding="utf-8")
    settings = tiny_settings()
    out = tmp_path / "text"
    train_text(out, settings, seed=1, stop_after=5, progress=False)
    assert train_text(out, settings, seed=2, progress=False).steps_now == 9
    assert "other data or settings" in caplog.text
    more = settings.sources.model_copy(update={"relations": str(relations)})
    assert train_text(out, settings.model_copy(update={"sources": more}), 2).steps_now == 9
    assert read_record(out).sources[1] == "relations of relations.csv: 1 triplets"


def test_it_learns_the_definitions_of_the_classes(tmp_path, tiny_bert, tiny_settings):
    settings = tiny_settings(
        trainable="all", batch=64, steps=30, learning_rate=5e-3, triplet_part=0.25,
        checkpoint_every=30,
    )  # fmt: skip
    train_text(tmp_path / "text", settings, seed=0, progress=False)
    before = definition_recall(TextEncoder(tiny_bert).embed, class_definitions())
    after = definition_recall(load_text_encoder(tmp_path / "text").embed, class_definitions())
    assert after["n"] == 341
    assert after["r10"] > before["r10"] + 0.1, (before, after)
    with (tmp_path / "text" / "metrics.csv").open() as stream:
        losses = [float(row["loss"]) for row in csv.DictReader(stream)]
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) - 0.3
    record = json.loads((tmp_path / "text" / "knowledge.json").read_text())
    assert record["held_out"] == 678
    assert record["settings"]["trainable"] == "all"


def test_what_does_not_fit_is_refused(tmp_path, tiny_bert, tiny_settings):
    for changes, message in (
        ({"trainable": 3}, "too few layers"),
        ({"max_tokens": 300}, "too few positions"),
        ({"encoder": str(tmp_path)}, "no text encoder in this folder"),
        ({"batch": 20_000, "steps": 1}, "less knowledge than one step wants"),
    ):
        with pytest.raises(BenchError, match=message):
            train_text(tmp_path / "out", tiny_settings(**changes), seed=0, progress=False)
    with pytest.raises(BenchError, match="over itself"):
        train_text(tiny_bert, tiny_settings(), seed=0, progress=False)
    if not torch.cuda.is_available():
        with pytest.raises(BenchError, match="torch sees none"):
            train_text(tmp_path / "out", tiny_settings(device="cuda"), seed=0, progress=False)


def test_a_finished_encoder_is_replaced_only_on_request(tmp_path, tiny_settings):
    out = tmp_path / "text"
    train_text(out, tiny_settings(steps=2), seed=1, progress=False)
    made = (out / "knowledge.json").read_text()
    with pytest.raises(BenchError, match="--overwrite"):
        train_text(out, tiny_settings(steps=3), seed=1, progress=False, overwrite=False)
    assert (out / "knowledge.json").read_text() == made
    same = train_text(out, tiny_settings(steps=2), seed=1, progress=False, overwrite=False)
    assert same.steps_now == 0
    assert train_text(out, tiny_settings(steps=3), seed=1, progress=False).steps_now == 3
