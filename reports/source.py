"""Everything that a renderer reads: a run's tables, cards and published numbers, and nothing else.

A table that is missing is None, and every renderer says "not available" for it. Rows of phantoms
and of real scans never meet: a run whose tables disagree about `data_kind` is refused.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from evaluation.classes import LESION, REGIONS, UNASSIGNED, Key, Regions, region_of
from evaluation.config import RunConfig, load_frozen
from evaluation.datasets.card import DatasetCard
from evaluation.datasets.regions import class_regions
from evaluation.datasets.registry import entry_ids, load_cards
from evaluation.datasets.scope import classes_in_scope
from evaluation.errors import BenchError
from evaluation.files.tables import read_table
from evaluation.models.card import ModelCard, model_cards
from evaluation.paths import RunPaths
from evaluation.published import published_for, reproduces_paper
from evaluation.schema import TABLES
from evaluation.studies.record import Study, find_study
from evaluation.tables.comparison import MIN_PATIENTS, TOO_SMALL
from evaluation.tables.run_tables import expected_of
from evaluation.tables.scores import score_files

SPACE_WORDS = {
    "native": "native grid",
    "resampled": "1×1×3 mm grid",
    "own": "the model's own grid",
}
VIEW_WORDS = {"paper": "all test cases", "clean": "test cases without a link to a training scan"}


@dataclass(frozen=True)
class Protocol:
    """Under which choices a number was made; every caption says it in words."""

    policy: str = "present-only"
    space: str = "native"
    tolerance_mm: float = 1.0
    view: str = "paper"
    coverage: str = "supported"
    aggregation: str = "macro"

    @property
    def short(self) -> str:
        """For a column head: `native, present-only`."""
        space = {"native": "native", "resampled": "1×1×3 mm", "own": "own grid"}[self.space]
        return f"{space}, {self.policy}"

    @property
    def words(self) -> str:
        """For a caption."""
        coverage = {
            "supported": "",
            "common": "; only classes that every model supports",
            "zero": "; unsupported classes count 0",
        }[self.coverage]
        return (
            f"Scored on {SPACE_WORDS[self.space]}, empty-mask policy {self.policy}, "
            f"NSD tolerance {self.tolerance_mm:g} mm, {VIEW_WORDS[self.view]}{coverage}."
        )


@dataclass(frozen=True)
class RunSource:
    """A run as the renderers see it.

    Args:
        paths: where it lies.
        config: its effective configuration.
        tables: every result table that is there, by name.
        published: published numbers that may stand beside this run's (columns of `PUBLISHED`,
            ours where they exist).
        not_run: entry → reason.
    """

    paths: RunPaths
    config: RunConfig
    tables: dict[str, pd.DataFrame]
    published: pd.DataFrame
    not_run: dict[str, str] = field(default_factory=dict)

    @cached_property
    def models(self) -> list[str]:
        """Models with at least one aggregated row, in the order of the configuration."""
        overall = self.tables.get("overall")
        found = set() if overall is None else set(overall["model"])
        return [m for m in self.config.models if m in found] + sorted(
            found - set(self.config.models)
        )

    @cached_property
    def model_cards(self) -> dict[str, ModelCard]:
        """Cards of the run's models (a model without a card is shown by its id)."""
        return model_cards(self.models)

    @property
    def entrants(self) -> list[str]:
        """Models that compete: not the controls."""
        return [m for m in self.models if not self.is_control(m)]

    @property
    def shown(self) -> list[str]:
        """Models of the paper-ready tables and figures: the entrants, or controls if alone."""
        return self.entrants or self.models

    def is_control(self, model: str) -> bool:
        """Whether a model is a control (oracle, empty, ...)."""
        card = self.model_cards.get(model)
        return card is not None and card.role == "control"

    def parameters(self, model: str) -> tuple[float, int] | None:
        """Number of weights and of networks: the cost table's, else the card's.

        A card speaks of the released form: under a preset of another size it says nothing.
        """
        cost = self.table("cost")
        if cost is not None:
            rows = cost[(cost["model"] == model) & (cost["parameters"] > 0)]
            if len(rows):
                return float(rows["parameters"].iloc[0]), int(rows["networks"].iloc[0])
        card = self.model_cards.get(model)
        if card is None or not card.parameters or model in self.config.presets:
            return None
        return float(card.parameters), 1

    @property
    def presets(self) -> str:
        """For captions: which models ran under a preset, as a sentence (empty if none)."""
        words = [f"{self.model_title(m)} {p}" for m, p in self.config.presets.items()]
        return f"Presets: {', '.join(words)}. " if words else ""

    def model_title(self, model: str) -> str:
        """A model's printed name."""
        card = self.model_cards.get(model)
        return card.title if card else model

    @cached_property
    def dataset_cards(self) -> dict[str, DatasetCard]:
        """Cards of all entries that the run asks for, in its order."""
        cards = load_cards()
        names = entry_ids(self.config)
        return {name: cards[name] for name in names if name in cards}

    @cached_property
    def study(self) -> Study:
        """The study that the run is of."""
        return find_study(self.config.study)

    @cached_property
    def reproduces_paper(self) -> bool:
        """Whether the run is the paper's comparison: then its tables have the paper's numbers."""
        return reproduces_paper(self.config)

    def numbered(self, number: int, title: str) -> str:
        """A table's title, with its number in the paper where the run is the paper's."""
        return f"Table {number}: {title[0].lower()}{title[1:]}" if self.reproduces_paper else title

    @cached_property
    def asked_classes(self) -> list[Key]:
        """Classes of the run's entries as (modality, name), sorted; data or not."""
        return sorted(
            {
                (card.modality, entry.name)
                for card in self.dataset_cards.values()
                for entry in classes_in_scope(card, self.config)
            }
        )

    @cached_property
    def _card_regions(self) -> Regions:
        return class_regions(self.dataset_cards.values())

    def region_of(self, modality: str, name: str) -> str:
        """A class's region in the anatomical scheme (`unassigned` if it has none)."""
        return region_of(modality, name, own=self._card_regions)

    @cached_property
    def regions(self) -> list[str]:
        """Regions of the classes that the run asks for, in the usual order, `unassigned` last."""
        found = {self.region_of(*key) for key in self.asked_classes}
        return [r for r in (*REGIONS, LESION, UNASSIGNED) if r in found]

    @property
    def left_out_of_regions(self) -> str:
        """How many classes no mean over regions holds, as a sentence (empty if none)."""
        lost = [key for key in self.asked_classes if self.region_of(*key) == UNASSIGNED]
        return (
            f"Means over regions leave out {len(lost)} of {len(self.asked_classes)} classes, "
            "which have no region."
            if lost
            else ""
        )

    def dataset_title(self, dataset: str) -> str:
        """An entry's printed name."""
        card = self.dataset_cards.get(dataset) or load_cards().get(dataset)
        return card.title if card else dataset

    def table(self, name: str) -> pd.DataFrame | None:
        """A result table, or None if its maker has not written it."""
        return self.tables.get(name)

    def collection(self, name: str) -> pd.DataFrame | None:
        """Statistics of the run's cases (`entries`, `classes`, `regions`) if they were collected.

        The first column is the index.
        """
        path = self.paths.root / "collection" / f"{name}.csv"
        return pd.read_csv(path, index_col=0) if path.is_file() else None

    def pick(self, name: str, protocol: Protocol) -> pd.DataFrame | None:
        """The rows of a table under one protocol; None if there are none."""
        frame = self.tables.get(name)
        if frame is None:
            return None
        keep = pd.Series(data=True, index=frame.index)
        for column in ("policy", "space", "tolerance_mm", "view", "coverage", "aggregation"):
            if column in frame.columns:
                keep &= frame[column] == getattr(protocol, column)
        found = frame[keep]
        return found if len(found) else None

    def overall_ranks(self, protocol: Protocol) -> pd.DataFrame | None:
        """Overall ranks of the entrants (controls are never ranked)."""
        frame = self.pick("ranks", protocol)
        return None if frame is None else frame[frame["scope"] == "overall"]

    @cached_property
    def protocols(self) -> list[Protocol]:
        """Headline and paper protocol, as far as the run was scored in their spaces.

        The headline ranks (native grid, present-only). The paper's protocol (1x1x3 mm grid,
        `paper` policy) stands beside published numbers.
        """
        overall = self.tables.get("overall")
        if overall is None:
            return []
        spaces = set(overall["space"])
        tolerances = sorted(set(overall["tolerance_mm"]), key=lambda t: (t != 1.0, t))
        tolerance = tolerances[0]
        found = []
        headline = Protocol(tolerance_mm=tolerance)
        if "native" in spaces:
            found.append(headline)
        elif spaces:
            found.append(replace(headline, space=min(spaces)))
        paper = replace(headline, space="resampled", policy="paper")
        if "resampled" in spaces and self.pick("overall", paper) is not None:
            found.append(paper)
        return found

    def suffix(self, protocol: Protocol) -> str:
        """For file names: empty for the headline, else such as `_resampled_paper`."""
        if protocol == self.protocols[0]:
            return ""
        return f"_{protocol.space}_{protocol.policy.replace('-', '_')}"

    @property
    def kind(self) -> str:
        """For captions: that patients are virtual, as a sentence (empty for real scans)."""
        synthetic = self.config.data_kind == "synthetic"
        return "Virtual patients (phantoms), not real scans. " if synthetic else ""

    @cached_property
    def notes(self) -> dict[str, Any]:
        """What `aggregate` wrote to stand beside the numbers: `links`, `lines`."""
        if not self.paths.notes.is_file():
            return {"links": "", "lines": []}
        found: dict[str, Any] = json.loads(self.paths.notes.read_text(encoding="utf-8"))
        return found

    def few(self, rows: pd.DataFrame) -> str:
        """For captions: how many of these intervals or ranks rest on too few patients."""
        marked = int((rows["note"] != "").sum())
        if not marked:
            return ""
        size = "" if marked == len(rows) else f" {marked} of {len(rows)}"
        return f" {TOO_SMALL.capitalize()} (below {MIN_PATIENTS} independent patients):{size}."

    def how(self, protocol: Protocol) -> str:
        """For a figure's caption: data kind, protocol, and how much stands behind it."""
        overall = self.pick("overall", protocol)
        size = ""
        if overall is not None:
            rows = overall[(overall["statistic"] == "entries") & overall["model"].isin(self.shown)]
            scans, patients, classes = (
                _range(rows[name]) for name in ("n_cases", "n_patients", "n_classes")
            )
            size = (
                f" n: {scans} of {_range(rows['n_cases_expected'])} scans, {patients} patients, "
                f"{classes} of {_range(rows['n_classes_expected'])} classes of entries."
            )
        links = f" {self.notes['links']}" if self.notes["links"] else ""
        return f"{self.kind}{self.presets}{protocol.words}{size}{links}"

    @property
    def implementation(self) -> str:
        """Which code measured, for captions: `satbench 1.0 (surface elements)`."""
        expected = expected_of(self.paths.root, self.config)[0]
        files = [path for parts in score_files(self.paths, expected).values() for path in parts]
        names: set[str] = set()
        for path in files[:4]:
            rows = read_table(
                path, TABLES["scores"], ["implementation", "version"], categories=True
            ).drop_duplicates()
            names |= {f"{r.implementation} {r.version}" for r in rows.itertuples()}
        return ", ".join(sorted(names)) or "implementation not recorded"


def _range(counts: pd.Series) -> str:
    low, high = int(counts.min()), int(counts.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def load_source(run: Path) -> RunSource:
    """Read a run's tables and what belongs to them.

    Raises:
        BenchError: no run there, no aggregated tables yet, or tables of both data kinds.
    """
    paths = RunPaths(run)
    config = load_frozen(run)
    tables = {
        name: read_table(paths.table(name), table)
        for name, table in TABLES.items()
        if name not in ("scores", "published") and paths.table(name).is_file()
    }
    if "overall" not in tables:
        raise BenchError(
            "this run has no aggregated tables",
            file=paths.table("overall"),
            hint=f"run `satbench aggregate --run {run}` first",
        )
    refuse_mixture(tables, config.data_kind, run)
    printed = paths.table("published")
    numbers = (
        read_table(printed, TABLES["published"]) if printed.is_file() else published_for(config)
    )
    return RunSource(paths, config, tables, numbers, _not_run(paths))


def refuse_mixture(tables: dict[str, pd.DataFrame], data_kind: str, run: Path) -> None:
    """Stop if any row is of another data kind than the run.

    Raises:
        BenchError: names the table and what was found.
    """
    for name, frame in tables.items():
        kinds = set(frame["data_kind"].unique()) if "data_kind" in frame.columns else set()
        if kinds - {data_kind}:
            raise BenchError(
                "synthetic and real results never stand on one board",
                file=RunPaths(run).table(name),
                found=f"data_kind {', '.join(sorted(kinds))}",
                expected=f"only {data_kind}, as the run's configuration says",
                hint="keep the two in runs of different names and report each",
            )


def _not_run(paths: RunPaths) -> dict[str, str]:
    if not paths.not_run.is_file():
        return {}
    with paths.not_run.open(newline="", encoding="utf-8") as stream:
        return {row["dataset"]: row["reason"] for row in csv.DictReader(stream)}
