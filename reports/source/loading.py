"""Reading a run for its report. Rows of phantoms and of real scans never meet on one board."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from evaluation.config import load_frozen
from evaluation.errors import BenchError
from evaluation.files.reading import rows_of
from evaluation.files.tables import read_table
from evaluation.paths import RunPaths
from evaluation.published import published_for
from evaluation.schema import TABLES
from reports.source.run import RunSource


def load_source(run: Path) -> RunSource:
    """Read a run's tables and what belongs to them.

    Raises:
        BenchError: no run there, no aggregated tables yet, or tables of both data kinds.
    """
    paths = RunPaths(run)
    config = load_frozen(run)
    tables = {
        name: read_table(paths.table(name), table)
        for name, table in TABLES.items()
        if name not in ("scores", "published") and paths.table(name).is_file()
    }
    if "overall" not in tables:
        raise BenchError(
            "this run has no aggregated tables",
            file=paths.table("overall"),
            hint=f"run `satbench aggregate --run {run}` first",
        )
    _refuse_mixture(tables, config.data_kind, paths)
    printed = paths.table("published")
    numbers = (
        read_table(printed, TABLES["published"]) if printed.is_file() else published_for(config)
    )
    return RunSource(paths, config, tables, numbers, _not_run(paths))


def _refuse_mixture(tables: dict[str, pd.DataFrame], data_kind: str, paths: RunPaths) -> None:
    """Stop if any row is of another data kind than the run."""
    for name, frame in tables.items():
        kinds = set(frame["data_kind"].unique()) if "data_kind" in frame.columns else set()
        if kinds - {data_kind}:
            raise BenchError(
                "synthetic and real results never stand on one board",
                file=paths.table(name),
                found=f"data_kind {', '.join(sorted(kinds))}",
                expected=f"only {data_kind}, as the run's configuration says",
                hint="keep the two in runs of different names and report each",
            )


def _not_run(paths: RunPaths) -> dict[str, str]:
    if not paths.not_run.is_file():
        return {}
    return {row["dataset"]: row["reason"] for row in rows_of(paths.not_run, ("dataset", "reason"))}
