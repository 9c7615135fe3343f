"""The leaderboard: one HTML file that works from disk, with all numbers aggregated beforehand."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from evaluation import __version__
from evaluation.files.writing import write_text
from reports.gallery.cases import Picture
from reports.layout.pages import embedded_json, packed_json, render, template_text
from reports.layout.report_table import to_html
from reports.leaderboard.payload import board_payload
from reports.source.cases import CaseRows
from reports.source.run import RunSource
from reports.tables.overall import overall_table

EMBEDDED_PICTURE_BYTES = 8_000_000
SCRIPTS = (
    "scroll-hint.js",
    *(f"leaderboard-{name}.js" for name in (
        "state", "dom", "data", "rows", "charts", "detail", "table", "pages", "controls")),
)  # fmt: skip


def write_leaderboard(
    source: RunSource,
    rows: CaseRows,
    path: Path,
    pictures: Sequence[Picture] = (),
    gallery: Path | None = None,
) -> Path:
    """Write the board.

    Pictures travel inside the file as long as they fit into 8 MB together; the others are linked
    relative to the file.
    """
    payload = board_payload(source, rows)
    payload["pictures"] = _pictures(source, payload, pictures, gallery, path.parent)
    held = payload.pop("numbers")
    fallback = ""
    if source.protocols:
        table = overall_table(source, source.protocols[0])
        fallback = to_html(table) if table is not None else ""
    text = render(
        "leaderboard.html.j2",
        version=__version__,
        run=source.config.name,
        data_kind=source.config.data_kind,
        css=Markup(template_text("leaderboard.css")),  # noqa: S704 - the package's own file
        script=Markup("\n".join(template_text(name) for name in SCRIPTS)),  # noqa: S704
        payload=Markup(embedded_json(payload)),  # noqa: S704 - escaped for a script element
        numbers=packed_json(held),
        fallback=Markup(fallback),  # noqa: S704 - escaped cell by cell
    )
    write_text(path, text)
    return path


def _pictures(
    source: RunSource,
    payload: dict[str, Any],
    pictures: Sequence[Picture],
    gallery: Path | None,
    page_folder: Path,
) -> dict[str, list[dict[str, Any]]]:
    """Pictures by "model|slot"; embedded until the limit, then linked."""
    if gallery is None:
        return {}
    models = [m["id"] for m in payload["models"]]
    slots: dict[tuple[str, str], int] = {}
    for index, (dataset, place) in enumerate(payload["slots"]):
        name = payload["classes"][place]["name"]
        slots[payload["datasets"][dataset]["id"], name] = index
    found: dict[str, list[dict[str, Any]]] = {}
    used = 0
    for picture in pictures:
        slot = slots.get((picture.dataset, picture.class_name))
        file = gallery / picture.file
        if slot is None or picture.model not in models or not file.is_file():
            continue
        size = file.stat().st_size * 4 // 3
        if used + size <= EMBEDDED_PICTURE_BYTES:
            used += size
            data = base64.b64encode(file.read_bytes()).decode("ascii")
            address = f"data:image/jpeg;base64,{data}"
        else:
            address = file.relative_to(page_folder).as_posix()
        found.setdefault(f"{models.index(picture.model)}|{slot}", []).append(
            {
                "which": picture.which,
                "case": picture.case,
                "score": picture.score,
                "src": address,
                "width": picture.width,
                "height": picture.height,
                "words": picture.words,
                "alt": f"{picture.which} case of {source.model_title(picture.model)}: "
                f"{picture.class_name}, case {picture.case}",
            }
        )
    return found
