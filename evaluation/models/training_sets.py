"""Which scans a model has been trained on, as its card says, seen from a run's splits.

`trained_on` of a card names datasets: `run` for all training sides of the run, a dataset's id for
its training side as the run divides it, `<study>/<dataset>` for the training side of a study's
list. A run of another study tests other scans of the same dataset: some of them were trained on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import reduce

from evaluation.datasets.splits import committed_split, dividing_study
from evaluation.models.card import ModelCard
from evaluation.studies.record import Study, find_study


@dataclass(frozen=True)
class TrainingSets:
    """What was trained on.

    Args:
        entries: datasets of which the run's own training side was, or may have been, trained on.
        patients: (dataset, patient) of another study's training and validation sides.
        unlisted: datasets of another study that draws its sides: nobody knows which scans.
    """

    entries: frozenset[str] = frozenset()
    patients: frozenset[tuple[str, str]] = frozenset()
    unlisted: frozenset[str] = frozenset()

    def __or__(self, other: TrainingSets) -> TrainingSets:
        return TrainingSets(
            self.entries | other.entries,
            self.patients | other.patients,
            self.unlisted | other.unlisted,
        )

    @property
    def datasets(self) -> frozenset[str]:
        """All datasets that scans of were trained on."""
        return self.entries | self.unlisted | {dataset for dataset, _ in self.patients}

    def has(self, dataset: str, patient: str, split: str) -> bool:
        """Whether a patient of the run, on this side of its split, was trained on."""
        return (split == "train" and dataset in self.entries) or (dataset, patient) in self.patients


def dataset_of(name: str) -> str:
    """The dataset of a name under `trained_on`."""
    return name.rpartition("/")[2]


def training_sets(names: Iterable[str], study: Study, entries: Collection[str]) -> TrainingSets:
    """What the names under `trained_on` stand for in a run.

    Args:
        names: of the card.
        study: of the run.
        entries: of the run.

    Raises:
        BenchError: a name is of no study.
    """
    return reduce(TrainingSets.__or__, (_one(n, study, entries) for n in names), TrainingSets())


def _one(name: str, study: Study, entries: Collection[str]) -> TrainingSets:
    if name == "run":
        return TrainingSets(entries=frozenset(entries))
    of_study, _, dataset = name.rpartition("/")
    here = dividing_study(dataset, study)
    if not of_study or (here is not None and here.id == of_study):
        return TrainingSets(entries=frozenset({dataset}))
    listed = committed_split(dataset, find_study(of_study))
    if listed is None:
        return TrainingSets(unlisted=frozenset({dataset}))
    seen = frozenset((dataset, row.patient) for row in listed if row.split != "test")
    return TrainingSets(patients=seen)


def card_training_sets(
    card: ModelCard | None, study: Study, entries: Collection[str]
) -> TrainingSets:
    """The same for a card; without one nothing is known: it may have seen all training sides."""
    return training_sets(card.trained_on if card else ("run",), study, entries)
