"""The whole path at smoke size: complete, repeatable, rebuilt where something is gone."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evaluation.cases import read_reference
from evaluation.paths import RunPaths
from evaluation.schema import COST, read_table
from evaluation.volumes.image_files import Volume, write_volume
from evaluation.workflow.jobs import job_reports
from sat.config import load_preset

ROOT = Path(__file__).resolve().parents[2]

RUN = ("--cores", "2", "--configfile", "config/smoke.yaml")


def jobs(output: str) -> set[str]:
    """Names of the rules that a dry run would execute."""
    lines = output.splitlines()
    start = next((i for i, x in enumerate(lines) if x.startswith("job ")), None)
    if start is None:
        return set()
    found = set()
    for line in lines[start + 2 :]:
        if not line.strip() or line.startswith("total"):
            break
        found.add(line.split()[0])
    return found - {"all"}


def planned(clone) -> set[str]:
    return jobs(clone.run("-n", "--quiet", "rules", *RUN))


def test_every_model_is_scored_on_every_entry(smoke):
    run = smoke.folder / "results" / "smoke"
    for model in ("sat-nano", "nnunet", "oracle"):
        for dataset in ("msd_spleen", "acdc"):
            rows = pd.read_parquet(run / "scores" / model / f"{dataset}.parquet")
            assert set(rows["space"]) == {"native", "resampled"}
            assert not rows.empty
            if model == "oracle":
                native = rows.query("space == 'native' and status == 'scored'")
                assert (native["dsc"] == 1).all()
                assert (native["nsd"] == 1).all()


def test_oracle_is_perfect_in_the_table(smoke):
    table = pd.read_parquet(smoke.folder / "results/smoke/tables/overall.parquet")
    oracle = table.query("model == 'oracle' and space == 'native' and policy == 'present-only'")
    assert len(oracle) > 0
    assert set(oracle["metric"]) == {"dsc", "nsd"}
    assert oracle["value"].tolist() == [1.0] * len(oracle)
    assert set(table["data_kind"]) == {"synthetic"}


def test_report_and_record_are_there(smoke):
    report = smoke.folder / "reports" / "out" / "smoke"
    assert (report / "report.json").is_file()
    record = json.loads((smoke.folder / "results/smoke/run.json").read_text())
    assert record["configuration"]["name"] == "smoke"
    assert {"torch", "nnunetv2", "snakemake"} <= set(record["packages"])
    assert {job["stage"] for job in record["jobs"]} >= {"standardise", "train", "predict"}
    assert {"sat-nano", "nnunet/acdc"} <= {
        j["job"] for j in record["jobs"] if j["stage"] == "train"
    }
    presets = {model: preset["name"] for model, preset in record["presets"].items()}
    assert presets == {"sat-nano": "smoke", "nnunet": "smoke"}
    assert record["presets"]["sat-nano"]["values"] == load_preset("smoke").model_dump(mode="json")


def test_the_cost_table_has_what_the_models_took(smoke):
    run = smoke.folder / "results" / "smoke"
    cost = read_table(RunPaths(run).table("cost"), COST).set_index("model")
    assert set(cost.index) == {"sat-nano", "nnunet", "oracle"}
    assert (cost["device"] == "measured, CPU").all()
    assert cost.loc["nnunet", "networks"] == 2
    models = [json.loads(p.read_text()) for p in run.glob("runs/nnunet/*/model.json")]
    assert cost.loc["nnunet", "parameters"] == sum(model["parameters"] for model in models)
    trained = cost.loc[["sat-nano", "nnunet"], ["parameters", "train_seconds", "peak_memory_mib"]]
    assert (trained > 0).all(axis=None)
    assert np.isnan(cost.loc["oracle", "train_seconds"])
    assert cost.loc["nnunet", "train_seconds"] == sum(model["seconds"] for model in models)
    trained = json.loads((run / "runs/sat-nano/spent.json").read_text())
    assert cost.loc["sat-nano", "train_seconds"] == trained["seconds"]
    status = pd.concat(pd.read_csv(p) for p in run.glob("predictions/nnunet/*/status.csv"))
    assert cost.loc["nnunet", "predict_seconds_per_case"] == status["seconds"].median()
    board = (smoke.folder / "reports/out/smoke/leaderboard.html").read_text(encoding="utf-8")
    assert f'"parameters":{cost.loc["sat-nano", "parameters"]:.1f}' in board.replace(" ", "")


def test_second_run_does_nothing(smoke):
    assert "Nothing to be done" in smoke.run(*RUN)


def test_cosmetic_edits_retrain_nothing(smoke):
    rules = smoke.folder / "evaluation" / "rules.smk"
    before = rules.read_text()
    edited = before.replace("{SATBENCH:q} train ", "{SATBENCH:q}  train ") + "\n# x\n"
    assert edited.count("{SATBENCH:q}  train") == 1
    config = smoke.folder / "config" / "smoke.yaml"
    config_before = config.read_text()
    try:
        rules.write_text(edited)
        config.write_text("# a comment\n" + config_before)
        assert planned(smoke) == set()
    finally:
        rules.write_text(before)
        config.write_text(config_before)


def test_changed_setting_reruns_what_hangs_on_it(smoke):
    config = smoke.folder / "config" / "smoke.yaml"
    before = config.read_text()
    try:
        config.write_text(before.replace("tolerance_mm: [1.0]", "tolerance_mm: [2.0]"))
        assert planned(smoke) == {"measure", "aggregate", "report", "record"}
    finally:
        config.write_text(before)


def test_deleting_an_output_rebuilds_only_what_hangs_on_it(smoke):
    run = smoke.folder / "results" / "smoke"
    target = run / "scores" / "oracle" / "acdc" / "shards" / "0.parquet"
    kept = target.with_suffix(".kept")
    target.rename(kept)
    try:
        assert planned(smoke) == {"measure", "aggregate", "report", "record"}
    finally:
        kept.rename(target)
    assert planned(smoke) == set()


def test_annotations_are_counted_from_the_cases_and_again_where_the_count_is_gone(smoke):
    run, out = smoke.folder / "results" / "smoke", smoke.folder / "reports/out/smoke"
    masks = {"msd_spleen": 0, "acdc": 0}
    for case in (run / "cases").glob("*/*/case.json"):
        reference = read_reference(case.parent)[1]
        masks[case.parts[-3]] += sum(reference.mask(name).any() for name in reference.classes)
    table = run / "collection" / "entries.csv"
    counted = pd.read_csv(table, index_col="dataset")["annotations"]
    assert counted.to_dict() == masks
    assert str(masks["acdc"]) in (out / "tables/collection.csv").read_text()
    assert (out / "figures/collection_long_tail.pdf").is_file()
    kept = table.with_suffix(".kept")
    table.rename(kept)
    try:
        assert planned(smoke) == {"collection", "report"}
    finally:
        kept.rename(table)


def test_two_runs_at_once_are_refused(smoke):
    from filelock import FileLock

    victim = smoke.folder / "results" / "smoke" / "tables" / "overall.parquet"
    kept = victim.with_suffix(".kept")
    victim.rename(kept)
    try:
        with FileLock(smoke.folder / "results" / "smoke" / ".lock"):
            done = smoke.snakemake(*RUN)
        assert done.returncode != 0
        assert "another workflow works on this run" in done.stdout + done.stderr
    finally:
        kept.rename(victim)


def test_workflow_report_is_one_file_that_loads_nothing(smoke):
    smoke.run("--configfile", "config/smoke.yaml", "--report", "workflow.html")
    page = (smoke.folder / "workflow.html").read_text(encoding="utf-8")
    assert not re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=[\"']?https?:", page)
    assert '"stage"' in page


def test_every_job_says_where_it_ran_and_what_it_took(smoke):
    reports = job_reports(smoke.folder / "results" / "smoke")
    assert {report.status for report in reports} == {"done"}
    assert all(report.host and report.started for report in reports)
    (training,) = (r for r in reports if (r.stage, r.job) == ("train", "sat-nano"))
    assert training.seconds > 0
    assert "mem_mb=4000" in training.resources


@pytest.mark.parametrize("afterwards", [False, pytest.param(True, marks=pytest.mark.long)])
def test_the_guide_to_add_a_model_works_as_written(smoke, tmp_path, afterwards):
    """The blocks of the page on models, after predictions made elsewhere, here the references."""
    folder = tmp_path / "clone"
    shutil.copytree(smoke.folder, folder)
    # Prepared training data may go when a training is done.
    shutil.rmtree(folder / "results/smoke/prepared")
    clone = replace(smoke, folder=folder, started=[])
    paths = RunPaths(folder / "results" / "smoke")
    labels = {
        "msd_spleen": {"spleen": 1},
        "acdc": {"right ventricle cavity": 1, "myocardium": 2, "left ventricle cavity": 3},
    }
    for dataset, values in labels.items():
        for case in pd.read_csv(paths.split(dataset)).query("split == 'test'")["case"]:
            _, reference = read_reference(paths.case(dataset, case))
            answer = sum(v * reference.mask(name).astype(np.uint8) for name, v in values.items())
            target = folder / "predictions" / "my-unet" / dataset / f"{case}.nii.gz"
            target.parent.mkdir(parents=True, exist_ok=True)
            write_volume(target, Volume(answer, reference.affine))

    guide = (ROOT / "docs/pages/models.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```\n(mkdir -p config/models.*?)```", guide, re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        # This clone has no modules of its own.
        script = block.replace("PYTHONPATH=.", "PYTHONPATH=.:$PYTHONPATH")
        subprocess.run(
            ["bash", "-e", "-c", script], cwd=folder, env=clone.environment, check=True, timeout=300
        )
    table = pd.read_parquet(paths.table("overall")).query(
        "space == 'native' and policy == 'present-only' and coverage == 'supported'"
        " and statistic == 'entries' and view == 'paper' and metric == 'dsc'"
    )
    scores = table.set_index("model")["value"]
    assert scores["my-unet"] == 1.0
    assert 0 <= scores["my-command"] < 1
    assert 0 <= scores["my-object"] < 1
    board = (folder / "reports/out/smoke/leaderboard.html").read_text(encoding="utf-8")
    assert all(title in board for title in ("My U-Net", "My command", "My object"))
    if afterwards:
        stays_when_the_workflow_runs_again(clone)


def stays_when_the_workflow_runs_again(clone) -> None:
    """Nothing is predicted again; a new tolerance is measured for added models too."""
    run = clone.folder / "results" / "smoke"
    names = ["my-unet", "my-command", "my-object"]
    said = clone.run("-n", *RUN)
    assert jobs(said) <= {"aggregate", "record", "report"}
    assert "added: my-unet, my-command, my-object" in said
    assert "left over" not in said
    clone.run(*RUN)
    assert planned(clone) == set()
    # The cards travel in the run: without the user's own, all goes on.
    shutil.rmtree(clone.folder / "config" / "models")
    config = clone.folder / "config" / "smoke.yaml"
    text = config.read_text().replace("[1.0]", "[2.0]")
    text = re.sub("presets: .*", "presets: {}", text)
    config.write_text(re.sub("models: .*", "models: [oracle]", text))
    said = clone.run("-n", *RUN)
    assert jobs(said) == {"measure", "aggregate", "record", "report"}
    assert "left over, not shown: model nnunet" in said
    clone.run(*RUN)
    for name in names:
        rows = pd.read_parquet(run / "scores" / name / "acdc.parquet")
        assert set(rows["tolerance_mm"]) == {2.0}
    clone.satbench("remove", "my-object", "--run", "results/smoke")
    assert not (run / "scores" / "my-object").exists()
    clone.run(*RUN)
    board = (clone.folder / "reports/out/smoke/leaderboard.html").read_text(encoding="utf-8")
    assert "My object" not in board
    assert "My U-Net" in board
