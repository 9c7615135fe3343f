"""A study as one typed record: what a document compares, how it scores, what it printed.

A built-in study is `evaluation/studies/<id>.yaml`; a user's own is any YAML file, which a
configuration names by its path. The files that a study names are relative to its own. Adding a
study needs this YAML file, its lists of cases and its published values, and no Python.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from os.path import normpath
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote

from pydantic import BeforeValidator, Field, PrivateAttr, field_validator, model_validator

from evaluation.classes.regions import LESION, REGIONS
from evaluation.errors import BenchError, did_you_mean
from evaluation.files.card_places import CardFile, CardPlace, stamped, study_place
from evaluation.files.records import Record, load_record
from evaluation.files.writing import visible
from evaluation.protocol import STUDY_SPACES, Composition, Policy, Scheme, Space
from evaluation.studies.aspect import Aspect, AspectId
from evaluation.volumes.axes import AxisOrder, GridAxes, along_ras

STUDY_FOLDER = Path(__file__).parent
StudyId = Annotated[str, Field(pattern=r"^[a-z0-9]+([_-][a-z0-9]+)*$")]
Voxels = Annotated[int, Field(ge=0, strict=True)]
PositiveMm = Annotated[float, Field(gt=0, allow_inf_nan=False)]
About = Literal[
    "collection",
    "region",
    "class",
    "dataset",
    "lesion",
    "specialists",
    "classes",
    "aspect",
    "cost",
    "ablation",
]
"""What a table of the document is about; `classes` lists the classes, `class` has their scores."""
TableId = Annotated[str, BeforeValidator(lambda value: str(value))]


class Document(Record):
    """What the published numbers were read from; `id` is their `source` in tables."""

    id: StudyId
    citation: str
    link: str = ""


class StudyModel(Record):
    """A model that the document compares: its printed name and the preset that stands for it.

    `space` says where its printed numbers were measured, if not where the protocol says.
    """

    title: str
    preset: str | None = None
    space: Space | None = None


class Crop(Record):
    """How the document crops an entry's scans round the reference, for the space `cropped`.

    `margin` are the voxels of the grid that are kept on each side of all that is labelled, along x,
    y, z; a box of fewer than `least` voxels gets half of what it lacks on each side besides. With
    `keeps_slices` the grid keeps the scan's own spacing along z. Scans without a label stay whole.
    """

    margin: tuple[Voxels, Voxels, Voxels]
    least: Voxels = 0
    keeps_slices: bool = False


class StudyProtocol(Record):
    """How the document scored, as far as the benchmark can score so, too.

    `spacing_mm` is the grid of the space `resampled` along x, y, z, in the axis order that an
    entry's card names; without it the study has no such space. `crop` cuts that grid round the
    reference for the space `cropped`, by entry; entries without stay whole. `space`, `policy`,
    `tolerance_mm`, `scheme` and `composition` choose our numbers that stand beside published
    ones. `caveat` says, for captions, what differs nevertheless.
    """

    spacing_mm: tuple[PositiveMm, PositiveMm, PositiveMm] | None = None
    space: Space = "native"
    policy: Policy = "present-only"
    tolerance_mm: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    scheme: Scheme = "anatomical"
    composition: Composition = "all"
    caveat: str = ""
    crop: dict[str, Crop] = Field(default={}, description="entry -> its crop, for `cropped`")

    def has_space(self, space: Space) -> bool:
        """Whether a run of this study can be scored in a space."""
        if space == "cropped":
            return self.spacing_mm is not None and bool(self.crop)
        return space != "resampled" or self.spacing_mm is not None

    def of_spaces(
        self, spaces: Collection[Space], dataset: str, axes: GridAxes
    ) -> list[tuple[float, float, float] | Crop | str | None]:
        """All of it that masks of an entry are compared by in some spaces, for digests."""
        made: list[tuple[float, float, float] | Crop | str | None] = [None]
        if STUDY_SPACES & set(spaces):
            made = [self.spacing_mm, axes] if axes == "slices-last" else [self.grid_mm(axes)]
        # Rows that know no crop stay good where one is declared.
        return [*made, self.crop.get(dataset)] if "cropped" in spaces else made

    def grid_mm(self, axes: AxisOrder) -> tuple[float, float, float] | None:
        """Sides of the grid along R, A, S for an entry with that axis order; None without one."""
        return None if self.spacing_mm is None else along_ras(self.spacing_mm, axes)

    @property
    def grid_title(self) -> str:
        """The resampled grid as printed, such as `1×1×3 mm` or `1.5 mm`; empty without one."""
        if self.spacing_mm is None:
            return ""
        sides = self.spacing_mm[:1] if len(set(self.spacing_mm)) == 1 else self.spacing_mm
        return "\N{MULTIPLICATION SIGN}".join(f"{side:g}" for side in sides) + " mm"

    @model_validator(mode="after")
    def _has_its_space(self) -> StudyProtocol:
        if self.spacing_mm is None and (self.space in STUDY_SPACES or self.crop):
            what = f"space is `{self.space}`" if self.space in STUDY_SPACES else "there is a `crop`"
            raise ValueError(f"{what}, and spacing_mm does not say on which grid")
        if not self.has_space(self.space):
            raise ValueError(f"space is `{self.space}`, and `crop` does not say how")
        return self


class PublishedFiles(Record):
    """Files of what the document printed, each of which may be left out.

    `values` has the scores, `collection` scans, classes and annotations of the entries,
    `specialists` the configurations of the nnU-Nets, `claims` what the text says about all this,
    `costs` what the networks need.
    """

    values: str | None = None
    collection: str | None = None
    specialists: str | None = None
    claims: str | None = None
    costs: str | None = None

    @property
    def names(self) -> list[str]:
        """The files that there are."""
        given = (self.values, self.collection, self.specialists, self.claims, self.costs)
        return [name for name in given if name is not None]


class PrintedTable(Record):
    """A table of the document by its number; of several about one thing, each names its regions.

    `note` is what to know where it stands beside ours; `by_model` says that it has a row for each
    model.
    """

    id: TableId
    about: About
    regions: tuple[str, ...] = ()
    note: str = ""
    by_model: bool = False

    @property
    def head(self) -> str:
        """As it is called in print."""
        return f"Table {self.id}"

    @field_validator("regions")
    @classmethod
    def _known_regions(cls, regions: tuple[str, ...]) -> tuple[str, ...]:
        known = (*REGIONS, LESION)
        for region in regions:
            if region not in known:
                raise ValueError(f"no region `{region}`: {did_you_mean(region, known)}")
        return regions


class Study(Record):
    """One comparison. `splits` is a folder with a list `<entry>.csv` for entries that have one.

    `classes` names those of an entry that the study is about, where the entry has more;
    `downstream` the entries of further experiments, which are no part of its comparison.
    """

    id: StudyId
    title: str
    document: Document
    entries: tuple[str, ...] = Field(min_length=1)
    classes: dict[str, tuple[str, ...]] = Field(default={}, description="entry -> its classes")
    splits: str | None = None
    downstream: tuple[str, ...] = ()
    aspects: dict[AspectId, Aspect] = Field(default={}, description="id -> a named set of classes")
    models: dict[str, StudyModel] = Field(default={}, description="model id -> printed name")
    protocol: StudyProtocol = StudyProtocol()
    published: PublishedFiles = PublishedFiles()
    printed_tables: tuple[PrintedTable, ...] = ()
    _place: CardPlace = PrivateAttr()

    def file(self, name: str) -> Path:
        """A file that the study names (`published.values`), or a list in its folder `splits`."""
        path, carried = self._place
        return Path(normpath(path.parent / (quote(name, safe="") if carried else name)))

    @property
    def is_carried(self) -> bool:
        """Whether it was read from a run's copy."""
        return self._place.carried

    def list_name(self, dataset: str) -> str | None:
        """The file of an entry's list, as the study would name it; None if it has no lists."""
        return None if self.splits is None else f"{self.splits}/{dataset}.csv"

    def split_file(self, dataset: str) -> Path | None:
        """Where this study's list of an entry lies, or would lie; None if it has no lists."""
        name = self.list_name(dataset)
        return None if name is None else self.file(name)

    def tables_about(self, about: About) -> tuple[PrintedTable, ...]:
        """The document's tables about one thing, in print order."""
        return tuple(table for table in self.printed_tables if table.about == about)

    def head_of(self, about: About) -> str:
        """How the document calls its table about one thing, such as `Table 2`; empty without."""
        return " and ".join(table.head for table in self.tables_about(about))

    @property
    def compared(self) -> tuple[str, ...]:
        """The entries of its comparison."""
        return tuple(entry for entry in self.entries if entry not in self.downstream)

    @model_validator(mode="after")
    def _own_entries(self) -> Study:
        named = dict.fromkeys(self.downstream, "downstream")
        for name, aspect in self.aspects.items():
            named |= dict.fromkeys((*aspect.entries, *aspect.classes), f"aspects.{name}")
        for entry, where in named.items():
            if entry not in self.entries:
                known = did_you_mean(entry, self.entries)
                raise ValueError(f"{where}: `{entry}` is no entry of the study: {known}")
        return self

    @model_validator(mode="after")
    def _named_once(self) -> Study:
        for what, names in (
            ("entry", list(self.entries)),
            ("table", [table.id for table in self.printed_tables]),
        ):
            if twice := [name for i, name in enumerate(names) if name in names[:i]]:
                raise ValueError(f"the {what} `{twice[0]}` is there twice")
        return self


def study_ids() -> list[str]:
    """Ids of the built-in studies."""
    return [path.stem for path in visible(STUDY_FOLDER, "*.yaml")]


def find_study(name: str) -> Study:
    """A built-in study by its id, or a user's own by the path of its file.

    Raises:
        BenchError: there is none of that name, or its file is no study.
    """
    if name.endswith((".yaml", ".yml")):
        place = study_place(name)
    else:
        place = CardPlace(STUDY_FOLDER / f"{name}.yaml", carried=False)
    if not place.path.is_file():
        raise BenchError(
            f"no study `{name}`",
            file=place.path,
            expected=f"a built-in study ({', '.join(study_ids())}), or the path of a YAML file",
            hint=did_you_mean(name, study_ids()),
        )
    return _read(stamped(place.path), place.carried)


@lru_cache(maxsize=64)
def _read(file: CardFile, carried: bool) -> Study:
    study = load_record(file.path, Study)
    if file.path.parent == STUDY_FOLDER and study.id != file.path.stem:
        raise BenchError(
            "study id and file name differ",
            file=file.path,
            found=study.id,
            expected=file.path.stem,
        )
    study._place = CardPlace(file.path, carried)
    return study
