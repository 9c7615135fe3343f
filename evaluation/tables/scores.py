"""Score rows of a run, and what was expected of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from evaluation.errors import BenchError
from evaluation.files import atomic_path, visible
from evaluation.paths import RunPaths
from evaluation.schema import SCORES

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


def load_rows(paths: RunPaths, columns: Iterable[str] = USED) -> pd.DataFrame:
    """All score rows of a run, text as categories.

    Models or entries that are missing are simply not there.

    Raises:
        BenchError: a file that is not Parquet or lacks columns.
    """
    names = list(columns)
    tables = [_read(path, names) for files in score_files(paths).values() for path in files]
    if not tables:
        return SCORES.empty()[names]
    text = [c.name for c in SCORES.columns if c.type == "text" and c.name in names]
    frame: pd.DataFrame = pa.concat_tables(tables).to_pandas(categories=text)
    return frame


def score_files(paths: RunPaths) -> dict[tuple[str, str], list[Path]]:
    """Files of (model, entry): its shards, else the joined file (an imported score table)."""
    found: dict[tuple[str, str], list[Path]] = {}
    root = paths.root / "scores"
    for folder in visible(root):
        for path in visible(folder, "*.parquet"):
            found[folder.name, path.stem] = [path]
        for shards in visible(folder, "*/shards"):
            found_parts = (p for p in visible(shards, "*.parquet") if p.stem.isdigit())
            parts = sorted(found_parts, key=lambda path: int(path.stem))
            if parts:
                found[folder.name, shards.parent.name] = parts
    return found


def join_shards(paths: RunPaths) -> None:
    """Write `scores/<model>/<entry>.parquet` from the shards wherever there are shards."""
    for (model, dataset), parts in score_files(paths).items():
        target = paths.scores(model, dataset)
        if parts == [target]:
            continue
        joined = pa.concat_tables([_read(part, SCORES.names) for part in parts])
        with atomic_path(target) as temporary:
            pq.write_table(joined.cast(SCORES.schema), temporary, compression="zstd")


def _read(path: Path, columns: list[str]) -> pa.Table:
    schema = pa.schema([SCORES.schema.field(name) for name in columns])
    try:
        return pq.read_table(path, columns=columns).select(columns).cast(schema)
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise BenchError(
            "not a file of score rows", file=path, found=error, expected=", ".join(columns)
        ) from error
