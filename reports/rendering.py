"""One report: the parts in their order, the page that lists them, and the record written last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from markupsafe import Markup

from evaluation import __version__
from evaluation.errors import BenchError, did_you_mean
from evaluation.files.card_places import shows_run
from evaluation.files.reading import json_of
from evaluation.files.sums import discard, watch
from evaluation.files.writing import write_json, write_text
from reports.export import write_export
from reports.figures.catalogue import write_figures
from reports.gallery.cases import MANIFEST, PICTURE_BUDGET, Picture, choose_pictures, write_gallery
from reports.layout.latex import document
from reports.layout.pages import render
from reports.layout.report_table import to_html, to_markdown
from reports.leaderboard.page import write_leaderboard
from reports.source.cases import CaseRows, load_case_rows
from reports.source.loading import load_source
from reports.source.run import RunSource
from reports.source.words import count, spoken
from reports.tables.catalogue import all_tables, write_report_table
from reports.tables.overall import overall_table

PARTS = ("tables", "figures", "gallery", "leaderboard", "export")
RECORD = "report.json"
Progress = Callable[[str], None]


@dataclass
class Part:
    """What one part wrote: items with title and files (relative), and what it could not make."""

    items: list[dict[str, Any]] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)

    def add(self, title: str, files: Sequence[Path], root: Path, **more: Any) -> None:
        """Note an item."""
        names = [f.relative_to(root).as_posix() for f in files]
        self.items.append({"title": title, "files": names, **more})


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
    before = _earlier(out, source)
    record = out / RECORD
    watch(out)
    discard(record)
    needs_rows = {"figures", "gallery", "leaderboard"} & set(parts)
    rows = load_case_rows(source.paths) if needs_rows else None
    results: dict[str, Part] = {}
    for name in PARTS:
        if name not in parts:
            results[name] = before.get(name, Part())
            continue
        progress(name)
        results[name] = _render_part(name, source, rows, out, pictures)
    _remove_stale(out, before, results)
    index = _index(source, results, out)
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
        tables, part.missing = all_tables(source)
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
                part.add(item.title, item.files, out, caption=item.caption, name=item.name)
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
    drawn, part.missing = write_gallery(source, wanted, out / "gallery")
    pages = [out / "gallery" / "index.html", out / "gallery" / MANIFEST]
    part.add("Gallery", [*pages, *(out / "gallery" / p.file for p in drawn)], out)


def _drawn(folder: Path) -> list[Picture]:
    path = folder / MANIFEST
    if not path.is_file():
        return []
    try:
        return [Picture(**item) for item in json_of(path)]
    except (BenchError, TypeError):
        return []  # damaged: no page shows what it does not name


def _earlier(out: Path, source: RunSource) -> dict[str, Part]:
    """Parts of an earlier report in this folder.

    Raises:
        BenchError: the folder holds the report of another run.
    """
    path = out / RECORD
    if not path.is_file():
        return {}
    try:
        record = json_of(path)
        parts = {n: Part(p["items"], p["missing"]) for n, p in record["parts"].items()}
        made = record["run"], record["data_kind"]
    except (BenchError, KeyError, TypeError, AttributeError):
        return {}  # damaged: all is rendered anew
    if made != (source.config.name, source.config.data_kind):
        raise BenchError(
            "this folder holds the report of another run",
            file=out,
            found=f"{made[0]} ({made[1]})",
            expected=f"{source.config.name} ({source.config.data_kind})",
            hint="choose another folder with --out",
        )
    return parts


def _remove_stale(out: Path, before: dict[str, Part], now: dict[str, Part]) -> None:
    def files(parts: dict[str, Part]) -> set[str]:
        return {f for part in parts.values() for item in part.items for f in item["files"]}

    for name in files(before) - files(now):
        path = (out / name).resolve()
        if path.is_relative_to(out.resolve()):
            discard(path)


def _index(source: RunSource, results: dict[str, Part], out: Path) -> list[Path]:
    """`index.html` and `README.md`: what was made, and what is not available."""
    overall = overall_table(source, source.protocols[0]) if source.protocols else None
    missing = {k: v for part in results.values() for k, v in part.missing.items()}
    entries = len(source.dataset_cards)
    summary = (
        f"{count(len(source.models), 'model', 'models')} "
        f"({', '.join(map(source.model_title, source.models))}); "
        f"{entries - len(source.not_run)} of {count(entries, 'entry', 'entries')} run. Measured by "
        f"{source.implementation}."
    )
    links = [
        (item["title"], item["files"][-1 if name == "export" else 0])
        for name in ("leaderboard", "gallery", "export")
        for item in results[name].items
    ]
    figures = [
        {
            "title": item["title"],
            "caption": item["caption"],
            "png": next((f for f in item["files"] if f.endswith(".png")), ""),
            "files": [(f.rpartition(".")[2], f) for f in item["files"]],
        }
        for item in results["figures"].items
        if "caption" in item
    ]
    tables = [
        {"title": item["title"], "files": [(f.rpartition(".")[2], f) for f in item["files"]]}
        for item in results["tables"].items
    ]
    page = render(
        "report.html.j2",
        run=source.config.name,
        data_kind=source.config.data_kind,
        summary=summary,
        notes=source.notes["lines"],
        links=links,
        overall=Markup(to_html(overall)) if overall else "",  # noqa: S704 - escaped cell by cell
        figures=figures,
        tables=tables,
        missing=missing,
    )
    write_text(out / "index.html", page)
    lines = [f"# Report of run {source.config.name}", "", summary, ""]
    if source.config.data_kind == "synthetic":
        lines += ["**Virtual patients, not real scans.**", ""]
    lines += [*(f"> {note}\n>" for note in source.notes["lines"]), ""]
    lines += [f"- [{title}]({href})" for title, href in links]
    if overall is not None:
        lines += ["", to_markdown(overall)]
    for heading, listed in (("Figures", figures), ("Tables", tables)):
        if listed:
            lines += [f"## {heading}", ""]
            for item in listed:
                linked = ", ".join(f"[{kind}]({href})" for kind, href in item["files"])
                lines.append(f"- {item['title']}: {linked}")
            lines.append("")
    if missing:
        lines += ["## Not available", "", *(f"- {k}: {v}" for k, v in missing.items()), ""]
    write_text(out / "README.md", "\n".join(lines).rstrip() + "\n")
    return [out / "index.html", out / "README.md"]
