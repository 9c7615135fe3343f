"""Score rows into grids.

A pair that should be there and is not becomes `prediction_missing`; nothing makes n smaller
silently.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evaluation.errors import BenchError
from evaluation.schema import KINDS, spacing_from_text
from evaluation.tables.grid import EntryGrid, Grid, Slots
from evaluation.tables.policies import ABSENT, CODE, status_codes
from evaluation.tables.scores import Expected
from evaluation.tables.views import Links


@dataclass(frozen=True)
class _Columns:
    """Score rows as arrays: codes and names of text columns, values of the others."""

    codes: Mapping[str, NDArray[np.int64]]
    names: Mapping[str, tuple[str, ...]]
    numbers: Mapping[str, NDArray[Any]]

    def take(self, at: NDArray[np.intp]) -> _Columns:
        """Some of the rows."""
        return _Columns(
            {name: codes[at] for name, codes in self.codes.items()},
            self.names,
            {name: values[at] for name, values in self.numbers.items()},
        )

    def of(self, column: str, codes: NDArray[np.int64]) -> list[str]:
        """Names behind some codes of a column."""
        names = self.names[column]
        return [names[code] for code in codes]


_TEXT = (
    "model", "dataset", "case", "patient", "modality", "class", "kind", "status", "space",
    "spacing_mm",
)  # fmt: skip
_NUMBERS = ("dsc", "nsd", "tolerance_mm", "reference_voxels", "prediction_voxels")


def _columns(rows: pd.DataFrame) -> _Columns:
    codes, names = {}, {}
    for column in _TEXT:
        category = rows[column].astype("category").cat
        codes[column] = category.codes.to_numpy().astype(np.int64)
        names[column] = tuple(str(name) for name in category.categories)
    return _Columns(codes, names, {name: rows[name].to_numpy() for name in _NUMBERS})


def build_grids(rows: pd.DataFrame, expected: Expected, links: Links) -> list[Grid]:
    """One grid for each space and tolerance in the rows, `native` first.

    Raises:
        BenchError: two rows for the same model, case, class, kind, space and tolerance, or an
            entry that mixes modalities.
    """
    if rows.empty:
        return []
    columns = _columns(rows)
    sizes = _reference_sizes(columns)
    tolerances, tolerance = np.unique(columns.numbers["tolerance_mm"], return_inverse=True)
    group = columns.codes["space"] * len(tolerances) + tolerance.ravel()
    grids = []
    for number in np.unique(group):
        part = columns.take(np.flatnonzero(group == number))
        # A model that was not measured here must not take from the others what they share.
        models = tuple(sorted(part.of("model", np.unique(part.codes["model"]))))
        order = np.argsort(part.codes["dataset"], kind="stable")
        codes, starts = np.unique(part.codes["dataset"][order], return_index=True)
        blocks = dict(zip(part.of("dataset", codes), np.split(order, starts[1:]), strict=True))
        people: dict[str, int] = {}
        entries = tuple(
            _entry(dataset, part.take(blocks[dataset]), models, expected, links, people, sizes)
            for dataset in sorted(blocks)
        )
        grids.append(
            Grid(
                expected.data_kind,
                columns.names["space"][number // len(tolerances)],
                float(tolerances[number % len(tolerances)]),
                models,
                tuple(people),
                entries,
            )
        )
    return sorted(grids, key=lambda g: (g.space != "native", g.space, g.tolerance_mm))


def _reference_sizes(rows: _Columns) -> dict[tuple[str, str, str], int]:
    """Reference size by (entry, case, class), for pairs that one model or space does not tell."""
    size = rows.numbers["reference_voxels"]
    known = np.flatnonzero(size > 0)
    keys = ("dataset", "case", "class")
    shape = tuple(len(rows.names[key]) for key in keys)
    packed = np.ravel_multi_index(tuple(rows.codes[key][known] for key in keys), shape)
    packed, first = np.unique(packed, return_index=True)
    places = np.stack(np.unravel_index(packed, shape), axis=1).tolist()
    names = [rows.names[key] for key in keys]
    return {
        (names[0][d], names[1][c], names[2][k]): int(n)
        for (d, c, k), n in zip(places, size[known[first]].tolist(), strict=True)
    }


def _entry(
    dataset: str,
    rows: _Columns,
    models: tuple[str, ...],
    expected: Expected,
    links: Links,
    people: dict[str, int],
    sizes: Mapping[tuple[str, str, str], int],
) -> EntryGrid:
    modalities = sorted(rows.of("modality", np.unique(rows.codes["modality"])))
    declared = expected.modalities.get(dataset, ())
    if len(modalities) != 1 and not set(modalities) <= set(declared):
        raise BenchError(
            f"entry `{dataset}` mixes modalities",
            found=", ".join(modalities),
            expected="one modality for each entry, or `case_patterns` in its card that say which",
            hint="make it two entries, as the collection does with CHAOS",
        )
    patients = expected.test_cases(dataset)
    case_codes, first = np.unique(rows.codes["case"], return_index=True)
    found = zip(
        rows.of("case", case_codes), rows.of("patient", rows.codes["patient"][first]), strict=True
    )
    patients = {**dict(found), **patients}
    cases = tuple(sorted(patients))
    person = [people.setdefault(links.name(dataset, patients[c]), len(people)) for c in cases]
    slots, kinds, slot = _slots(dataset, rows, models, expected)
    case = _positions(rows, "case", cases)
    model = _positions(rows, "model", models)
    shape = (len(cases), len(slots), len(models))
    at = (case, slot, model)
    flat = np.sort(np.ravel_multi_index(at, shape))
    if (flat[1:] == flat[:-1]).any():
        raise BenchError(
            f"two score rows for the same model, case, class and kind of entry `{dataset}`",
            hint="delete the entry's folder under scores/ and measure it again",
        )
    reference = np.full(shape[:2], -1, dtype=np.int64)
    np.maximum.at(reference, at[:2], rows.numbers["reference_voxels"])
    for i, j in np.argwhere(reference <= 0).tolist():
        reference[i, j] = sizes.get((dataset, cases[i], str(slots.name[j])), reference[i, j])
    status = _unseen(slots, kinds, shape, np.unique(model))
    status_of_name = np.full(len(rows.names["status"]), ABSENT, dtype=np.int8)
    used = np.unique(rows.codes["status"])
    status_of_name[used] = status_codes(rows.of("status", used))
    status[at] = status_of_name[rows.codes["status"]]
    measured = {}
    for metric in ("dsc", "nsd"):
        measured[metric] = np.full(shape, np.nan)
        measured[metric][at] = rows.numbers[metric]
    predicted = np.zeros(shape, dtype=np.int64)
    predicted[at] = rows.numbers["prediction_voxels"]
    volumes = [
        prod(spacing_from_text(text)) / 1000 if text else np.nan
        for text in rows.names["spacing_mm"]
    ]
    voxel_ml = np.full(len(cases), np.nan)
    voxel_ml[case] = np.array(volumes)[rows.codes["spacing_mm"]]
    return EntryGrid(
        dataset=dataset,
        modality=modalities[0] if len(declared) < 2 else declared[0],
        cases=cases,
        person=np.array(person, dtype=np.int64),
        in_clean=np.array([(dataset, c) not in links.leaked for c in cases], dtype=bool),
        slots=slots,
        kinds=kinds,
        status=status,
        dsc=measured["dsc"],
        nsd=measured["nsd"],
        reference_voxels=reference,
        prediction_voxels=predicted,
        voxel_ml=voxel_ml,
    )


def _slots(
    dataset: str, rows: _Columns, models: tuple[str, ...], expected: Expected
) -> tuple[Slots, NDArray[np.str_], NDArray[np.int64]]:
    """Slots of an entry, the kind of each slot and model, and the slot of every row.

    The preferred kind is decided for each model and class: annotated; else direct, if the model
    was asked for the class by name; else the union of its parts.
    """
    keys = ("model", "class", "kind")
    shape = tuple(len(rows.names[key]) for key in keys)
    packed = np.ravel_multi_index(tuple(rows.codes[key] for key in keys), shape)
    unique, inverse = np.unique(packed, return_inverse=True)
    supported = np.zeros(len(unique), dtype=bool)
    answered = [name != "unsupported" for name in rows.names["status"]]
    np.logical_or.at(supported, inverse, np.array(answered)[rows.codes["status"]])
    codes = np.unravel_index(unique, shape)
    labels = list(
        zip(*(rows.of(key, code) for key, code in zip(keys, codes, strict=True)), strict=True)
    )
    order = sorted(range(len(labels)), key=lambda i: (not supported[i], KINDS.index(labels[i][2])))
    chosen: dict[tuple[str, str], int] = {}
    for i in order:
        chosen.setdefault(labels[i][:2], i)
    preferred = [chosen[label[:2]] == i for i, label in enumerate(labels)]
    declared = expected.classes.get(dataset, {})
    names = [*declared, *sorted({label[1] for label in labels} - set(declared))]
    other = {label[1] for label, first in zip(labels, preferred, strict=True) if not first}
    names += [name for name in names if name in other]
    first_place = np.arange(len(names)) < len(names) - len(other)
    index = {key: i for i, key in enumerate(zip(names, first_place.tolist(), strict=True))}
    kinds = np.full((len(names), len(models)), "", dtype="U9")
    slot_of = np.empty(len(labels), dtype=np.int64)
    for i, ((model, name, kind), first) in enumerate(zip(labels, preferred, strict=True)):
        slot_of[i] = index[name, first]
        kinds[slot_of[i], models.index(model)] = kind
    annotated = {label[1] for label in labels if label[2] == "annotated"}
    leaf = [bool(declared.get(name, name in annotated)) for name in names]
    slots = Slots(np.array(names), first_place, np.array(leaf, dtype=bool))
    return slots, kinds, slot_of[inverse.ravel()]


def _positions(rows: _Columns, column: str, order: tuple[str, ...]) -> NDArray[np.int64]:
    """Position of every row's name in `order`."""
    index = {name: i for i, name in enumerate(order)}
    table = np.array([index.get(name, -1) for name in rows.names[column]], dtype=np.int64)
    return table[rows.codes[column]]


def _unseen(
    slots: Slots,
    kinds: NDArray[np.str_],
    shape: tuple[int, int, int],
    models: NDArray[np.int64],
) -> NDArray[np.int8]:
    """Status before any row is seen: absent entry, unknown class, or missing prediction."""
    status = np.full(shape, ABSENT, dtype=np.int8)
    for model in models:
        known = kinds[:, model] != ""
        status[:, known, model] = CODE["prediction_missing"]
        status[:, ~known & slots.preferred, model] = CODE["unsupported"]
    return status
