"""`index.html` and `README.md` of a report: results first, then what they are about, then files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from evaluation.files.writing import write_text
from reports.figures.catalogue import Section
from reports.layout.pages import render
from reports.layout.report_table import ReportTable, to_html, to_markdown
from reports.layout.style import WIDTH_MM
from reports.parts import Part
from reports.source.run import RunSource
from reports.source.words import count
from reports.tables.classes import classes_table
from reports.tables.overall import overall_table

PIXELS_OF_A_MM = 6.1
"""On the page: letters of 7 points are then as tall as the text around them."""
MOST_ROWS = 40
"""Of a table that stands on the page."""


def write_index(source: RunSource, results: Mapping[str, Part], out: Path) -> list[Path]:
    """Write both pages: what was made, and what is not there with why."""
    tables = _tables_on_page(source)
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
    figures = _figures(results["figures"])
    files = [
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
        tables=[Markup(to_html(table)) for table in tables],  # noqa: S704 - escaped cell by cell
        figures=figures,
        files=files,
        missing=missing,
    )
    write_text(out / "index.html", page)
    lines = [f"# Report of run {source.config.name}", "", summary, ""]
    if source.config.data_kind == "synthetic":
        lines += ["**Virtual patients, not real scans.**", ""]
    lines += [*(f"> {note}\n>" for note in source.notes["lines"]), ""]
    lines += [f"- [{title}]({href})" for title, href in links]
    for table in tables[:1]:
        lines += ["", to_markdown(table)]
    listed = [(f"Figures: {title.lower()}", shown) for title, shown in figures.items()]
    for heading, items in [*listed, ("Tables", files)]:
        if items:
            lines += [f"## {heading}", ""]
            for item in items:
                linked = ", ".join(f"[{kind}]({href})" for kind, href in item["files"])
                lines.append(f"- {item['title']}: {linked}")
            lines.append("")
    if missing:
        lines += ["## Not available", "", *(f"- {k}: {v}" for k, v in missing.items()), ""]
    write_text(out / "README.md", "\n".join(lines).rstrip() + "\n")
    return [out / "index.html", out / "README.md"]


def _tables_on_page(source: RunSource) -> list[ReportTable]:
    """The overall table, and the classes where they are few."""
    if not source.protocols:
        return []
    headline = source.protocols[0]
    tables = [overall_table(source, headline), classes_table(source, headline)]
    found = [table for table in tables if table is not None]
    return [t for n, t in enumerate(found) if n == 0 or len(t.rows) <= MOST_ROWS]


def _figures(part: Part) -> dict[str, list[dict[str, Any]]]:
    """Figures by section; `width` is in pixels of the page."""
    found: dict[str, list[dict[str, Any]]] = {section.value: [] for section in Section}
    for item in part.items:
        if "caption" not in item:
            continue
        width_mm = item.get("width_mm", WIDTH_MM["double"])
        found[item.get("section", Section.RESULTS.value)].append(
            {
                "title": item["title"],
                "caption": item["caption"],
                "png": next((f for f in item["files"] if f.endswith(".png")), ""),
                "files": [(f.rpartition(".")[2], f) for f in item["files"]],
                "width": round(PIXELS_OF_A_MM * width_mm),
            }
        )
    return {title: items for title, items in found.items() if items}
