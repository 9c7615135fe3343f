"""Text and JSON of the user's: bounded, and with errors that name the file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evaluation.cases import CaseRecord, read_case_record, read_prediction_record
from evaluation.errors import BenchError
from evaluation.files.reading import array_of, frame_of, json_of, rows_of, text_of
from evaluation.files.tables import arrow_of
from evaluation.files.writing import atomic_path, write_text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "not JSON"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"a": 1, "b": {"x": 1, "x": 2}}', "`x` is there twice"),
        ("größer".encode("latin-1"), "UTF-8"),
    ],
)
def test_what_is_no_json(tmp_path, content, words):
    path = tmp_path / "labels.json"
    path.write_bytes(content)
    with pytest.raises(BenchError, match=words) as caught:
        json_of(path)
    assert str(path) in str(caught.value)


def _parquet(path: Path) -> None:
    pd.DataFrame({"x": range(9999)}).to_parquet(path)


READERS: dict[str, tuple[Callable[[Path], Any], Callable[[Path], Any]]] = {
    "rows.csv": (rows_of, lambda path: path.write_text('a,b\n1,"two\nlines"\n')),
    "frame.csv": (frame_of, lambda path: path.write_text('a,b\n1,"two\nlines"\n')),
    "array.npy": (array_of, lambda path: np.save(path, np.ones(99))),
    "mapped.npy": (partial(array_of, mapped=True), lambda path: np.save(path, np.ones(99))),
    "arrays.npz": (array_of, lambda path: np.savez(path, a=np.ones(99))),
    "table.parquet": (arrow_of, _parquet),
}


@pytest.mark.parametrize("damage", ["cut", "empty", "other"])
@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_named_whatever_it_holds(tmp_path, name, damage):
    read, write = READERS[name]
    path = tmp_path / name
    write(path)
    read(path)
    content = path.read_bytes()
    cut = {"cut": content[: len(content) * 2 // 3], "empty": b"", "other": b"\x93\xff\x00,\n"}
    path.write_bytes(cut[damage])
    if (name, damage) == ("rows.csv", "empty"):
        assert read(path) == []  # without columns asked for, no rows
        return
    with pytest.raises(BenchError) as caught:
        read(path)
    assert name in str(caught.value)


def test_rows_of_other_length_are_no_table(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a,b\n1,2\n3\n")
    for read in (rows_of, frame_of):
        with pytest.raises(BenchError, match=r"table\.csv"):
            read(path)


def test_a_mark_of_byte_order_is_no_text(tmp_path):
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"0001": 1}')
    assert json_of(tmp_path / "a.json") == {"0001": 1}


def test_pipes_and_endless_files_are_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(BenchError, match="not a regular file"):
            text_of(path)
    (tmp_path / "large").write_text("x" * 100)
    with pytest.raises(BenchError, match="too large"):
        text_of(tmp_path / "large", largest=99)


RECORD = {
    "dataset": "acdc", "case": "p1", "patient": "p1", "modality": "mri", "shape": [1, 1, 1],
    "spacing_mm": [1, 1, 1], "source_orientation": "RAS", "n_layers": 1, "classes": {},
}  # fmt: skip


@pytest.mark.parametrize("name", ["../../outside", "/etc", "..", "", "a/b", "a\\b", "a\nb", "\x00"])
@pytest.mark.parametrize("field", ["case", "dataset"])
def test_a_record_cannot_lead_out_of_its_run(tmp_path, field, name):

    (tmp_path / "case.json").write_text(json.dumps(RECORD))
    assert read_case_record(tmp_path).case == "p1"
    (tmp_path / "case.json").write_text(json.dumps(RECORD | {field: name}))
    with pytest.raises(BenchError, match=r"case\.json is not a valid record"):
        read_case_record(tmp_path)
    prediction = {"model": "m", "dataset": "d", "case": "c", "n_layers": 1, "classes": {}}
    (tmp_path / "prediction.json").write_text(json.dumps(prediction | {field: name}))
    with pytest.raises(BenchError, match=r"prediction\.json is not a valid record"):
        read_prediction_record(tmp_path)
    assert CaseRecord.model_validate(RECORD | {"patient": name}).patient == name


def test_a_link_laid_beforehand_is_not_followed(tmp_path):
    """The temporary name cannot be guessed; a link at the final name is replaced."""
    canary = tmp_path / "canary"
    canary.write_text("untouched")
    (tmp_path / "table.csv").symlink_to(canary)
    write_text(tmp_path / "table.csv", "new")
    assert canary.read_text() == "untouched"
    assert (tmp_path / "table.csv").read_text() == "new"
    with atomic_path(tmp_path / "a") as one, atomic_path(tmp_path / "a") as two:
        assert one != two
        one.touch()
        two.touch()


def test_the_longest_names_can_be_written(tmp_path):
    path = tmp_path / ("n" * 240 + ".nii.gz")
    with atomic_path(path) as temporary:
        assert temporary.name.endswith(".nii.gz")
        temporary.touch()
    assert path.is_file()
