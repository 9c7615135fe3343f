"""Score rows of a run, what was expected of it, and both together as dense grids.

Statistics work on a `Grid`: for each entry an array cases x slots x models, where a slot is a
class of the entry. A pair that should be there and is not becomes `prediction_missing`; nothing
makes n smaller silently.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from evaluation.errors import BenchError
from evaluation.paths import RunPaths
from evaluation.policies import ABSENT, CODE, status_codes
from evaluation.schema import SCORES, spacing_from_text
from evaluation.views import Links

USED = (
    "model", "dataset", "case", "patient", "modality", "class", "kind", "status", "reason", "dsc",
    "nsd", "tolerance_mm", "space", "spacing_mm", "reference_voxels", "prediction_voxels",
)  # fmt: skip


@dataclass(frozen=True)
class Expected:
    """What a run should hold.

    Args:
        data_kind: `synthetic` or `real`.
        models: models of the configuration.
        entries: entries of the configuration.
        classes: by entry, class name -> whether it is annotated (not a union of others).
        modalities: by entry, `ct` or `mri`.
        splits: by entry that has data, a frame with `case`, `patient`, `split`.
        not_run: by entry without data, the reason.
    """

    data_kind: str
    models: tuple[str, ...] = ()
    entries: tuple[str, ...] = ()
    classes: Mapping[str, Mapping[str, bool]] = field(default_factory=dict)
    modalities: Mapping[str, str] = field(default_factory=dict)
    splits: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    not_run: Mapping[str, str] = field(default_factory=dict)

    def test_cases(self, dataset: str) -> dict[str, str]:
        """Test case -> patient of an entry (empty if it has no split)."""
        if dataset not in self.splits:
            return {}
        frame = self.splits[dataset]
        test = frame[frame["split"] == "test"]
        return dict(zip(test["case"].astype(str), test["patient"].astype(str), strict=True))


@dataclass(frozen=True)
class Slots:
    """Classes of an entry, one element each.

    `preferred` marks the kind that enters the means; a slot that is not preferred keeps the
    other kind of a generated class (union beside direct) for the class table.
    """

    name: NDArray[np.str_]
    kind: NDArray[np.str_]
    preferred: NDArray[np.bool_]
    leaf: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.name)


@dataclass(frozen=True)
class EntryGrid:
    """Scores of all models on one entry.

    Arrays are cases x slots x models: `status` codes, `dsc` and `nsd` in 0..1, sizes in voxels;
    `reference_voxels` is cases x slots, `voxel_ml` cases. `person` indexes `Grid.people`.
    `in_clean` marks cases that the view `clean` keeps; `kinds` is slots x models.
    """

    dataset: str
    modality: str
    cases: tuple[str, ...]
    person: NDArray[np.int64]
    in_clean: NDArray[np.bool_]
    slots: Slots
    kinds: NDArray[np.str_]
    status: NDArray[np.int8]
    dsc: NDArray[np.float64]
    nsd: NDArray[np.float64]
    reference_voxels: NDArray[np.int64]
    prediction_voxels: NDArray[np.int64]
    voxel_ml: NDArray[np.float64]
    n_cases_expected: int
    n_classes_expected: int


@dataclass(frozen=True)
class Grid:
    """All entries of a run in one space at one tolerance."""

    data_kind: str
    space: str
    tolerance_mm: float
    models: tuple[str, ...]
    people: tuple[str, ...]
    entries: tuple[EntryGrid, ...]
    n_entries_expected: int


def load_rows(paths: RunPaths, models: tuple[str, ...] | None = None) -> pd.DataFrame:
    """All score rows of a run, text as categories.

    Reads `scores/<model>/<dataset>.parquet`, or the shards of an entry that is not joined yet.
    Models or entries that are missing are simply not there.

    Raises:
        BenchError: a file that is not Parquet or lacks columns.
    """
    root = paths.root / "scores"
    folders = sorted(p for p in root.iterdir() if p.is_dir()) if root.is_dir() else []
    tables = []
    for folder in folders:
        if models is not None and folder.name not in models:
            continue
        for path in _score_files(folder):
            try:
                tables.append(pq.read_table(path, columns=list(USED)))
            except (pa.ArrowException, OSError, KeyError) as error:
                raise BenchError(
                    "not a file of score rows", file=path, found=error, expected=", ".join(USED)
                ) from error
    if not tables:
        return SCORES.empty()[list(USED)]
    joined = pa.concat_tables(tables, promote_options="permissive")
    text = [c.name for c in SCORES.columns if c.type == "text" and c.name in USED]
    frame: pd.DataFrame = joined.to_pandas(categories=text)
    return frame


def _score_files(folder: Path) -> list[Path]:
    joined = {p.stem: [p] for p in folder.glob("*.parquet") if not p.name.startswith(".")}
    for shards in folder.glob("*/shards"):
        parts = sorted(shards.glob("[0-9]*.parquet"))
        if parts and shards.parent.name not in joined:
            joined[shards.parent.name] = parts
    return [path for name in sorted(joined) for path in joined[name]]


def build_grids(rows: pd.DataFrame, expected: Expected, links: Links) -> list[Grid]:
    """One grid for each space and tolerance in the rows, `native` first.

    Raises:
        BenchError: two rows for the same model, case, class, kind, space and tolerance, or an
            entry that mixes modalities.
    """
    if rows.empty:
        return []
    models = tuple(sorted(rows["model"].astype(str).unique()))
    present = _presence(rows)
    grids = []
    groups = rows.groupby(["space", "tolerance_mm"], observed=True, sort=True)
    for (space, tolerance), part in groups:
        people: dict[str, int] = {}
        entries = [
            _entry(str(dataset), group, models, expected, links, people, present)
            for dataset, group in part.groupby("dataset", observed=True, sort=True)
        ]
        wanted = expected.entries or tuple(entry.dataset for entry in entries)
        grids.append(
            Grid(
                expected.data_kind,
                str(space),
                float(tolerance),
                models,
                tuple(people),
                tuple(entries),
                len(wanted),
            )
        )
    return sorted(grids, key=lambda g: (g.space != "native", g.space, g.tolerance_mm))


def _presence(rows: pd.DataFrame) -> dict[tuple[str, str, str], int]:
    """Reference size by (entry, case, class), for pairs that one model or space lacks."""
    known = rows[(rows["reference_voxels"] > 0)]
    known = known.drop_duplicates(["dataset", "case", "class"])
    keys = zip(
        known["dataset"].astype(str),
        known["case"].astype(str),
        known["class"].astype(str),
        strict=True,
    )
    return dict(zip(keys, known["reference_voxels"], strict=True))


def _entry(
    dataset: str,
    rows: pd.DataFrame,
    models: tuple[str, ...],
    expected: Expected,
    links: Links,
    people: dict[str, int],
    present: Mapping[tuple[str, str, str], int],
) -> EntryGrid:
    modality = _one_modality(dataset, rows)
    patients = expected.test_cases(dataset)
    n_cases_expected = len(patients)
    found = rows.drop_duplicates("case")
    patients |= dict(zip(found["case"].astype(str), found["patient"].astype(str), strict=True))
    cases = tuple(sorted(patients))
    person = np.array(
        [people.setdefault(links.name(dataset, patients[c]), len(people)) for c in cases],
        dtype=np.int64,
    )
    slots, kinds, slot_of_row = _slots(dataset, rows, models, expected)
    case_of_row = _positions(rows["case"], cases)
    model_of_row = _positions(rows["model"], models)
    shape = (len(cases), len(slots), len(models))
    at = (case_of_row, slot_of_row, model_of_row)
    flat = np.ravel_multi_index(at, shape)
    if len(np.unique(flat)) != len(flat):
        raise BenchError(
            f"two score rows for the same model, case, class and kind of entry `{dataset}`",
            hint="delete the entry's folder under scores/ and measure it again",
        )
    reference = np.full(shape[:2], -1, dtype=np.int64)
    np.maximum.at(reference, at[:2], rows["reference_voxels"].to_numpy())
    _complete_reference(reference, dataset, cases, slots, present)
    status = _missing(rows, slots, kinds, shape, model_of_row)
    status[at] = _row_status(rows["status"])
    values = {}
    for metric in ("dsc", "nsd"):
        values[metric] = np.full(shape, np.nan)
        values[metric][at] = rows[metric].to_numpy()
    predicted = np.zeros(shape, dtype=np.int64)
    predicted[at] = rows["prediction_voxels"].to_numpy()
    voxel_ml = np.full(len(cases), np.nan)
    volumes = {
        text: prod(spacing_from_text(text)) / 1000 if text else np.nan
        for text in rows["spacing_mm"].astype(str).unique()
    }
    voxel_ml[case_of_row] = rows["spacing_mm"].astype(str).map(volumes).to_numpy(dtype=float)
    in_clean = np.array([(dataset, case) not in links.leaked for case in cases], dtype=bool)
    return EntryGrid(
        dataset=dataset,
        modality=modality,
        cases=cases,
        person=person,
        in_clean=in_clean,
        slots=slots,
        kinds=kinds,
        status=status,
        dsc=values["dsc"],
        nsd=values["nsd"],
        reference_voxels=reference,
        prediction_voxels=predicted,
        voxel_ml=voxel_ml,
        n_cases_expected=n_cases_expected or len(cases),
        n_classes_expected=len(expected.classes.get(dataset, ())) or int(slots.preferred.sum()),
    )


def _one_modality(dataset: str, rows: pd.DataFrame) -> str:
    modalities = sorted(rows["modality"].astype(str).unique())
    if len(modalities) != 1:
        raise BenchError(
            f"entry `{dataset}` mixes modalities",
            found=", ".join(modalities),
            expected="one modality for each entry",
            hint="make it two entries, as the collection does with CHAOS",
        )
    return modalities[0]


def _slots(
    dataset: str, rows: pd.DataFrame, models: tuple[str, ...], expected: Expected
) -> tuple[Slots, NDArray[np.str_], NDArray[np.int64]]:
    """Slots of an entry, the kind of each slot and model, and the slot of every row.

    The preferred kind is decided for each model and class: annotated; else direct, if the model
    was asked for the class by name; else the union of its parts.
    """
    keys = ["model", "class", "kind"]
    supported = rows["status"].astype(str).ne("unsupported")
    kinds = rows.assign(supported=supported).groupby(keys, observed=True)["supported"].any()
    table = kinds.reset_index().astype(dict.fromkeys(keys, str))
    order = {"annotated": 0, "direct": 1, "union": 2}
    table["order"] = table["kind"].map(order) + np.where(table["supported"], 0, 10)
    table = table.sort_values(["model", "class", "order"], kind="stable")
    table["preferred"] = ~table.duplicated(["model", "class"])
    declared = expected.classes.get(dataset, {})
    names = [*declared, *sorted(set(table["class"]) - set(declared))]
    others = sorted(set(table.loc[~table["preferred"], "class"]), key=names.index)
    if others and table[~table["preferred"]].duplicated(["model", "class"]).any():
        raise BenchError(f"entry `{dataset}`: a class with more than two kinds of score rows")
    annotated = set(table.loc[table["kind"] == "annotated", "class"])
    slot_names = [*names, *others]
    preferred = np.arange(len(slot_names)) < len(names)
    index = {
        (name, bool(p)): i for i, (name, p) in enumerate(zip(slot_names, preferred, strict=True))
    }
    slot_kinds = np.full((len(slot_names), len(models)), "", dtype="U9")
    lookup = {}
    for row in table.itertuples(index=False):
        slot = index[row[1], bool(row.preferred)]
        slot_kinds[slot, models.index(row.model)] = row.kind
        lookup[row.model, row[1], row.kind] = slot
    codes = [rows[key].astype("category") for key in keys]
    packed = np.stack([c.cat.codes.to_numpy().astype(np.int64) for c in codes])
    unique, inverse = np.unique(packed, axis=1, return_inverse=True)
    slot_of = np.array(
        [
            lookup[
                tuple(str(c.cat.categories[code]) for c, code in zip(codes, column, strict=True))
            ]
            for column in unique.T
        ],
        dtype=np.int64,
    )
    leaf = [bool(declared.get(name, name in annotated)) for name in slot_names]
    kind = ["annotated" if is_leaf_ else "generated" for is_leaf_ in leaf]
    slots = Slots(np.array(slot_names), np.array(kind), preferred, np.array(leaf, dtype=bool))
    return slots, slot_kinds, slot_of[inverse.ravel()]


def _positions(column: pd.Series[Any], names: tuple[str, ...]) -> NDArray[np.int64]:
    """Position of every row's value in `names`."""
    category = column.astype("category")
    index = {name: i for i, name in enumerate(names)}
    table = np.array([index.get(str(c), -1) for c in category.cat.categories], dtype=np.int64)
    return table[category.cat.codes.to_numpy()]


def _row_status(column: pd.Series[Any]) -> NDArray[np.int8]:
    category = column.astype("category")
    used = sorted(set(category.cat.codes))
    table = np.full(len(category.cat.categories), ABSENT, dtype=np.int8)
    table[used] = status_codes([str(category.cat.categories[code]) for code in used])
    return table[category.cat.codes.to_numpy()]


def _missing(
    rows: pd.DataFrame,
    slots: Slots,
    kinds: NDArray[np.str_],
    shape: tuple[int, int, int],
    model_of_row: NDArray[np.int64],
) -> NDArray[np.int8]:
    """Status before any row is seen: absent entry, unknown class, or missing prediction."""
    status = np.full(shape, ABSENT, dtype=np.int8)
    for model in np.unique(model_of_row):
        known = kinds[:, model] != ""
        status[:, known, model] = CODE["prediction_missing"]
        status[:, ~known & slots.preferred, model] = CODE["unsupported"]
    return status


def _complete_reference(
    reference: NDArray[np.int64],
    dataset: str,
    cases: tuple[str, ...],
    slots: Slots,
    present: Mapping[tuple[str, str, str], int],
) -> None:
    """Sizes of references that no row of this space tells, from the other spaces' rows."""
    for case, slot in np.argwhere(reference <= 0):
        known = present.get((dataset, cases[case], str(slots.name[slot])))
        if known is not None:
            reference[case, slot] = known
