"""Files of a run with other content than they can have: refused by name, or not needed."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evaluation.errors import BenchError
from evaluation.files.damage import find_damage
from evaluation.files.sums import watch
from evaluation.files.tables import read_table
from evaluation.models.running import predict_shard
from evaluation.paths import RunPaths
from evaluation.runs.provenance import write_record
from evaluation.schema import SCORES
from evaluation.scoring.shards import measure_shard
from evaluation.tables.run_tables import aggregate_run

from .conftest import CASES, DATASET

pytestmark = pytest.mark.faults

LABELS = "{msd_hippocampus: {anterior hippocampus: 1, posterior hippocampus: 2}}"
CARD = f"  kind: prediction-folder\n  folder: predictions/mine\n  labels: {LABELS}\n"
CASE, PREDICTED = f"cases/{DATASET}/{CASES[0]}", f"predictions/mine/{DATASET}"
FILES = (
    "config.json", "added.json", "notes.json", "run.json", "tables/overall.parquet",
    f"splits/{DATASET}.csv", f"{CASE}/case.json", f"{CASE}/layer-0.nii.gz",
    f"{CASE}/image.nii.gz", f"{PREDICTED}/{CASES[0]}/prediction.json",
    f"{PREDICTED}/{CASES[0]}/layer-0.nii.gz", f"{PREDICTED}/shards/0.csv",
    f"{PREDICTED}/shards/0.support.json", f"{PREDICTED}/shards/0.spent.json",
    f"{PREDICTED}/status.csv", f"scores/mine/{DATASET}/shards/0.parquet",
    f"scores/mine/{DATASET}/shards/0.journal.jsonl", f"scores/mine/{DATASET}.parquet",
    f"scores/mine/{DATASET}/shards/0.confusions.csv",
)  # fmt: skip
CONTENTS: dict[str, bytes] = {
    "nothing": b"", "a brace": b"{", "an object": b"{}", "a list": b"[1]", "a number": b"7\n",
    "null": b"null", "not UTF-8": b'{"a": "\xff"}', "bytes": bytes(range(256)),
    "nested deep": b"[" * 100_000, "a table": b"a,b\n1,2\n", "a folder": b"", "a pipe": b"",
}  # fmt: skip


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Path:
    """Where the finished run is kept for the next test."""
    return tmp_path_factory.mktemp("kept") / "place"


@pytest.fixture
def made(run, kept, write_card, write_predictions) -> Path:
    """A run whose model is predicted, measured and in the tables."""
    if kept.is_dir():
        shutil.copytree(kept, Path.cwd(), dirs_exist_ok=True)
        return run
    write_card(CARD)
    write_predictions()
    watch(run)
    for call in steps(run).values():
        call()
    shutil.copytree(Path.cwd(), kept)
    return run


def steps(run: Path) -> dict[str, Callable[[], object]]:
    return {
        "predict": lambda: predict_shard(run, "mine", DATASET, 0),
        "measure": lambda: measure_shard(run, "mine", DATASET, 0),
        "aggregate": lambda: aggregate_run(run),
        "record": lambda: write_record(run),
    }


def go_through(run: Path, first: str = "predict") -> dict[str, str]:
    """What each step from `first` on is refused for; anything but a refusal fails the test."""
    refused, names = {}, list(steps(run))
    for name in names[names.index(first) :]:
        try:
            steps(run)[name]()
        except BenchError as error:
            refused[name] = str(error)
    return refused


@pytest.mark.parametrize(
    ("content", "first"),
    [
        *((content, "predict") for content in CONTENTS),
        *itertools.product(("an object", "bytes"), ("measure", "aggregate", "record")),
    ],
)
@pytest.mark.parametrize("name", FILES)
def test_another_content_is_refused_or_made_again(made, name, content, first):
    path = made / name
    before = pd.read_parquet(RunPaths(made).table("overall"))
    path.unlink(missing_ok=True)
    if content == "a folder":
        path.mkdir()
    elif content == "a pipe":
        os.mkfifo(path)
    else:
        path.write_bytes(CONTENTS[content])
    refused = go_through(made, first)
    if (name, first) == ("tables/overall.parquet", "record"):
        # `record` neither reads nor makes this table: the next start of the workflow finds it.
        assert Path(name) in {found.file for found in find_damage(made)}
    elif not refused:
        after = pd.read_parquet(RunPaths(made).table("overall"))
        pd.testing.assert_frame_equal(before, after)
    for text in refused.values():
        assert len(text) < 20_000


def edited(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("file", [f"{CASE}/case.json", f"{PREDICTED}/{CASES[0]}/prediction.json"])
@pytest.mark.parametrize(
    "changes",
    [{"n_layers": 0}, {"n_layers": -1}, {"n_layers": 10**9}, {"n_layers": "x"}, {"classes": {}},
     {"surprise": 1}, {"dataset": "../../x"}, {"case": ".."}, {"case": "other"}],
)  # fmt: skip
def test_records_that_say_something_else(made, file, changes):
    scores = pd.read_parquet(measure_shard(made, "mine", DATASET, 0))
    edited(made / file, **changes)
    refused = go_through(made, "measure")
    if "measure" not in refused:
        again = pd.read_parquet(measure_shard(made, "mine", DATASET, 0))
        assert list(again["dsc"]) == list(scores["dsc"]) or set(again["status"]) != {"ok"}


@pytest.mark.parametrize("changes", [{"entries": ["moon"]}, {"surprise": 1}, {"space": "outer"}])
def test_a_configuration_that_cannot_be(made, changes):
    edited(made / "config.json", **changes)
    assert "aggregate" in go_through(made)


def test_a_score_out_of_range_or_of_a_training_case_is_no_score(made):
    path = RunPaths(made).score_shard("mine", DATASET, 0)
    rows = pd.read_parquet(path)
    rows.assign(dsc=7.0).to_parquet(path)
    assert "aggregate" in go_through(made, "aggregate")
    path.unlink()
    measure_shard(made, "mine", DATASET, 0)
    split = RunPaths(made).split(DATASET)
    split.write_text(split.read_text().replace(f"{CASES[1]},test", f"{CASES[1]},train"))
    refused = go_through(made, "aggregate")
    counted = pd.read_parquet(RunPaths(made).table("class"))
    assert "aggregate" in refused or counted["n_cases"].max() == 1


@pytest.mark.parametrize("model", ["../../outside", "moon", "", "a/b", ".."])
def test_a_model_that_leads_outside_is_none(made, model):
    before = sorted(made.parent.rglob("*"))
    for call in (predict_shard, measure_shard):
        with pytest.raises(BenchError):
            call(made, model, DATASET, 0)
    assert sorted(made.parent.rglob("*")) == before


@pytest.mark.parametrize(("dataset", "shard"), [(DATASET, 99), ("../x", 0), ("acdc", 0)])
def test_a_shard_that_is_not_there(made, dataset, shard):
    for call in (predict_shard, measure_shard):
        with pytest.raises(BenchError):
            call(made, "mine", dataset, shard)


@pytest.mark.parametrize("line", ["7", "[]", "{}", '{"key": 1}', "null", '"x"'])
def test_a_line_of_a_journal_that_is_no_entry(made, line):
    path = made / f"scores/mine/{DATASET}/shards/0.journal.jsonl"
    rows = pd.read_parquet(RunPaths(made).score_shard("mine", DATASET, 0))
    path.write_text(f"{line}\n")
    again = pd.read_parquet(measure_shard(made, "mine", DATASET, 0))
    pd.testing.assert_frame_equal(rows, again)


def test_tables_stay_when_making_them_fails(made):
    tables = {p.name: p.read_bytes() for p in (made / "tables").glob("*.parquet")}
    RunPaths(made).split(DATASET).write_text("nothing\n")
    assert "aggregate" in go_through(made, "aggregate")
    assert {p.name: p.read_bytes() for p in (made / "tables").glob("*.parquet")} == tables


@pytest.mark.parametrize("name", ["cases", "predictions", "scores", "splits", "tables"])
def test_a_deleted_folder(made, name):
    shutil.rmtree(made / name)
    refused = go_through(made)
    assert name in ("predictions", "scores", "tables") or refused


def test_a_few_bytes_that_stand_for_too_many_rows(made):
    path = RunPaths(made).score_shard("mine", DATASET, 0)
    frame = pd.read_parquet(path)
    rows = pa.Table.from_pandas(frame.iloc[[0] * 1000], schema=pq.read_schema(path))
    with pq.ParquetWriter(path, rows.schema, compression="zstd") as writer:
        for _ in range(3):
            writer.write_table(rows)
    content = pq.read_metadata(path)
    assert content.num_rows == 3000
    room = SimpleNamespace(available=8 * 3000 * content.num_columns - 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("evaluation.files.tables.psutil.virtual_memory", lambda: room)
        with pytest.raises(BenchError, match="does not fit into memory"):
            read_table(path, SCORES)
        assert len(read_table(path, SCORES, ["case"])) == 3000
