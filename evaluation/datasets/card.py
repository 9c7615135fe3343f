"""A dataset card: everything about one dataset, as one typed record.

A card is a YAML file in `evaluation/datasets/cards/` (or in a folder that a run's configuration
names). Unknown keys are refused. New Python is needed only for a new file layout (a reader).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from evaluation.classes.entry import ClassEntry
from evaluation.classes.modality import Modality
from evaluation.classes.regions import UNASSIGNED, region_of
from evaluation.datasets.raters import RaterMasks
from evaluation.files.expressions import Expression, WithGroup, within_patience
from evaluation.files.records import Card, Record
from evaluation.studies.record import StudyId
from evaluation.volumes.axes import AS_STORED, GridAxes

Slug = Annotated[str, Field(pattern=r"^[a-z0-9]+(_[a-z0-9]+)*$", max_length=64)]
Access = Literal["open", "registration", "agreement", "unavailable"]
SplitRule = Literal[
    "published", "repaired", "official", "seeded", "inherited", "listed", "leave-one-out", "none"
]  # fmt: skip


class Licence(Record):
    """Under which terms the data may be used; `verified` = read at the source."""

    name: str
    verified: bool
    note: str | None = None


class Source(Record):
    """Where to get it, and what to do there."""

    name: str
    where: str = Field(description="DOI, record number or site, as text")
    steps: str = Field(description="what to download and into which folder under raw_root")


class Share(Record):
    """A part of the training patients that a study also trains on, drawn several times."""

    part: float = Field(gt=0, le=1)
    draws: int = Field(default=1, ge=1)


class Split(Record):
    """Counts (cases) of the sides, and by which rule they come about.

    Validation cases choose checkpoints: they are neither trained on nor tested. Without any, a
    training holds some of its own patients out.
    """

    train: int = Field(ge=0)
    validation: int = Field(default=0, ge=0)
    test: int = Field(ge=0)
    rule: SplitRule = Field(
        description="repaired: the published list with a patient moved off the wrong side; "
        "listed: as a study's list has it; leave-one-out: the run's `fold` says which patient is "
        "tested, for counts of one fold; none: all cases are for testing"
    )
    shares: tuple[Share, ...] = Field(
        default=(), description="smaller training sides, each within the next larger one"
    )
    note: str | None = None

    @property
    def sides(self) -> dict[str, int]:
        """Cases of each side by its name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


def _below(pattern: str) -> str:
    if not pattern or PurePath(pattern).is_absolute() or ".." in PurePath(pattern).parts:
        raise ValueError(f"`{pattern}` is no pattern of names below the dataset's folder")
    return pattern


class CasePattern(Record):
    """What the names of some cases say of their scans: modality, sequence or both.

    `cases` is a regular expression that is looked for anywhere in the case's id. A scan is
    normalised and prompted by its own modality; tables file the whole entry under the card's.
    """

    cases: Expression
    modality: Modality | None = None
    sequence: str | None = Field(default=None, description="T1, T2, cine, ...")

    @model_validator(mode="after")
    def _says_something(self) -> CasePattern:
        if self.modality is None and self.sequence is None:
            raise ValueError(f"pattern `{self.cases}`: give modality, sequence or both")
        return self


class Specialist(Record):
    """One nnU-Net of the entry; `classes` are the annotated classes it covers (default: all)."""

    id: str = Field(pattern=r"^[a-z0-9]+(_[a-z0-9]+)*(-[a-z0-9]+)?$")
    classes: tuple[str, ...] | None = None


Pairs = tuple[tuple[str, str], ...]


class Overlap(Record):
    """An entry that shares scans with this one, or this entry itself.

    `verified` = a primary source confirms it, then equal patient ids of the two are one person.
    Single pairs of ids, of a case or a patient here and there, are `linked` (one person) or
    `not_linked` (looked at: two people; `all` = the entries share nobody).
    """

    dataset: Slug
    relation: str
    verified: bool
    linked: Pairs = ()
    not_linked: Pairs | Literal["all"] = ()


class DatasetCard(Card):
    """An entry of studies, or a user's own dataset.

    `folder` is looked for under `raw_root`. `expected_cases` counts scans (one sequence or frame
    = one case), `expected_patients` people. `unverified` lists, in words, what could not be
    confirmed in a primary source.
    """

    id: Slug
    title: str
    spellings: tuple[str, ...] = ()
    modality: Modality
    sequence: str | None = Field(
        default=None, description="of scans of which neither a pattern nor the reader says it"
    )
    case_patterns: tuple[CasePattern, ...] = Field(
        default=(), description="the first that fits a case decides what it says"
    )
    grid_axes: GridAxes = Field(
        default=AS_STORED,
        description="axis order of grids whose voxels are no cubes: `ASR` puts the long side of "
        "1 x 1 x 3 mm across sagittal slices, `slices-last` across each scan's own (oblique ones)",
    )
    regions: tuple[str, ...]
    has_anomaly: bool = False
    description: str
    licence: Licence
    access: Access
    source: Source
    citation: str
    folder: str
    markers: tuple[Annotated[str, AfterValidator(_below)], ...] = Field(
        default=(),
        description="glob patterns below `folder`, one of which must match, where several "
        "entries share a folder",
    )
    layout: str
    reader: str = Field(
        description="a reader's name in evaluation/datasets/readers, or module:object"
    )
    reader_args: dict[str, Any] = Field(default={})
    raters: RaterMasks | None = Field(
        default=None, description="where the masks of several raters lie, below `folder`"
    )
    classes: tuple[ClassEntry, ...]
    ignore_values: tuple[int, ...] = ()
    patient_pattern: WithGroup = Field(
        default=r"^(.*)$", description="regular expression; its first group is the patient id"
    )
    split: Split | None = Field(default=None, description="where a study has no rule for it")
    splits: dict[StudyId, Split] = Field(default={}, description="the rule of each study")
    expected_cases: int = Field(ge=0)
    expected_patients: int = Field(ge=0)
    exclude: dict[str, str] = Field(default={}, description="case id -> why it is left out")
    faults: tuple[str, ...] = ()
    overlaps: tuple[Overlap, ...] = ()
    specialists: tuple[Specialist, ...] = ()
    unverified: tuple[str, ...] = ()

    @field_validator("overlaps", mode="before")
    @classmethod
    def _of_scans(cls, value: object) -> object:
        listed = value if isinstance(value, list | tuple) else [value]
        if any(not isinstance(overlap, Mapping | Overlap) for overlap in listed):
            raise ValueError(
                "it names scans that are in two datasets or twice in one, each as {dataset, "
                "relation, verified}; classes need no word to overlap: let two of them have the "
                "same `values`, or files of their own"
            )
        return value

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """Modalities of its scans: the card's, then those that only patterns name."""
        named = (self.modality, *(p.modality for p in self.case_patterns if p.modality))
        return tuple(dict.fromkeys(named))

    def modality_of(self, case: str) -> Modality:
        """The modality of a case, by its name."""
        named = (pattern.modality for pattern in self._patterns_of(case))
        return next((modality for modality in named if modality), self.modality)

    def sequence_of(self, case: str, read: str | None = None) -> str | None:
        """The sequence of a case: by its name, else what the reader found, else the card's."""
        named = (pattern.sequence for pattern in self._patterns_of(case))
        return next((sequence for sequence in named if sequence), read or self.sequence)

    @property
    def sequences(self) -> tuple[str, ...]:
        """Sequences that `sequence_of` may find, as far as the card names them, in its order.

        One that only a file's name completes (`frame{frame}`) is left out.
        """
        named = [pattern.sequence for pattern in self.case_patterns]
        named += [read or self.sequence for read in self._sequences_read() or [None]]
        return tuple(dict.fromkeys(name for name in named if name and "{" not in name))

    def _sequences_read(self) -> list[str | None]:
        """What the reader says of each kind of scan: channels of a file, or scans of their own.

        A user's own reader may mean something else by these keys.
        """
        channels, scans, series = map(self.reader_args.get, ("channels", "scans", "series"))
        kinds = [k for kinds in (scans, series) if isinstance(kinds, list | tuple) for k in kinds]
        found = [kind.get("sequence") for kind in kinds if isinstance(kind, Mapping)]
        found += channels if isinstance(channels, list | tuple) else []
        return [name if isinstance(name, str) else None for name in found]

    def _patterns_of(self, case: str) -> list[CasePattern]:
        found = []
        for pattern in self.case_patterns:
            with within_patience(pattern.cases):
                found += [pattern] if re.search(pattern.cases, case) else []
        return found

    @property
    def annotated(self) -> tuple[ClassEntry, ...]:
        """Classes drawn by the dataset's authors."""
        return tuple(c for c in self.classes if c.kind == "annotated")

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of all classes, annotated first, in the card's order."""
        return tuple(c.name for c in self.classes)

    def class_entry(self, name: str) -> ClassEntry:
        """The class of that name (KeyError if there is none)."""
        return {c.name: c for c in self.classes}[name]

    @property
    def subsets(self) -> dict[str, tuple[str, ...]]:
        """Specialist -> its classes, where the card divides them among several.

        A generated class belongs to the subset that has most of its parts.
        """
        divided = {s.id: list(s.classes) for s in self.specialists if s.classes}
        own = {name: set(classes) for name, classes in divided.items()}
        for entry in self.classes:
            parts = set(entry.union_of or ())
            shared = {name: len(parts & classes) for name, classes in own.items()}
            if any(shared.values()):
                divided[max(shared, key=lambda name: shared[name])].append(entry.name)
        return {name: tuple(classes) for name, classes in divided.items()}

    @model_validator(mode="after")
    def _consistent(self) -> DatasetCard:
        names = self.class_names
        if len(set(names)) != len(names):
            raise ValueError(f"card `{self.id}`: a class name occurs twice")
        for entry in self.classes:
            places = {region_of(modality, entry.name) for modality in self.modalities}
            for fixed in sorted(places - {entry.region, UNASSIGNED} if entry.region else ()):
                raise ValueError(
                    f"card `{self.id}`, class `{entry.name}`: its region is {fixed} by the "
                    f"benchmark's vocabulary, not {entry.region}; leave `region` out, or choose "
                    "another class name"
                )
            for part in entry.union_of or ():
                if part not in names or self.class_entry(part).kind != "annotated":
                    raise ValueError(
                        f"card `{self.id}`, class `{entry.name}`: `{part}` in union_of is not an "
                        "annotated class of this card"
                    )
        drawn = {entry.name for entry in self.annotated}
        named = set() if self.raters is None else {*self.raters.classes.values()}
        if named - drawn:
            unknown_names = sorted(named - drawn)
            raise ValueError(f"card `{self.id}`, raters: no annotated classes {unknown_names}")
        known = {*self.ignore_values}.union(*(c.values or () for c in self.annotated))
        for entry in self.annotated:
            if strange := {v for own in entry.study_values.values() for v in own} - known:
                raise ValueError(
                    f"card `{self.id}`, class `{entry.name}`: study_values {sorted(strange)} are "
                    "neither values of a class nor ignore_values"
                )
        for overlap in self.overlaps:
            pairs = [*overlap.linked, *(overlap.not_linked if overlap.not_linked != "all" else ())]
            if overlap.dataset == self.id and any(mine == theirs for mine, theirs in pairs):
                raise ValueError(
                    f"card `{self.id}`: an overlap with itself pairs a case or patient with itself"
                )
        annotated = {c.name for c in self.annotated}
        for specialist in self.specialists:
            unknown = set(specialist.classes or ()) - annotated
            if unknown:
                raise ValueError(
                    f"card `{self.id}`, specialist `{specialist.id}`: unknown classes {unknown}"
                )
        return self
