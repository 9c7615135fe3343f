"""One report: the parts in their order, the page that lists them, and the record written last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from evaluation import __version__
from evaluation.errors import BenchError, did_you_mean
from evaluation.files.card_places import shows_run
from evaluation.files.reading import json_of
from evaluation.files.sums import discard, watch
from evaluation.files.writing import write_json, write_text
from reports.export import write_export
from reports.figures.catalogue import write_figures
from reports.gallery.cases import MANIFEST, PICTURE_BUDGET, Picture, choose_pictures, write_gallery
from reports.index_page import write_index
from reports.layout.latex import document
from reports.leaderboard.page import write_leaderboard
from reports.parts import PARTS, RECORD, Part, earlier_parts, remove_stale
from reports.source.cases import CaseRows, load_case_rows
from reports.source.loading import load_source
from reports.source.run import RunSource
from reports.source.words import spoken
from reports.tables.catalogue import all_tables, write_report_table

Progress = Callable[[str], None]


@shows_run
def render_report(
    run: Path,
    out: Path,
    parts: Sequence[str] = PARTS,
    pictures: int = PICTURE_BUDGET,
    progress: Progress = lambda _: None,
    show: Sequence[str] = (),
) -> Path:
    """Render a run into `out`; returns `report.json`, which is written last.

    Parts that are not asked for stay as an earlier report left them. Files of an earlier report
    that are not made again are removed; nothing else in `out` is touched.

    Raises:
        BenchError: no such part, run or model, no tables, or mixed data kinds.
    """
    for part in parts:
        if part not in PARTS:
            raise BenchError(f"no report part `{part}`", hint=did_you_mean(part, PARTS))
    source = replace(load_source(run), asked_for=tuple(show))
    for model in show:
        if model not in source.shown:
            raise BenchError(
                f"no model `{model}` can be shown in figures",
                expected="an entrant of the run",
                hint=did_you_mean(model, source.shown),
            )
    before = earlier_parts(out, source)
    record = out / RECORD
    watch(out)
    discard(record)
    needs_rows = set(parts) - {"export"}
    rows = load_case_rows(source.paths) if needs_rows else None
    results: dict[str, Part] = {}
    for name in PARTS:
        if name not in parts:
            results[name] = before.get(name, Part())
            continue
        progress(name)
        results[name] = _render_part(name, source, rows, out, pictures)
    remove_stale(out, before, results)
    index = write_index(source, results, out)
    write_json(
        record,
        {
            "run": source.config.name,
            "data_kind": source.config.data_kind,
            "version": __version__,
            "models": source.models,
            "entries": len(source.dataset_cards),
            "not_run": source.not_run,
            "protocols": [spoken(source, p) for p in source.protocols],
            "index": [p.name for p in index],
            "parts": {n: {"items": p.items, "missing": p.missing} for n, p in results.items()},
        },
    )
    return record


def _render_part(
    name: str, source: RunSource, rows: CaseRows | None, out: Path, budget: int
) -> Part:
    part = Part()
    if name == "tables":
        tables, part.missing = all_tables(source, rows)
        for table in tables:
            part.add(table.title, write_report_table(table, out / "tables"), out, name=table.name)
        whole = out / "tables" / "all.tex"
        write_text(whole, document([table.name for table in tables]))
        part.add("All tables (LuaLaTeX)", [whole], out, name="all")
    elif name == "export":
        part.add("Tidy data and RO-Crate", write_export(source, out / "export"), out)
    elif rows is not None:
        if name == "figures":
            written, part.missing = write_figures(source, rows, out / "figures")
            for item in written:
                part.add(
                    item.title, item.files, out, caption=item.caption, name=item.name,
                    section=item.section, width_mm=round(item.width_mm),
                )  # fmt: skip
            part.add("Captions", [out / "figures" / "captions.json"], out)
        elif name == "gallery":
            _gallery_part(part, source, rows, out, budget)
        else:
            found = _drawn(out / "gallery")
            path = out / "leaderboard.html"
            part.add(
                "Leaderboard", [write_leaderboard(source, rows, path, found, out / "gallery")], out
            )
    return part


def _gallery_part(part: Part, source: RunSource, rows: CaseRows, out: Path, budget: int) -> None:
    wanted = choose_pictures(source, rows, source.protocols[0], budget) if source.protocols else []
    drawn, part.missing, viewers = write_gallery(source, wanted, out / "gallery")
    pages = [out / "gallery" / "index.html", out / "gallery" / MANIFEST]
    part.add("Gallery", [*pages, *(out / "gallery" / p.file for p in drawn), *viewers], out)


def _drawn(folder: Path) -> list[Picture]:
    path = folder / MANIFEST
    if not path.is_file():
        return []
    try:
        return [Picture(**item) for item in json_of(path)]
    except (BenchError, TypeError):
        return []  # damaged: no page shows what it does not name
