"""A run as the renderers see it: what its tables and cards say, under one protocol.

A table that is missing is None, and every renderer says "not available" for it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import Any

import pandas as pd

from evaluation.config import RunConfig
from evaluation.files.reading import frame_of, mapping_of
from evaluation.files.tables import read_table
from evaluation.models.card import ModelCard, model_cards
from evaluation.models.presets import preset_words, title_with_preset
from evaluation.paths import RunPaths
from evaluation.protocol import HEADLINE, Protocol
from evaluation.schema import TABLES
from evaluation.tables.run_tables import expected_of
from evaluation.tables.scores import score_files
from reports.layout.naming import alike
from reports.source.measures import Measure, measures_of, with_measure
from reports.source.scope import RunScope

Rows = Mapping[tuple[str, ...], Mapping[str, Any]]
"""Rows of a result table by (measure, further keys)."""


def rows_by(frame: pd.DataFrame, *keys: str) -> Rows:
    """A table's rows by their measure and other columns, as text."""
    names = frame[["measure", *keys]].astype(str).itertuples(index=False, name=None)
    rows: Any = frame.to_dict("records")
    return dict(zip(names, rows, strict=True))


@dataclass(frozen=True)
class RunSource(RunScope):
    """A run as the renderers see it.

    Args:
        paths: where it lies.
        config: its effective configuration.
        tables: every result table that is there, by name.
        published: published numbers that may stand beside this run's (columns of `PUBLISHED`,
            ours where they exist).
        not_run: entry → reason.
        asked_for: models that figures show whatever their rank.
    """

    paths: RunPaths
    config: RunConfig
    tables: dict[str, pd.DataFrame]
    published: pd.DataFrame
    not_run: dict[str, str] = field(default_factory=dict)
    asked_for: tuple[str, ...] = ()

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

    def model_title(self, model: str) -> str:
        """A model's printed name, with its id where another model of the run has the same."""
        return self._titles.get(model, model)

    @cached_property
    def _titles(self) -> dict[str, str]:
        titles = {
            m: title_with_preset(self.paths, self.config, card)
            for m, card in self.model_cards.items()
        }
        often = Counter(alike(titles.get(m, m)) for m in self.models)
        return {m: f"{t} [{m}]" if often[alike(t)] > 1 else t for m, t in titles.items()}

    def preset_words(self, model: str) -> str:
        """What the model says of its preset: the knowledge that it had, for instance."""
        card = self.model_cards.get(model)
        return "" if card is None else preset_words(self.paths, self.config, card)

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

    @cached_property
    def measures(self) -> tuple[Measure, ...]:
        """The metrics of the run, each at each of its tolerances."""
        overall = self.tables.get("overall")
        return () if overall is None else measures_of(overall)

    def alike(self, measure: Measure) -> tuple[Measure, ...]:
        """The measures of the same scans and classes: only some classes are counted one by one."""
        single = measure.metric.needs_instances
        return tuple(m for m in self.measures if m.metric.needs_instances == single)

    @property
    def ranked(self) -> tuple[Measure, ...]:
        """Measures with a direction, by which models compete."""
        return tuple(m for m in self.measures if m.better)

    @property
    def lead(self) -> Measure:
        """The measure that orders models and chooses cases: the first with a direction."""
        return (*self.ranked, *self.measures)[0]

    @cached_property
    def _measured(self) -> dict[str, pd.DataFrame]:
        return {
            name: with_measure(frame, self.measures) if "metric" in frame else frame
            for name, frame in self.tables.items()
        }

    def table(self, name: str) -> pd.DataFrame | None:
        """A result table, or None if its maker has not written it.

        A table of scores says in `measure` by which key of `measures` a row was made.
        """
        return self._measured.get(name)

    def pick(self, name: str, protocol: Protocol) -> pd.DataFrame | None:
        """The rows of a table under one protocol, at all tolerances; None if there are none."""
        frame = self.table(name)
        if frame is None:
            return None
        found = replace(protocol, tolerance_mm=math.nan).rows(frame)
        return found if len(found) else None

    def region_means(self, protocol: Protocol) -> pd.DataFrame | None:
        """Means by region in the protocol's scheme and composition."""
        frame = self.pick("region", protocol)
        if frame is None:
            return None
        chosen = (frame["scheme"] == protocol.scheme) & (
            frame["composition"] == protocol.composition
        )
        return frame[chosen]

    def overall_ranks(self, protocol: Protocol) -> pd.DataFrame | None:
        """Overall ranks of the entrants (controls are never ranked)."""
        frame = self.pick("ranks", protocol)
        return None if frame is None else frame[frame["scope"] == "overall"]

    def collection(self, name: str) -> pd.DataFrame | None:
        """Statistics of the run's cases (`entries`, `classes`, `regions`) if they were collected.

        The first column is the index.
        """
        path = self.paths.collection(name)
        return frame_of(path, index_col=0) if path.is_file() else None

    @cached_property
    def protocols(self) -> list[Protocol]:
        """Headline and study protocol, as far as the run was scored in their spaces.

        The headline ranks (native grid, present-only). The study's protocol stands beside its
        published numbers.
        """
        overall = self.tables.get("overall")
        if overall is None:
            return []
        spaces = set(overall["space"])
        theirs = self.study_protocol
        found = [HEADLINE if "native" in spaces else replace(HEADLINE, space=min(spaces))]
        if theirs not in found and self.pick("overall", theirs) is not None:
            found.append(theirs)
        return found

    @property
    def study_protocol(self) -> Protocol:
        """What the study's published numbers were scored by."""
        theirs = self.study.protocol
        return replace(HEADLINE, space=theirs.space, policy=theirs.policy)

    def own_grid(self, protocol: Protocol) -> tuple[Protocol, list[str]]:
        """The study's protocol on the models' own grids, and whom it concerns.

        Those are models whose printed numbers are from there and that the run measured there; under
        another protocol than the study's, nobody.
        """
        own, theirs = replace(protocol, space="own"), self.study.protocol
        frame = self.pick("overall", own)
        if (protocol.space, protocol.policy) != (theirs.space, theirs.policy) or frame is None:
            return own, []
        measured = set(frame["model"])
        known = self.study.models
        return own, [
            m for m in self.shown if m in known and known[m].space == "own" and m in measured
        ]

    def own_rows(self, protocol: Protocol, table: str, *keys: str) -> Rows:
        """Rows of a table for `own_grid`, by (measure, further keys)."""
        own, models = self.own_grid(protocol)
        frame = self.region_means(own) if table == "region" else self.pick(table, own)
        return rows_by(frame, *keys) if models and frame is not None else {}

    def suffix(self, protocol: Protocol) -> str:
        """For file names: empty for the headline, else such as `_resampled_paper`."""
        if protocol == self.protocols[0]:
            return ""
        return f"_{protocol.space}_{protocol.policy.replace('-', '_')}"

    @cached_property
    def notes(self) -> dict[str, Any]:
        """What `aggregate` wrote to stand beside the numbers: `links`, `lines`."""
        return {"links": "", "lines": [], **mapping_of(self.paths.notes)}

    @cached_property
    def implementation(self) -> str:
        """Which code measured, by all score files: `satbench 1.0 (surface elements)`."""
        expected = expected_of(self.paths.root, self.config)[0]
        names: set[str] = set()
        for path in chain.from_iterable(score_files(self.paths, expected).values()):
            columns = ["implementation", "version", "definition"]
            rows = read_table(path, TABLES["scores"], columns, categories=True).drop_duplicates()
            for code, release, definition in rows.astype(str).itertuples(index=False, name=None):
                surfaces = f" ({definition} surfaces)" if definition else ""
                names.add(f"{code} {release}{surfaces}")
        return ", ".join(sorted(names)) or "implementation not recorded"
