"""Metadata of an export, by the validators of those who read them."""

from __future__ import annotations

import itertools
import warnings
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from huggingface_hub import ModelCard

from evaluation.paths import RunPaths
from evaluation.schema import TABLES, read_table
from reports.export import write_export
from reports.source.loading import load_source


@pytest.fixture(scope="module")
def export(run: RunPaths, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "export"
    write_export(load_source(run.root), folder)
    return folder


def test_croissant_is_valid_and_its_records_are_the_scores(export: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the validator's own libraries
        import mlcroissant

        dataset = mlcroissant.Dataset(jsonld=export / "croissant.json")
        assert not list(dataset.metadata.issues.errors)
        assert not list(dataset.metadata.issues.warnings)
        rows = list(itertools.islice(dataset.records("scores"), 40))
    scores = pq.read_table(export / "scores.parquet").slice(0, 40).to_pylist()
    for name in ("case", "reference_voxels"):
        found = [row[f"scores/{name}"] for row in rows]
        assert [f.decode() if isinstance(f, bytes) else f for f in found] == [
            row[name] for row in scores
        ]
    assert dataset.metadata.data_limitations
    assert {r.name for r in dataset.metadata.record_sets} >= {"scores", "overall", "dataset"}


def test_model_cards_hold_the_tables_values(run: RunPaths, export: Path) -> None:
    folder = export / "model_cards"
    assert {path.stem for path in folder.iterdir()} == {"sat-nano", "nnunet"}
    card = ModelCard.load(folder / "sat-nano.md", ignore_metadata_errors=False)
    table = read_table(run.table("dataset"), TABLES["dataset"])
    chosen = {
        "model": "sat-nano", "policy": "present-only", "space": "native", "view": "paper",
        "coverage": "supported", "aggregation": "macro",
    }  # fmt: skip
    for column, value in chosen.items():
        table = table[table[column] == value]
    found = {(r.dataset_type, r.metric_type): r.metric_value for r in card.data.eval_results}
    wanted = {(r.dataset, r.metric): round(r.value, 6) for r in table.itertuples()}
    assert found == wanted
    assert len(found) == 2 * 5
