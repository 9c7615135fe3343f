"""Stages as models state them: what is refused, what is shared, and presets frozen whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from evaluation.config import RunConfig
from evaluation.errors import BenchError
from evaluation.models import stages as module
from evaluation.models.card import find_model
from evaluation.models.presets import (
    FrozenPreset,
    context_of,
    freeze_preset,
    frozen_preset,
    named_preset,
    preset_fallbacks,
    preset_in_use,
    preset_words,
    presets_of_run,
)
from evaluation.models.stages import Granted, Resources, Stage, stages_of
from evaluation.paths import RunPaths
from evaluation.workflow.stages import plan_stages
from sat.config import load_preset
from sat.knowledge.settings import load_settings
from sat.knowledge.sources import gather

ENTRIES = ("acdc", "msd_spleen")


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunPaths:
    monkeypatch.chdir(tmp_path)
    return RunPaths(Path("results") / "r")


def configured(**values: Any) -> RunConfig:
    base = {
        "name": "r",
        "study": "sat",
        "data_kind": "real",
        "raw_root": ".",
        "entries": list(ENTRIES),
    }
    return RunConfig.model_validate(base | {"models": ["sat-nano", "multi-decoder"]} | values)


def planned(paths: RunPaths, config: RunConfig) -> Any:
    presets = presets_of_run(paths, config, config.models, anew=True)
    return plan_stages(paths, config, config.models, presets, ENTRIES)


@pytest.fixture
def stated(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Any], list[Stage]]], None]:
    """`stated(function)`: what every trained model states from now on."""
    return lambda state: monkeypatch.setattr(module, "function_of", lambda *_: state)


def stage(output: Path, *settings: object, needs: tuple[Path, ...] = ()) -> Stage:
    return Stage("prepare", output, lambda _: None, settings, needs=needs)


def test_two_models_that_state_one_stage_share_it(paths, stated):
    stated(
        lambda run: [
            store := stage(run.paths.root / "prepared/1mm/index.json", "1 mm"),
            stage(run.work / "model.pt", run.model, needs=(store.output,)),
        ]
    )
    plan = planned(paths, configured())
    names = ["prepared/1mm/index.json", "runs/sat-nano/model.pt", "runs/multi-decoder/model.pt"]
    assert list(plan.by_output) == names
    assert {model: len(own) for model, own in plan.by_model.items()} == {
        "sat-nano": 2, "multi-decoder": 2,
    }  # fmt: skip


def test_one_output_of_two_settings_is_refused(paths, stated):
    stated(lambda run: [stage(run.paths.root / "prepared/index.json", run.model)])
    with pytest.raises(BenchError, match="make one file from other settings"):
        planned(paths, configured())


@pytest.mark.parametrize(
    ("state", "fault"),
    [
        (lambda _: [stage(Path("/elsewhere"))], "outside of the run"),
        (lambda run: [stage(run.work / "a"), stage(run.work / "a")], "output of two stages"),
        (
            lambda run: [stage(run.work / "b", needs=(run.work / "a",)), stage(run.work / "a")],
            "comes later",
        ),
    ],
)
def test_stages_that_cannot_be_done_are_refused(paths, stated, state, fault):
    stated(state)
    context = context_of(find_model("sat-nano"), paths, configured(), None, ENTRIES)
    with pytest.raises(BenchError, match=fault):
        stages_of(context)


def test_memory_grows_with_every_attempt_and_time_unless_a_job_goes_on(paths, stated):
    trains = Resources(mem_mb=1000, runtime_min=60, gpus=2, goes_on=True)
    stated(
        lambda run: [
            stage(run.work / "store"),
            Stage("train", run.work / "model", lambda _: None, (), resources=trains),
        ]
    )
    config = configured(
        models=["sat-nano"],
        stages={"sat-nano": {"mem_mb": 500}, "sat-nano/train": {"gpu": 1, "qos": "long"}},
    )
    prepare, train = planned(paths, config).by_model["sat-nano"]
    assert [prepare.resource("mem_mb", k) for k in (1, 3)] == [500, 1500]
    assert [prepare.resource("runtime", k) for k in (1, 3)] == [720, 2160]
    assert [train.resource("runtime", k) for k in (1, 3)] == [60, 60]
    assert (train.resource("gpu"), train.resource("qos"), prepare.resource("qos")) == (
        1, "long", None,
    )  # fmt: skip


def test_specialists_and_their_predictions(paths):
    config = configured(models=["nnunet"])
    stages = planned(paths, config).by_model["nnunet"]
    assert [p.title for p in stages] == [
        f"nnunet/{name}/{entry}" for entry in ENTRIES for name in ("prepare", "train")
    ]
    (before,) = planned(paths, config).before_prediction("nnunet", "acdc")
    assert before.output == paths.model_run("nnunet") / "acdc" / "model.json"
    assert planned(paths, config).predicts_on_gpu("nnunet"), "the default preset is the paper's"


def knowing(folder: Path, **text: object) -> str:
    """A preset of SAT-Nano that names one of the knowledge stage, each in a file."""
    values = load_settings("quick").model_dump(mode="json") | text
    (folder / "brief.yaml").write_text(yaml.safe_dump(values))
    prompts = {"encoder": "knowledge", "knowledge": "brief.yaml"}
    (folder / "mine.yaml").write_text(yaml.safe_dump({"extends": "smoke", "prompts": prompts}))
    return "mine.yaml"


def test_a_preset_is_frozen_with_all_that_it_extends_and_names(paths, tmp_path):
    config = configured(models=["sat-nano"], presets={"sat-nano": knowing(tmp_path, steps=7)})
    (frozen,) = presets_of_run(paths, config, config.models, anew=True).values()
    freeze_preset(paths, "sat-nano", frozen)
    before = planned(paths, config).by_model["sat-nano"]
    assert [p.stage.name for p in before] == ["prepare", "text", "train"]

    knowing(tmp_path, steps=8)
    kept = presets_of_run(paths, config, config.models, anew=False)
    assert kept == {"sat-nano": frozen}
    preset = load_preset(preset_in_use(paths, config, "sat-nano"))
    assert preset.prompts.knowledge == load_settings("quick").model_copy(update={"steps": 7})
    after = planned(paths, config).by_model["sat-nano"]
    same = [a.settings == b.settings for a, b in zip(before, after, strict=True)]
    assert same == [True, False, False], "the crops do not hang on it"

    for name in ("brief.yaml", "mine.yaml"):
        (tmp_path / name).unlink()
    assert load_preset(preset_in_use(paths, config, "sat-nano")) == preset
    with pytest.raises(BenchError, match=r"no SAT-Nano preset `mine.yaml`"):
        planned(paths, config)


def test_the_papers_preset_injects_knowledge_and_says_what_stands_in_for_it(paths):
    config = configured(models=["sat-nano"], presets={"sat-nano": "paper"})
    stages = {p.stage.name: p.stage for p in planned(paths, config).by_model["sat-nano"]}
    assert list(stages) == ["prepare", "text", "atlas", "train"]
    assert stages["atlas"].needs == (stages["prepare"].output, stages["text"].output)
    assert set(stages["train"].needs) == {s.output for n, s in stages.items() if n != "train"}
    presets = presets_of_run(paths, config, config.models, anew=True)
    said = [line for _, line in preset_fallbacks(config, presets)]
    assert [line.split(" FALLS BACK")[0] for line in said] == ["stage 1", "stage 1", "stage 2"]
    words = preset_words(paths, config, find_model("sat-nano"))
    assert "MiniLM, a general-English encoder" in words
    assert "in place of UMLS" in words
    assert "in place of an atlas" in words
    bare = config.model_copy(update={"presets": {"sat-nano": "nano"}})
    assert preset_words(paths, bare, find_model("sat-nano")).startswith("untuned text of MiniLM")
    assert preset_words(paths, bare, find_model("oracle")) == ""


def test_an_atlas_of_ones_own_does_not_wait_for_the_runs_scans(paths):
    config = configured(models=["sat-nano"], presets={"sat-nano": "paper-atlas"})
    stages = {p.stage.name: p.stage for p in planned(paths, config).by_model["sat-nano"]}
    assert list(stages) == ["prepare", "text", "prepare-atlas", "atlas", "train"]
    assert stages["atlas"].needs == (stages["text"].output, stages["prepare-atlas"].output)
    with pytest.raises(BenchError, match="no such table"):
        stages["prepare-atlas"].run(Granted())
    # A run that names UMLS does not quietly go on without it.
    with pytest.raises(BenchError, match="knowledge/umls/META"):
        gather(load_settings("umls").sources)


@pytest.mark.parametrize("model", ["sat-nano", "nnunet", "multi-decoder"])
def test_values_of_a_run_are_the_preset_itself(paths, model):
    frozen = named_preset(find_model(model), "smoke")
    freeze_preset(paths, model, frozen)
    assert frozen_preset(paths, model) == frozen
    config = configured(models=[model], presets={model: "smoke"})
    states = [
        [s.digest for s in stages_of(context_of(find_model(model), paths, config, p, ENTRIES))]
        for p in ("smoke", preset_in_use(paths, config, model))
    ]
    assert states[0] == states[1]
    paths.preset(model).write_text('{"name": 3}')
    with pytest.raises(BenchError, match=r"not a valid FrozenPreset"):
        preset_in_use(paths, config, model)


def test_a_model_without_a_preset_of_its_own_kind_keeps_the_name():
    assert named_preset(find_model("oracle"), "quick") == FrozenPreset(name="quick", values="quick")
