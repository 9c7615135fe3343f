"""The network: parameter counts, conformance with the first public release, bad weights."""

import csv
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluation.errors import BenchError
from evaluation.files.records import preset_names
from evaluation.training.counting import count_weights
from sat.architecture.blocks import ConvBlock
from sat.architecture.network import SatNetwork, position_code
from sat.config import PRESET_FOLDER, load_preset
from sat.weights import load_released, read_checkpoint

SALT = "open"


@pytest.fixture(scope="module")
def nano() -> SatNetwork:
    with torch.device("meta"):
        return SatNetwork(load_preset("nano").network)


def test_parameters_of_every_component(nano):
    encoder, decoder = nano.backbone.encoder, nano.backbone.decoder
    assert count_weights(nano) == 107_227_008
    assert count_weights(encoder) == 40_824_384
    assert [count_weights(s) for s in encoder.stages] == [
        116_160, 221_568, 664_320, 2_655_744, 10_619_904, 26_546_688,
    ]  # fmt: skip
    assert [count_weights(s) for s in decoder.stages] == [
        21_236_736, 5_309_952, 1_327_872, 332_160, 332_160,
    ]  # fmt: skip
    assert [count_weights(t) for t in decoder.transpconvs] == [
        3_146_240, 1_048_832, 262_272, 65_600, 32_832,
    ]  # fmt: skip
    assert count_weights(nano.backbone) == 40_824_384 + 33_094_656
    assert count_weights(nano.transformer_decoder) == 33_094_656
    layer = nano.transformer_decoder.layers[0]
    assert count_weights(layer) == 5_515_520
    assert count_weights(layer.multihead_attn) == 2_362_368
    assert count_weights(nano.transformer_decoder_mlp) == 213_312


def test_what_changes_no_answer_is_counted_but_frozen(nano):
    frozen = {name for name, p in nano.named_parameters() if not p.requires_grad}
    norms = {name for name in frozen if ".norm1." in name}
    assert len(norms) == 12, "unused first norms"
    assert all(name.endswith(".conv.bias") for name in frozen - norms), "taken out by the norm"
    block, image = ConvBlock(2, 4, (1, 1, 1)), torch.randn(1, 2, 8, 8, 8)
    with torch.no_grad():
        before = block(image)
        block.conv.bias += 3.0
        torch.testing.assert_close(block(image), before, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", preset_names(PRESET_FOLDER))
def test_every_preset_builds_a_network(name):
    preset = load_preset(name)
    assert preset.name == name
    with torch.device("meta"):
        assert count_weights(SatNetwork(preset.network)) > 50_000


def test_a_preset_that_extends_another_changes_only_what_it_says(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("extends: tiny\nname: mine\ntraining: {steps: 7, sampling: {jitter: 0.5}}\n")
    mine, base = load_preset(str(file)).model_dump(), load_preset("tiny").model_dump()
    assert (mine["training"].pop("steps"), mine["training"]["sampling"].pop("jitter")) == (7, 0.5)
    base["training"].pop("steps")
    base["training"]["sampling"].pop("jitter")
    assert mine | {"name": "tiny"} == base
    file.write_text(f"extends: {file}\nname: mine\n")
    with pytest.raises(BenchError, match="circle"):
        load_preset(str(file))


def test_an_unknown_preset_is_named():
    with pytest.raises(BenchError, match="did you mean `tiny`"):
        load_preset("tinny")


def _filled(key: str, shape: tuple[int, ...], salt: str) -> torch.Tensor:
    seed = zlib.crc32((key + salt).encode())
    u = np.random.RandomState(seed).uniform(-1, 1, int(np.prod(shape))).reshape(shape)
    if key.endswith("in_proj_weight"):
        u = 2 * np.sqrt(3) * u / np.sqrt(shape[1])
    elif len(shape) >= 2:
        u = np.sqrt(3) * u / np.sqrt(np.prod(shape[1:]))
    elif key.endswith(".weight"):
        u = 1 + 0.1 * u
    else:
        u = 0.1 * u
    return torch.from_numpy(u)


@pytest.fixture(scope="module")
def released(shared: Path) -> dict[str, torch.Tensor]:
    with (shared / "reference/sat_conformance/keys.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    tensors: dict[str, torch.Tensor] = {}
    for row in rows:
        if not row["same_tensor_as"]:
            shape = tuple(int(n) for n in row["shape"].split("x"))
            tensors[row["key"]] = _filled(row["key"], shape, SALT)
    return {row["key"]: tensors[row["same_tensor_as"] or row["key"]] for row in rows}


def test_released_weights_give_the_released_logits(released, shared):
    assert len(released) == 372
    network = load_released({"model_state_dict": {f"module.{k}": v for k, v in released.items()}})
    assert {p.dtype for p in network.parameters()} == {torch.float64}
    assert not network.transformer_decoder.layers[0].norm1.weight.requires_grad

    def uniform(name: str, shape: tuple[int, ...]) -> np.ndarray:
        return np.random.RandomState(zlib.crc32((name + SALT).encode())).uniform(-1, 1, shape)

    image = torch.from_numpy(uniform("image", (1, 1, 64, 96, 32)))
    queries = torch.from_numpy(uniform("queries", (1, 4, 768)))
    queries /= queries.norm(dim=-1, keepdim=True)
    with torch.no_grad():
        logits = network(image, queries)
    assert logits.shape == (1, 4, 64, 96, 32)
    with (shared / "reference/sat_conformance/probes.csv").open() as stream:
        probes = list(csv.DictReader(stream))
    for row in probes:
        at = [int(row[k]) for k in ("prompt", "x", "y", "z")]
        assert abs(float(logits[0][tuple(at)]) - float(row["logit"])) < 1e-4


def test_every_fault_of_released_weights_is_named(released):
    bad = dict(released)
    del bad["transformer_decoder.norm.bias"]
    bad["text.weight"] = torch.zeros(2)
    bad["transformer_decoder_mlp.2.bias"] = torch.zeros(65)
    alias = "backbone.encoder.stages.0.0.convs.0.all_modules.0.bias"
    bad[alias] = torch.ones(64, dtype=torch.float64)
    with pytest.raises(BenchError) as error:
        load_released(bad)
    message = str(error.value)
    assert "transformer_decoder.norm.bias: missing" in message
    assert "text.weight: unknown" in message
    assert "transformer_decoder_mlp.2.bias: shape (65,)" in message
    assert f"{alias}: differs" in message
    assert "4 faults" in message


def test_position_code_of_one_axis():
    code = position_code((3, 2, 2), 768)
    assert code.shape == (12, 768)
    assert torch.equal(code[0, :4], torch.tensor([0, 1, 0, 1], dtype=torch.float64))
    assert float(code[4, 0]) == pytest.approx(np.sin(1))
    assert float(code[1, 512 + 2]) == pytest.approx(np.sin(10000 ** (-2 / 256)))


class _Runs:
    def __reduce__(self):
        return (exec, ("raise SystemExit('code of a checkpoint has run')",))


def test_a_checkpoint_with_code_is_refused(tmp_path):
    path = tmp_path / "bad.pt"
    torch.save({"model": _Runs()}, path)
    with pytest.raises(BenchError, match="refused"):
        read_checkpoint(path)


def test_a_truncated_checkpoint_is_refused(tmp_path):
    path = tmp_path / "half.pt"
    torch.save({"x": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(BenchError, match="truncated or corrupt"):
        read_checkpoint(path)
    path.write_bytes(b"")
    with pytest.raises(BenchError, match="truncated or corrupt"):
        read_checkpoint(path)
    with pytest.raises(BenchError, match="not found"):
        read_checkpoint(tmp_path / "none.pt")


def test_a_checkpoint_with_a_flipped_byte_ends_in_no_traceback(tmp_path):
    path, refused = tmp_path / "model.pt", []
    torch.save({"a": torch.zeros(5), "b": {"c": [1, "two"]}}, path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    (pickled,) = (name for name in members if name.endswith("data.pkl"))
    # Flipped within the pickle: the archive's own checksum is right, so torch reads on.
    for place in range(len(members[pickled])):
        changed = bytearray(members[pickled])
        changed[place] ^= 1 << place % 8
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in {**members, pickled: bytes(changed)}.items():
                archive.writestr(name, content)
        try:
            read_checkpoint(path)
        except BenchError as error:
            refused.append(str(error))
    assert len(refused) > 30
    assert all(str(path) in message for message in refused)


@pytest.mark.parametrize("fault", [AssertionError, IndexError, TypeError, AttributeError])
def test_whatever_torch_raises_names_the_file(tmp_path, monkeypatch, fault):
    def load(*_, **__):
        raise fault("inside torch")

    torch.save({}, tmp_path / "model.pt")
    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(BenchError, match="truncated or corrupt") as caught:
        read_checkpoint(tmp_path / "model.pt")
    assert f"{fault.__name__}: inside torch" in str(caught.value)


def test_a_checkpoint_that_is_no_dictionary_is_refused(tmp_path):
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(BenchError, match="no dictionary"):
        read_checkpoint(tmp_path / "list.pt")
