"""What a run asks for, by its configuration, study and cards: entries, classes, regions."""

from __future__ import annotations

from collections import Counter
from functools import cached_property

from evaluation.classes import LESION, REGIONS, UNASSIGNED, Key, Regions, region_of
from evaluation.config import RunConfig
from evaluation.datasets.card import DatasetCard, Split
from evaluation.datasets.regions import class_regions
from evaluation.datasets.registry import entry_ids, load_cards
from evaluation.datasets.scope import classes_in_scope
from evaluation.datasets.splits import split_rule
from evaluation.published import reproduces_paper
from evaluation.studies.aspect import Aspect
from evaluation.studies.record import About, Study, find_study


class RunScope:
    """The part of a run that is known before anything is scored."""

    config: RunConfig

    @cached_property
    def dataset_cards(self) -> dict[str, DatasetCard]:
        """Cards of all entries that the run asks for, in its order."""
        cards = load_cards()
        return {name: cards[name] for name in entry_ids(self.config) if name in cards}

    def dataset_title(self, dataset: str) -> str:
        """An entry's printed name."""
        card = self.dataset_cards.get(dataset) or load_cards().get(dataset)
        return card.title if card else dataset

    def split_of(self, card: DatasetCard) -> Split:
        """An entry's counts and rule in the run's study."""
        return split_rule(card, self.study)

    @cached_property
    def asked_classes(self) -> list[Key]:
        """Classes of the run's entries as (modality, name), sorted; data or not."""
        return sorted(
            {
                (modality, entry.name)
                for card in self.dataset_cards.values()
                for entry in classes_in_scope(card, self.config)
                for modality in card.modalities
            }
        )

    @cached_property
    def merged_classes(self) -> list[str]:
        """Names of the run's classes that several modalities have, sorted."""
        often = Counter(name for _, name in self.asked_classes)
        return sorted(name for name, n in often.items() if n > 1)

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

    @cached_property
    def study(self) -> Study:
        """The study of the run's configuration."""
        return find_study(self.config.study)

    @cached_property
    def aspects(self) -> dict[str, Aspect]:
        """Aspects that the study and the run's configuration declare, by id."""
        return self.study.aspects | self.config.aspects

    @cached_property
    def reproduces_study(self) -> bool:
        """Whether the run is the study's comparison: then its tables have the printed numbers."""
        return reproduces_paper(self.config)

    def numbered(self, about: About, title: str) -> str:
        """A table's title, with the document's number of it where the run is the study's."""
        head = self.study.head_of(about) if self.reproduces_study else ""
        return f"{head}: {title[0].lower()}{title[1:]}" if head else title

    def printed_notes(self, about: About) -> tuple[str, ...]:
        """What to know of the document's own table, where the run is the study's."""
        tables = self.study.tables_about(about) if self.reproduces_study else ()
        return tuple(table.note for table in tables if table.note)
