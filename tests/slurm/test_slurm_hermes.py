"""The second study on a real Slurm, cut to two entries (MR, PET), two systems and a few steps."""

from __future__ import annotations

import csv
import json

import pandas as pd
import pytest
import yaml

from evaluation.models.card import find_model
from evaluation.protocol import HEADLINE

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(2400)]
RUN = "hermes-small"
SLURM = ("--configfile", f"config/{RUN}.yaml", "--profile", "slurm")
ENTRIES = ("chaos_mr", "autopet")
SYSTEMS = ("resunet", "hermes-r")


def test_the_second_study_on_two_nodes(clone, cluster):
    path = clone.folder / f"config/{RUN}.yaml"
    config = yaml.safe_load(path.read_text())
    del config["variants"], config["classes"]
    config |= {
        "entries": list(ENTRIES), "models": [*SYSTEMS, "oracle"],
        "presets": dict.fromkeys(SYSTEMS, "smoke"),
    }  # fmt: skip
    path.write_text(yaml.safe_dump(config))
    clone.start(*SLURM)
    clone.finish(2300)

    overall = pd.read_parquet(clone.folder / f"results/{RUN}/tables/overall.parquet")
    head = HEADLINE.numbers(overall).set_index("model")
    assert sorted(head.index) == sorted([*SYSTEMS, "oracle"])
    assert head.loc["oracle", "value"] == 1
    assert set(head["n_entries"]) == {len(ENTRIES)}
    with (clone.folder / f"reports/out/{RUN}/tables/printed_2.csv").open() as stream:
        rows = {row["model"]: row for row in csv.DictReader(stream)}
    assert {find_model(system).title for system in SYSTEMS} <= set(rows)

    mine = [j for j in cluster.jobs("all") if j["folder"] == str(clone.folder)]
    assert {job["state"] for job in mine} == {"COMPLETED"}
    reports = json.loads(clone.satbench("jobs", "--run", f"results/{RUN}", "--json"))
    assert {r["status"] for r in reports} == {"done"}
    # A network for each entry the traditional way, one for both the other.
    training = [r for r in reports if r["stage"] == "train"]
    assert len(training) == len(ENTRIES) + 1
    assert {r["slurm_job"] for r in training} <= {job["id"] for job in mine}
    assert "Nothing to be done" in clone.run(*SLURM)
