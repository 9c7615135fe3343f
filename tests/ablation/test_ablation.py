"""The ablation on a toy run of two entries: run, asked by synonyms, reported, not repeated."""

import contextlib
import csv
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from evaluation.cases import CaseRecord, write_case
from evaluation.classes import find_class
from evaluation.classes.synonyms import SETS, read_synonyms
from evaluation.config import RunConfig, freeze
from evaluation.datasets.registry import find_card
from evaluation.datasets.scope import classes_in_scope
from evaluation.errors import BenchError
from evaluation.paths import RunPaths
from evaluation.training.checkpoints import read_checkpoint
from evaluation.training.prepare import prepare_run
from evaluation.volumes.image_files import Volume
from evaluation.volumes.segmentation import ClassPlace, Part, Segmentation
from evaluation.workflow.configuration import load_config
from sat.ablation import running
from sat.ablation.commands import ablation
from sat.ablation.report import CSV_FILE, JSON_FILE, NOT_POSSIBLE, write_report
from sat.ablation.running import run_variant
from sat.ablation.synonyms import rename_prompts
from sat.ablation.variants import VARIANTS, find_variant, variant_preset
from sat.commands import retrieval
from sat.config import AtlasTraining, Preset, load_preset
from sat.knowledge.records import plain
from sat.knowledge.sampling import divide
from sat.knowledge.settings import load_settings
from sat.knowledge.sources import gather, held_out
from sat.model import load_model

CLASSES = {
    "msd_spleen": ("ct", {"spleen": (1,)}),
    "acdc": (
        "mri",
        {
            "right ventricle cavity": (1,), "myocardium": (2,), "left ventricle cavity": (3,),
            "ventricle cavity": (1, 3),
        },
    ),
}  # fmt: skip
CONFIG = Path(__file__).resolve().parents[2] / "config" / "ablation.yaml"


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _preset() -> Preset:
    values = load_preset("tiny").model_dump()
    values["network"] |= {
        "widths": (8, 16, 24), "strides": ((1, 1, 1), (2, 2, 2), (2, 2, 2)),
        "query_width": 24, "heads": 2, "mlp_width": 48, "mask_hidden": 32, "pixel_width": 16,
    }  # fmt: skip
    values["grid"]["spacing_mm"] = (2.0, 2.0, 3.0)
    values["training"] |= {"patch": (16, 16, 8), "warm_up": 1}
    values["inference"] |= {"patch": (16, 16, 8)}
    values["atlas"] = AtlasTraining(steps=2, width=16, validation_batches=2).model_dump()
    return Preset.model_validate(values)


def _write_case(paths: RunPaths, dataset: str, number: int) -> tuple[str, str, str]:
    modality, classes = CLASSES[dataset]
    random = np.random.default_rng(number)
    labels = np.zeros((24, 24, 12), dtype=np.uint8)
    for value, x in ((1, 3), (2, 10), (3, 17)):
        if value <= len(classes):
            labels[x : x + 5, 8:16, 3:9] = value
    image = 60 + random.normal(0, 5, labels.shape) + 50 * labels
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    places = {
        name: ClassPlace(
            kind="annotated" if len(values) == 1 else "generated",
            parts=(Part(layer=0, values=values),),
        )
        for name, values in classes.items()
    }
    volume, case = Volume(image.astype(np.float32), affine), f"{dataset}{number}"
    record = CaseRecord(
        dataset=dataset, case=case, patient=case, modality=modality, shape=(24, 24, 12),
        spacing_mm=volume.spacing_mm, source_orientation="RAS", n_layers=1, classes=places,
    )  # fmt: skip
    write_case(paths.case(dataset, case), volume, Segmentation((labels,), affine, places), record)
    return case, case, "test" if number == 3 else "train"


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A prepared run of two entries, three training cases and one test case each."""
    root = tmp_path_factory.mktemp("run")
    paths = RunPaths(root)
    for dataset in CLASSES:
        rows = [_write_case(paths, dataset, number) for number in range(4)]
        paths.split(dataset).parent.mkdir(parents=True, exist_ok=True)
        with paths.split(dataset).open("w", newline="") as stream:
            csv.writer(stream).writerows([("case", "patient", "split"), *rows])
    preset = root / "tiny-toy.yaml"
    preset.write_text(yaml.safe_dump(_preset().model_dump(mode="json")))
    config = RunConfig(
        name="toy", study="sat", data_kind="real", raw_root="raw", entries=list(CLASSES),
        models=["sat-nano"], presets={"sat-nano": str(preset)}, shard_size=200,
    )  # fmt: skip
    freeze(config, paths.config)
    prepare_run(paths, config, _preset().grid)
    return root


@pytest.fixture(scope="module")
def results(run) -> dict[str, dict]:
    found = {}
    for name in ("class-id", "stage-2"):
        variant = find_variant(name)
        found[name] = run_variant(run, variant, 7, variant_preset(_preset(), variant, 2, 2, None))
    return found


def test_a_variant_is_a_run_that_is_measured(run, results):
    for result in results.values():
        assert set(result["entries"]) == set(CLASSES)
        assert result["dsc"] == pytest.approx(np.mean(list(result["entries"].values())))
        assert result["cpu_seconds"] > 0
        assert (result["atlas_cpu_seconds"] > 0) == (result["variant"] == "stage-2")
        counts = result["classes"]
        judged = counts["n_cases"] + counts["n_nowhere"] + counts["n_empty"]
        assert judged == 3, "three annotated classes of one test case of ACDC"
    folder = run / "ablation" / "stage-2-7"
    scores = pd.read_parquet(folder / "scores/sat-nano/acdc/shards/0.parquet")
    assert sorted(scores["class"]) == sorted([*CLASSES["acdc"][1], "ventricle cavity"])
    checkpoint = read_checkpoint(folder / "runs/sat-nano/checkpoint.pt")
    assert checkpoint["initial_encoder"]["file"] == "atlas/encoder.pt"
    assert results["stage-2"]["retrieval"]["after"]["texts"] == 5


def test_synonyms_reach_the_text_and_nothing_else(run, results):
    assert results["class-id"]["synonyms"] == {}
    assert set(results["stage-2"]["synonyms"]) == set(SETS)
    work = run / "ablation" / "stage-2-7"
    plain = read_checkpoint(work / "runs/sat-nano/checkpoint.pt")
    asked = read_checkpoint(work / "asked-by-term/runs/sat-nano/checkpoint.pt")
    for part in ("network", "projection"):
        assert all(torch.equal(value, asked[part][name]) for name, value in plain[part].items())
    assert plain["prompts"] == asked["prompts"]
    assert not torch.allclose(plain["embeddings"], asked["embeddings"], atol=0.1)
    model = load_model(run / "ablation/class-id-7/runs/sat-nano/checkpoint.pt")
    with pytest.raises(BenchError, match="no row for a synonym"):
        rename_prompts(model, read_synonyms("term"), run / "never.pt")


def test_a_finished_run_is_not_repeated(run, results, monkeypatch):
    def never(*arguments: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(running, "train", never)
    variant = find_variant("stage-2")
    again = run_variant(run, variant, 7, variant_preset(_preset(), variant, 2, 2, None))
    assert again == results["stage-2"]
    with pytest.raises(AssertionError, match="trained again"):
        run_variant(run, variant, 7, variant_preset(_preset(), variant, 3, 2, None))


def test_one_table_of_all_runs(run, results):
    table = write_report(run, {}).read_text()
    lines = {line.split(" | ")[0]: line for line in table.splitlines() if line.startswith("| ")}
    assert lines["| class-id table"].count(NOT_POSSIBLE) == len(SETS)
    assert f"**{results['stage-2']['dsc']:.3f}**" in lines["| stage 2 on untuned text"]
    rows = pd.read_csv(run / "ablation" / CSV_FILE)
    assert rows["variant"].tolist() == ["class-id", "stage-2"]
    assert rows["dsc_term"].isna().tolist() == [True, False]
    stored = json.loads((run / "ablation" / JSON_FILE).read_text())
    assert [r["dsc"] for r in stored["runs"]] == [r["dsc"] for r in results.values()]


def test_commands_on_a_finished_run(run, results, capsys):
    retrieval(run=run / "ablation" / "stage-2-7", encoder=None, threads=1)
    after = results["stage-2"]["retrieval"]["after"]
    assert f"after: R@1 {100 * after['recall_at_1']:.1f} %" in capsys.readouterr().out
    ablation(
        run=run, variants="class-id,stage-2", seeds="7", steps=2, atlas_steps=2, knowledge=None,
        threads=1,
    )  # fmt: skip
    assert "| stage 2 on untuned text | 1 |" in capsys.readouterr().out


def test_variants_change_the_prompts_and_the_start_only():
    base = _preset()
    same = base.model_dump(exclude={"prompts", "training", "atlas"})
    for variant in VARIANTS.values():
        if variant.encoder == "knowledge":
            with pytest.raises(BenchError, match="text encoder of stage 1"):
                variant_preset(base, variant, 5, 2, None)
            continue
        preset = variant_preset(base, variant, 5, 2, None)
        assert preset.model_dump(exclude={"prompts", "training", "atlas"}) == same
        assert preset.training.steps == 5
        assert (preset.training.initial_encoder is not None) == variant.atlas
        assert preset.prompts.encoder == variant.encoder


def test_a_grid_that_is_not_prepared_is_refused(run):
    variant = find_variant("untuned")
    with pytest.raises(BenchError, match="no prepared training data"):
        run_variant(run, variant, 0, variant_preset(load_preset("tiny"), variant, 2, 2, None))


@pytest.mark.parametrize("name", SETS)
def test_every_class_of_the_ablation_has_a_synonym_that_is_no_other_class(name):
    config = load_config(CONFIG)
    trained = {
        (card.modality, entry.name)
        for card in map(find_card, config.entries)
        for entry in classes_in_scope(card, config)
    }
    synonyms = read_synonyms(name)
    assert set(synonyms) == trained
    assert len(set(synonyms.values())) == len(synonyms)
    for (modality, class_name), text in synonyms.items():
        assert text not in {other for _, other in trained}
        with contextlib.suppress(BenchError):
            assert find_class(modality, text).name == class_name


@pytest.mark.parametrize("name", SETS)
def test_no_synonym_occurs_in_what_stage_1_learns_from(name):
    settings = load_settings("quick")
    knowledge = gather(settings.sources, 0, progress=False)
    division = divide(knowledge, held_out(settings.held_out))
    texts = {plain(text) for shown, found in division.concepts for text in (shown, *found)}
    texts |= {plain(text) for t in division.triplets for text in (t.head, t.tail)}
    learned = "\n".join(sorted(texts))
    assert re.search(r"\bprostate gland\b", learned), "what was to be found is not there"
    found = [
        synonym
        for synonym in read_synonyms(name).values()
        if re.search(rf"\b{re.escape(plain(synonym))}\b", learned)
    ]
    assert found == []
