"""Score rows of a run, and what was expected of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from evaluation.classes import Regions
from evaluation.errors import BenchError
from evaluation.files.tables import require_room
from evaluation.files.writing import atomic_path
from evaluation.metrics.catalogue import find_metric, find_metrics
from evaluation.paths import RunPaths
from evaluation.protocol import DEFAULT_METRICS
from evaluation.schema import INSTANCES, SCORES, read_table, scores_table, write_table
from evaluation.studies.aspect import Aspect

USED = (
    "model", "dataset", "case", "patient", "modality", "class", "kind", "status", "reason",
    "tolerance_mm", "space", "spacing_mm", "reference_voxels", "prediction_voxels",
    "field_mm",
)  # fmt: skip


_ROUNDING = 1e-9
# By these a row is judged to belong to the run.
_KEYS = ("case", "class", "space", "tolerance_mm")


@dataclass(frozen=True)
class Expected:
    """What a run should hold: what its tables are made of, and nothing else that lies there.

    Args:
        data_kind: `synthetic` or `real`.
        models: models of the configuration.
        entries: entries of the configuration.
        classes: by entry, class name -> whether it is annotated (not a union of others).
        modalities: of an entry's scans, first the one under which tables file it.
        splits: by entry that has data, a frame with `case`, `patient`, `split`.
        not_run: by entry without data, the reason.
        spaces: spaces of the configuration.
        tolerances_mm: tolerances of the configuration.
        n_shards: by entry, into how many shards its test cases are planned.
        planned: by entry, number of test cases by the plan, usable or not.
        gaps: by entry with test cases that are not usable, how many and why.
        regions: of classes outside the vocabulary.
        single: by entry, classes whose structures are counted one by one; all of an entry that is
            not there.
        metrics: metrics of the configuration.
        aspects: of the study and of the configuration, by id.
    """

    data_kind: str
    models: tuple[str, ...] = ()
    entries: tuple[str, ...] = ()
    classes: Mapping[str, Mapping[str, bool]] = field(default_factory=dict)
    modalities: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    splits: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    not_run: Mapping[str, str] = field(default_factory=dict)
    spaces: tuple[str, ...] = ()
    tolerances_mm: tuple[float, ...] = ()
    n_shards: Mapping[str, int] = field(default_factory=dict)
    planned: Mapping[str, int] = field(default_factory=dict)
    gaps: Mapping[str, str] = field(default_factory=dict)
    regions: Regions = field(default_factory=dict)
    single: Mapping[str, frozenset[str]] = field(default_factory=dict)
    metrics: tuple[str, ...] = DEFAULT_METRICS
    aspects: Mapping[str, Aspect] = field(default_factory=dict)

    @property
    def counts_lesions(self) -> bool:
        """Whether a metric is of single lesions."""
        return any(metric.needs_instances for metric in find_metrics(self.metrics))

    def test_cases(self, dataset: str) -> dict[str, str]:
        """Test case -> patient of an entry (empty if it has no split)."""
        if dataset not in self.splits:
            return {}
        frame = self.splits[dataset]
        test = frame[frame["split"] == "test"]
        return dict(zip(test["case"].astype(str), test["patient"].astype(str), strict=True))

    def n_planned(self, dataset: str) -> int:
        """Number of test cases that should be scored, usable or not."""
        return max(self.planned.get(dataset, 0), len(self.test_cases(dataset)))


def load_rows(
    paths: RunPaths, expected: Expected, columns: Iterable[str] | None = None
) -> pd.DataFrame:
    """The score rows of what a run declares, text as categories.

    Models or entries that are missing are simply not there; what lies there undeclared neither.

    Args:
        paths: of the run.
        expected: what it declares.
        columns: some of the columns; default: what tables are made of, with the run's metrics.

    Raises:
        BenchError: a file that is not Parquet or lacks columns.
    """
    names = [*USED, *expected.metrics] if columns is None else list(columns)
    tables = [table for *_, table, _ in read_scores(paths, expected, names)]
    if not tables:
        return scores_table(expected.metrics).empty()[names]
    text = [c.name for c in SCORES.columns if c.type == "text" and c.name in names]
    frame: pd.DataFrame = pa.concat_tables(tables).to_pandas(categories=text)
    return frame


def score_files(paths: RunPaths, expected: Expected) -> dict[tuple[str, str], list[Path]]:
    """Files of each declared (model, entry): its planned shards, else an imported score table."""
    found: dict[tuple[str, str], list[Path]] = {}
    for model in expected.models:
        for dataset in expected.entries:
            if dataset in expected.not_run:
                continue
            shards = range(expected.n_shards.get(dataset, 1))
            files = [paths.score_shard(model, dataset, k) for k in shards]
            if not any(path.is_file() for path in files):
                files = [paths.scores(model, dataset)]
            if files := [path for path in files if path.is_file()]:
                found[model, dataset] = files
    return found


def read_scores(
    paths: RunPaths, expected: Expected, columns: Sequence[str]
) -> Iterator[tuple[str, str, pa.Table, list[str]]]:
    """Declared rows of each declared (model, entry), and in words what else its files hold.

    Raises:
        BenchError: a file that is not Parquet or lacks columns.
    """
    for (model, dataset), files in score_files(paths, expected).items():
        tests = list(expected.test_cases(dataset))
        tables, others = [], []
        for path in files:
            cases = tests
            if path.parent.name == "shards":
                # A shard of another plan may hold cases that are another shard's now.
                cases = tests[int(path.stem) :: expected.n_shards.get(dataset, 1)]
            rows, lacking = _read(path, list(dict.fromkeys([*columns, *_KEYS])), expected.metrics)
            others += [f"no `{metric}` in the score rows" for metric in lacking]
            kept, rest = _declared(rows, expected, dataset, cases)
            tables.append(kept.select(list(columns)))
            others += rest
        yield model, dataset, pa.concat_tables(tables), list(dict.fromkeys(others))


def _declared(
    table: pa.Table, expected: Expected, dataset: str, cases: Sequence[str]
) -> tuple[pa.Table, list[str]]:
    wanted = {
        "space": expected.spaces,
        "tolerance_mm": expected.tolerances_mm,
        "class": tuple(expected.classes.get(dataset, ())),
        # An imported table of an entry without a split has only its own word for its cases.
        "case": tuple(cases) if dataset in expected.splits else None,
    }
    others = []
    for column, values in wanted.items():
        if values is None:
            continue
        inside = pc.is_in(table[column], pa.array(values, table.schema.field(column).type))
        if pc.all(inside).as_py() is not False:
            continue
        found = pc.unique(table.filter(pc.invert(inside))[column]).to_pylist()
        few = ", ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in sorted(found)[:3])
        words = {"tolerance_mm": "tolerance in mm", "case": "test case"}.get(column, column)
        others.append(f"rows of no {words} of this run ({few}{', ...' * (len(found) > 3)})")
        table = table.filter(inside)
    return table, others


def join_shards(paths: RunPaths, expected: Expected) -> list[str]:
    """Write `scores/<model>/<entry>.parquet` from the shards wherever there are shards.

    Returns:
        Lines that name what lies under `scores/` and is left out of the tables.
    """
    files = score_files(paths, expected)
    schema = scores_table(expected.metrics).schema
    left_out: dict[str, list[str]] = {}
    for model, dataset, table, others in read_scores(paths, expected, schema.names):
        for what in others:
            left_out.setdefault(what, []).append(f"{model}/{dataset}")
        target = paths.scores(model, dataset)
        if files[model, dataset] == [target]:
            continue
        with atomic_path(target) as temporary:
            pq.write_table(
                table.cast(schema), temporary, compression="zstd", write_page_checksum=True
            )
        _join_instances(paths, model, dataset, files[model, dataset])
    for what, where in _undeclared(paths, expected):
        left_out.setdefault(what, []).append(where)
    return [
        f"left out: {what}: {', '.join(where[:5])}"
        + (f" and {len(where) - 5} more" if len(where) > 5 else "")
        for what, where in left_out.items()
    ]


def _join_instances(paths: RunPaths, model: str, dataset: str, shards: Sequence[Path]) -> None:
    """Write `instances/<model>/<entry>.parquet` where the shards have single lesions."""
    single = [paths.instance_shard(model, dataset, path.stem) for path in shards]
    if parts := [read_table(path, INSTANCES) for path in single if path.is_file()]:
        write_table(paths.instances(model, dataset), pd.concat(parts, ignore_index=True), INSTANCES)


def _undeclared(paths: RunPaths, expected: Expected) -> Iterator[tuple[str, str]]:
    """Score files of models, entries and shards that the run does not declare: (what, where)."""
    for folder in sorted((paths.root / "scores").glob("[!.]*/")):
        if folder.name not in expected.models:
            yield "scores of models that the configuration does not name", folder.name
            continue
        there = {p.stem for p in folder.glob("[!.]*.parquet")}
        there |= {p.parent.name for p in folder.glob("[!.]*/shards")}
        for dataset in sorted(there):
            where = f"{folder.name}/{dataset}"
            if dataset in expected.not_run:
                yield "scores of entries without data", where
            elif dataset not in expected.entries:
                yield "scores of entries that the configuration does not name", where
            else:
                shards = (folder / dataset / "shards").glob("[0-9]*.parquet")
                known = range(expected.n_shards.get(dataset, 1))
                if any(p.stem.isdigit() and int(p.stem) not in known for p in shards):
                    yield "shards of another shard_size", where


def measured_by(paths: RunPaths, expected: Expected) -> list[str]:
    """Which code measured a run, from all of its score files: `sweep 1.0`, ..., sorted."""
    columns = ["implementation", "version"]
    names = set()
    for *_, table, _ in read_scores(paths, expected, columns):
        pairs = table.group_by(columns).aggregate([]).to_pylist()
        names |= {f"{pair['implementation']} {pair['version']}".strip() for pair in pairs}
    return sorted(names - {""})


def _read(path: Path, columns: list[str], metrics: Sequence[str]) -> tuple[pa.Table, list[str]]:
    """Columns of a file of score rows, and the metrics that it lacks: they are NaN everywhere.

    Rows that were brought in may know only some of the metrics that a run asks for, and neither
    the definition of surfaces nor the scan's field.
    """
    schema = pa.schema([scores_table(metrics).schema.field(name) for name in columns])
    try:
        require_room(path, columns)
        there = set(pq.read_schema(path).names)
        lacking = [name for name in metrics if name in columns and name not in there]
        unknown = [name for name in ("definition", "field_mm") if name in {*columns} - there]
        absent = {*lacking, *unknown}
        known = [name for name in columns if name not in absent]
        table = pq.read_table(path, columns=known, page_checksum_verification=True)
        for name in absent:
            nothing: Any = "" if name == "definition" else float("nan")
            table = table.append_column(name, pa.array([nothing] * len(table)))
        table = table.select(columns).cast(schema)
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise BenchError(
            "not a file of score rows", file=path, found=error, expected=", ".join(columns)
        ) from error
    require_possible(table, path, [name for name in metrics if name in columns])
    return table, lacking


def require_possible(
    table: pa.Table,
    path: Path,
    metrics: Sequence[str],
    hint: str = "delete the file and run the same command again: it is measured anew",
) -> None:
    """Refuse score rows with values that no measurement gives.

    Raises:
        BenchError: names the column and the value.
    """
    ranges = {name: (find_metric(name).low, find_metric(name).high) for name in metrics}
    counts = [c.name for c in SCORES.columns if c.type == "count" and c.name in table.column_names]
    for name, (low, high) in {**ranges, **dict.fromkeys(counts, (-1.0, np.inf))}.items():
        # NaN, not defined, is in no range and outside of none.
        found = table[name].to_numpy()
        wrong = found[(found < low - _ROUNDING) | (found > high + _ROUNDING)]
        if len(wrong):
            raise BenchError(
                f"score rows hold a `{name}` that no pair of masks has",
                file=path,
                found=f"{wrong[0]:g}",
                expected=f"{low:g} to {high:g}",
                hint=hint,
            )
