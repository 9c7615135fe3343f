"""Variants: one model trained in several ways in one run, each of them a row of its own.

A configuration declares them (`variants: {hermes-r-l1: {model: hermes-r, preset: paper, changes:
{network: {prior_length: 1}}}}`). With `seeds` a variant is trained once for each (`<id>-s<seed>`),
which tells how much of a difference is chance of the training; no interval over patients does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from evaluation.files.records import Record

Seed = Annotated[int, Field(ge=0, le=2**32 - 1, strict=True)]


class Variant(Record):
    """One way to train a model.

    `changes` are laid over the values of the preset, section by section and key by key.
    """

    model: str = Field(description="id of the model that is trained so")
    preset: str | None = Field(default=None, description="name, or a file; none: the default")
    changes: dict[str, Any] = Field(default={}, description="what differs from the preset")
    seeds: list[Seed] = Field(default=[], description="a training for each; none: the run's seed")
    title: str = ""


@dataclass(frozen=True)
class Training:
    """One row: a variant under one seed (None: the run's)."""

    variant: str
    settings: Variant
    seed: int | None = None

    @property
    def title(self) -> str:
        """Its printed name, without the model's where the variant has none."""
        name = self.settings.title or self.variant
        return name if self.seed is None else f"{name}, seed {self.seed}"


def names_of(variant: str, seeds: list[Any]) -> list[str]:
    """The ids of a variant's rows."""
    return [f"{variant}-s{seed}" for seed in seeds] or [variant]


def trainings(variants: Mapping[str, Variant]) -> dict[str, Training]:
    """All rows by their ids."""
    found = {}
    for variant, settings in variants.items():
        seeds: list[int | None] = [*settings.seeds] or [None]
        for name, seed in zip(names_of(variant, settings.seeds), seeds, strict=True):
            found[name] = Training(variant, settings, seed)
    return found


_declared: dict[str, Training] = {}


def declare(variants: Mapping[str, Variant]) -> None:
    """From here on, the models of this process are those and these variants of them."""
    _declared.clear()
    _declared.update(trainings(variants))


def declared(model: str) -> Training | None:
    """What a model is a variant of; None if it is none."""
    return _declared.get(model)


def declared_ids() -> list[str]:
    """Ids of all rows."""
    return list(_declared)
