"""`satbench add`: a model joins a run when it is measured, and not before."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import psutil
import pytest

from evaluation.config import RunConfig, freeze, load_frozen
from evaluation.datasets.registry import find_card
from evaluation.errors import BenchError
from evaluation.models.added import read_added
from evaluation.models.card import find_model
from evaluation.models.running import predict_shard
from evaluation.paths import RunPaths
from evaluation.runs.declared import added_lines, leftovers_of, with_added
from evaluation.runs.provenance import write_record
from evaluation.scoring.shards import measure_shard
from evaluation.tables.run_tables import aggregate_run
from evaluation.workflow import adding, moving
from evaluation.workflow.digests import predict_digest
from evaluation.workflow.lock import RunLock
from evaluation.workflow.plan import Plan, start_run
from reports.rendering import render_report

BIN = Path(sys.executable).parent
DATASET = "msd_hippocampus"

LABELS = "{msd_hippocampus: {anterior hippocampus: 1, posterior hippocampus: 2}}"
FOLDER = f"  kind: prediction-folder\n  folder: predictions/mine\n  labels: {LABELS}\n"


def contents(run: Path) -> dict[Path, bytes]:
    """Every file of the run but its lock."""
    files = (path for path in run.rglob("*") if path.is_file() and path.name != ".lock")
    return {path: path.read_bytes() for path in files}


def say(_: str) -> None:
    """Steps are not what these tests are about."""


@pytest.fixture
def empty_run(run: Path) -> Path:
    """The toy run before `mine` is a model of it."""
    config = load_frozen(run)
    freeze(config.model_copy(update={"models": ["oracle"]}), RunPaths(run).config)
    return run


@pytest.mark.parametrize(
    ("adapter", "message"),
    [
        ("  kind: prediction-folder\n  folder: nowhere\n", "no such folder"),
        ("  kind: python\n  object: no_such_module:Model\n", "cannot import"),
        (FOLDER.replace("posterior", "posteriour"), "name classes that the entry has not"),
    ],
)
def test_a_card_that_cannot_be_used_leaves_the_run_as_it_was(
    empty_run, write_card, write_predictions, adapter, message
):
    write_predictions()
    write_card(adapter)
    before = contents(empty_run)
    with pytest.raises(BenchError, match=message):
        adding.add_model(empty_run, "mine", say)
    assert contents(empty_run) == before


@pytest.mark.parametrize("step", ["predict_shard", "measure_shard", "aggregate_run"])
def test_an_interrupted_model_has_not_joined(
    empty_run, write_card, write_predictions, monkeypatch, step
):
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    write_predictions()
    write_card(FOLDER)
    before = RunPaths(empty_run).config.read_bytes()
    monkeypatch.setattr(adding, step, stop)
    with pytest.raises(KeyboardInterrupt):
        adding.add_model(empty_run, "mine", say)
    assert RunPaths(empty_run).config.read_bytes() == before


def overall(run: Path) -> set[str]:
    return set(pd.read_parquet(RunPaths(run).table("overall"))["model"])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first test leaves a copy of its clone, since rendering takes seconds."""
    return tmp_path_factory.mktemp("finished") / "clone"


@pytest.fixture
def added(
    empty_run: Path, write_card, write_predictions, finished: Path, tmp_path: Path, monkeypatch
) -> Path:
    """The toy run with a measured oracle and the added model `mine`, and its report.

    The tests below do not render it again unless they call `satbench report`.
    """
    if not finished.exists():
        predict_shard(empty_run, "oracle", DATASET, 0)
        measure_shard(empty_run, "oracle", DATASET, 0)
        write_predictions()
        write_card(FOLDER)
        adding.add_model(empty_run, "mine", say)
        shutil.copytree(tmp_path, finished)
    else:
        shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    for module in (adding, moving):
        monkeypatch.setattr(module, "render", say)
    return empty_run


def report(run: Path) -> str:
    """The leaderboard's page, rendered anew with its pictures."""
    render_report(run, Path("reports/out/toy"), ["gallery", "leaderboard"])
    return Path("reports/out/toy/leaderboard.html").read_text()


def configured(run: Path, *models: str) -> RunConfig:
    """What the configuration file says, read anew by a workflow."""
    return load_frozen(run).model_copy(update={"models": [*models]})


def start(run: Path, *models: str) -> RunConfig:
    """What the Snakefile does at the start of a workflow."""
    config, others = with_added(configured(run, *models), run)
    start_run(config, Plan((DATASET,), {}), RunPaths(run), others, {})
    return config


def test_a_model_that_is_measured_joins_with_tables_and_report(added: Path) -> None:
    assert load_frozen(added).models == ["oracle", "mine"]
    assert read_added(added) == ["mine"]
    table = pd.read_parquet(RunPaths(added).table("completeness")).set_index("model")
    assert table.loc["mine", "status"] == "complete"
    assert json.loads((added / "run.json").read_text())["added_models"] == ["mine"]
    assert "Mine" in Path("reports/out/toy/leaderboard.html").read_text()


def test_a_later_workflow_keeps_it_until_it_is_removed(added: Path) -> None:
    assert start(added, "oracle").models == ["oracle", "mine"]
    assert start(added, "mine", "oracle").models == ["mine", "oracle"], "both ways counts once"
    assert read_added(added) == [], "the configuration has taken it over"
    with pytest.raises(BenchError, match="take `mine` out of `models:`"):
        moving.remove_model(added, "mine", say)
    assert start(added, "oracle").models == ["oracle"], "and has dropped it"
    (line,) = leftovers_of(added)
    assert "model mine (predictions, scores" in line
    moving.remove_model(added, "mine", say)
    assert leftovers_of(added) == []
    assert overall(added) == {"oracle"}
    assert Path("predictions/mine", DATASET).is_dir(), "the user's own predictions stay"
    assert Path("config/models/mine.yaml").is_file()


def test_the_workflow_finds_the_settings_that_it_was_added_with(added: Path) -> None:
    """As a file that Snakemake watches; a changed card gives another one."""
    config, card = load_frozen(added), Path("config/models/mine.yaml")
    declared = RunPaths(added).settings("predict", f"mine/{DATASET}").read_text().strip()
    assert declared == predict_digest("mine", find_card(DATASET), config)
    card.write_text(card.read_text().replace("hippocampus: 2", "hippocampus: 3"))
    assert declared != predict_digest("mine", find_card(DATASET), config)


def test_a_configured_or_unknown_model_is_not_removed(added: Path) -> None:
    for name, words in (("oracle", "take `oracle` out of `models:`"), ("none", "no added model")):
        with pytest.raises(BenchError, match=words):
            moving.remove_model(added, name, say)
    assert overall(added) == {"oracle", "mine"}


@pytest.mark.parametrize("fault", ["gone", "broken"])
def test_without_its_card_it_goes_on_with_the_copy_in_the_run(added: Path, fault: str) -> None:
    card = Path("config/models/mine.yaml")
    text = card.read_text()
    card.unlink() if fault == "gone" else card.write_text("id: mine\ntitle: [")
    assert start(added, "oracle").models == ["oracle", "mine"]
    assert find_model("mine").title == "Mine"
    assert (RunPaths(added).cards / "models" / "mine.yaml").read_text() == text
    shutil.rmtree(RunPaths(added).cards)
    config, others = with_added(configured(added, "oracle"), added)
    assert config.models == ["oracle"]
    (line,) = added_lines(others, added)
    assert line.startswith("left out: added model mine: ")
    assert find_model("oracle").role == "control", "another model's card stops nothing"
    start(added, "oracle")
    card.write_text(text)
    assert start(added, "oracle").models == ["oracle", "mine"]


def test_renamed_it_keeps_what_was_done(added: Path) -> None:
    before = pd.read_parquet(RunPaths(added).table("dataset")).query("model == 'mine'")
    stamps = {
        path.relative_to(added / "predictions/mine"): path.stat().st_mtime_ns
        for path in (added / "predictions/mine").rglob("layer-*")
    }
    moving.rename_model(added, "mine", "my-net", say)
    assert read_added(added) == ["my-net"]
    assert load_frozen(added).models == ["oracle", "my-net"]
    assert find_model("my-net").title == "Mine"
    assert not Path("config/models/mine.yaml").exists()
    new = added / "predictions/my-net"
    assert stamps == {path: (new / path).stat().st_mtime_ns for path in stamps}
    assert stamps
    after = pd.read_parquet(RunPaths(added).table("dataset")).query("model == 'my-net'")
    pd.testing.assert_frame_equal(
        after.drop(columns="model").reset_index(drop=True),
        before.drop(columns="model").reset_index(drop=True),
    )
    assert overall(added) == {"oracle", "my-net"}
    assert "my-net" in report(added)
    assert leftovers_of(added) == []
    for path in new.rglob("prediction.json"):
        assert json.loads(path.read_text())["model"] == "my-net"


def test_a_card_that_the_user_renamed_must_predict_the_same(added: Path) -> None:
    card = Path("config/models/mine.yaml")
    text = card.read_text().replace("id: mine", "id: other")
    card.unlink()
    Path("config/models/other.yaml").write_text(text.replace("hippocampus: 2", "hippocampus: 3"))
    with pytest.raises(BenchError, match="does not predict as `mine` did"):
        moving.rename_model(added, "mine", "other", say)
    Path("config/models/other.yaml").write_text(text)
    moving.rename_model(added, "mine", "other", say)
    assert overall(added) == {"oracle", "other"}


@pytest.mark.parametrize("new", ["oracle", "empty", "No Id"])
def test_a_new_id_must_be_free(added: Path, new: str) -> None:
    with pytest.raises(BenchError):
        moving.rename_model(added, "mine", new, say)
    assert overall(added) == {"oracle", "mine"}


def test_one_command_at_a_time(added: Path, write_card) -> None:
    write_card(FOLDER, "other")
    with RunLock(added, "`satbench add other`").held():
        for call in (
            lambda: adding.add_model(added, "other", say),
            lambda: moving.remove_model(added, "mine", say),
            lambda: moving.rename_model(added, "mine", "new", say),
        ):
            with pytest.raises(BenchError, match="another `satbench add other` works on this run"):
                call()
        aggregate_run(added)
        write_record(added)
    adding.add_model(added, "other", say)
    assert read_added(added) == ["mine", "other"]


def test_a_record_beside_half_done_neighbours(added: Path) -> None:
    (added / "predictions" / "oracle" / DATASET / "shards" / "0.csv").unlink()
    (added / "predictions" / "stranger" / DATASET / "shards").mkdir(parents=True)
    benchmark = added / "benchmarks" / "predict" / "oracle" / f"{DATASET}-0.tsv"
    benchmark.parent.mkdir(parents=True)
    benchmark.write_text("")
    write_record(added)
    assert json.loads((added / "run.json").read_text())["jobs"] == []


def test_the_record_is_of_declared_models_and_entries(added: Path) -> None:
    line = "s\tcpu_time\tmax_rss\n1\t1\t1\n"
    for unit in (f"oracle/{DATASET}-0", "oracle/acdc-0", f"stranger/{DATASET}-0"):
        path = added / "benchmarks" / "predict" / f"{unit}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(line)
    shutil.copytree(added / "predictions" / "mine", added / "predictions" / "stranger")
    write_record(added)
    record = json.loads((added / "run.json").read_text())
    assert [job["job"] for job in record["jobs"]] == [f"oracle/{DATASET}-0"]
    times = pd.read_parquet(RunPaths(added).table("runtime"))
    assert set(times["model"]) <= {"oracle", "mine"}


def test_a_workflow_does_not_start_on_another_plan(added: Path) -> None:
    config, others = with_added(configured(added, "oracle"), added)
    moving.remove_model(added, "mine", say)
    with pytest.raises(BenchError, match="while this workflow was being planned"):
        start_run(config, Plan((DATASET,), {}), RunPaths(added), others, {})


def test_copied_elsewhere_it_shows_what_its_own_cards_say(
    added: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = {path.name: pd.read_parquet(path) for path in (added / "tables").glob("*.parquet")}
    page = Path("reports/out/toy/leaderboard.html").read_text()
    text = Path("config/models/mine.yaml").read_text()
    for name, card in (("bare", None), ("foreign", text.replace("Mine", "Of somebody else"))):
        place = tmp_path / name
        copy = place / "somewhere" / "toy"
        shutil.copytree(added, copy)
        monkeypatch.chdir(place)
        if card:
            Path("config/models").mkdir(parents=True)
            Path("config/models/mine.yaml").write_text(card)
        lines = aggregate_run(copy)
        assert sum("was edited since" in line for line in lines) == bool(card)
        write_record(copy)
        for path in (copy / "tables").glob("*.parquet"):
            pd.testing.assert_frame_equal(pd.read_parquet(path), tables[path.name])
        assert report(copy) == page


COMMAND = """\
  kind: command
  command: [bash, -c, "echo $$ > pid; touch {output}/begun; (sleep 600) & sleep 600"]
  labels: {msd_hippocampus: {anterior hippocampus: 1}}
"""


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_call_leaves_no_program_no_folder_and_no_model(
    added: Path, write_card, tmp_path: Path, sign: signal.Signals
) -> None:
    write_card(COMMAND, "slow")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    tables = RunPaths(added).table("overall").read_bytes()
    command = [BIN / "satbench", "add", "slow", "--run", str(added)]
    process = subprocess.Popen(
        command,
        env={**os.environ, "TMPDIR": str(scratch)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until(lambda: list(scratch.glob("satbench-*/output/begun")))
    program = psutil.Process(int(Path("pid").read_text()))
    family = [program, *program.children(recursive=True)]
    assert len(family) >= 2
    process.send_signal(sign)
    assert process.wait(60) != 0
    until(lambda: not list(scratch.iterdir()))
    until(lambda: not any(member.is_running() for member in family))
    assert read_added(added) == ["mine"]
    assert "slow" not in load_frozen(added).models
    aggregate_run(added)
    assert RunPaths(added).table("overall").read_bytes() == tables
    assert any("model slow" in line for line in leftovers_of(added))
    write_card(FOLDER, "slow")
    adding.add_model(added, "slow", say)
    assert overall(added) == {"oracle", "mine", "slow"}


def until(reached: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.05)
