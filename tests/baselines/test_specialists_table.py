"""Table 7: every network is built and agrees with the printed size."""

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from baselines.nnunet.architecture import architecture_of, counted
from baselines.nnunet.config import load_preset
from baselines.nnunet.specialists import find_specialist, specialists_of
from evaluation.cli import build
from evaluation.config import RunConfig
from evaluation.datasets.registry import find_card
from evaluation.errors import BenchError
from evaluation.published.specialists import pinned_plans
from evaluation.studies.record import find_study

SAT = find_study("sat")


def config(**changes: object) -> RunConfig:
    values = {
        "name": "t",
        "study": "sat",
        "data_kind": "real",
        "raw_root": ".",
        "models": ["nnunet"],
    } | changes
    return RunConfig.model_validate(values)


def test_all_36_sizes_agree_with_the_printed_ones() -> None:
    cards, paper = map(find_card, SAT.entries), load_preset("paper")
    plans = [plan for card in cards for plan in specialists_of(card, config())]
    counts = {plan.id: counted(architecture_of(plan, paper))[0] for plan in plans}
    assert len(counts) == 36
    for name, count in counts.items():
        assert count == pinned_plans(SAT)[name].parameters, name
        assert round(count / 1e6) == pinned_plans(SAT)[name].printed_size_millions, name
    assert round(sum(counts.values()) / 1e6, 1) == 1083.5


def test_the_command_prints_all_of_them() -> None:
    result = CliRunner().invoke(build(), ["specialists", "--json"])
    rows = json.loads(result.output)
    assert len(rows) == 36
    assert {"name", "parameters", "printed_size"} <= set(rows[0])
    assert "1083.5M" in CliRunner().invoke(build(), ["specialists"]).output


def test_the_table_is_the_papers(shared: Path) -> None:
    names = ("table7_details.csv", "table7_nnunet_configs.csv")
    texts = [(shared / "paper" / name).read_text() for name in names]
    tables = [list(csv.DictReader(text.splitlines())) for text in texts]
    rows: dict[str, dict[str, str]] = {r.get("dataset") or r["entry"]: {} for r in tables[0]}
    for row in [*tables[0], *tables[1]]:
        rows[row.get("dataset") or row["entry"]].update(row)
    for plan in pinned_plans(SAT).values():
        row = rows[plan.printed_name]
        assert list(plan.strides) == [tuple(s) for s in json.loads(row["strides"])]
        assert list(plan.kernel_sizes) == [tuple(k) for k in json.loads(row["kernel_sizes"])]
        assert list(plan.spacing_mm) == json.loads(row["spacing_mm"])
        assert " ".join(map(str, plan.patch_size)) == row["patch_size"]
        assert plan.n_classes == int(row["n_classes"])
        assert len(plan.strides) == len(plan.width) == plan.n_stages


def test_cards_and_table_name_the_same_specialists_with_as_many_leaves() -> None:
    found = {}
    for card in map(find_card, SAT.entries):
        for plan in specialists_of(card, config()):
            found[plan.id] = plan
    assert set(found) == set(pinned_plans(SAT))
    for name, plan in found.items():
        assert plan.pinned is not None
        assert plan.dataset == plan.pinned.entry
        assert len(plan.leaves) == plan.pinned.n_classes, name
        covered = {c for leaf in plan.leaves for c in leaf.classes}
        assert covered == set(plan.classes)


def test_pinned_plans_fit_the_cards_scans() -> None:
    for name, plan in pinned_plans(SAT).items():
        card = find_card(plan.entry)
        by_modality = {"ct": "CTNormalization", "mri": "ZScoreNormalization"}
        assert plan.normalisation == by_modality[card.modality], name
        rule = card.splits["sat"]
        assert (plan.n_train, plan.n_test) == (rule.train, rule.test), name
        # Slices first, as nnU-Net turns a scan; in-plane voxels never longer than slices apart.
        assert plan.spacing_mm[0] >= max(plan.spacing_mm[1:]) - 0.03, name
        # Unit spacing stands for a lost one only where the card says so.
        lost = any("header's spacing" in " ".join(fault.split()) for fault in card.faults)
        assert plan.unit_spacing == lost, name


def test_only_classes_in_scope_are_learnt() -> None:
    card = find_card("totalsegmentator")
    run = config(classes={"totalsegmentator": ["liver", "left kidney"]})
    plans = specialists_of(card, run)
    assert [p.id for p in plans] == ["totalsegmentator-organs"]
    assert {leaf.owner for leaf in plans[0].leaves} == {"liver", "left kidney"}


def test_an_unknown_specialist_is_named() -> None:
    with pytest.raises(BenchError, match="totalsegmentator-organs"):
        find_specialist("totalsegmentator-organ", config(entries=["totalsegmentator"]))
