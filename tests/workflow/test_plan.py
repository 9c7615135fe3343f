"""What the workflow plans before any data is there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from baselines.nnunet.specialists import specialists_of
from baselines.universal.config import ONE_FOR_EACH_ENTRY, SYSTEMS
from evaluation.config import json_schema
from evaluation.datasets.registry import find_card
from evaluation.errors import BenchError
from evaluation.studies.record import find_study
from evaluation.workflow.configuration import load_config
from evaluation.workflow.loads import run_loads
from evaluation.workflow.plan import plan_entries

ROOT = Path(__file__).resolve().parents[2]
SPLEEN = "nnunet/msd_spleen/model.json"


@pytest.mark.parametrize("name", ["smoke", "demo", "hippocampus", "paper", "hermes", "all"])
def test_configurations_are_valid(name):
    config = load_config(ROOT / "config" / f"{name}.yaml")
    assert config.name == name


def test_both_studies_on_one_board_are_41_entries_of_which_each_has_a_split():
    config = load_config(ROOT / "config" / "all.yaml")
    sat, hermes = find_study("sat"), find_study("hermes")
    # The scans of LiTS and KiTS19 are there as MSD Liver and KiTS21.
    only_hermes = set(hermes.entries) - set(sat.entries) - {"lits", "kits19"}
    assert set(config.entries) == set(sat.entries) | only_hermes
    assert len(config.entries) == 41
    # Variants of an ablation have no preset of their own.
    own = {model for model, known in hermes.models.items() if known.preset}
    assert set(config.models) >= set(sat.models) | own
    assert plan_entries(config).entries == tuple(config.entries)
    networks = [s.id for d in config.entries for s in specialists_of(find_card(d), config)]
    assert len(networks) == len(set(networks)) == 36 + 8, "SegTHOR has nothing to train on"
    loads, _ = run_loads(config, ["segthor", "chaos_mr", "kits21", "amos_ct"])
    counts = [(load.n_train, load.n_test) for load in loads]
    assert counts == [(0, 40), (48, 12), (239, 60), (200, 100)]


def test_schema_file_is_the_exported_one():
    committed = json.loads((ROOT / "config" / "schema.json").read_text())
    assert committed == json_schema(), (
        "run `satbench dictionary --configuration --out config/schema.json`"
    )


@pytest.mark.parametrize("profile", [(), ("--profile", "slurm")], ids=["local", "slurm"])
def test_paper_is_planned_without_data(clone, profile):
    output = clone.run("-n", "--quiet", "rules", *profile)
    counts = dict(re.findall(r"^(\w+) +(\d+)$", output, flags=re.MULTILINE))
    # 36 specialists and SAT-Nano, each with a stage that prepares and one that trains, and
    # SAT-Nano's two stages of knowledge before that.
    assert (int(counts["stage"]), int(counts["stage_on_gpu"])) == (37, 39)
    assert int(counts["split"]) == 32
    assert not (clone.folder / "results" / "paper").exists(), "a dry run writes nothing"


def test_knowledge_stages_belong_to_a_run_that_asks_for_them(clone):
    path = clone.folder / "config" / "smoke.yaml"
    values = yaml.safe_load(path.read_text())
    preset = yaml.safe_load((ROOT / "sat" / "presets" / "smoke.yaml").read_text())
    preset["prompts"]["encoder"] = "knowledge"
    preset["atlas"] = {"steps": 10}
    preset["training"]["initial_encoder"] = "atlas/encoder.pt"
    (clone.folder / "mine.yaml").write_text(yaml.safe_dump(preset))
    path.write_text(yaml.safe_dump(values | {"presets": {"sat-nano": "mine.yaml"}}))
    output = clone.run("-n", "--configfile", "config/smoke.yaml")
    work = "results/smoke/runs/sat-nano"
    record, encoder = f"{work}/text/knowledge.json", f"{work}/atlas/encoder.pt"
    assert re.search(rf"rule stage:\n +output: {record}", output), "a dry run has no settings"
    assert re.search(rf"rule stage:\n +input: .*{record}\n +output: {encoder}", output)
    assert re.search(rf"input: .*{record}, {encoder}\n +output: {work}/checkpoint.pt", output)


def test_sat_nano_asks_for_the_gpus_of_its_preset_or_those_that_are_there(clone):
    target = "results/paper/runs/sat-nano/checkpoint.pt"
    for arguments, gpus in (("--profile slurm", "8"), ("--cores 16 --resources gpu=1", "1")):
        output = clone.run("-n", *arguments.split(), "--", target)
        for file in ("text/knowledge.json", "atlas/encoder.pt"):
            assert f"output: results/paper/runs/sat-nano/{file}" in output
        assert "FALLS BACK to the open definitions" in output, "and says so"
        assert {f"gpu={gpus}", "nodes=1"} <= asked_of(output, "stage_on_gpu", target)


def asked_of(output: str, rule: str, target: str) -> set[str]:
    """Resources of the job of a rule that makes this file in a plan."""
    lines = r"(?: +.*\n)*?"
    (resources,) = re.findall(
        rf"rule {rule}:\n{lines} +output: {target}\n{lines} +resources: (.*)$", output, re.MULTILINE
    )
    return set(resources.split(", "))


def test_a_configuration_changes_what_one_stage_asks_for(clone):
    path = clone.folder / "config" / "paper.yaml"
    mine = {"sat-nano/train": {"gpu": 4, "mem_mb": 128000, "threads": 32, "gres": "gpu:a100:4"}}
    path.write_text(path.read_text() + yaml.safe_dump({"stages": mine}))
    targets = [f"results/paper/runs/{name}" for name in ("sat-nano/checkpoint.pt", SPLEEN)]
    output = clone.run("-n", "--profile", "slurm", "--", *targets)
    asked = asked_of(output, "stage_on_gpu", targets[0])
    assert {"gpu=4", "mem_mb=128000", "gres=gpu:a100:4", "slurm_partition=gpu"} <= asked
    assert "threads: 32" in clone.run("-n", "--cores", "64", "--", targets[0])
    other = asked_of(output, "stage_on_gpu", targets[1])
    assert {"gpu=1", "mem_mb=32000"} <= other
    assert not any(resource.startswith("gres") for resource in other)
    path.write_text(path.read_text().replace("sat-nano/train", "sat-nano/tain"))
    done = clone.snakemake("-n")
    assert done.returncode != 0
    assert "did you mean `sat-nano/train`" in done.stdout + done.stderr


def test_real_run_without_any_data_stops_with_a_way_on(clone):
    done = clone.snakemake("--cores", "1")
    assert done.returncode != 0
    assert "none of the run's entries has data" in done.stdout + done.stderr
    assert "satbench data status" in done.stdout + done.stderr


def test_model_whose_card_wants_a_gpu_is_predicted_on_one(clone):
    card = "{id: mine, title: M, description: d, citation: c, licence: MIT, gpu: true,"
    card += " adapter: {kind: command, command: [mine, '{input}', '{output}']}}"
    (clone.folder / "config" / "models").mkdir(exist_ok=True)
    (clone.folder / "config" / "models" / "mine.yaml").write_text(card)
    smoke = ("--configfile", "config/smoke.yaml", "--config", "models=[mine, oracle]")
    output = clone.run("-n", "--quiet", "rules", *smoke)
    counts = dict(re.findall(r"^(\w+) +(\d+)$", output, flags=re.MULTILINE))
    assert (counts["predict_on_gpu"], counts["predict"]) == ("2", "2")


def test_unknown_configuration_key_is_named(clone):
    path = clone.folder / "config" / "smoke.yaml"
    path.write_text(path.read_text() + "tolerance: 2\n")
    done = clone.snakemake("-n", "--configfile", "config/smoke.yaml")
    assert done.returncode != 0
    assert "did you mean `tolerance_mm`" in done.stdout + done.stderr


def test_unknown_entry_is_named(clone):
    path = clone.folder / "config" / "smoke.yaml"
    values = yaml.safe_load(path.read_text()) | {"entries": ["msd_splean"]}
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(BenchError, match="did you mean `msd_spleen`"):
        load_config(path)


def test_numbers_in_lists_and_single_values_come_from_the_command_line(clone):
    values = ("tolerance_mm=[1, 2.5]", "space=resampled", "entries=acdc", "models=oracle")
    output = clone.run("-n", "--configfile", "config/smoke.yaml", "--config", *values)
    assert re.search(r"^measure +1$", output, flags=re.MULTILINE)
    assert "not used: presets.nnunet: not among the run's models" in output


def test_misspelt_preset_is_named_before_the_full_network_is_planned(clone):
    smoke = ("-n", "--configfile", "config/smoke.yaml", "--config")
    done = clone.snakemake(*smoke, "presets={sat-nan: tiny}")
    assert done.returncode != 0
    assert "did you mean `sat-nano`" in done.stdout + done.stderr


def test_a_key_that_is_there_twice_is_named(clone):
    path = clone.folder / "config" / "smoke.yaml"
    path.write_text(path.read_text() + "seed: 1\n")
    with pytest.raises(BenchError, match="the key `seed` is there twice"):
        load_config(path)


def test_a_bad_card_is_named_once_and_stops_no_other_run(clone):
    for folder in ("models", "datasets"):
        (clone.folder / "config" / folder).mkdir(exist_ok=True)
        (clone.folder / "config" / folder / "half.yaml").write_text("id: half\ntitle: [")
        (clone.folder / "config" / folder / ".#half.yaml").symlink_to("user@host.123")
    smoke = ("-n", "--quiet", "rules", "--configfile", "config/smoke.yaml")
    output = clone.run(*smoke)
    for folder in ("models", "datasets"):
        assert output.count(f"file: config/{folder}/half.yaml") == 1
    done = clone.snakemake(*smoke, "--config", "models=[half, oracle]", "presets=")
    assert done.returncode != 0
    assert "file cannot be read as YAML" in done.stdout + done.stderr


def test_all_nine_universal_systems_are_planned_from_one_store(clone):
    path = clone.folder / "config" / "smoke.yaml"
    values = yaml.safe_load(path.read_text())
    presets = dict.fromkeys(SYSTEMS, "smoke")
    path.write_text(yaml.safe_dump(values | {"models": list(SYSTEMS), "presets": presets}))
    output = clone.run("-n", "--configfile", "config/smoke.yaml")
    stages = re.findall(r"rule stage:\n +input: .*\n +output: (\S+)", output)
    work = "results/smoke/runs"
    joint = {f"{work}/{s}/checkpoint.pt" for s in SYSTEMS if s not in ONE_FOR_EACH_ENTRY}
    alone = {
        f"{work}/{s}/{entry}/checkpoint.pt"
        for s in ONE_FOR_EACH_ENTRY
        for entry in ("acdc", "msd_spleen")
    }
    (store,) = set(stages) - joint - alone
    assert store.startswith("results/smoke/prepared/")
    assert len(stages) == 1 + 7 + 4
