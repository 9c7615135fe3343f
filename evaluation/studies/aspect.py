"""An aspect: a named set of classes of entries, by rule or by list, whose mean is a number.

A study's file and a configuration declare aspects (`aspects: {pet: {modalities: [pet]}}`); every
run has a table, a figure and a column of the leaderboard of those that it holds classes of.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Annotated, Literal

from pydantic import Field

from evaluation.classes.modality import Modality
from evaluation.files.records import Record

AspectId = Annotated[str, Field(pattern=r"^[a-z0-9]+([ _-][a-z0-9]+)*$", max_length=64)]


class Below(Record):
    """Classes that one model of the run does poorly.

    Its mean of an entry's class is under `value`, in the metric's own unit, at its lowest tolerance
    if it has one, over all test scans that show the class, in the space of the numbers.
    """

    model: str
    value: float = Field(allow_inf_nan=False)
    metric: str = "dsc"


class Aspect(Record):
    """Which classes of which entries; a class is in it if it meets all that is given.

    `entries` are ids; `classes` names those of an entry that count, where not all do; `modalities`
    are of scans, `regions` of classes (anatomical, or `lesion`). The mean is that of all its
    classes, each of each entry once, or of its entries' means.
    """

    title: str = ""
    entries: tuple[str, ...] = ()
    classes: dict[str, tuple[str, ...]] = Field(default={})
    modalities: tuple[Modality, ...] = ()
    regions: tuple[str, ...] = ()
    below: Below | None = None
    mean_over: Literal["classes", "entries"] = "classes"

    def holds(
        self,
        dataset: str,
        name: str,
        modality: str,
        region: str,
        poor: Set[tuple[str, str]] | None = None,
    ) -> bool:
        """Whether a class of an entry is in it.

        Args:
            dataset: entry id.
            name: of the class.
            modality: of the entry's scans.
            region: of the class.
            poor: (entry, class) that are `below`; None: do not ask.
        """
        return (
            (not self.entries or dataset in self.entries)
            and name in self.classes.get(dataset, (name,))
            and (not self.modalities or modality in self.modalities)
            and (not self.regions or region in self.regions)
            and (self.below is None or poor is None or (dataset, name) in poor)
        )
