"""Every value of the paper's Tables 2 to 6 and of the second paper's Tables 2 and 3.

`values.csv` keeps each number as printed (percent) under our ids: entry slugs, vocabulary names,
regions. The measure, grid and policy behind a printed number are the authors': 1 x 1 x 3 mm,
tolerance 1 mm, absent and correctly empty = 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from evaluation.schema import PUBLISHED

SOURCES: Mapping[str, str] = {
    "sat-v1": (
        "One Model to Rule them All: Towards Universal Segmentation for Medical Images with "
        "Text Prompts, arXiv 2312.17183v1"
    ),
    "hermes": "Training Like a Medical Resident: supplementary material",
}
SPACE, POLICY, TOLERANCE_MM = "resampled", "paper", 1.0
_COLUMNS = [
    "source", "table", "row", "printed_row", "scope", "key", "modality", "model", "metric",
    "printed", "note",
]  # fmt: skip
_TABLE_OF_SCOPE = {"region": "region", "class": "class", "dataset": "dataset", "lesion": "lesion"}


@lru_cache
def _values() -> pd.DataFrame:
    path = Path(__file__).parent / "values.csv"
    with path.open(encoding="utf-8") as stream:
        frame = pd.read_csv(stream, dtype=str, keep_default_na=False)
    frame["row"] = frame["row"].astype("int64")
    frame["value"] = frame["printed"].astype(float) / 100
    return frame


def published(scope: str | None = None, source: str | None = "sat-v1") -> pd.DataFrame:
    """Published numbers, one row each, `value` in 0..1 and `printed` as in the document.

    Args:
        scope: `region` (paper's Table 2), `class` (3, 4), `dataset` (5), `lesion` (6), for the
            second paper also `average` and `aspect`; None = all.
        source: `sat-v1`, `hermes`, or None for both.
    """
    frame = _values()
    if scope is not None:
        frame = frame[frame["scope"] == scope]
    if source is not None:
        frame = frame[frame["source"] == source]
    return frame.reset_index(drop=True)


def published_beside_ours(
    numbers: pd.DataFrame, tables: Mapping[str, pd.DataFrame]
) -> pd.DataFrame:
    """The table `published`: published numbers and ours in the same protocol.

    Ours is the resampled grid under the policy `paper` on all test cases. Where the run has no
    such number it is NaN.

    Args:
        numbers: what may stand beside this run (`published_for`).
        tables: frames of `region`, `class`, `dataset` and `lesion`.
    """
    if numbers.empty:
        return PUBLISHED.empty()
    parts = [
        group.merge(
            _ours(tables, str(scope)),
            on=["key", "modality", "model", "metric"],
            how="left",
            validate="many_to_one",
        )
        for scope, group in numbers.groupby("scope", sort=False)
    ]
    frame = pd.concat(parts, ignore_index=True)
    frame["difference"] = frame["ours"] - frame["value"]
    has_ours = frame["ours"].notna()
    frame["space"] = np.where(has_ours, SPACE, "")
    frame["policy"] = np.where(has_ours, POLICY, "")
    frame["n_cases"] = frame["n_cases"].fillna(0).astype("int64")
    return frame[PUBLISHED.names]


def _ours(tables: Mapping[str, pd.DataFrame], scope: str) -> pd.DataFrame:
    columns = ["key", "modality", "model", "metric", "ours", "ours_low", "ours_high"]
    name = _TABLE_OF_SCOPE.get(scope)
    if name is None or name not in tables:
        empty = pd.DataFrame({column: [] for column in columns}, dtype=str)
        numbers = {"ours": float, "ours_low": float, "ours_high": float}
        return empty.astype(numbers).assign(n_cases=0)
    frame = tables[name]
    wanted = {
        "space": SPACE,
        "policy": POLICY,
        "tolerance_mm": TOLERANCE_MM,
        "view": "paper",
        "coverage": "supported",
        "aggregation": "macro",
    }
    if name == "region":
        wanted |= {"scheme": "anatomical", "composition": "all"}
    for column, value in wanted.items():
        frame = frame[frame[column] == value]
    key = {"region": "region", "dataset": "dataset"}.get(name, "class")
    modality = frame["modality"] if "modality" in frame else pd.Series("any", frame.index)
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "key": frame[key],
                    "modality": modality,
                    "model": frame["model"],
                    "metric": metric,
                    "ours": frame[metric],
                    "ours_low": frame[f"{metric}_low"],
                    "ours_high": frame[f"{metric}_high"],
                    "n_cases": frame["n_cases"],
                }
            )
            for metric in ("dsc", "nsd")
        ],
        ignore_index=True,
    )
