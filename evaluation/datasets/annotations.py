"""Annotations of standardised cases: the voxels of each class, counted once for each case.

An annotation is a mask with at least one voxel, generated classes included, which is how the study
`sat` counts, too. What was counted of an entry is kept beside the tables, by what the case says of
its labels, so that a changed case is counted again and no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluation.cases import CaseRecord, read_case_record, read_layers
from evaluation.errors import BenchError
from evaluation.files.identity import ANNOTATIONS, digest, is_outdated
from evaluation.files.reading import rows_of
from evaluation.files.writing import atomic_path

if TYPE_CHECKING:
    import pandas as pd

CASE_COLUMNS = (
    "dataset", "case", "patient", "modality", "class", "kind", "voxels", "volume_ml",
)  # fmt: skip
_KEPT = (*CASE_COLUMNS, "made_from")
Row = dict[str, Any]
Progress = Callable[[str], object]


def silent(_case: str) -> None:
    """No progress."""


def case_annotations(folder: Path) -> list[Row]:
    """One row for each class that a case annotates, an empty mask with 0 voxels.

    Args:
        folder: a standardised case.

    Returns:
        Rows with `CASE_COLUMNS`; volumes in millilitres.

    Raises:
        BenchError: the case is incomplete or corrupt.
    """
    record = read_case_record(folder)
    segmentation = read_layers(folder, record.n_layers, record.classes)
    counts = [np.bincount(layer.ravel(), minlength=1) for layer in segmentation.layers]
    voxel_ml = float(np.prod(record.spacing_mm)) / 1000.0
    rows: list[Row] = []
    for name, place in record.classes.items():
        voxels = sum(
            int(counts[part.layer][value])
            for part in place.parts
            for value in part.values
            if value < len(counts[part.layer])
        )
        # Layers are disjoint maps, but a class may lie in two of them and overlap with itself.
        if len(place.parts) > 1:
            voxels = int(segmentation.mask(name).sum())
        rows.append(
            {
                "dataset": record.dataset,
                "case": record.case,
                "patient": record.patient,
                "modality": record.modality,
                "class": name,
                "kind": place.kind,
                "voxels": voxels,
                "volume_ml": round(voxels * voxel_ml, 6),
            }
        )
    return rows


def collect(folders: Iterable[Path], seen: Progress = silent) -> pd.DataFrame:
    """Rows of all cases; `seen` is called with each case folder's name when it is done."""
    rows: list[Row] = []
    for folder in folders:
        rows += case_annotations(folder)
        seen(folder.name)
    return _frame(rows)


def kept_annotations(
    kept: Path, folders: Sequence[Path], output: Path, seen: Progress = silent
) -> pd.DataFrame:
    """Rows of an entry's cases, of which `kept` holds those that were counted before.

    Args:
        kept: a CSV, read if it is there, and written if anything in it changed.
        folders: standardised cases.
        output: of the step; what is kept counts for nothing once the step was forced.
        seen: called with each case folder's name when it is done.

    Raises:
        BenchError: a case is incomplete or corrupt, or the CSV has other columns.
    """
    known: dict[str, list[Row]] = {}
    if kept.is_file() and not is_outdated(kept, output):
        for row in rows_of(kept, _KEPT):
            try:
                counted = {"voxels": int(row["voxels"]), "volume_ml": float(row["volume_ml"])}
            except ValueError as error:
                raise BenchError(
                    "file is damaged: no number", file=kept, found=error,
                    hint="delete it and run snakemake again, which makes it",
                ) from error  # fmt: skip
            known.setdefault(row["made_from"], []).append(row | counted)
    held = sum(map(len, known.values()))
    rows: list[Row] = []
    anew = False
    for folder in folders:
        made_from = _identity(read_case_record(folder))
        found = known.get(made_from)
        if found is None:
            anew = True
            found = [row | {"made_from": made_from} for row in case_annotations(folder)]
        rows += found
        seen(folder.name)
    if anew or len(rows) != held:
        import pandas as pd

        with atomic_path(kept) as temporary:
            pd.DataFrame(rows, columns=list(_KEPT)).to_csv(temporary, index=False)
    return _frame(rows)


def _identity(record: CaseRecord) -> str:
    """What a case's rows are made from."""
    who = record.dataset, record.case, record.patient, record.modality
    return digest(ANNOTATIONS, who, record.spacing_mm, record.classes, record.labels)


def _frame(rows: list[Row]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(rows, columns=list(CASE_COLUMNS))
