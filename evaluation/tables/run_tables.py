"""`satbench aggregate`: a run's score rows in, all of its tables out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from evaluation.card_places import shows_run
from evaluation.config import RunConfig, load_frozen
from evaluation.datasets.card import DatasetCard
from evaluation.datasets.registry import entry_ids, load_cards
from evaluation.datasets.scope import classes_in_scope
from evaluation.errors import BenchError
from evaluation.models.card import model_cards
from evaluation.paths import RunPaths
from evaluation.published import check_claims, published_beside_ours
from evaluation.schema import AUDIT, COMPLETENESS, TABLES, read_table, write_table
from evaluation.tables.aggregate import aggregate
from evaluation.tables.building import build_grids
from evaluation.tables.decisions import decide
from evaluation.tables.grid import Grid
from evaluation.tables.policies import ABSENT, CODE
from evaluation.tables.scores import Expected, join_shards, load_rows
from evaluation.tables.sensitivity import sensitivity
from evaluation.tables.statistics import N_BOOTSTRAPS
from evaluation.tables.views import Links, find_links
from evaluation.workflow.carrying import edited_cards
from evaluation.workflow.declared import leftovers_of

MADE_HERE = (
    "dataset", "dataset_class", "class", "region", "lesion", "overall", "ranks", "pairs",
    "sensitivity", "completeness", "published", "claims",
)  # fmt: skip


def expected_of(run: Path) -> tuple[Expected, Links]:
    """What a run should hold, from its configuration, cards, splits and list of missing data."""
    paths, config = RunPaths(run), load_frozen(run)
    cards = _cards(config)
    splits = {}
    for card in cards:
        path = paths.split(card.id)
        if path.is_file():
            splits[card.id] = pd.read_csv(path, dtype=str, keep_default_na=False)
    not_run = {}
    if paths.not_run.is_file():
        frame = pd.read_csv(paths.not_run, dtype=str, keep_default_na=False)
        not_run = dict(zip(frame["dataset"], frame["reason"], strict=True))
    expected = Expected(
        data_kind=config.data_kind,
        models=tuple(config.models),
        entries=tuple(card.id for card in cards),
        classes={
            card.id: {c.name: c.kind == "annotated" for c in classes_in_scope(card, config)}
            for card in cards
        },
        modalities={card.id: card.modality for card in cards},
        splits=splits,
        not_run=not_run,
    )
    audit = paths.table("audit")
    declared = [(c.id, o.dataset) for c in cards for o in c.overlaps if o.verified]
    found = read_table(audit, AUDIT) if audit.is_file() else None
    return expected, find_links(splits, found, declared)


def _cards(config: RunConfig) -> list[DatasetCard]:
    cards = load_cards()
    return [cards[name] for name in entry_ids(config.entries) if name in cards]


@dataclass(frozen=True)
class RunGrids:
    """Score rows of a run as grids, `native` first: of all models, and of the entrants alone.

    Means are given for every model, controls included; models are ranked and compared without
    the controls, which an oracle would lead.
    """

    all_models: list[Grid]
    entrants: list[Grid]
    expected: Expected
    links: Links


def load_grids(run: Path) -> RunGrids:
    """Score rows of a run, with what was expected and what is linked.

    Raises:
        BenchError: the run has no score rows at all.
    """
    expected, links = expected_of(run)
    rows = load_rows(RunPaths(run))
    if rows.empty:
        raise BenchError(
            "this run has no score rows",
            file=run / "scores",
            hint="`satbench measure` writes them; `snakemake` runs it for all models and entries",
        )
    cards = model_cards(rows["model"].unique())
    controls = [name for name, card in cards.items() if card.role == "control"]
    grids = build_grids(rows, expected, links)
    entrant_rows = rows[~rows["model"].isin(controls)]
    if not controls or entrant_rows.empty:
        return RunGrids(grids, grids, expected, links)
    entrants = build_grids(entrant_rows, expected, links)
    return RunGrids(grids, entrants, expected, links)


@shows_run
def aggregate_run(run: Path, n_draws: int = N_BOOTSTRAPS, seed: int | None = None) -> list[str]:
    """Write all tables of a run; joins the shards of the score rows on the way.

    Args:
        run: run folder.
        n_draws: bootstraps.
        seed: of the bootstraps; default the configuration's.

    Returns:
        Lines for the log: what was written and what is missing.
    """
    paths = RunPaths(run)
    join_shards(paths)
    loaded = load_grids(run)
    grids, expected, links = loaded.all_models, loaded.expected, loaded.links
    if seed is None:
        seed = load_frozen(run).seed
    parts: dict[str, list[pd.DataFrame]] = {name: [] for name in MADE_HERE}
    for grid in grids:
        for name, frame in aggregate(grid, expected, n_draws, seed).items():
            parts[name].append(frame)
    for grid in loaded.entrants:
        for name, frame in decide(grid, expected, n_draws, seed=seed).items():
            parts[name].append(frame)
    tables = {
        name: pd.concat(frames, ignore_index=True) for name, frames in parts.items() if frames
    }
    tables["sensitivity"] = sensitivity(tables, loaded.entrants[0].models)
    tables["completeness"] = completeness(grids[0], expected)
    tables["published"] = published_beside_ours(tables)
    tables["claims"] = check_claims()
    for name in MADE_HERE:
        write_table(paths.table(name), tables[name], TABLES[name])
    return [*_summary(tables, expected, links), *leftovers_of(run), *edited_cards(paths)]


def completeness(grid: Grid, expected: Expected) -> pd.DataFrame:
    """The table `completeness`: every model on every entry, present or not."""
    entries = {entry.dataset: entry for entry in grid.entries}
    names = [*expected.entries, *sorted(set(entries) - set(expected.entries))]
    models = [*expected.models, *sorted(set(grid.models) - set(expected.models))]
    rows = []
    for model in models:
        column = grid.models.index(model) if model in grid.models else None
        for name in names:
            n_cases = n_classes = 0
            n_expected = len(expected.test_cases(name))
            n_scope = len(expected.classes.get(name, ()))
            entry = entries.get(name)
            if entry is not None:
                n_expected, n_scope = len(entry.cases), int(entry.slots.preferred.sum())
            if entry is not None and column is not None:
                status = entry.status[:, entry.slots.preferred, column]
                left_out = (status == ABSENT) | (status == CODE["unsupported"])
                n_classes = int((~left_out.all(axis=0)).sum())
                missing = status == CODE["prediction_missing"]
                n_cases = int((~(missing | left_out)).any(axis=1).sum())
            label, reason = _status(
                name in expected.not_run, n_cases, n_expected, n_classes, n_scope
            )
            reason = expected.not_run.get(name, reason)
            numbers = (n_cases, n_expected, n_classes, n_scope)
            rows.append((expected.data_kind, model, name, label, reason, *numbers))
    return pd.DataFrame(rows, columns=COMPLETENESS.names)


def _status(
    no_data: bool, n_cases: int, n_expected: int, n_classes: int, n_scope: int
) -> tuple[str, str]:
    if no_data:
        return "no data", "no data"
    if not n_classes:
        return "not run", "no score rows, or no class supported"
    if n_cases < n_expected:
        return "incomplete", f"predictions for {n_cases} of {n_expected} scans"
    if n_classes < n_scope:
        return "incomplete", f"{n_classes} of {n_scope} classes supported"
    return "complete", ""


def _summary(tables: Mapping[str, pd.DataFrame], expected: Expected, links: Links) -> list[str]:
    overall = tables["overall"]
    headline = overall[
        overall["policy"].eq("present-only")
        & overall["view"].eq("paper")
        & overall["coverage"].eq("supported")
        & overall["statistic"].eq("entries")
    ]
    columns = [
        "model", "space", "tolerance_mm", "dsc", "nsd", "n_entries", "n_entries_expected",
        "n_classes", "n_classes_expected", "n_cases", "n_cases_expected", "n_missing",
    ]  # fmt: skip
    lines = [
        f"{row.model}: DSC {row.dsc:.4f}, NSD {row.nsd:.4f} at {row.tolerance_mm:g} mm "
        f"({row.space}; {row.n_entries} of {row.n_entries_expected} entries, "
        f"{row.n_classes} of {row.n_classes_expected} classes, "
        f"{row.n_cases} of {row.n_cases_expected} scans, {row.n_missing} values missing)"
        for row in headline[columns].itertuples(index=False)
    ]
    lines += [f"not run: {name}: {why}" for name, why in sorted(expected.not_run.items())]
    lines.append(links.note)
    flips = int(np.sum(tables["sensitivity"]["flips"]))
    lines.append(f"sensitivity: the winner changes in {flips} of {len(tables['sensitivity'])} rows")
    return lines
