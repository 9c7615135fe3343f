"""Public releases in our networks: names, sizes and the values that they must give."""

import pytest
import torch

from baselines.universal.networks.hermes import weights_as_printed
from baselines.universal.released import RELEASES, as_ours, load_released, released_name
from evaluation.errors import BenchError
from tests.universal.conformance import deviation, numbers, rows, shape_of, state_dict

TASKS = torch.tensor([[4, 5, 6, 18, -1], [64, 65, 66, -1, -1]])
MODALITIES = torch.tensor([0, -1])
PRINTED = {"hermes_r": 59_612_032, "hermes_m": 44_497_600}


@pytest.fixture(scope="module")
def releases(shared):
    """Empty tensors of the released names: names and shapes need no values."""
    return {
        system: {
            row["key"]: torch.empty(shape_of(row["shape"]), dtype=torch.float64, device="meta")
            for row in rows(f"keys_{system}")
        }
        for system in RELEASES
    }


@pytest.mark.parametrize("system", RELEASES)
def test_a_release_is_taken_whole(releases, system):
    release = releases[system]
    network = load_released(system, {f"module.{key}": value for key, value in release.items()})
    ours = network.state_dict()
    names = {released_name(system, name): name for name in ours}
    assert set(names) == set(release)
    for key, value in release.items():
        assert as_ours(value, ours[names[key]]).shape == ours[names[key]].shape
    assert {value.dtype for value in ours.values()} == {torch.float64}
    assert not network.training
    if system in PRINTED:
        assert weights_as_printed(network) == PRINTED[system]


@pytest.mark.parametrize("system", RELEASES)
def test_missing_and_surplus_keys_are_named(releases, system):
    release = dict(releases[system])
    missing = [key for key in release if "down3" in key][-1]
    release["down9.surplus"] = release.pop(missing)
    with pytest.raises(BenchError) as error:
        load_released(system, release)
    assert f"{missing}: missing" in str(error.value)
    assert "down9.surplus: unknown" in str(error.value)
    assert "2 faults" in str(error.value)


@pytest.mark.parametrize("system", RELEASES)
def test_wrong_tensors_are_named(releases, system):
    release = dict(releases[system])
    key, other = [key for key in release if "down3" in key][:2]
    release[key] = release[key][:1]
    release[other] = 3
    with pytest.raises(BenchError, match=f"{key}: shape") as error:
        load_released(system, release)
    assert f"{other}: no tensor" in str(error.value)


def test_averaged_weights_come_first(releases):
    release = releases["resunet"]
    key = "outc.bias"
    latest, averaged = (dict(release, **{key: torch.full((16,), v).double()}) for v in (1.0, 2.0))
    wrapped = {"epoch": 3, "model_state_dict": latest}
    assert load_released("resunet", wrapped).head.bias[0] == 1
    wrapped["ema_model_state_dict"] = averaged
    assert load_released("resunet", wrapped).head.bias[0] == 2


@pytest.mark.parametrize("system", [s for s in RELEASES if s.startswith("hermes")])
def test_heads_of_the_training_may_be_missing_but_not_in_part(releases, system):
    training = [row["key"] for row in rows(f"keys_{system}") if row["part"] == "training"]
    release = {k: v for k, v in releases[system].items() if k not in training}
    assert len(load_released(system, release).state_dict()) == len(release)
    part = dict(release, **{"mod_out.norm.bias": releases[system]["mod_out.norm.bias"]})
    with pytest.raises(BenchError, match=r"mod_out\.norm\.weight: missing"):
        load_released(system, part)


@pytest.mark.parametrize("system", [s for s in RELEASES if s.startswith("hermes")])
@pytest.mark.parametrize("length", [1, 5, 20])
def test_sizes_of_the_tables_follow_the_release(releases, system, length):
    release = {
        key: torch.empty(6, length, value.shape[2], dtype=value.dtype, device="meta")
        if key.endswith("modality_prior")
        else value
        for key, value in releases[system].items()
    }
    network = load_released(system, release)
    assert network.priors[2].modalities.shape == (6, length, 320)


def test_an_unknown_system_is_refused():
    with pytest.raises(BenchError, match="no public release"):
        load_released("nnunet", {})


def test_a_name_with_and_without_prefix_is_refused(releases):
    release = dict(releases["resunet"])
    release["module.outc.bias"] = torch.zeros_like(release["outc.bias"])
    with pytest.raises(BenchError, match=r"outc\.bias: twice, with and without `module\.`"):
        load_released("resunet", release)


@pytest.mark.parametrize("content", [[1], None, "weights"])
def test_what_is_no_state_dict_is_refused(content):
    with pytest.raises(BenchError, match="no state dict of resunet"):
        load_released("resunet", content)


@torch.no_grad()
@pytest.mark.usefixtures("shared")
def test_resunet_gives_the_published_values():
    network = load_released("resunet", state_dict("resunet"))
    image = numbers("image", (1, 1, 36, 44, 40))
    features = network.encoder(image)
    places = ("stem", "encoder 2x", "encoder 4x", "encoder 8x", "encoder 16x")
    tables = dict(zip(places, features, strict=True), logits=network(image))
    assert max(deviation(tables, "probes_resunet").values()) < 1e-9


@pytest.mark.long
@torch.no_grad()
@pytest.mark.usefixtures("shared")
def test_hermes_r_gives_the_published_values():
    network = load_released("hermes_r", state_dict("hermes_r"))
    image = numbers("image", (2, 1, 36, 44, 32))
    posteriors = {}
    for level, place in enumerate(
        ("encoder 4x", "encoder 8x", "encoder 16x", "decoder 8x", "decoder 4x")
    ):
        network.body.fusions[level].register_forward_hook(
            lambda _, given, answer, place=place: posteriors.update(
                {
                    f"{place} before fusion": given[0],
                    f"{place} after fusion": answer[0],
                    f"{place} posterior tokens": answer[1],
                }
            )
        )
    answer = network.answer(image, TASKS, MODALITIES)
    tables = {
        "logits": answer.logits,
        "decoder 1x": answer.feature,
        "prototypes": answer.prototypes,
        "modality logits": answer.modality,
        **posteriors,
    }
    assert max(deviation(tables, "probes_hermes_r").values()) < 1e-9
