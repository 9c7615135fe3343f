"""What comes after an upstream training: which models of a run stand beside which."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from evaluation.models.card import find_model
from evaluation.models.presets import preset_in_use
from evaluation.protocol import Protocol
from evaluation.variants import trainings
from reports.source.measures import Measure
from reports.source.run import RunSource


@dataclass(frozen=True)
class SharePoint:
    """One start at one share on one entry: values of all its draws and seeds, in printed units."""

    model: str
    upstream: bool
    dataset: str
    percent: float
    values: tuple[float, ...]

    @property
    def start(self) -> str:
        """In words, for rows and legends."""
        return f"{find_model(self.model).title}, from {'upstream' if self.upstream else 'scratch'}"


def share_points(source: RunSource, protocol: Protocol, measure: Measure) -> list[SharePoint]:
    """Every start, entry and share of a run's variants with the change `share`."""
    frame = source.pick("dataset", protocol)
    if frame is None:
        return []
    frame = frame[frame["measure"] == measure.key]
    groups: dict[tuple[str, bool, str, float], list[float]] = defaultdict(list)
    for model, training in trainings(source.config.variants).items():
        changes = training.settings.changes
        if "share" not in changes:
            continue
        trained = changes.get("entries") or list(source.dataset_cards)
        part = 100 * float(changes["share"]["part"])
        for dataset in trained:
            found = frame[(frame["model"] == model) & (frame["dataset"] == dataset)]["value"]
            key = training.settings.model, "upstream" in changes, dataset, part
            groups[key] += [float(measure.scaled(v)) for v in found.dropna()]
    points = [SharePoint(*key, tuple(values)) for key, values in groups.items()]
    return sorted(points, key=lambda p: (p.dataset, p.model, not p.upstream, p.percent))


def after_upstream(source: RunSource) -> Iterator[tuple[str, list[str]]]:
    """(upstream as it is, trainings that started from it and saw all patients) of a run."""
    before: dict[str, str] = {}
    later: dict[str, list[str]] = defaultdict(list)
    for model, training in trainings(source.config.variants).items():
        changes = training.settings.changes
        upstream = changes.get("upstream") or {}
        checkpoint = str(upstream.get("checkpoint", ""))
        if upstream.get("trains") == "nothing":
            before[checkpoint] = model
        elif checkpoint and float(changes.get("share", {}).get("part", 1)) == 1:
            later[checkpoint].append(model)
    yield from ((model, later[checkpoint]) for checkpoint, model in before.items())


def answering(source: RunSource) -> Iterator[tuple[str, str, str]]:
    """(model, entry that it is never trained on, entry whose tasks answer for it) of a run."""
    for model in source.entrants:
        values = preset_in_use(source.paths, source.config, model)
        others = values.get("answers_as") if isinstance(values, dict) else None
        for dataset, other in (others or {}).items():
            if dataset in source.dataset_cards:
                yield model, dataset, other
