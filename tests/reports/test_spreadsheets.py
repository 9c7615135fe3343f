"""Texts that people choose never become formulas in the CSV files of a report."""

from __future__ import annotations

import csv
import gzip
import io
import json
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from evaluation.files.spreadsheets import arrow_cells, cell, sheet_text
from evaluation.paths import RunPaths
from reports.rendering import render_report
from tests.reports.many_models import write_many

HOSTILE = ("=1+1", '=HYPERLINK("http://x","y")', "+cmd", "-2+3", "@SUM(A1)", " =1", "\uff1d1", "-")
SHOWN = {"a\tb": "a\\tb", "\x1b]0;x\x07": "\\x1b]0;x\\x07", "\r=1": "\\r=1"}
NUMBERS = ("-0.25", "+1", "-1e-05", ".5", "12")
PLAIN = ("liver", "two\nlines", "a=b", "1-2", "")


def test_a_text_is_no_formula_and_a_number_stays_one() -> None:
    assert [cell(text) for text in HOSTILE] == [f"'{text}" for text in HOSTILE]
    assert {text: cell(text) for text in SHOWN} == SHOWN
    assert [cell(text) for text in (*NUMBERS, *PLAIN)] == [*NUMBERS, *PLAIN]


def test_tables_of_both_kinds_are_written_alike() -> None:
    texts = [*HOSTILE, *NUMBERS, *PLAIN]
    frame = pd.DataFrame({"=head": texts, "value": [-0.5] * len(texts)})
    rows = list(csv.reader(sheet_text(frame).splitlines(keepends=True)))
    assert rows[0] == ["'=head", "value"]
    assert [row[0] for row in rows[1:]] == [cell(text) for text in texts]
    assert {row[1] for row in rows[1:]} == {"-0.5"}
    table = arrow_cells(pa.table({"text": texts, "value": [-0.5] * len(texts)}))
    assert table["text"].to_pylist() == [cell(text) for text in texts]
    assert table["value"].to_pylist() == [-0.5] * len(texts)


def test_the_board_saves_cells_as_the_tables_have_them(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node on this machine")
    code = (Path(__file__).parents[2] / "reports/templates/leaderboard-controls.js").read_text(
        "utf-8"
    )
    function = code[code.index("function csvCell") : code.index("function saveCsv")]
    texts = [*HOSTILE, *NUMBERS, *PLAIN]
    program = f"{function}\nconsole.log(JSON.stringify({json.dumps(texts)}.map(csvCell)))"
    done = subprocess.run([node, "-e", program], capture_output=True, text=True, check=True)
    found = [next(csv.reader([text]))[0] for text in json.loads(done.stdout) if "\n" not in text]
    assert found == [cell(text) for text in texts if "\n" not in text]


def test_no_cell_of_a_report_is_a_formula(tmp_path: Path) -> None:
    root = tmp_path / "many"
    write_many(root, 2)
    for name, title in zip(("model-00", "model-01"), HOSTILE[1:3], strict=True):
        path = RunPaths(root).cards / "models" / f"{name}.yaml"
        path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {"title": title}))
    split = RunPaths(root).split("word")
    split.write_text(split.read_text("utf-8") + "=case,@patient,train\n", encoding="utf-8")
    out = tmp_path / "out"
    render_report(root, out, ["tables", "export"], 0)
    cells = set()
    for path in [*out.rglob("*.csv"), *out.rglob("*.csv.gz")]:
        content = path.read_bytes()
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
        cells |= {t for row in csv.reader(io.StringIO(text, newline="")) for t in row}
    assert {f"'{title}" for title in HOSTILE[1:3]} | {"'=case", "'@patient"} <= cells
    assert all(cell(text) == text for text in cells)
