"""Sides and neighbours in print: all pairs of an entry together, every model its row."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from evaluation.schema import CONFUSIONS, to_arrow
from reports.source.run import RunSource
from reports.tables.catalogue import all_tables
from reports.tables.confusions import confusions_table


def row(model: str, what: str, group: str, name: str, n: tuple[int, ...]) -> dict[str, object]:
    n_cases, n_confused, n_next, n_missing = n
    return {
        "data_kind": "real", "model": model, "dataset": "word", "what": what, "group": group,
        "class": name, "other_class": "", "n_cases": n_cases, "n_confused": n_confused,
        "n_next": n_next, "share": n_confused / n_cases if n_cases else float("nan"),
        "n_nowhere": 0, "n_empty": 0, "n_missing": n_missing,
    }  # fmt: skip


def test_pairs_of_an_entry_are_counted_together(paper: RunSource) -> None:
    frame = pd.DataFrame(
        [
            row("sat-nano", "side", "kidney", "left kidney", (4, 3, 3, 0)),
            row("sat-nano", "side", "adrenal gland", "left adrenal gland", (4, 0, 0, 1)),
            row("sat-nano", "neighbour", "left ribs", "left rib 1", (5, 2, 1, 0)),
            row("nnunet", "side", "kidney", "left kidney", (0, 0, 0, 4)),
        ]
    )
    to_arrow(frame, CONFUSIONS)
    source = replace(paper, tables={**paper.tables, "confusions": frame})
    table = confusions_table(source)
    assert table is not None
    sat, nnunet = source.model_title("sat-nano"), source.model_title("nnunet")
    assert table.rows == (
        ("WORD", "left and right", sat, "3 of 8", 37.5, 3, 0, 0, 1),
        ("WORD", "left and right", nnunet, "0 of 0", None, 0, 0, 0, 4),
        ("WORD", "left ribs", sat, "2 of 5", 40.0, 1, 0, 0, 0),
    )
    assert table.name in {made.name for made in all_tables(source)[0]}


def test_a_run_without_pairs_has_no_such_table(paper: RunSource) -> None:
    empty = replace(paper, tables={**paper.tables, "confusions": CONFUSIONS.empty()})
    assert confusions_table(empty) is None
    assert "sides and neighbours" not in all_tables(empty)[1]
