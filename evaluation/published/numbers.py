"""The values that a study's document printed, beside ours in its protocol.

A study's `published.values` keeps each number as printed (percent) under our ids: entries, class
names, regions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from evaluation.errors import BenchError
from evaluation.files.card_places import CardFile, stamped
from evaluation.files.reading import frame_of
from evaluation.protocol import Protocol
from evaluation.schema import PUBLISHED
from evaluation.studies.record import Study

COLUMNS = (
    "table", "row", "printed_row", "scope", "key", "modality", "model", "metric", "printed", "note",
)  # fmt: skip
TABLES = {
    "region": "region", "class": "class", "dataset": "dataset", "lesion": "lesion",
    "aspect": "aspect", "average": "aspect",
}  # fmt: skip
"""By scope the table with our numbers; an average is the aspect of its key."""
_CLOSED = {c.name: c.allowed for c in PUBLISHED.columns if c.allowed and c.name in COLUMNS}


def published(study: Study, scope: str | None = None) -> pd.DataFrame:
    """Published numbers, one row each, `value` in 0..1 and `printed` as in the document.

    Args:
        study: whose document.
        scope: `region`, `class`, `dataset`, `lesion`, `average` or `aspect`; None = all.

    Raises:
        BenchError: the file of values is not there or not valid.
    """
    name = study.published.values
    if name is None:
        frame = pd.DataFrame(columns=[*COLUMNS, "value"])
    elif study.file(name).is_file():
        frame = read_values(study.file(name))
    else:
        raise BenchError(
            f"the study `{study.id}` names published values that are not there",
            file=study.file(name),
            hint="write the file, or leave `published: {values}` out of the study",
        )
    frame = frame.assign(source=study.document.id)
    return (frame if scope is None else frame[frame["scope"] == scope]).reset_index(drop=True)


def read_values(path: Path) -> pd.DataFrame:
    """A file of published values, checked.

    Raises:
        BenchError: other columns, a scope, metric or modality that is not known, or no number.
    """
    return _values(stamped(path))


@lru_cache(maxsize=16)
def _values(file: CardFile) -> pd.DataFrame:
    frame = frame_of(file.path, dtype=str, keep_default_na=False)
    if tuple(frame.columns) != COLUMNS:
        raise BenchError(
            "not a file of published values",
            file=file.path,
            found=", ".join(frame.columns),
            expected=",".join(COLUMNS),
        )
    for column, allowed in _CLOSED.items():
        if strange := sorted(set(frame[column]) - set(allowed or ())):
            raise BenchError(
                f"unknown {column} in published values",
                file=file.path,
                found=", ".join(strange),
                expected=", ".join(allowed or ()),
            )
    for column in ("row", "printed"):
        numbers = pd.to_numeric(frame[column], errors="coerce")
        if numbers.isna().any():
            line = int(numbers.isna().to_numpy().argmax())
            raise BenchError(
                f"no number in the column `{column}` of published values (line {line + 2})",
                file=file.path,
                found=frame[column].iloc[line],
            )
    return frame.assign(
        row=frame["row"].astype("int64"), value=frame["printed"].astype(float) / 100
    )


def published_beside_ours(
    study: Study, numbers: pd.DataFrame, tables: Mapping[str, pd.DataFrame]
) -> pd.DataFrame:
    """The table `published`: published numbers and ours in the study's protocol.

    Ours is the mean over all test cases, of a model whose printed numbers are from its own grid on
    that grid, where the run was measured there. Where the run has no such number it is NaN.

    Args:
        study: whose numbers, with the protocol that chooses ours.
        numbers: what may stand beside this run (`published_for`).
        tables: frames of `region`, `class`, `dataset`, `lesion` and `aspect`.
    """
    if numbers.empty:
        return PUBLISHED.empty()
    parts = [
        group.merge(
            _ours(study, tables, str(scope)),
            on=["key", "modality", "model", "metric"],
            how="left",
            validate="many_to_one",
        )
        for scope, group in numbers.groupby("scope", sort=False)
    ]
    frame = pd.concat(parts, ignore_index=True)
    frame["difference"] = frame["ours"] - frame["value"]
    has_ours = frame["ours"].notna()
    frame["space"] = frame["space"].fillna("")
    frame["policy"] = np.where(has_ours, study.protocol.policy, "")
    frame["n_cases"] = frame["n_cases"].fillna(0).astype("int64")
    return frame[PUBLISHED.names]


def _ours(study: Study, tables: Mapping[str, pd.DataFrame], scope: str) -> pd.DataFrame:
    columns = ["key", "modality", "model", "metric", "ours", "ours_low", "ours_high", "space"]
    if TABLES[scope] not in tables:
        empty = pd.DataFrame({column: [] for column in columns}, dtype=str)
        numbers = {"ours": float, "ours_low": float, "ours_high": float}
        return empty.astype(numbers).assign(n_cases=0)
    theirs = study.protocol
    protocol = Protocol(
        policy=theirs.policy,
        space=theirs.space,
        tolerance_mm=theirs.tolerance_mm,
        scheme=theirs.scheme,
        composition=theirs.composition,
    )
    table = tables[TABLES[scope]]
    frame = protocol.rows(table)
    elsewhere = [model for model, known in study.models.items() if known.space == "own"]
    own = replace(protocol, space="own").rows(table)
    own = own[own["model"].isin(elsewhere)]
    frame = pd.concat([frame[~frame["model"].isin(own["model"].unique())], own])
    if scope == "region":
        frame = frame[frame["scheme"].eq(protocol.scheme)]
        frame = frame[frame["composition"].eq(protocol.composition)]
    key = {"class": "class", "lesion": "class"}.get(scope, TABLES[scope])
    modality = frame["modality"] if "modality" in frame else pd.Series("any", frame.index)
    return pd.DataFrame(
        {
            "key": frame[key],
            "modality": modality,
            "model": frame["model"],
            "metric": frame["metric"],
            "ours": frame["value"],
            "ours_low": frame["value_low"],
            "ours_high": frame["value_high"],
            "space": frame["space"].astype(str),
            "n_cases": frame["n_cases"],
        }
    )
