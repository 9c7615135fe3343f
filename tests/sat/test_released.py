"""The authors' released weights, from their files to a run and to `satbench segment`.

Random weights of the released shapes: the network of 107,227,008 values, a BERT of width 768 (one
layer, a small vocabulary) with its pooler, and the projection head.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from evaluation.cases import ImageCase
from evaluation.classes import vocabulary
from evaluation.cli import build
from evaluation.config import RunConfig
from evaluation.errors import BenchError
from evaluation.files.records import load_record
from evaluation.models.card import ModelCard, PythonObject, load_object
from evaluation.models.protocol import ModelContext
from evaluation.paths import RunPaths
from evaluation.training.checkpoints import read_checkpoint
from evaluation.volumes.image_files import Volume, read_volume, write_volume
from sat.adapter import SatNano
from sat.architecture.network import SatNetwork
from sat.config import load_preset
from sat.released.conversion import ReleasedFiles, convert_released, read_text_side
from sat.segment.naming import embed, resolve
from sat.text.encoder import TextEncoder, encoder_shapes
from sat.weights import load_released

WORDS = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "modality", "plane", "unknown", "region",
    "anatomy", "name", ":", ",", "ct", "mri", "liver", "left", "right", "kidney", "##s", "spleen",
]  # fmt: skip
PATCH = (64, 32, 32)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Path:
    """Configuration and vocabulary as BiomedBERT's folder has them; no weights."""
    from transformers import BertConfig

    folder = tmp_path_factory.mktemp("bert")
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    BertConfig(
        vocab_size=len(WORDS), hidden_size=768, num_hidden_layers=1, num_attention_heads=12,
        intermediate_size=64,
    ).save_pretrained(folder)  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def tower(encoder) -> dict[str, Tensor]:
    """The text tower under the names of the first release."""
    random = torch.Generator().manual_seed(1)
    shapes = {f"bert_model.{key}": tuple(s) for key, s in encoder_shapes(encoder).items()}
    shapes |= {f"mlp_embed.{i}.weight": (768, 768) for i in (0, 2)}
    shapes |= {f"mlp_embed.{i}.bias": (768,) for i in (0, 2)}
    state = {k: torch.randn(s, generator=random) * 0.05 for k, s in shapes.items()}
    return {f"module.{k}": v for k, v in [*state.items(), ("temperature", torch.tensor(2.66))]}


@pytest.fixture(scope="module")
def network_file(tmp_path_factory) -> Iterator[Path]:
    torch.manual_seed(4)
    network = SatNetwork(load_preset("nano").network)
    state = {f"module.{key}": value for key, value in network.state_dict().items()}
    path = tmp_path_factory.mktemp("released") / "network.pth"
    torch.save({"model_state_dict": state, "epoch": 3}, path)
    yield path
    path.unlink()


def _text_file(path: Path, state: dict[str, Tensor]) -> Path:
    torch.save({"model_state_dict": state}, path)
    return path


@pytest.fixture(scope="module")
def converted(encoder, tower, network_file, tmp_path_factory) -> Iterator[Path]:
    """By the command, in an empty working folder that gets a model card."""
    folder = tmp_path_factory.mktemp("converted")
    text = _text_file(folder / "text.pth", tower)
    out = folder / "sat-nano-released.pt"
    arguments = ["sat", "convert-released", "--network", str(network_file), "--text", str(text)]
    arguments += ["--encoder", str(encoder), "-o", str(out), "--card", "sat-nano-released"]
    arguments += ["--tuned-encoder", str(folder / "tuned")]
    # The released window of 288 x 288 x 96 takes minutes on a CPU.
    values = load_preset("released-v1").model_dump(mode="json")
    values["inference"]["patch"] = PATCH
    (folder / "preset.yaml").write_text(json.dumps(values))
    arguments += ["--preset", str(folder / "preset.yaml")]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        result = CliRunner().invoke(build(), arguments)
    assert result.exit_code == 0, result.output
    assert "projection head `mlp_embed`" in result.stdout
    assert "not used: temperature" in result.stderr
    yield folder
    out.unlink()


@pytest.fixture(scope="module")
def scan() -> Volume:
    random = np.random.default_rng(2)
    image = random.normal(60, 200, (70, 32, 30)).astype(np.float32)
    image[0, 0, 0] = image[-1, -1, -1] = 50
    return Volume(image, np.diag([1.0, 1.0, 3.0, 1.0]))


def _query(folder: Path, tower: dict[str, Tensor], text: str) -> Tensor:
    """A query by hand: pooler output, Linear - GELU - Linear, unit length."""
    pooled = TextEncoder(folder / "tuned", "pooler", unit_length=False).embed([text])
    head = {key.removeprefix("module.mlp_embed."): value for key, value in tower.items()}
    hidden = torch.nn.functional.gelu(pooled @ head["0.weight"].T + head["0.bias"])
    query = hidden @ head["2.weight"].T + head["2.bias"]
    return query / query.norm()


@pytest.fixture(scope="module")
def released(converted) -> SatNano:
    """What the written card makes of the checkpoint in a run."""
    card = load_record(converted / "config/models/sat-nano-released.yaml", ModelCard)
    assert len(card.trained_on) == 32
    assert isinstance(card.adapter, PythonObject)
    config = RunConfig(
        name="t",
        study="sat",
        data_kind="real",
        raw_root="r",
        entries=["msd_spleen"],
        models=[card.id],
    )
    paths, options = RunPaths(converted), dict(card.adapter.options)
    made = load_object(card.adapter.object, "card")
    return made(ModelContext(card.id, paths, config, converted, None, options))


def test_a_run_evaluates_the_released_weights(
    released, converted, tower, network_file, scan, tmp_path
):
    model = released
    assert model.classes("msd_spleen") == {"spleen": None}
    assert set(model.classes("totalsegmentator").values()) == {None}
    assert len(model.model.book.keys) == len(vocabulary("sat")) == 362
    assert model.model.preset.name == "released-v1"
    expected = _query(
        converted, tower, "Modality:ct, Plane:Unknown, Region:Unknown, Anatomy Name:spleen"
    )
    row = model.model.book.rows([("ct", "spleen")])
    with torch.no_grad():
        assert torch.allclose(
            model.model.queries(model.model.book.embeddings[row]), expected, atol=1e-5
        )
    write_volume(tmp_path / "image.nii.gz", scan)
    case = ImageCase("msd_spleen", "a", "a", "ct", tmp_path, scan.spacing_mm, scan.array.shape)
    answer = model.predict(case, ["spleen"])

    # The first release by hand: z-score, [0, 1], windows of half overlap, mean of probabilities.
    network = load_released(read_checkpoint(network_file))
    clipped = scan.array.clip(-500, 1000)
    grey = torch.from_numpy((clipped - clipped.min()) / (clipped.max() - clipped.min()))
    grey = torch.nn.functional.pad(grey, (0, 2))
    total, count = torch.zeros(grey.shape), torch.zeros(grey.shape)
    for start in (0, 6):
        window = slice(start, start + PATCH[0])
        with torch.no_grad():
            total[window] += network(grey[None, None, window], expected[None])[0, 0].sigmoid()
        count[window] += 1
    probability = (total / count)[:, :, :30]
    assert 0.05 < float((probability > 0.5).float().mean()) < 0.95
    clear = (probability - 0.5).abs().numpy() > 1e-4
    truth = (probability > 0.5).numpy()
    assert np.array_equal(answer.segmentation.mask("spleen")[clear], truth[clear])


def test_segment_takes_classes_and_new_names(converted, scan, tmp_path):
    image, out = tmp_path / "scan.nii.gz", tmp_path / "out"
    write_volume(image, Volume(scan.array[:60], scan.affine))
    arguments = ["segment", str(image), "-m", "ct", "-c", str(converted / "sat-nano-released.pt")]
    arguments += ["--no-overlay", "--device", "cpu", "-p", "spleen", "-p", "left unknown kidneys"]
    arguments += ["--text-encoder", str(converted / "tuned"), "-o", str(out)]
    result = CliRunner().invoke(build(), arguments)
    assert result.exit_code == 0, result.output
    assert "is no known class" in result.stderr
    masks = [read_volume(out / f"{n}.nii.gz").array for n in ("spleen", "left_unknown_kidneys")]
    assert all(0 < mask.mean() < 1 for mask in masks)
    assert not np.array_equal(*masks)


def test_new_names_want_the_encoder_of_the_checkpoint(released, converted, tower, tmp_path):
    model = released.model
    prompts = resolve(model, "ct", ["spleen", "some unknown kidneys"])
    with pytest.raises(BenchError, match="--text-encoder"):
        embed(model, "ct", prompts)
    found, embeddings = embed(model, "ct", prompts, converted / "tuned")
    assert found[1].origin == "text"
    assert torch.equal(embeddings[0], model.book.embeddings[model.book.rows([("ct", "spleen")])[0]])
    weights = {
        key.removeprefix("module.bert_model."): value.flip(0)
        for key, value in tower.items()
        if "bert_model" in key
    }
    # The same architecture with other weights is another encoder.
    TextEncoder(converted / "tuned", "pooler", weights=weights).save(tmp_path / "other")
    with pytest.raises(BenchError, match="not the text encoder that the checkpoint was made with"):
        embed(model, "ct", prompts, tmp_path / "other")


def test_the_encoder_of_the_folder_serves_where_the_tower_has_none(encoder, tower, tmp_path):
    head = {key: value for key, value in tower.items() if "mlp_embed" in key}
    files = ReleasedFiles(tmp_path / "n", _text_file(tmp_path / "head.pth", head), encoder)
    side = read_text_side(files, encoder_shapes(encoder), 768)
    assert side.encoder is None
    assert side.unused == ()
    assert torch.equal(side.projection["2.bias"], tower["module.mlp_embed.2.bias"])
    # The folder of this test has no weights of its own.
    with pytest.raises(BenchError, match="text encoder cannot be read"):
        convert_released(files, tmp_path / "out.pt")


class _Harmful:
    def __reduce__(self):
        return (print, ("this must never be printed",))


def test_a_folder_s_own_weights_are_read_safely(encoder, tower, tmp_path, capsys):
    folder = _copied(encoder, tmp_path / "bin", "config.json", "vocab.txt")
    weights = {
        key.removeprefix("module.bert_model."): value
        for key, value in tower.items()
        if "bert_model" in key
    }
    # As the folders of 2020 have them: a pickle, with parts of a masked-language model.
    torch.save(weights | {"cls.predictions.bias": torch.zeros(21)}, folder / "pytorch_model.bin")
    texts = ["Modality:ct, Plane:Unknown, Region:Unknown, Anatomy Name:liver"]
    given = TextEncoder(encoder, "pooler", weights=weights).embed(texts)
    assert torch.equal(TextEncoder(folder, "pooler").embed(texts), given)
    assert capsys.readouterr().err == ""
    lacking = {key: value for key, value in weights.items() if "pooler" not in key}
    torch.save(lacking, folder / "pytorch_model.bin")
    TextEncoder(folder, "mean")
    with pytest.raises(BenchError, match=r"incomplete[\s\S]*pooler.dense.bias"):
        TextEncoder(folder, "pooler")
    torch.save(_Harmful(), folder / "pytorch_model.bin")
    with pytest.raises(BenchError, match="text encoder cannot be read"):
        TextEncoder(folder, "pooler")
    assert "never be printed" not in capsys.readouterr().out


def test_what_is_wrong_with_released_files_is_told(
    encoder, tower, network_file, tmp_path, capsys, monkeypatch
):
    text, out = tmp_path / "text.pth", tmp_path / "out.pt"
    bert = "module.bert_model."
    head = {key: value for key, value in tower.items() if "mlp_embed" in key}
    others = {key.replace("mlp_embed", "image_embed"): value for key, value in head.items()}
    lacking = {key: value for key, value in tower.items() if "pooler.dense.bias" not in key}
    longer = tower | {f"{bert}embeddings.word_embeddings.weight": torch.zeros(99, 768)}
    broken = tower | {"module.mlp_embed.0.bias": torch.full((768,), torch.nan)}
    narrow = tower | {
        f"module.mlp_embed.{i}.{part}": tower[f"module.mlp_embed.{i}.{part}"][:512]
        for i in (0, 2)
        for part in ("weight", "bias")
    }
    whole = _text_file(tmp_path / "whole.pth", tower).read_bytes()
    for write, message in (
        (lambda: _text_file(text, tower | others), r"several projection heads[\s\S]*image_embed"),
        (lambda: _text_file(text, {k: tower[k] for k in tower.keys() - head.keys()}),
         r"no projection head[\s\S]*temperature"),
        (lambda: _text_file(text, narrow), r"no projection head[\s\S]*mlp_embed.0.weight \(512"),
        (lambda: _text_file(text, lacking), r"pooler.dense.bias: missing"),
        (lambda: _text_file(text, longer), r"shape \(99, 768\) instead of \(21, 768\)"),
        (lambda: _text_file(text, broken), "not numbers"),
        (lambda: _text_file(text, {}), "no projection head"),
        (lambda: torch.save(_Harmful(), text), "refused"),
        (lambda: text.write_bytes(whole[: len(whole) // 2]), "truncated or corrupt"),
        (text.unlink, "not found"),
    ):  # fmt: skip
        write()
        with pytest.raises(BenchError, match=message):
            convert_released(ReleasedFiles(network_file, text, encoder), out)
    assert "never be printed" not in capsys.readouterr().out
    _text_file(text, tower)
    with pytest.raises(BenchError, match="exchange the two files"):
        convert_released(ReleasedFiles(network_file, network_file, encoder), out)
    with pytest.raises(BenchError, match="text tower, not the segmentation network"):
        convert_released(ReleasedFiles(text, text, encoder), out)
    for folder, message in (
        (tmp_path, "no text encoder in this folder"),
        (_copied(encoder, tmp_path / "a", "config.json"), "no vocabulary"),
        (_copied(encoder, tmp_path / "b", "vocab.txt", "config.json", more=9), "belong together"),
    ):
        with pytest.raises(BenchError, match=message):
            convert_released(ReleasedFiles(network_file, text, folder), out)
    assert not out.exists()
    out.write_text("mine")
    with pytest.raises(BenchError, match="there already"):
        convert_released(ReleasedFiles(network_file, text, encoder), out)
    assert out.read_text() == "mine"
    monkeypatch.chdir(tmp_path)
    command = ["sat", "convert-released", "--network", "n", "--text", "t", "--encoder", "e"]
    for name, message in (("sat-nano", "there is a model"), ("My model", "is no model id")):
        result = CliRunner().invoke(build(), [*command, "-o", "new.pt", "--card", name])
        assert message in str(result.exception)


def _copied(folder: Path, target: Path, *names: str, more: int = 0) -> Path:
    """A folder with some files of another, the vocabulary with more words."""
    target.mkdir()
    for name in names:
        (target / name).write_bytes((folder / name).read_bytes())
    if more:
        with (target / "vocab.txt").open("a") as stream:
            stream.writelines(f"word{i}\n" for i in range(more))
    return target
