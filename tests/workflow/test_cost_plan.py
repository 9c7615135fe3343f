"""`satbench plan` and `satbench jobs`: what a run will cost, and what it did."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner

from baselines.nnunet.architecture import Architecture, build_network, counted
from evaluation.cli import build
from evaluation.datasets.registry import entry_ids, load_cards
from evaluation.errors import BenchError
from evaluation.models.presets import presets_of_run
from evaluation.paths import RunPaths
from evaluation.schema import COST, read_table
from evaluation.training.counting import forward_flops, weightless
from evaluation.training.expected import training_work
from evaluation.workflow.configuration import load_config
from evaluation.workflow.estimate import estimate, training_flops, windows
from evaluation.workflow.jobs import job_reports, log_foot, log_head
from evaluation.workflow.limits import Limit, limits
from evaluation.workflow.speed import CPU_FLOPS, Speed
from evaluation.workflow.stages import plan_stages
from sat.architecture.network import SatNetwork
from sat.config import load_preset as load_sat_preset
from sat.costs import forward_flops as sat_flops
from sat.timing import timed_step

ROOT = Path(__file__).resolve().parents[2]
ALL = tuple(load_cards())
CUBES = ((1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2))


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def plan(*arguments: str) -> dict:
    config = str(ROOT / "config" / "paper.yaml")
    done = CliRunner().invoke(build(), ["plan", "--config", config, "--json", *arguments])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_flops_of_convolutions_counted_by_hand():
    # 4 x 4 x 4 voxels, 1 -> 2 -> 2 channels, 3 outputs: products and sums.
    network = weightless(
        lambda: nn.Sequential(
            nn.Conv3d(1, 2, 3, padding=1), nn.Conv3d(2, 2, 3, padding=1), nn.Conv3d(2, 3, 1)
        )
    )
    assert forward_flops(network, (1, 1, 4, 4, 4)) == 2 * 64 * (27 * 6 + 6)
    # A step down by 2 sees an eighth of the voxels; up by 2, one coarse voxel for each fine one.
    network = weightless(
        lambda: nn.Sequential(
            nn.Conv3d(2, 4, 3, stride=2, padding=1), nn.ConvTranspose3d(4, 2, 2, stride=2)
        )
    )
    assert forward_flops(network, (1, 2, 4, 4, 4)) == 2 * (8 * 27 * 8 + 64 * 8)


def test_speed_of_a_thread_follows_from_the_measured_iteration():
    sizes = Architecture((40, 56, 40), 7, 3, (32, 64, 128, 256), CUBES, ((3, 3, 3),) * 4)
    forward = forward_flops(weightless(lambda: build_network(sizes)), (1, 1, *sizes.patch))
    assert training_flops(forward) * 7 / 12.5 == pytest.approx(CPU_FLOPS, rel=0.02)


@pytest.mark.parametrize("name", ["nano", "ultra", "tiny"])
def test_a_training_step_is_three_forward_passes(name):
    preset = load_sat_preset(name)
    network = weightless(lambda: SatNetwork(preset.network)).train()
    image = torch.empty((1, 1, *preset.training.patch), device="meta")
    queries = torch.empty((1, 32, preset.network.query_width), device="meta")
    with FlopCounterMode(display=False) as counter:
        network(image, queries).sum().backward()
    forward = forward_flops(network, image.shape, queries.shape)
    assert counter.get_total_flops() == pytest.approx(training_flops(forward), rel=0.01)


def test_windows_of_a_small_scan_are_one():
    assert windows(10, (32, 32, 32)) == 1
    assert windows(2 * 32**3, (32, 32, 32)) == 16


def test_paper_is_estimated_without_data():
    record = plan("--gpus", "8", "--cores", "64")
    assert record["entries"] == 32
    assert record["over_limit"] == []
    assert record["speed"]["gpu"] == "one A100"
    assert record["models"]["nnunet"]["networks"] == 36
    assert record["models"]["nnunet"]["parameters"] == 1_083_517_305
    assert record["models"]["sat-nano"]["parameters"] == 107_227_008
    total = record["total"]
    for key in ("gpu_hours", "cpu_hours", "wall_hours", "disk_gib"):
        assert total[key] == pytest.approx(sum(s[key] for s in record["stages"]))
        assert total[key] > 0
    train = next(s for s in record["stages"] if s["stage"] == "train")
    assert train["jobs"] == 39, "36 specialists, the text, the atlas, SAT-Nano"
    assert train["wall_hours"] >= train["longest_job_hours"]


def test_a_machine_without_torch_is_told_what_to_install(monkeypatch):
    counted.cache_clear()
    monkeypatch.setitem(sys.modules, "dynamic_network_architectures.architectures.unet", None)
    config = load_config(ROOT / "config" / "smoke.yaml")
    with pytest.raises(BenchError, match="the cost of `nnunet` is counted on its network"):
        estimate(config, config.entries, gpus=1, cores=2)


def test_more_machines_take_less_wall_time_and_the_same_work():
    few, many = plan("--gpus", "1", "--cores", "4"), plan("--gpus", "40", "--cores", "400")
    assert many["total"]["wall_hours"] < few["total"]["wall_hours"]
    assert many["total"]["gpu_hours"] == few["total"]["gpu_hours"]


def test_gpus_of_a_node_share_the_joint_training():
    alone, shared = plan("--gpus", "1"), plan("--gpus", "8")
    longest = [
        next(s["longest_job_hours"] for s in record["stages"] if s["stage"] == "train")
        for record in (alone, shared)
    ]
    assert longest[0] == pytest.approx(8 * longest[1])


def fitting(name: str, **changes: object) -> list[Limit]:
    config = load_config(ROOT / "config" / f"{name}.yaml").model_copy(update=changes)
    presets = presets_of_run(RunPaths(Path("r")), config, config.models, anew=True)
    entries = tuple(entry_ids(config))
    stages = plan_stages(RunPaths(Path("r")), config, config.models, presets, entries)
    return list(limits(estimate(config, entries, gpus=8, cores=64), stages))


@pytest.mark.parametrize(
    "preset", ["paper", "paper-umls", "paper-biomedical", "paper-atlas", "nano"]
)
def test_every_job_of_the_paper_fits_into_its_limit(preset):
    found = {x.title: x for x in fitting("paper", presets={"sat-nano": preset, "nnunet": "paper"})}
    stages = ["prepare", "text", "atlas", "train"] if preset != "nano" else ["prepare", "train"]
    stages += ["prepare-atlas"] * (preset == "paper-atlas")
    assert {f"sat-nano/{stage}" for stage in stages} <= set(found)
    assert sum(title.startswith("nnunet/") for title in found) == 2 * 36
    assert sum(title.startswith("predict/") for title in found) == 4 * 32
    assert not [limit for limit in found.values() if not limit.fits]
    assert all(found[f"sat-nano/{stage}"].planned_hours > 0.1 for stage in stages)


def test_a_job_that_is_planned_too_short_is_told(tmp_path):
    asked = {"sat-nano/train": {"runtime": 600}, "sat-nano/prepare": {"threads": 1}}
    late = [limit.title for limit in fitting("paper", stages=asked) if not limit.fits]
    assert late == ["sat-nano/prepare", "sat-nano/train"]


def test_reading_crops_may_take_longer_than_a_fast_gpu():
    training = load_sat_preset("paper").training
    work = training_work("sat-nano", training, 1e12, 1000, 8, 0.0)
    assert work.cpu_seconds == pytest.approx(1180)
    fast = work.at(Speed(gpu_flops=1e15))
    assert fast.held_gpu_seconds == fast.wall_seconds(8) * 8 == pytest.approx(1180 / 8)
    slow = work.at(Speed(gpu_flops=1e12))
    assert slow.wall_seconds(8) == pytest.approx(1000 / 8)


def test_steps_are_timed_on_this_machine():
    config = str(ROOT / "config" / "smoke.yaml")
    done = CliRunner().invoke(build(), ["plan", "--config", config, "--calibrate", "--json"])
    assert done.exit_code == 0, done.output
    speed = json.loads(done.stdout)["speed"]
    assert "measured here on this CPU" in speed["origin"]
    assert 1e7 < speed["cpu_flops"] < 1e13
    config = load_config(ROOT / "config" / "smoke.yaml")
    step = 2 * training_flops(sat_flops(load_sat_preset("smoke").network, (32, 32, 32), 32))
    timed = timed_step(config)
    assert timed is not None
    assert timed.flops == step


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU to time")
def test_a_machine_without_the_gpu_says_that_it_cannot_be_timed():
    config = str(ROOT / "config" / "paper.yaml")
    done = CliRunner().invoke(build(), ["plan", "--config", config, "--calibrate"])
    assert isinstance(done.exception, BenchError)
    assert "--gpu-tflops" in str(done.exception)
    assert plan("--gpu-tflops", "139")["speed"]["gpu_flops"] == 139e12


def test_number_of_training_jobs_is_the_workflows():
    config = load_config(ROOT / "config" / "smoke.yaml")
    found = estimate(config, config.entries, gpus=1, cores=2)
    jobs = {stage.stage: stage.jobs for stage in found.stages}
    assert {k: jobs[k] for k in ("standardise", "prepare", "train", "predict", "measure")} == {
        "standardise": 2,
        "prepare": 3,
        "train": 3,
        "predict": 6,
        "measure": 6,
    }
    assert found.total.gpu_hours == 0


def test_cost_table_says_that_it_is_an_estimate():
    plan("--write")
    table = read_table(Path("results/paper/tables/cost.parquet"), COST)
    assert set(table["model"]) == {"sat-nano", "nnunet", "oracle", "empty"}
    assert table["device"].str.startswith("estimate").all()
    assert (table.set_index("model").loc[["sat-nano", "nnunet"], "train_seconds"] > 1e5).all()


def test_jobs_of_a_run_done_failed_and_unfinished(tmp_path):
    logs, benchmarks = tmp_path / "logs" / "train", tmp_path / "benchmarks" / "train"
    logs.mkdir(parents=True)
    benchmarks.mkdir(parents=True)
    head = log_head({"SLURM_JOB_ID": "17", "SLURMD_NODENAME": "n1"}) + "\n"
    (logs / "good.log").write_text(head + f"done\n{log_foot(0)}\n")
    (logs / "bad.log").write_text(head + f"satbench: disk full\n  file: x\n{log_foot(2)}\n")
    crash = f'{log_foot(1)}\nTraceback (most recent call last):\n  File "x"\nValueError: no\n'
    (logs / "crash.log").write_text(head + crash)
    (logs / "killed.log").write_text(head + "train: 10%\n")
    record = "s\th:m:s\tmax_rss\tcpu_time\tthreads\tresources\n"
    record += "2.50\t0:00:02\t300.10\t2.10\t8\t{'tmpdir': '/tmp', 'mem_mb': 4000, 'gpu': 1}\n"
    (benchmarks / "good.tsv").write_text(record)

    found = {r.job: r for r in job_reports(tmp_path)}
    assert {name: r.status for name, r in found.items()} == {
        "good": "done",
        "bad": "failed",
        "crash": "failed",
        "killed": "unfinished",
    }
    good = found["good"]
    assert (good.host, good.slurm_job, good.seconds, good.threads) == ("n1", "17", 2.5, "8")
    assert good.resources == "gpu=1 mem_mb=4000"
    assert found["bad"].message == "satbench: disk full file: x"
    assert found["crash"].message == "ValueError: no"

    done = CliRunner().invoke(build(), ["jobs", "--run", str(tmp_path), "--failed"])
    assert done.exit_code == 3
    assert "good" not in done.stdout
    assert str(logs / "bad.log") in done.stdout


def test_models_of_one_grid_make_its_store_once() -> None:
    changes = {"presets": {"hermes-r": "paper", "uniseg": "paper"}}
    settings = load_config(ROOT / "config" / "hermes.yaml")
    both = settings.model_copy(update={**changes, "models": ["hermes-r", "uniseg"]})
    one = settings.model_copy(update={**changes, "models": ["hermes-r"]})
    entries = ("bcv", "amos_ct", "segthor")
    stores = [
        next(s for s in estimate(c, entries, gpus=8, cores=64).stages if s.stage == "prepare")
        for c in (one, both)
    ]
    assert stores[0] == stores[1]
    assert stores[0].jobs == 1
    assert stores[0].disk_gib > 0
