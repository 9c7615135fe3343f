"""Every kind of file under a finished run cut, deleted and altered, one at a time."""

from __future__ import annotations

import shutil

import pytest

from .finished_run import KINDS, RUN, FinishedRun, damage, make_finished_run

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3000)]

SPECIALIST = f"{RUN}/runs/nnunet/acdc"
TRAINED = f"{SPECIALIST}/trained/*/*"
FILES = (
    f"{RUN}/config.json",
    f"{RUN}/not_run.csv",
    f"{RUN}/notes.json",
    f"{RUN}/run.json",
    f"{RUN}/settings/predict/oracle/acdc.txt",
    f"{RUN}/cases/acdc/patient004_frame01/image.nii.gz",
    f"{RUN}/cases/acdc/patient004_frame01/layer-0.nii.gz",
    f"{RUN}/cases/acdc/patient004_frame01/case.json",
    f"{RUN}/cases/acdc/patient001_frame01/sources.json",
    f"{RUN}/cases/acdc/shards/0.csv",
    f"{RUN}/splits/acdc.csv",
    f"{RUN}/prepared/*/acdc/patient001_frame01/image.npy",
    f"{RUN}/prepared/*/acdc/patient001_frame01/layers.npy",
    f"{RUN}/prepared/*/acdc/patient001_frame01/points.npy",
    f"{RUN}/prepared/*/acdc/patient001_frame01/record.json",
    f"{RUN}/prepared/*/index.json",
    f"{RUN}/runs/sat-nano/checkpoint.pt",
    f"{RUN}/runs/sat-nano/last.pt",
    f"{RUN}/runs/sat-nano/preset.json",
    f"{RUN}/runs/sat-nano/metrics.csv",
    f"{RUN}/runs/sat-nano/spent.json",
    f"{SPECIALIST}/prepared.json",
    f"{SPECIALIST}/started.json",
    f"{SPECIALIST}/model.json",
    f"{SPECIALIST}/raw/*/imagesTr/patient001_frame01_0000.nii.gz",
    f"{SPECIALIST}/preprocessed/satbench.json",
    f"{SPECIALIST}/preprocessed/*/SatbenchPlans.json",
    f"{SPECIALIST}/preprocessed/*/*/patient001_frame01.b2nd",
    f"{SPECIALIST}/trained/satbench.json",
    f"{TRAINED}/plans.json",
    f"{TRAINED}/fold_all/checkpoint_final.pth",
    f"{RUN}/predictions/sat-nano/acdc/patient004_frame12/layer-0.nii.gz",
    f"{RUN}/predictions/sat-nano/acdc/patient004_frame12/own-layer-1.nii.gz",
    f"{RUN}/predictions/nnunet/acdc/patient004_frame12/prediction.json",
    f"{RUN}/predictions/nnunet/acdc/shards/0.csv",
    f"{RUN}/predictions/nnunet/acdc/shards/0.support.json",
    f"{RUN}/predictions/nnunet/acdc/shards/0.spent.json",
    f"{RUN}/predictions/nnunet/acdc/status.csv",
    f"{RUN}/scores/nnunet/acdc/shards/0.parquet",
    f"{RUN}/scores/nnunet/acdc/shards/0.journal.jsonl",
    f"{RUN}/scores/nnunet/acdc/shards/0.confusions.csv",
    f"{RUN}/scores/nnunet/acdc.parquet",
    f"{RUN}/tables/overall.parquet",
    f"{RUN}/tables/ranks.parquet",
    "reports/out/smoke/report.json",
    "reports/out/smoke/leaderboard.html",
)
FOLDERS = (
    "splits", "tables", "cases/acdc", "cases/acdc/patient004_frame01", "predictions/oracle",
    "predictions/nnunet/acdc/patient004_frame12", "scores", "settings", "runs/nnunet/acdc/trained",
)  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory, new_clone) -> FinishedRun:
    return make_finished_run(tmp_path_factory.mktemp("finished") / "clone", new_clone)


def require_healed(finished: FinishedRun, what: str) -> None:
    """The next call ends well with the tables as they were, or names the file."""
    done = finished.again()
    said = done.stdout + done.stderr
    try:
        assert "Traceback" not in said, said[-4000:]
        if done.returncode == 0:
            assert finished.differing() == []
        else:
            assert what in said, said[-4000:]
        assert (finished.folder / what).exists() or what in said, f"lost without a word: {what}"
    except AssertionError:
        finished.restore()
        raise


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pattern", FILES)
def test_a_damaged_file_is_made_again_or_named(finished, pattern, kind):
    path = next(finished.folder.glob(pattern))
    damage(path, kind)
    require_healed(finished, str(path.relative_to(finished.folder)))


@pytest.mark.parametrize("name", FOLDERS)
def test_a_deleted_folder_is_made_again(finished, name):
    shutil.rmtree(finished.run / name)
    require_healed(finished, f"{RUN}/{name}")
    assert (finished.run / name).is_dir()


LIMITS = (200, 5_000, 60_000)
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
def test_a_full_disk_is_one_message_and_nothing_half_written(finished, name, limit):
    command, work = COMMANDS[name]
    for path in finished.run.glob(work) if "*" in work else [finished.run / work]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
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
