"""Score rows into grids.

A pair that should be there and is not becomes `prediction_missing`; nothing makes n smaller
silently.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import nan, prod
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evaluation.errors import BenchError
from evaluation.files.tables import spacing_from_text
from evaluation.metrics.catalogue import find_metrics
from evaluation.metrics.metric import Metric
from evaluation.protocol import KINDS, POLICIES
from evaluation.tables.grid import EntryGrid, ScoreGrid, Slots
from evaluation.tables.kinds import preferred
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
_NUMBERS = ("tolerance_mm", "reference_voxels", "prediction_voxels", "field_mm")
_ROW = ("space", "model", "dataset", "case", "class", "kind")


def _columns(rows: pd.DataFrame, metrics: Sequence[Metric]) -> _Columns:
    codes, names = {}, {}
    for column in _TEXT:
        category = rows[column].astype("category").cat
        codes[column] = category.codes.to_numpy().astype(np.int64)
        names[column] = tuple(str(name) for name in category.categories)
    numbers = (*_NUMBERS, *(metric.id for metric in metrics))
    return _Columns(codes, names, {name: rows[name].to_numpy() for name in numbers})


def build_grids(rows: pd.DataFrame, expected: Expected, links: Links) -> list[ScoreGrid]:
    """One grid for each space and tolerance in the rows, `native` first.

    Raises:
        BenchError: two rows for the same model, case, class, kind, space and tolerance, or an
            entry that mixes modalities.
    """
    if rows.empty:
        return []
    metrics = find_metrics(expected.metrics)
    columns = _columns(rows, metrics)
    sizes = _reference_sizes(columns)
    # Without distances, two of the policies are one.
    distances = any(metric.needs_distances for metric in metrics)
    policies = tuple(p for p in POLICIES if distances or p != "field-diagonal")
    grids = []
    for tolerance, at, own in _parts(columns, metrics):
        part = columns.take(at)
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
        (space,) = part.of("space", np.unique(part.codes["space"]))
        grids.append(
            ScoreGrid(
                expected.data_kind, space, tolerance, models, tuple(people), entries, own, policies
            )
        )
    return sorted(grids, key=lambda g: (g.space != "native", g.space))


def _parts(
    rows: _Columns, metrics: tuple[Metric, ...]
) -> Iterator[tuple[float, NDArray[np.intp], tuple[Metric, ...]]]:
    """Tolerance, rows and metrics of each grid, space by space."""
    free = tuple(metric for metric in metrics if not metric.has_tolerance)
    bound = tuple(metric for metric in metrics if metric.has_tolerance)
    for space in np.unique(rows.codes["space"]):
        inside = np.flatnonzero(rows.codes["space"] == space)
        tolerances, group = np.unique(rows.numbers["tolerance_mm"][inside], return_inverse=True)
        parts = [inside[group.ravel() == number] for number in range(len(tolerances))]
        whole = _of_any_tolerance(rows, parts) if len(parts) > 1 and free else parts[0]
        alone = len(whole) > len(parts[0])
        if alone:
            yield nan, whole, free
        for number, part in enumerate(parts):
            first = number == 0 and not alone
            yield float(tolerances[number]), part, metrics if first else bound


def _of_any_tolerance(rows: _Columns, parts: Sequence[NDArray[np.intp]]) -> NDArray[np.intp]:
    """Every pair of a space once, by its row of the lowest tolerance that it has."""
    every = np.concatenate(parts)
    shape = tuple(len(rows.names[key]) for key in _ROW)
    packed = np.ravel_multi_index(tuple(rows.codes[key][every] for key in _ROW), shape)
    _, first = np.unique(packed, return_index=True)
    return every[np.sort(first)]


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
    # What nobody annotated counts as empty: a missing prediction of it is not judged.
    reference[(reference < 0) & (status == CODE["not_annotated"]).any(axis=2)] = 0
    measured = {}
    for metric in expected.metrics:
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
    # All models' rows of a case are of one scan; imported ones may not know its field.
    field_mm = np.full(len(cases), np.nan)
    known = np.isfinite(rows.numbers["field_mm"])
    field_mm[case[known]] = rows.numbers["field_mm"][known]
    return EntryGrid(
        dataset=dataset,
        modality=modalities[0] if len(declared) < 2 else declared[0],
        cases=cases,
        person=np.array(person, dtype=np.int64),
        in_clean=np.array([(dataset, c) not in links.leaked for c in cases], dtype=bool),
        slots=slots,
        kinds=kinds,
        status=status,
        values=measured,
        reference_voxels=reference,
        prediction_voxels=predicted,
        voxel_ml=voxel_ml,
        field_mm=field_mm,
    )


def _slots(
    dataset: str, rows: _Columns, models: tuple[str, ...], expected: Expected
) -> tuple[Slots, NDArray[np.str_], NDArray[np.int64]]:
    """Slots of an entry, the kind of each slot and model, and the slot of every row."""
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
    places = np.array([KINDS.index(label[2]) for label in labels], dtype=np.int64)
    first_kind = preferred(unique // shape[2], places, supported)
    declared = expected.classes.get(dataset, {})
    names = [*declared, *sorted({label[1] for label in labels} - set(declared))]
    other = {label[1] for label, first in zip(labels, first_kind, strict=True) if not first}
    names += [name for name in names if name in other]
    first_place = np.arange(len(names)) < len(names) - len(other)
    index = {key: i for i, key in enumerate(zip(names, first_place.tolist(), strict=True))}
    kinds = np.full((len(names), len(models)), "", dtype="U9")
    slot_of = np.empty(len(labels), dtype=np.int64)
    for i, ((model, name, kind), first) in enumerate(zip(labels, first_kind, strict=True)):
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
