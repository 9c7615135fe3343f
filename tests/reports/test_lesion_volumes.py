"""Recall by lesion volume in print: lesions of all entries together, every model its row."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pandas as pd

from evaluation.schema import LESION_VOLUMES, to_arrow
from reports.layout.report_table import ReportCell
from reports.source.run import RunSource
from reports.tables.catalogue import all_tables
from reports.tables.lesion_volumes import lesion_volumes_table


def rows(model: str, dataset: str, *counts: tuple[int, int]) -> list[dict[str, object]]:
    edges = (0.0, 0.1, inf)
    return [
        {
            "data_kind": "real", "model": model, "dataset": dataset, "modality": "ct",
            "class": "liver tumor", "kind": "annotated", "space": "native",
            "matching": "26-connected components, one-to-one at IoU 0.5", "from_ml": edges[i],
            "below_ml": edges[i + 1], "n_lesions": n, "n_detected": hits,
            "recall": hits / n if n else float("nan"),
        }
        for i, (n, hits) in enumerate(counts)
    ]  # fmt: skip


def test_lesions_of_all_entries_are_counted_together(paper: RunSource) -> None:
    frame = pd.DataFrame(
        [
            *rows("sat-nano", "word", (0, 0), (3, 2)),
            *rows("sat-nano", "acdc", (0, 0), (1, 1)),
            *rows("nnunet", "word", (2, 0), (3, 3)),
        ]
    )
    to_arrow(frame, LESION_VOLUMES)
    source = replace(paper, tables={**paper.tables, "lesion_volumes": frame})
    table = lesion_volumes_table(source)
    assert table is not None
    sat, nnunet = source.model_title("sat-nano"), source.model_title("nnunet")
    assert [column.label for column in table.columns] == ["Model", "below 0.1", "from 0.1"]
    assert table.blocks == {0: "liver tumor (CT)"}
    assert set(table.rows) == {
        (sat, None, ReportCell(75, "3 of 4")),
        (nnunet, ReportCell(0, "0 of 2"), ReportCell(100, "3 of 3")),
    }
    assert "IoU 0.5" in table.caption
    assert table.name in {made.name for made in all_tables(source)[0]}


def test_a_run_that_counts_no_lesions_has_no_such_table(paper: RunSource) -> None:
    empty = replace(paper, tables={**paper.tables, "lesion_volumes": LESION_VOLUMES.empty()})
    assert lesion_volumes_table(empty) is None
    assert "recall by lesion volume" not in all_tables(empty)[1]
