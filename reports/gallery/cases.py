"""Worst, median and best cases as pictures: which are drawn, and how they are found again.

The choice is a pure function of the score rows: no random draw, ties go by case id. Entries take
turns, and within an entry the weakest class comes first, then the median one, then the strongest,
then the rest; each chosen class is drawn for every entrant until the budget is used up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from evaluation.errors import BenchError
from evaluation.files.writing import atomic_path, write_json, write_text
from evaluation.protocol import Protocol
from reports.gallery.overlay import choose_slice, draw, window_for
from reports.gallery.viewer import ENGINE, Viewer, write_viewers
from reports.gallery.volumes import class_mask, open_case, open_prediction
from reports.layout.pages import render
from reports.layout.style import PREDICTION_COLOUR, REFERENCE_COLOUR
from reports.source.cases import CaseRows, extremes
from reports.source.measures import Measure
from reports.source.run import RunSource
from reports.source.words import cases_left_out

if TYPE_CHECKING:
    pass

PICTURE_BUDGET = 150
MANIFEST = "gallery.json"


@dataclass(frozen=True)
class Wanted:
    """One picture to draw: a case of a model on a class, and why this case.

    `values` are printed values by measure; `score` is the leading measure's in words.
    """

    model: str
    dataset: str
    class_name: str
    which: str
    case: str
    score: str
    values: Mapping[str, float | None]
    status: str


@dataclass(frozen=True)
class Picture(Wanted):
    """A drawn picture, as the manifest and the leaderboard know it; `file` is relative."""

    file: str
    width: int
    height: int
    words: str


def choose_pictures(
    source: RunSource, rows: CaseRows, protocol: Protocol, budget: int = PICTURE_BUDGET
) -> list[Wanted]:
    """At most `budget` pictures in whole triples of worst, median and best (by `source.lead`)."""
    lead = source.lead
    frames = {m.key: rows.frame(protocol, m) for m in source.measures}
    frame = frames[lead.key]
    frame = frame[frame["model"].isin(source.shown)]
    place = ["model", "dataset", "class", "case"]
    values = {
        key: dict(zip(_texts(f, place), f["value"], strict=True)) for key, f in frames.items()
    }
    status = dict(zip(_texts(frame, place), frame["status"].astype(str), strict=True))
    wanted: list[Wanted] = []
    triples = dict(iter(frame.groupby(["dataset", "class", "model"], observed=True, sort=True)))
    for dataset, class_name in _turns(frame, lead):
        for model in source.shown:
            part = triples.get((dataset, class_name, model))
            if part is None:
                continue
            ends = extremes(
                part["case"].astype(str).to_numpy(dtype=str), part["value"].to_numpy(), lead
            )
            if len(wanted) + len(ends) > budget:
                return wanted
            for which, case, value in ends:
                at = (model, dataset, class_name, case)
                wanted.append(
                    Wanted(
                        model, dataset, class_name, which, case, lead.short(value),
                        {m.key: m.printed(values[m.key].get(at)) for m in source.measures},
                        status[at],
                    )
                )  # fmt: skip
    return wanted


def _texts(frame: pd.DataFrame, columns: list[str]) -> Iterator[tuple[str, ...]]:
    return zip(*(frame[name].astype(str) for name in columns), strict=True)


def _turns(frame: pd.DataFrame, lead: Measure) -> Iterator[tuple[str, str]]:
    """(dataset, class) with the datasets taking turns; per dataset weakest, middle, strongest."""
    goodness = frame.assign(value=lead.goodness(frame["value"].to_numpy(dtype=float)))
    means = goodness.groupby(["dataset", "class"], observed=True)["value"].mean().dropna()
    queues: dict[str, list[str]] = {}
    for dataset in sorted({str(d) for d, _ in means.index}):
        part = means.loc[dataset]
        ordered = sorted(part.index.astype(str), key=lambda c: (round(float(part[c]), 9), c))
        first = [ordered[0], ordered[(len(ordered) - 1) // 2], ordered[-1]]
        queues[dataset] = list(dict.fromkeys([*first, *ordered]))
    for turn in range(max((len(q) for q in queues.values()), default=0)):
        for dataset, queue in queues.items():
            if turn < len(queue):
                yield dataset, queue[turn]


def write_gallery(
    source: RunSource, wanted: list[Wanted], folder: Path
) -> tuple[list[Picture], dict[str, str], list[Path]]:
    """Draw the pictures and write a viewer for each dataset.

    Image and reference of a case are read once for all its pictures.

    Returns:
        the pictures in the order of `wanted`, and of which datasets how many could not be drawn,
        with the first reason, and the viewers' files.
    """
    drawn: dict[int, Picture] = {}
    lost: dict[str, list[str]] = {}
    by_case = sorted(
        enumerate(wanted),
        key=lambda w: (w[1].dataset, w[1].case, w[1].model, w[1].class_name, w[1].which),
    )
    for index, item in by_case:
        try:
            drawn[index] = _draw_one(source, item, folder)
        except BenchError as error:
            lost.setdefault(item.dataset, []).append(error.one_line)
    missing = {
        f"pictures of {dataset}": f"{len(why)} not drawn; the first: {why[0]}"
        for dataset, why in lost.items()
    }
    pictures = [drawn[i] for i in sorted(drawn)]
    viewers = write_viewers(source, _looked_at(pictures), folder)
    write_text(folder / "index.html", _page(source, pictures, viewers))
    write_json(folder / MANIFEST, [asdict(p) for p in pictures])
    open_case.cache_clear()
    open_prediction.cache_clear()
    engine = [folder / ENGINE] if viewers else []
    return pictures, missing, [*engine, *(folder / viewer.file for viewer in viewers)]


def _draw_one(source: RunSource, item: Wanted, folder: Path) -> Picture:
    image, spacing_mm, modality, reference = open_case(source.paths, item.dataset, item.case)
    reference_mask = class_mask(reference, item.dataset, item.class_name)
    if item.status == "prediction_missing":
        prediction_mask = np.zeros_like(reference_mask)
    else:
        prediction = open_prediction(source.paths, item.model, item.dataset, item.case)
        prediction_mask = class_mask(prediction, item.dataset, item.class_name)
    window = window_for(image, modality, item.class_name)
    z = choose_slice(reference_mask, prediction_mask)
    picture = draw(image, reference_mask, prediction_mask, spacing_mm, window, z)
    names = [item.class_name, item.model, item.which]
    # Signs that file names do not like become their number, so that two names stay two files.
    parts = ["".join(c if c.isalnum() or c in " _." else f"~{ord(c):x}" for c in w) for w in names]
    parts = [part.replace(" ", "_") for part in parts]
    path = folder / item.dataset / f"{'-'.join(parts)}.jpg"
    with atomic_path(path) as temporary:
        # Full colour resolution: the outlines are one or two pixels wide.
        picture.save(temporary, format="JPEG", quality=86, subsampling=0, optimize=True)
    gone = ", no prediction" if item.status == "prediction_missing" else ""
    spacing = "×".join(f"{s:.3g}" for s in spacing_mm)
    words = f"slice {z + 1} of {reference_mask.shape[2]}, {spacing} mm, window {window.name}{gone}"
    file = f"{item.dataset}/{path.name}"
    return Picture(**vars(item), file=file, width=picture.width, height=picture.height, words=words)


def _looked_at(pictures: list[Picture]) -> dict[str, str]:
    """Dataset -> the case that its viewer shows: the median one of its first class and model."""
    found: dict[str, str] = {}
    for picture in pictures:
        if picture.which == "median":
            found.setdefault(picture.dataset, picture.case)
    return found


def _page(source: RunSource, pictures: list[Picture], viewers: list[Viewer]) -> str:
    """A page that shows all pictures: dataset, class, then a line per model."""
    groups: dict[tuple[str, str], dict[str, list[Picture]]] = {}
    for picture in pictures:
        key = (source.dataset_title(picture.dataset), picture.class_name)
        title = source.model_title(picture.model)
        groups.setdefault(key, {}).setdefault(title, []).append(picture)
    return render(
        "gallery.html.j2",
        run=source.config.name,
        data_kind=source.config.data_kind,
        groups=groups,
        viewers=viewers,
        reference=REFERENCE_COLOUR,
        prediction=PREDICTION_COLOUR,
        measure=source.lead.words if source.measures else "",
        left_out=cases_left_out(source),
    )
