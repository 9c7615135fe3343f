"""`satbench aggregate`: a run's score rows in, all of its tables out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import nan
from pathlib import Path

import numpy as np
import pandas as pd

from evaluation.config import RunConfig, load_frozen
from evaluation.datasets.card import DatasetCard
from evaluation.datasets.gaps import Gap, case_rows, find_gap, planned_tests
from evaluation.datasets.overlaps import overlaps_of
from evaluation.datasets.regions import class_regions, counted_one_by_one
from evaluation.datasets.registry import entry_ids, load_cards
from evaluation.datasets.scope import classes_in_scope
from evaluation.datasets.sharding import n_test_shards, read_split
from evaluation.datasets.splits import SplitRow, split_gap
from evaluation.errors import BenchError
from evaluation.files.card_places import shows_run
from evaluation.files.reading import rows_of
from evaluation.files.writing import write_json
from evaluation.metrics.catalogue import find_metric
from evaluation.models.card import model_cards
from evaluation.models.training_sets import TrainingSets, card_training_sets
from evaluation.paths import RunPaths
from evaluation.protocol import HEADLINE
from evaluation.published import claims_for, published_beside_ours, published_for
from evaluation.runs.carrying import edited_cards
from evaluation.runs.declared import leftovers_of
from evaluation.schema import AUDIT, TABLES, read_table, write_table
from evaluation.studies.record import Study, find_study
from evaluation.tables.aggregate import aggregate
from evaluation.tables.aspects import poor_classes
from evaluation.tables.building import build_grids
from evaluation.tables.completeness import completeness, lines_of_models_not_run
from evaluation.tables.confusions import confusion_table
from evaluation.tables.decisions import decide
from evaluation.tables.grid import ScoreGrid
from evaluation.tables.lesion_volumes import lesion_volumes
from evaluation.tables.scores import Expected, join_shards, load_rows
from evaluation.tables.sensitivity import sensitivity
from evaluation.tables.statistics import N_BOOTSTRAPS
from evaluation.tables.views import Links, find_links

MADE_HERE = (
    "dataset", "dataset_class", "class", "region", "lesion", "aspect", "overall", "ranks", "pairs",
    "sensitivity", "completeness", "confusions", "lesion_volumes", "published", "claims",
)  # fmt: skip


def expected_of(run: Path, config: RunConfig | None = None) -> tuple[Expected, Links]:
    """What a run should hold, from its configuration, cards, splits and list of missing data.

    Args:
        run: run folder.
        config: its configuration; default: read from the folder.
    """
    paths, config = RunPaths(run), config or load_frozen(run)
    cards = _cards(config)
    not_run = {}
    if paths.not_run.is_file():
        rows = rows_of(paths.not_run, ("dataset", "reason"))
        not_run = {row["dataset"]: row["reason"] for row in rows}
    splits, n_shards, gaps = {}, {}, {}
    for card in cards:
        n_shards[card.id], gaps[card.id] = _plan_of(card, config)
        if paths.split(card.id).is_file() and card.id not in not_run:
            splits[card.id] = pd.DataFrame(map(asdict, read_split(paths, card.id)))
            gaps[card.id] = _gap(paths, config, card, splits[card.id])
    expected = Expected(
        data_kind=config.data_kind,
        models=tuple(config.models),
        entries=tuple(card.id for card in cards),
        classes={
            card.id: {c.name: c.kind == "annotated" for c in classes_in_scope(card, config)}
            for card in cards
        },
        modalities={card.id: card.modalities for card in cards},
        splits=splits,
        not_run=not_run,
        spaces=tuple(config.space),
        tolerances_mm=tuple(config.tolerance_mm),
        n_shards=n_shards,
        planned={name: gap.expected for name, gap in gaps.items()},
        gaps={name: gap.words for name, gap in gaps.items() if gap.lacking},
        regions=class_regions(cards),
        single={card.id: counted_one_by_one(card) for card in cards},
        metrics=tuple(config.metrics),
        aspects=find_study(config.study).aspects | config.aspects,
    )
    trained = trained_of(expected.models, expected.entries, find_study(config.study))
    return expected, find_links(splits, _audit(paths, splits), overlaps_of(cards), trained)


def trained_of(models: Sequence[str], entries: Sequence[str], study: Study) -> TrainingSets:
    """What the compared models were trained on, by their cards.

    Controls do not compete, so only where there is nothing else do they count. Of a model
    without a card nothing is known: it may have seen them all.
    """
    cards = model_cards(models)
    entrants = [m for m in models if m not in cards or cards[m].role != "control"]
    found = TrainingSets()
    for model in entrants or models:
        found |= card_training_sets(cards.get(model), study, entries)
    return found


def _plan_of(card: DatasetCard, config: RunConfig) -> tuple[int, Gap]:
    """Number of shards of an entry's test cases, and of the cases, before any is read."""
    try:
        return n_test_shards(card, config), Gap(planned_tests(card, config))
    except BenchError:
        # No virtual patients are made of this entry: scores that were brought in, without a plan.
        return 1, Gap(0)


def _gap(paths: RunPaths, config: RunConfig, card: DatasetCard, split: pd.DataFrame) -> Gap:
    """Planned test cases of an entry that are not in its split."""
    sides = dict(zip(split["case"], split["split"], strict=True))
    rows = case_rows(paths, config, card)
    if not rows:
        # Without a record of the raw cases (an imported run), the split is all that is known.
        return Gap(sum(side == "test" for side in sides.values()))
    return find_gap(card, config, rows, sides, "test")


def _audit(paths: RunPaths, splits: Mapping[str, pd.DataFrame]) -> pd.DataFrame | None:
    """The audit's links between entries of this run; it may know some that were dropped since."""
    path = paths.table("audit")
    if not path.is_file():
        return None
    audit = read_table(path, AUDIT)
    return audit[audit["dataset"].isin(splits) & audit["other_dataset"].isin(splits)]


def _cards(config: RunConfig) -> list[DatasetCard]:
    cards = load_cards()
    return [cards[name] for name in entry_ids(config) if name in cards]


@dataclass(frozen=True)
class RunGrids:
    """Score rows of a run as grids, `native` first: of all models, and of the entrants alone.

    Means are given for every model, controls included; models are ranked and compared without
    the controls, which an oracle would lead.
    """

    all_models: list[ScoreGrid]
    entrants: list[ScoreGrid]
    expected: Expected
    links: Links


def load_grids(run: Path) -> RunGrids:
    """Score rows of a run, with what was expected and what is linked.

    Raises:
        BenchError: the run has no score rows at all.
    """
    paths = RunPaths(run)
    expected, links = expected_of(run)
    rows = load_rows(paths, expected)
    if rows.empty:
        raise BenchError(
            "this run has no score rows of what it declares",
            file=paths.root / "scores",
            expected=f"models {', '.join(expected.models)}; tolerances in mm "
            f"{', '.join(f'{t:g}' for t in expected.tolerances_mm)}; spaces "
            f"{', '.join(expected.spaces)}",
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
    loaded = load_grids(run)
    grids, expected, links = loaded.all_models, loaded.expected, loaded.links
    left_out = join_shards(paths, expected)
    config = load_frozen(run)
    if seed is None:
        seed = config.seed
    parts: dict[str, list[pd.DataFrame]] = {name: [] for name in MADE_HERE}
    poor = poor_classes(grids, expected)
    for grid in grids:
        for name, frame in aggregate(grid, expected, poor[grid.space]).items():
            parts[name].append(frame)
    tables = {
        name: pd.concat(frames, ignore_index=True) for name, frames in parts.items() if frames
    }
    tables.setdefault("aspect", TABLES["aspect"].empty())
    tables |= decide(loaded.entrants, expected, n_draws, seed=seed)
    tables["sensitivity"] = sensitivity(
        tables, {m for grid in loaded.entrants for m in grid.models}
    )
    tables["completeness"] = completeness(grids, expected)
    study = find_study(config.study)
    tables["confusions"] = confusion_table(paths, expected)
    tables["lesion_volumes"] = lesion_volumes(paths, expected)
    tables["published"] = published_beside_ours(study, published_for(config), tables)
    tables["claims"] = claims_for(config)
    for name in MADE_HERE:
        write_table(paths.table(name), tables[name], TABLES[name])
    notes = [*links.lines, *_gaps(config, expected)]
    write_json(paths.notes, {"links": links.caption, "lines": notes})
    return [
        *_summary(tables, expected),
        *notes,
        *lines_of_models_not_run(grids, expected),
        *left_out,
        *leftovers_of(run),
        *edited_cards(paths),
    ]


def _gaps(config: RunConfig, expected: Expected) -> list[str]:
    """Entries that lack planned cases, and drawn splits that miss their card's counts."""
    lines = [f"{name}: {words}" for name, words in sorted(expected.gaps.items())]
    for card in _cards(config):
        if config.data_kind == "real" and card.id in expected.splits:
            frame = expected.splits[card.id][["case", "patient", "split"]]
            rows = [SplitRow(*row) for row in frame.itertuples(index=False)]
            if gap := split_gap(card, config, rows):
                lines.append(gap)
    return lines


def _summary(tables: Mapping[str, pd.DataFrame], expected: Expected) -> list[str]:
    overall = tables["overall"]
    lines = []
    for space in overall["space"].unique():
        headline = replace(HEADLINE, space=space, tolerance_mm=nan)
        rows = headline.rows(overall)
        rows = rows[rows["statistic"] == headline.statistic]
        for model, own in rows.groupby("model", sort=False):
            n = own.iloc[0]
            numbers = ", ".join(
                _number(*each)
                for each in zip(own["metric"], own["value"], own["tolerance_mm"], strict=True)
            )
            lines.append(
                f"{model}: {numbers} ({space}; {n.n_entries} of {n.n_entries_expected} entries, "
                f"{n.n_classes} of {n.n_classes_expected} classes, "
                f"{n.n_cases} of {n.n_cases_expected} scans, {n.n_missing} values missing)"
            )
    lines += [f"not run: {name}: {why}" for name, why in sorted(expected.not_run.items())]
    changes = tables["sensitivity"]
    if len(changes):
        flips = int(np.sum(changes["flips"]))
        lines.append(f"sensitivity: the winner changes in {flips} of {len(changes)} rows")
    return lines


def _number(name: str, value: float, tolerance_mm: float) -> str:
    """Such as `NSD 0.8123 at 1 mm`."""
    metric = find_metric(name)
    unit = f" {metric.unit}" if metric.unit else ""
    at = f" at {tolerance_mm:g} mm" if metric.has_tolerance else ""
    return f"{metric.title} {value:.4f}{unit}{at}"
