"""A run for others to compute with: tidy Parquet and CSV, a data dictionary, and metadata.

The metadata are an RO-Crate, a Croissant file and a model card with results for each entrant.

No image, no mask and no patient's name travels: only scores, tables and how they were made.
"""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from evaluation import __version__
from evaluation.files.reading import frame_of
from evaluation.files.spreadsheets import arrow_cells, write_sheet
from evaluation.files.tables import arrow_of, data_dictionary
from evaluation.files.writing import atomic_path, write_text
from evaluation.paths import RunPaths
from evaluation.schema import TABLES, scores_table
from evaluation.tables.run_tables import expected_of
from evaluation.tables.scores import read_scores, score_files
from reports.croissant import write_croissant
from reports.hub_cards import FOLDER, write_hub_cards
from reports.layout.report_table import ReportColumn, ReportTable, to_csv, to_markdown
from reports.source.run import RunSource

CRATE_FILE = "ro-crate-metadata.json"


def write_export(source: RunSource, folder: Path) -> list[Path]:
    """Write the export folder; returns its files, the crate's metadata last."""
    written = [*_scores(source, folder), *_tables(source.paths, folder)]
    written += _dictionary(source, folder)
    paths = source.paths
    copies = [(paths.root / name, folder / name) for name in ("config.json", "run.json")]
    written += [_copy(path, target) for path, target in copies if path.is_file()]
    sheets = [(paths.not_run, folder / paths.not_run.name)]
    sheets += [(p, folder / "splits" / p.name) for p in map(paths.split, source.dataset_cards)]
    for path, target in sheets:
        if path.is_file():
            write_sheet(target, frame_of(path, dtype=str, keep_default_na=False))
            written.append(target)
    made = dt.datetime.fromtimestamp(source.paths.table("overall").stat().st_mtime, tz=dt.UTC)
    # The date of the tables, not of the export: exporting twice gives the same files.
    made = made.replace(microsecond=0)
    written.append(write_croissant(source, folder, made.isoformat()))
    written += write_hub_cards(source, folder)
    return [*written, _crate(source, folder, written, made)]


def _scores(source: RunSource, folder: Path) -> list[Path]:
    """All score rows of the run in one Parquet file and one compressed CSV, streamed by file."""
    paths, expected = source.paths, expected_of(source.paths.root, source.config)[0]
    if not score_files(paths, expected):
        return []
    schema = scores_table(expected.metrics).schema
    parquet, text = folder / "scores.parquet", folder / "scores.csv.gz"
    with (
        atomic_path(parquet) as one,
        atomic_path(text) as two,
        pq.ParquetWriter(one, schema, compression="zstd") as rows,
        pa.CompressedOutputStream(pa.OSFile(str(two), "wb"), "gzip") as stream,
        pa_csv.CSVWriter(stream, schema) as lines,
    ):
        for *_, table, _ in read_scores(paths, expected, schema.names):
            rows.write_table(table)
            lines.write_table(arrow_cells(table))
    return [parquet, text]


def _tables(paths: RunPaths, folder: Path) -> list[Path]:
    """Every result table that is there, as Parquet (with its metadata) and CSV."""
    written = []
    for name in TABLES:
        path = paths.table(name)
        if name == "scores" or not path.is_file():
            continue
        written.append(_copy(path, folder / "tables" / path.name))
        target = folder / "tables" / f"{name}.csv"
        with atomic_path(target) as temporary:
            pa_csv.write_csv(arrow_cells(arrow_of(path)), temporary)
        written.append(target)
    return written


def _dictionary(source: RunSource, folder: Path) -> list[Path]:
    """The meaning, type and unit of every column of every table."""
    tables = TABLES | {"scores": scores_table(source.config.metrics)}
    frame = data_dictionary(list(tables.values()))
    names = ["table", "column", "type", "unit", "allowed", "description"]
    table = ReportTable(
        name="data_dictionary",
        title="Data dictionary",
        caption="Text is never null (empty = none), a number that is not defined is NaN, counts "
        "are whole. `satbench metrics` has the unit and range of each metric.",
        columns=tuple(ReportColumn(n, n) for n in names),
        rows=tuple(tuple(str(v) for v in row) for row in frame[names].itertuples(index=False)),
    )
    paths = [folder / "data_dictionary.csv", folder / "data_dictionary.md"]
    write_text(paths[0], to_csv(table))
    write_text(paths[1], to_markdown(table))
    return paths


def _copy(path: Path, target: Path) -> Path:
    with atomic_path(target) as temporary:
        shutil.copyfile(path, temporary)
    return target


def _crate(source: RunSource, folder: Path, files: list[Path], made: dt.datetime) -> Path:
    """`ro-crate-metadata.json`: what each file is, and what made it."""
    from rocrate.model.softwareapplication import SoftwareApplication
    from rocrate.rocrate import ROCrate

    crate: Any = ROCrate()
    config = source.config
    crate.datePublished = made
    crate.name = f"SAT-Bench run {config.name}"
    crate.description = (
        f"Scores and tables of run {config.name} ({config.data_kind} data): models "
        f"{', '.join(source.models)}; {len(source.dataset_cards)} entries, "
        f"{len(source.not_run)} of them not run. Contains no image and no mask."
    )
    crate.license = "Apache-2.0 for code and tables; the datasets keep their own terms"
    software = crate.add(
        SoftwareApplication(
            crate,
            identifier="#satbench",
            properties={"name": "satbench", "softwareVersion": __version__},
        )
    )
    for path in files:
        relative = path.relative_to(folder).as_posix()
        properties = {
            "name": path.name,
            "encodingFormat": _format(path),
            "description": _describe(path),
            "contentSize": str(path.stat().st_size),
        }
        crate.add_file(path, dest_path=relative, properties=properties)
    crate.add_action(
        instrument=software,
        identifier="#run",
        result=[],
        properties={
            "name": f"run {config.name}",
            "description": f"data kind {config.data_kind}; seed {config.seed}; spaces "
            f"{', '.join(config.space)}; tolerances {config.tolerance_mm} mm",
        },
    )
    crate.write(folder)
    return folder / CRATE_FILE


def _describe(path: Path) -> str:
    name = path.name.partition(".")[0]
    if path.parent.name == "splits":
        return f"effective split of entry {name}: case, patient, split"
    if path.parent.name == FOLDER:
        return f"card of model {path.stem} with its results, for a model hub"
    if name in TABLES:
        return f"one row: {TABLES[name].row}"
    words = {
        "config": "effective configuration of the run",
        "run": "run record: code, packages, hardware, hashes of inputs, seconds of every job",
        "croissant": "these files and the meaning of their columns, in Croissant's vocabulary",
        "not_run": "entries without data and why",
        "data_dictionary": "meaning, type and unit of every column",
    }
    return words.get(name, name)


def _format(path: Path) -> str:
    formats = {
        ".parquet": "application/vnd.apache.parquet",
        ".csv": "text/csv",
        ".gz": "application/gzip",
        ".md": "text/markdown",
        ".json": "application/json",
    }
    return formats.get(path.suffix, "application/octet-stream")
