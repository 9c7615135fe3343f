"""Every kind of file under a finished run cut, altered and deleted, and disks that are full.

Files that heal by themselves, each by its own job or in its own case, share one restart; each must
come back by itself. Of what one job makes, one file is damaged at a time: the others would come
back with it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from evaluation.files.damage import find_damage

from .finished_run import RUN, FinishedRun, damage, make_finished_run

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3000)]

CASES, PREPARED = "cases/acdc", "prepared/*/acdc"
SAT, ACDC, SPLEEN = "runs/sat-nano", "runs/nnunet/acdc", "runs/nnunet/msd_spleen"
REPORT = "../../reports/out/smoke"
TOGETHER = {
    "cases": (
        f"{CASES}/patient001_frame01/image.nii.gz",
        f"{CASES}/patient002_frame01/sources.json",
        f"{CASES}/patient003_frame01/case.json",
        f"{CASES}/patient004_frame01/layer-0.nii.gz",
    ),
    "who is in it": ("cases/msd_spleen/shards/0.csv", "splits/acdc.csv"),
    "prepared cases": (
        f"{PREPARED}/patient001_frame01/image.npy",
        f"{PREPARED}/patient002_frame01/layers.npy",
        f"{PREPARED}/patient003_frame01/points.npy",
        f"{PREPARED}/patient003_frame11/record.json",
    ),
    "preparations": (f"{ACDC}/prepared.json", f"{SPLEEN}/preprocessed/satbench.json"),
    "the index": ("prepared/*/index.json", f"{ACDC}/preprocessed/*/*/patient001_frame01.b2nd"),
    "trainings": (
        f"{SAT}/checkpoint.pt", f"{ACDC}/model.json", f"{SPLEEN}/trained/*/*/*/checkpoint_final.pth"
    ),
    "what trainings read": (
        f"{SAT}/preset.json", f"{ACDC}/preprocessed/*/SatbenchPlans.json", f"{SPLEEN}/started.json"
    ),
    "what trainings note": (
        f"{SAT}/metrics.csv", f"{ACDC}/trained/*/*/plans.json", f"{SPLEEN}/trained/satbench.json"
    ),
    "resume points": (f"{SAT}/last.pt", f"{ACDC}/settings.json"),
    "times": (f"{SAT}/spent.json", "predictions/nnunet/acdc/shards/0.spent.json"),
    "predictions": (
        "predictions/sat-nano/acdc/patient004_frame01/layer-0.nii.gz",
        "predictions/sat-nano/acdc/patient004_frame12/own-layer-1.nii.gz",
        "predictions/nnunet/acdc/patient004_frame12/prediction.json",
        "predictions/nnunet/msd_spleen/shards/0.support.json",
        "predictions/oracle/acdc/shards/0.csv",
    ),
    "scores": (
        "scores/nnunet/acdc/shards/0.parquet",
        "scores/oracle/acdc/shards/0.journal.jsonl",
        "scores/sat-nano/acdc/shards/0.confusions.csv",
    ),
    "settings": ("settings/predict/oracle/acdc.txt", "settings/split/msd_spleen.txt"),
    "tables": ("tables/overall.parquet", "config.json"),
    "more tables": ("tables/ranks.parquet", "not_run.csv"),
    "notes": ("notes.json",),
    "joined scores": ("scores/nnunet/acdc.parquet",),
    "records": ("run.json",),
    "joined statuses": ("predictions/nnunet/acdc/status.csv",),
    "reports": (f"{REPORT}/report.json",),
    "pages": (f"{REPORT}/leaderboard.html",),
}  # fmt: skip
FOLDERS = {
    "early": ("splits", f"{CASES}/patient004_frame01"),
    "of an entry": (CASES,),
    "late": ("predictions/nnunet/acdc/patient004_frame12", "predictions/oracle"),
    "training": (f"{ACDC}/trained",),
    "ends": ("settings", "tables"),
    "scores": ("scores",),
}
# Written by Snakemake; compared at every start; the data that a run is of, which may change.
NOT_NOTED = ("logs", "benchmarks", "settings", "raw")
# Logs are read by nobody; a journal serves only until its scores are there, and each of its lines
# holds its own sum.
LINES = (".log", ".jsonl")
# What is prepared for trainings may go when they are done; who needs it makes it again.
READY = ("index.json", "prepared.json")
# `cut` and `altered` take the same way, so that in one restart every second file has the other.
WAYS = {"not what was written": ("cut", "altered"), "lost": ("deleted", "deleted")}


@pytest.fixture(scope="module")
def finished(tmp_path_factory, new_clone) -> FinishedRun:
    return make_finished_run(tmp_path_factory.mktemp("finished") / "clone", new_clone)


def find(finished: FinishedRun, pattern: str) -> Path:
    """The one file, or the first one, of a pattern below the run."""
    return min(finished.run.glob(pattern)).resolve().relative_to(finished.folder.resolve())


def require_healed(
    finished: FinishedRun, damaged: dict[Path, bytes | None], *, render: bool = False
) -> None:
    """The next call ends well with the tables as they were and every file there, or named.

    Figures and pages take most of a call's time: they are made where they are what was damaged.
    """
    done = finished.again(*(() if render else ("--omit-from", "report")))
    said = done.stdout + done.stderr
    try:
        assert "Traceback" not in said, said[-4000:]
        assert done.returncode == 0, said[-4000:]
        assert finished.differing() == []
        for name, content in damaged.items():
            path = finished.folder / name
            known = path.exists() or str(name) in said or path.suffix in LINES or path.name in READY
            assert known, f"lost without a word: {name}"
            if content is not None and path.is_file() and path.suffix not in LINES:
                assert path.read_bytes() != content or str(name) in said, f"kept: {name}"
        # All is whole now, and there is nothing left to do.
        assert find_damage(finished.run) == []
    except BaseException:
        finished.restore()
        raise


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("group", TOGETHER)
def test_damaged_files_are_made_again(finished, tried, group, way):
    if not all(any(finished.run.glob(pattern)) for pattern in TOGETHER[group]):
        finished.restore()  # what the last restart had no use for was not made again
    damaged: dict[Path, bytes | None] = {}
    for number, pattern in enumerate(TOGETHER[group]):
        name, kind = find(finished, pattern), WAYS[way][number % 2]
        damage(finished.folder / name, kind)
        damaged[name] = (finished.folder / name).read_bytes() if kind != "deleted" else None
        tried(kind)
    require_healed(finished, damaged, render=group in ("reports", "pages"))


@pytest.mark.parametrize("group", FOLDERS)
def test_deleted_folders_are_made_again(finished, tried, group):
    for name in FOLDERS[group]:
        shutil.rmtree(finished.run / name)
        tried("folder deleted")
    require_healed(finished, {RUN / name: None for name in FOLDERS[group]})
    assert all((finished.run / name).is_dir() for name in FOLDERS[group])


@pytest.mark.parametrize("kind", ["cut", "altered", "deleted"])
def test_damage_to_any_file_is_seen(finished, tried, kind):
    """Every file that a job wrote, all at once: none is overlooked."""
    files = [path for path in finished.run.rglob("*") if path.is_file() and not path.is_symlink()]
    names = {path.relative_to(finished.run) for path in files if path.stat().st_size > 1}
    own = {
        name
        for name in names
        if name.parts[0] not in NOT_NOTED
        and name.suffix not in LINES
        and not any(part.startswith(".") for part in name.parts)
    }
    for name in own:
        damage(finished.run / name, kind)
    seen = {found.file for found in find_damage(finished.run)}
    finished.restore()
    tried(f"{kind}, only looked for", len(own))
    assert {str(name) for name in own - seen} == set()


LIMITS = (200, 20_000)
PARTS = ("--run", str(RUN))
OF_SHARD = (*PARTS, "--dataset", "acdc", "--shard", "0")
# Command, and what is deleted so that it has something to write.
COMMANDS = {
    "standardise": (("standardise", *OF_SHARD), "cases/acdc"),
    "split": (("split", *PARTS, "--dataset", "acdc"), "splits/acdc.csv"),
    "collection": (("data", "collection", *PARTS), "collection"),
    "prepare": (("train", *PARTS, "--model", "sat-nano", "--stage", "prepare"), "prepared"),
    "train": (("train", *PARTS, "--model", "sat-nano", "--stage", "train"), "runs/sat-nano/*.pt"),
    "predict": (("predict", "--model", "oracle", *OF_SHARD), "predictions/oracle"),
    "measure": (("measure", "--model", "oracle", *OF_SHARD), "scores/oracle"),
    "tables": (("aggregate", *PARTS), "tables"),
    "record": (("record", *PARTS), "run.json"),
    "render": (("report", *PARTS), "../../reports/out/smoke/report.json"),
    "add": (("add", "empty", *PARTS), "scores/empty"),
}


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_is_one_message_and_nothing_half_written(finished, tried, name, limit):
    command, work = COMMANDS[name]
    for path in finished.run.glob(work) if "*" in work else [finished.run / work]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    tried("full disk")
    done = finished.limited(limit, *command)
    try:
        assert "Traceback" not in done.stderr, done.stderr[-4000:]
        if done.returncode:
            assert done.returncode in (1, 2)
            assert done.stderr.count("satbench: ") == 1, done.stderr[-4000:]
        left = [p for p in finished.folder.rglob(".partial-*") if ".sums" not in p.parts]
        assert left == []
        finished.clone.satbench(*command)
        if name == "add":
            finished.clone.satbench("remove", "empty", *PARTS)
    finally:
        finished.restore()
