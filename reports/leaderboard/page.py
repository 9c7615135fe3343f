"""The leaderboard: one HTML file that works from disk, with all numbers aggregated beforehand."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from evaluation import __version__
from evaluation.classes.modality import MODALITIES
from evaluation.files.writing import write_text
from evaluation.tables.comparison import MIN_PATIENTS, TOO_SMALL
from reports.figures.style import PREDICTION_COLOUR, REFERENCE_COLOUR
from reports.gallery.cases import Picture
from reports.leaderboard.facts import model_facts
from reports.leaderboard.rows import (
    Ids,
    case_ends,
    distributions,
    group_columns,
    rank_rows,
    score_columns,
    settings_of,
)
from reports.pages import embedded_json, render, template_text
from reports.per_case import CaseRows
from reports.source import RunSource
from reports.tables.overview import overall_table
from reports.tables.parts import (
    published_titles,
    region_title,
)
from reports.tables.tabular import to_html

EMBEDDED_PICTURE_BYTES = 8_000_000
SCRIPTS = ("leaderboard-data.js", "leaderboard-detail.js", "leaderboard-view.js")


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
        fallback=Markup(fallback),  # noqa: S704 - escaped cell by cell
    )
    write_text(path, text)
    return path


def board_payload(source: RunSource, rows: CaseRows) -> dict[str, Any]:
    """Everything that the page shows except pictures; scores as whole numbers of 1e-4."""
    ids = Ids.of(source)
    settings = settings_of(source)
    groups, scores, ranks = [], [], []
    for setting in settings:
        groups.append(group_columns(source, setting, ids))
        scores.append(score_columns(source, setting, ids))
        ranks.append(rank_rows(source, setting, ids))
    return {
        "meta": _meta(source),
        "models": [model_facts(source, name, ids) for name in ids.models],
        "regions": [{"id": r, "title": region_title(r)} for r in source.regions],
        "datasets": [{"id": d, "title": source.dataset_title(d)} for d in ids.datasets],
        "classes": [
            {
                "modality": modality,
                "name": name,
                "region": source.region_of(modality, name),
            }
            for modality, name in ids.classes
        ],
        "slots": [list(slot) for slot in ids.slots],
        "keys": [{"level": level, "id": key} for level, key in ids.keys],
        "settings": [
            {
                "policy": s.policy,
                "space": s.space,
                "tolerance": s.tolerance_mm,
                "view": s.view,
                "coverage": s.coverage,
            }
            for s in settings
        ],
        "groups": _shared(groups),
        "scores": _shared(scores),
        "ranks": ranks,
        "published": _published(source),
        "distributions": distributions(rows, settings, ids),
        "cases": case_ends(rows, settings[0], ids) if settings else {},
        "casesChosen": settings[0].words if settings else "",
        "colours": {"reference": REFERENCE_COLOUR, "prediction": PREDICTION_COLOUR},
    }


def _shared(settings: list[dict[str, list[Any]]]) -> list[dict[str, list[Any]] | int]:
    """Settings with the same numbers as an earlier one become its position.

    Without linked scans, for instance, the view `clean` is the view `paper` again.
    """
    first: dict[str, int] = {}
    return [
        columns if at == index else at
        for index, columns in enumerate(settings)
        for at in (first.setdefault(json.dumps(columns), index),)
    ]


def _meta(source: RunSource) -> dict[str, Any]:
    entries = list(source.dataset_cards)
    notes = [
        (
            f"Measured by {source.implementation}. Scores are means over scans, then classes, then "
            "entries; DSC and NSD in percent."
        ),
        (
            "Empty masks: present-only does not score a class that the reference lacks; paper "
            "gives 100 if both are empty and 0 if one is. A missing prediction is 0 under both."
        ),
        (
            "Intervals: 95 %, bootstrap over patients. Ranks: entrants that answered every class "
            "of every scan that the run asks for; the small range is the rank's own 95 % interval."
        ),
        (
            f"{TOO_SMALL.capitalize()}: fewer than {MIN_PATIENTS} independent patients stand "
            "behind an interval or a rank."
        ),
        *source.notes["lines"],
    ]
    if source.left_out_of_regions:
        notes.append(source.left_out_of_regions)
    if len(source.published):
        notes.append(
            "Published numbers are data of the documents named in their rows and are never ranked."
        )
    return {
        "run": source.config.name,
        "kind": source.config.data_kind,
        "version": __version__,
        "entries": len(entries),
        "notRun": [[source.dataset_title(d), reason] for d, reason in source.not_run.items()],
        "notes": notes,
        "minPatients": MIN_PATIENTS,
        "tooSmall": TOO_SMALL,
    }


def _published(source: RunSource) -> list[dict[str, Any]]:
    """Published rows that concern the run: values by column id, in 1e-2 percent."""
    frame = source.published
    rows = []
    for model, title in published_titles(source).items():
        values: dict[str, dict[str, int]] = {}
        for _, row in frame[frame["model"] == model].iterrows():
            scope, key = str(row["scope"]), str(row["key"])
            modality = str(row["modality"])
            if scope == "region":
                names = [f"region:{key}"]
            elif scope == "dataset":
                names = [f"dataset:{key}"]
            elif scope in ("class", "lesion"):
                both = list(MODALITIES) if modality == "any" else [modality]
                names = [f"class:{m}|{key}" for m in both]
            else:
                continue
            if not pd.isna(row["value"]):
                for name in names:
                    scaled = round(float(row["value"]) * 10_000)
                    values.setdefault(name, {})[str(row["metric"])] = scaled
        if values:
            rows.append(
                {
                    "id": model,
                    "title": f"{title}, {source.study.document.id}, real patients",
                    "values": values,
                }
            )
    return rows


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
                "dsc": round(picture.dsc * 1000),
                "src": address,
                "width": picture.width,
                "height": picture.height,
                "words": picture.words,
                "alt": f"{picture.which} case of {source.model_title(picture.model)}: "
                f"{picture.class_name}, case {picture.case}",
            }
        )
    return found
