"""Variants: one model trained in several ways in one run, each a row."""

from __future__ import annotations

from pathlib import Path

import pytest

from baselines.universal.config import load_preset
from evaluation.config import RunConfig, declare_variants, freeze, load_frozen
from evaluation.errors import BenchError
from evaluation.models.card import find_model, model_ids
from evaluation.models.presets import presets_of_run
from evaluation.paths import RunPaths
from evaluation.workflow.configuration import config_from, load_config
from evaluation.workflow.stages import plan_stages

CONFIG = Path(__file__).parents[2] / "config"
RUN = {
    "name": "x", "study": "sat", "data_kind": "synthetic", "raw_root": "raw", "cohort": {},
    "entries": ["acdc", "promise12"],
}  # fmt: skip
SHORT = {"model": "hermes-r", "preset": "demo", "changes": {"network": {"prior_length": 2}}}


@pytest.fixture(autouse=True)
def no_variants_afterwards():
    yield
    declare_variants(RunConfig(**RUN, models=["oracle"]))


def test_every_variant_is_a_row_with_its_settings_and_seed(tmp_path: Path) -> None:
    variants = {
        "short": SHORT,
        "chance": {"model": "hermes-r", "preset": "demo", "seeds": [3, 4], "title": "Chance"},
        "few": {
            "model": "hermes-m", "preset": "small", "changes": {"training": {"steps": 7}},
        },
        "sat-slow": {
            "model": "sat-nano", "preset": "tiny",
            "changes": {"training": {"learning_rate": 0.5}},
        },
    }  # fmt: skip
    config = config_from({**RUN, "models": ["oracle"], "variants": variants}, [])
    assert config.models == ["oracle", "short", "chance-s3", "chance-s4", "few", "sat-slow"]
    assert find_model("chance-s3").title == "Chance, seed 3"
    assert find_model("short").citation == find_model("hermes-r").citation
    paths = RunPaths(tmp_path)
    presets = presets_of_run(paths, config, config.models, anew=True)
    assert presets["short"].values["network"]["prior_length"] == 2
    assert presets["chance-s3"].values["network"]["prior_length"] == 4
    plan = plan_stages(paths, config, config.models, presets, config.entries)
    # What the preset has of single systems is replaced, too.
    assert load_preset(presets["few"].values).of("hermes-m").training.steps == 7
    training = {
        model: next(p.stage for p in stages if p.stage.name == "train")
        for model, stages in plan.by_model.items()
    }
    preset, seed, *_ = training["short"].settings
    assert (preset.system, preset.network.prior_length, seed) == ("hermes-r", 2, 0)
    assert [training[f"chance-s{n}"].settings[1] for n in (3, 4)] == [3, 4]
    assert training["sat-slow"].settings[0].training.learning_rate == 0.5
    assert len({stage.output for stage in training.values()}) == 5
    stores = {p.stage.output for p in plan.by_output.values() if p.stage.name == "prepare"}
    assert len(stores) == 1, "equal grids share one prepared store"
    # A job knows them from the run's folder.
    freeze(config, paths.config)
    declare_variants(RunConfig(**RUN, models=["oracle"]))
    assert "short" not in model_ids()
    assert load_frozen(tmp_path) == config
    assert find_model("short").id == "short"


def test_a_preset_that_extends_another_has_the_last_word_on_single_systems(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text(
        "extends: demo\nname: mine\ndescription: d\nnetwork: {widths: [4, 4, 8, 8, 8]}\n"
        "training: {steps: 9}\nsystems: {hermes-m: {training: {steps: 8}}}\n"
    )
    demo, changed = load_preset("demo"), load_preset(str(mine))
    for system, steps in {"hermes-r": 9, "hermes-m": 8, "resunet": 9, "uniseg": 9}.items():
        preset, before = changed.of(system), demo.of(system)
        assert preset.training.steps == steps
        assert preset.network.widths == (4, 4, 8, 8, 8)
        # What the child does not name stays the system's own.
        assert preset.training.learning_rate == before.training.learning_rate
        assert preset.training.sampling == before.training.sampling


@pytest.mark.parametrize(
    ("variants", "words"),
    [
        ({"hermes-r": SHORT}, "is the id of a model"),
        ({"a": {**SHORT, "changes": {"netwrok": {}}}}, "did you mean `network`"),
        ({"a": {**SHORT, "preset": "huge"}}, "no universal preset `huge`"),
        ({"a": {"model": "nnunet", "preset": "demo"}}, "no variants of `nnunet`"),
        ({"a": {"model": "oracle"}}, "no variants of `oracle`"),
        ({"a": SHORT, "b": {"model": "a"}}, "is a variant itself"),
        ({"a": {**SHORT, "seed": 1}}, "did you mean `seeds`"),
    ],
)
def test_what_is_no_variant_is_refused(variants: dict[str, object], words: str) -> None:
    with pytest.raises(BenchError, match=words):
        config_from({**RUN, "models": ["oracle"], "variants": variants}, [])


@pytest.mark.parametrize("name", ["hermes_priors", "seeds"])
def test_the_committed_ones(name: str) -> None:
    config = load_config(CONFIG / f"{name}.yaml")
    assert len(config.models) >= 5
    if name == "hermes_priors":
        lengths = [int(model.rpartition("l")[2]) for model in config.models[1:]]
        assert lengths == [1, 5, 10, 20]
        changes = [config.variants[model].changes["network"] for model in config.models[1:]]
        assert [change["prior_length"] for change in changes] == lengths
