"""What the leaderboard knows: facts of models and settings, words, published rows, numbers."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite
from typing import Any

import pandas as pd

from evaluation import __version__
from evaluation.classes.modality import MODALITIES
from evaluation.protocol import UNRANKED
from evaluation.tables.comparison import MIN_PATIENTS, TOO_SMALL
from reports.layout.style import PREDICTION_COLOUR, REFERENCE_COLOUR
from reports.leaderboard.facts import model_facts
from reports.leaderboard.rows import (
    SWITCHES,
    BoardIds,
    by_setting,
    case_ends,
    case_values,
    columns_of,
    means,
    ranks,
    settings_of,
    slots,
)
from reports.source.cases import CaseRows
from reports.source.measures import Measure
from reports.source.published import published_lookup, published_models
from reports.source.run import RunSource
from reports.source.trainings import mean_and_deviation, seeds_of
from reports.source.words import (
    cases_left_out,
    grid_title,
    left_out_of_regions,
    listed,
    modality_title,
    region_title,
    spoken,
    units_of,
)
from reports.tables.overall import missing_counts


def board_payload(source: RunSource, rows: CaseRows) -> dict[str, Any]:
    """Everything that the page shows except pictures: facts, and `numbers` as tidy columns."""
    ids = BoardIds.of(source)
    settings = settings_of(source)
    held: dict[str, Any] = {}
    places: dict[str, list[int]] = {}
    for name, maker in (("means", means), ("slots", slots), ("ranks", ranks)):
        frame, places[name] = by_setting([maker(source, setting, ids) for setting in settings])
        held[name] = columns_of(frame)
    held["cases"] = columns_of(pd.DataFrame(case_values(source, rows, settings, ids)))
    ends = case_ends(source, rows, settings[0], ids) if settings else ()
    held["ends"] = columns_of(pd.DataFrame(ends))
    return {
        "meta": _meta(source),
        "models": [model_facts(source, name, ids) for name in ids.models],
        "measures": [_measure(m) for m in source.measures],
        "lead": source.lead.key if source.measures else "",
        "modalities": {m: modality_title(m) for m in sorted({m for m, _ in ids.classes})},
        "regions": [{"id": r, "title": region_title(r)} for r in source.regions],
        "datasets": [{"id": d, "title": source.dataset_title(d)} for d in ids.datasets],
        "classes": [
            {"modality": modality, "name": name, "region": source.region_of(modality, name)}
            for modality, name in ids.classes
        ],
        "aspects": _aspects(source, ids),
        "unranked": sorted(UNRANKED),
        "slots": [list(slot) for slot in ids.slots],
        "keys": [{"level": level, "id": key} for level, key in ids.keys],
        "settings": [
            {name: getattr(s, name) for name in SWITCHES}
            | {name: at[number] for name, at in places.items()}
            for number, s in enumerate(settings)
        ],
        "words": _words(source),
        "published": _published(source),
        "trainings": [
            {"title": group.title, "models": list(group.models)} for group in seeds_of(source)
        ],
        "publishedProtocol": _published_protocol(source),
        "casesChosen": f"{spoken(source, settings[0])} {cases_left_out(source)}".rstrip()
        if settings
        else "",
        "colours": {"reference": REFERENCE_COLOUR, "prediction": PREDICTION_COLOUR},
        "numbers": held,
    }


def _aspects(source: RunSource, ids: BoardIds) -> list[dict[str, Any]]:
    """Aspects of which there are means, with their slots if the page can average some of them.

    It cannot where each class of each entry counts, or a model's scores chose the classes.
    """
    found = []
    for name, aspect in source.aspects.items():
        if ("aspect", name) not in ids.keys:
            continue
        slots = []
        if aspect.mean_over == "entries" and aspect.below is None:
            datasets, classes = list(ids.datasets), list(ids.classes)
            for (dataset, place), number in ids.slots.items():
                modality, class_name = classes[place]
                region = source.region_of(modality, class_name)
                if aspect.holds(datasets[dataset], class_name, modality, region):
                    slots.append(number)
        found.append({"id": name, "title": aspect.title or name, "slots": slots})
    return found


def _measure(measure: Measure) -> dict[str, Any]:
    """What the page has to know of a measure."""
    low, high = measure.limits
    return {
        "id": measure.key,
        "title": measure.title,
        "unit": measure.unit,
        "better": measure.better,
        "digits": measure.digits,
        "low": low if isfinite(low) else None,
        "high": high if isfinite(high) else None,
    }


def _words(source: RunSource) -> dict[str, dict[str, str]]:
    """What the settings are called on the page."""
    return {
        "space": {
            "native": "native grid (mm, true spacing)",
            "resampled": f"{grid_title(source, 'resampled')} grid",
            "own": "the model's own grid",
            "cropped": f"{grid_title(source, 'cropped')}, nobody is ranked",
        },
        "policy": {
            "present-only": "present-only: absent class not scored",
            "paper": "paper: both empty = 1",
            "field-diagonal": "field-diagonal: a missed structure's distance = the scan's diagonal",
        },
        "view": {"paper": "all test cases", "clean": "clean: linked test scans left out"},
        "coverage": {
            "supported": "every class a model supports",
            "common": "only classes that all models support",
            "zero": "unsupported classes count as missing",
        },
        "statistic": {
            "entries": "entries (mean of their class means)",
            "classes": "classes",
            "regions": "regions",
        },
    }


def _meta(source: RunSource) -> dict[str, Any]:
    entries = list(source.dataset_cards)
    ranked = source.ranked
    unranked = [m.words for m in source.measures if m not in ranked]
    notes = [
        (
            f"Measured by {source.implementation}. Scores are means over scans, then classes, then "
            f"entries, {units_of(source.measures)}."
        ),
        (
            "Empty masks: present-only does not score a class that the reference lacks; paper "
            "scores it too, and it is right if both are empty. A missing prediction "
            f"{missing_counts(source)} under both."
            + " field-diagonal is present-only, but that a distance of a missed structure counts "
            "the diagonal of the scan's field."
            * any(m.metric.needs_distances for m in source.measures)
        ),
        (
            "Intervals: 95 %, over patients. Ranks: entrants that answered every class "
            "of every scan that the run asks for; the small range is the rank's own 95 % interval."
            + (f" Nobody is ranked by {listed(unranked)}." if unranked else "")
        ),
        (
            f"{TOO_SMALL.capitalize()}: fewer than {MIN_PATIENTS} independent patients stand "
            "behind an interval or a rank."
        ),
        *source.notes["lines"],
    ]
    if lacking := left_out_of_regions(source):
        notes.append(lacking)
    notes += _over_trainings(source)
    if len(source.published):
        document = source.study.document
        notes.append(
            f"Published numbers ({document.id}) are data of {document.citation}; they are never "
            "ranked."
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


def _over_trainings(source: RunSource) -> Iterator[str]:
    """Mean and deviation of each model that is trained with several seeds, by the headline."""
    frame = source.pick("overall", source.protocols[0])
    for group in seeds_of(source) if frame is not None else ():
        assert frame is not None
        rows = frame[(frame["statistic"] == "entries") & frame["model"].isin(group.models)]
        said = []
        for measure in source.measures:
            found = rows.loc[rows["measure"] == measure.key, "value"].dropna()
            if len(found) > 1:
                values = [float(measure.scaled(value)) for value in found]
                said.append(f"{measure.head} {mean_and_deviation(values)}")
        seeds = listed(str(seed) for seed in group.seeds)
        yield (
            f"{group.title} is trained with the seeds {seeds}: {', '.join(said)} (mean ± standard "
            "deviation over trainings, all entries)."
        )


def _published_protocol(source: RunSource) -> dict[str, str]:
    protocol = source.study.protocol
    return {
        "space": protocol.space,
        "policy": protocol.policy,
        "words": f"{grid_title(source, protocol.space)} grid, {protocol.policy} policy",
    }


def _published(source: RunSource) -> list[dict[str, Any]]:
    """Published rows that concern the run: printed values by column id and measure."""
    lookups = {
        scope: published_lookup(source, scope)
        for scope in ("region", "dataset", "class", "lesion", "aspect")
    }
    rows = []
    for model, title in published_models(source).items():
        values: dict[str, dict[str, float]] = {}
        for scope, printed in lookups.items():
            for (key, modality, who, measure), value in printed.items():
                if who != model:
                    continue
                names = [f"{scope}:{key}"]
                if scope in ("class", "lesion"):
                    both = MODALITIES if modality == "any" else (modality,)
                    names = [f"class:{m}|{key}" for m in both]
                for name in names:
                    values.setdefault(name, {})[measure] = round(value, 4)
        if values:
            rows.append(
                {
                    "id": model,
                    "title": f"{title}, {source.study.document.id}, real patients",
                    "citation": source.study.document.citation,
                    "values": values,
                }
            )
    return rows
