"""A class of a dataset card: where it is annotated, or what it is a union of."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from evaluation.classes.modality import Modality
from evaluation.classes.regions import LESION, REGIONS, plain_region
from evaluation.errors import did_you_mean
from evaluation.files.records import Record


class ClassEntry(Record):
    """One class of the entry: exactly one of `values`, `file` and `union_of`.

    `values` are raw values of the label map, `file` is the name of a structure's own mask file
    (without suffix), both annotated; `union_of` names classes of this entry (generated).
    `study_values` are the raw values that a study's own code takes for the class, where the card
    differs: in a run of that study the reference is read so in the space `resampled`.
    `printed_modality` is the prefix that the paper prints where it differs from the scan's.
    `region` places a class that the vocabulary does not have: one of the eight regions or
    `lesion`; without it the class is in the card's only region, or in none. `instances` says
    whether its structures are counted one by one, where a run measures that; those of lesions are
    unless it says no.
    """

    name: str
    values: tuple[int, ...] | None = None
    file: str | None = None
    union_of: tuple[str, ...] | None = None
    study_values: dict[str, tuple[int, ...]] = Field(default={})
    printed_modality: Modality | None = None
    region: str | None = None
    instances: bool | None = None

    @property
    def kind(self) -> Literal["annotated", "generated"]:
        """Annotated by the dataset's authors, or generated as a union."""
        return "generated" if self.union_of else "annotated"

    @model_validator(mode="after")
    def _one_source(self) -> ClassEntry:
        given = [key for key in ("values", "file", "union_of") if getattr(self, key) is not None]
        if len(given) != 1:
            raise ValueError(
                f"class `{self.name}`: give exactly one of values, file and union_of, not {given}"
            )
        if self.study_values and self.values is None:
            raise ValueError(f"class `{self.name}`: study_values need values")
        return self

    @field_validator("region")
    @classmethod
    def _known_region(cls, region: str | None) -> str | None:
        """The region in its one spelling."""
        if region is None:
            return None
        plain, known = plain_region(region), (*REGIONS, LESION)
        if plain not in known:
            raise ValueError(f"no region `{region}`: {did_you_mean(plain, known)}")
        return plain
