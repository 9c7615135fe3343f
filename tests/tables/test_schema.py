from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evaluation.errors import BenchError
from evaluation.schema import (
    SCORES,
    TABLES,
    data_dictionary,
    read_table,
    spacing_from_text,
    spacing_text,
    write_table,
)


def test_a_table_survives_the_file_and_explains_itself(tmp_path: Path, row) -> None:
    frame = pd.DataFrame([row("m", "d", "c1", "liver"), row("m", "d", "c2", "liver", float("nan"))])
    path = tmp_path / "deep" / "scores.parquet"
    write_table(path, frame, SCORES)
    back = read_table(path, SCORES)
    pd.testing.assert_frame_equal(back, frame, check_dtype=False)
    schema = pq.read_schema(path)
    assert schema.metadata[b"table"] == b"scores"
    assert schema.field("dsc").metadata[b"unit"] == b"0..1"
    assert not list(path.parent.glob(".partial*"))


def test_categories_are_written_as_text_and_read_as_categories(tmp_path: Path, row) -> None:
    frame = pd.DataFrame([row("m", "d", "c1", "liver")]).astype({"model": "category"})
    write_table(tmp_path / "s.parquet", frame, SCORES)
    back = read_table(tmp_path / "s.parquet", SCORES, ["model", "dsc"], categories=True)
    assert isinstance(back["model"].dtype, pd.CategoricalDtype)
    assert list(back.columns) == ["model", "dsc"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda f: f.drop(columns="nsd"), "nsd"),
        (lambda f: f.assign(dice=1.0), "dice"),
        (lambda f: f.assign(status="fine"), "fine"),
        (lambda f: f.assign(reference_voxels=1.5), "reference_voxels"),
        (lambda f: f.assign(reason=None), "null"),
        (lambda f: f.assign(model=7), "model"),
    ],
)
def test_a_frame_that_does_not_fit_is_refused(tmp_path: Path, row, change, says: str) -> None:
    frame = pd.DataFrame([row("m", "d", "c1", "liver")])
    with pytest.raises(BenchError, match=says):
        write_table(tmp_path / "s.parquet", change(frame), SCORES)
    assert not list(tmp_path.iterdir())


def test_a_file_of_another_shape_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    pq.write_table(pa.table({"model": ["a"], "dsc": [1]}), path)
    with pytest.raises(BenchError, match="does not hold the table `scores`"):
        read_table(path, SCORES)
    path.write_bytes(b"PAR1 no")
    with pytest.raises(BenchError, match="not a readable Parquet file"):
        read_table(path, SCORES)
    with pytest.raises(BenchError, match="satbench aggregate"):
        read_table(tmp_path / "none.parquet", SCORES)


def test_every_column_of_every_table_is_described() -> None:
    described = data_dictionary(list(TABLES.values()))
    assert (described["description"].str.len() > 3).all()
    assert described.groupby("table")["column"].agg(lambda c: c.is_unique).all()
    for table in TABLES.values():
        assert list(table.empty().columns) == table.names


def test_spacing_as_text() -> None:
    assert spacing_text((1.0, 1.0, 3.0)) == "1x1x3"
    assert spacing_from_text(spacing_text((0.976562, 0.976562, 2.5))) == (0.97656, 0.97656, 2.5)
