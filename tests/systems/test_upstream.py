"""After an upstream training: new tasks on its weights, shares of patients, answers by others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from baselines.universal.adapter import UniversalSystem
from baselines.universal.config import Upstream, load_preset
from baselines.universal.systems import load_model
from baselines.universal.train import train
from baselines.universal.upstream import narrowed
from evaluation.cases import ImageCase, read_case_record
from evaluation.config import declare_variants, load_frozen
from evaluation.datasets.registry import find_card
from evaluation.datasets.shares import share_of
from evaluation.errors import BenchError
from evaluation.models.presets import presets_of_run
from evaluation.models.protocol import ModelContext
from evaluation.paths import RunPaths
from evaluation.studies.record import find_study
from evaluation.training.checkpoints import FINAL_FILE
from evaluation.training.prepare import prepare_run
from evaluation.training.store import read_index, store_folder
from evaluation.workflow.configuration import load_config
from evaluation.workflow.stages import plan_stages

CONFIG = Path(__file__).parents[2] / "config"
OLD, NEW = "msd_hippocampus", "msd_spleen"
Train = tuple[Path, Path, object]


@pytest.fixture
def upstream(tiny_run: Path, preset) -> Train:
    """A Hermes of one entry, in a run that has two."""
    paths, settings = RunPaths(tiny_run), preset("hermes-r", steps=2)
    prepare_run(paths, load_frozen(tiny_run), settings.grid)
    store = store_folder(paths, settings.grid)
    old = settings.model_copy(update={"entries": (OLD,)})
    return train(tiny_run / "up", store, old, 0, progress=False).checkpoint, store, settings


def answer(checkpoint: Path, entry: str) -> torch.Tensor:
    model = load_model(checkpoint)
    image = torch.randn(1, 1, 32, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        return model.answers(image, model.prompts(model.rows_of(entry)))


@pytest.mark.parametrize("trains", ["new", "all"])
def test_new_tasks_on_old_weights(upstream: Train, tmp_path: Path, trains: str) -> None:
    checkpoint, store, settings = upstream
    more = Upstream(checkpoint=str(checkpoint), trains=trains)
    later = settings.model_copy(update={"entries": (NEW,), "upstream": more})
    # Killed in between, it goes on with the same rows frozen.
    work = tmp_path / trains
    train(work, store, later, 1, stop_after=1, progress=False)
    after = train(work, store, later, 1, progress=False).checkpoint
    assert [e.dataset for e in load_model(after).known.entries] == [OLD, NEW]
    before = answer(checkpoint, OLD)
    assert torch.equal(answer(after, OLD), before) == (trains == "new")
    old, new = (load_model(path).network.state_dict() for path in (checkpoint, after))
    assert old.keys() == new.keys()
    tables = [name for name in old if name.endswith(".tasks")]
    same = [name for name in old if name not in tables and torch.equal(old[name], new[name])]
    if trains == "new":
        assert len(same) == len(old) - len(tables)
        for name in tables:
            rows = len(old[name])
            assert torch.equal(new[name][: rows - 1], old[name][:-1])
            assert torch.equal(new[name][-1], old[name][-1])
    undisturbed = train(tmp_path / "once", store, later, 1, progress=False).checkpoint
    assert torch.equal(answer(undisturbed, NEW), answer(after, NEW))
    untrained = settings.model_copy(update={"entries": (NEW,), "upstream": more})
    first = untrained.model_copy(
        update={"training": untrained.training.model_copy(update={"steps": 1})}
    )
    one = train(tmp_path / "one", store, first, 1, progress=False).checkpoint
    assert not torch.equal(answer(one, NEW), answer(after, NEW)), "the new task learns"


def test_the_upstream_as_it_is(upstream: Train, tmp_path: Path) -> None:
    checkpoint, store, settings = upstream
    more = Upstream(checkpoint=str(checkpoint), trains="nothing")
    same = train(tmp_path, store, settings.model_copy(update={"upstream": more}), 1, progress=False)
    assert (same.steps_now, same.checkpoint.parent) == (0, tmp_path)
    assert same.checkpoint.read_bytes() == checkpoint.read_bytes()
    other = settings.model_copy(update={"upstream": more, "system": "hermes-m"})
    with pytest.raises(BenchError, match="cannot be trained further"):
        train(tmp_path, store, other, 1, progress=False)


def test_shares_are_nested_and_of_patients(upstream: Train) -> None:
    _, store, settings = upstream
    index = read_index(store)
    found = {}
    for part in (0.3, 0.6, 1.0):
        preset = type(settings).model_validate(
            settings.model_dump() | {"share": {"part": part}, "entries": (NEW,)}
        )
        (entry,) = narrowed(index, preset).entries
        found[part] = set(entry.cases)
        everyone = index.of([NEW]).entries[0].cases
        assert found[part] == set(share_of(NEW, everyone, part))
    assert found[0.3] < found[0.6] < found[1.0]
    assert [len(cases) for cases in found.values()] == [1, 2, 4]


def test_tokens_of_an_entry_answer_for_another(upstream: Train, tiny_run: Path) -> None:
    _, store, settings = upstream
    paths, config = RunPaths(tiny_run), load_frozen(tiny_run)
    trained = settings.model_copy(update={"entries": (NEW,)})
    train(paths.model_run("hermes-r"), store, trained, 0, progress=False)
    values = load_preset("smoke").model_dump(mode="json") | {"answers_as": {"word": NEW}}
    context = ModelContext(
        "hermes-r", paths, config, paths.model_run("hermes-r"), values, {}, tuple(config.entries)
    )
    model = UniversalSystem(context)
    supported = model.classes("word")
    assert [name for name, reason in supported.items() if reason is None] == ["spleen"]
    assert supported["liver"] == "not in the training's classes"
    record = read_case_record(paths.case(NEW, f"{NEW}_04"))
    own, other = (
        ImageCase(
            dataset, record.case, record.patient, record.modality, paths.case(NEW, record.case),
            record.spacing_mm, record.shape,
        )
        for dataset in (NEW, "word")
    )  # fmt: skip
    masks = [model.predict(case, ["spleen"]).segmentation.mask("spleen") for case in (own, other)]
    assert np.array_equal(*masks)
    assert model.made_from(own, ["spleen"]) != model.made_from(other, ["spleen"])


def test_segthor_waits_for_the_thorax_of_structseg(tmp_path: Path) -> None:
    config = load_config(CONFIG / "hermes.yaml")
    paths = RunPaths(tmp_path)
    models = ["resunet", "hermes-r"]
    presets = presets_of_run(paths, config, models, anew=True)
    plan = plan_stages(paths, config, models, presets, config.entries)
    units = {stage.unit for stage in plan.before_prediction("resunet", "segthor")}
    assert "structseg_thorax" in units
    scored = set(find_study("hermes").classes["segthor"])
    for name in ("segthor", "structseg_thorax"):
        assert scored <= set(find_card(name).class_names)


def test_the_downstream_configuration(tmp_path: Path) -> None:
    config = load_config(CONFIG / "hermes_downstream.yaml")
    shares = [v.changes["share"] for v in config.variants.values() if "share" in v.changes]
    assert len(shares) == 2 * (5 + 5 + 1 + 1)
    starts = {name: v.changes.get("upstream", {}) for name, v in config.variants.items()}
    trains = {name: start.get("trains") for name, start in starts.items()}
    assert (trains["upstream"], trains["new-tokens"]) == ("nothing", "new")
    (checkpoint,) = {start["checkpoint"] for start in starts.values() if start}
    assert checkpoint == str(RunPaths(Path("results/hermes")).model_run("hermes-r") / FINAL_FILE)
    paths, models = RunPaths(tmp_path), [m for m in config.models if m != "oracle"]
    presets = presets_of_run(paths, config, models, anew=True)
    plan_stages(paths, config, models, presets, config.entries)
    declare_variants(config.model_copy(update={"variants": {}}))
