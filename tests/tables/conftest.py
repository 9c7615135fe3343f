"""Small score sets with known answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from evaluation.schema import SCORES
from evaluation.tables.building import build_grids
from evaluation.tables.grid import ScoreGrid
from evaluation.tables.scores import Expected
from evaluation.tables.views import Links

NO_LINKS = Links({}, frozenset(), "")
MakeRow = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def row() -> MakeRow:
    """A score row; what is not given is plain."""

    def make(
        model: str, dataset: str, case: str, name: str, value: float = 0.5, **other: Any
    ) -> Any:
        usual = {
            "model": model, "dataset": dataset, "case": case, "patient": case, "modality": "ct",
            "class": name, "kind": "annotated", "status": "scored", "reason": "", "dsc": value,
            "nsd": value, "tolerance_mm": 1.0, "space": "native", "spacing_mm": "1x1x3",
            "reference_voxels": 100, "prediction_voxels": 100, "intersection_voxels": 100,
            "surface_reference_total_mm2": 1.0, "surface_reference_within_mm2": 1.0,
            "surface_prediction_total_mm2": 1.0, "surface_prediction_within_mm2": 1.0,
            "implementation": "test", "version": "1", "definition": "surface-element",
            "field_mm": 500.0,
        }  # fmt: skip
        return {**{name: usual[name] for name in SCORES.names}, **other}

    return make


@pytest.fixture(scope="session")
def grid_of() -> Callable[..., ScoreGrid]:
    """The only grid of some rows."""

    def make(
        rows: list[dict[str, Any]], expected: Expected | None = None, links: Links = NO_LINKS
    ) -> ScoreGrid:
        frame = pd.DataFrame(rows)
        (grid,) = build_grids(frame, expected or Expected("synthetic"), links)
        return grid

    return make
