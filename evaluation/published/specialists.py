"""The nnU-Net specialists whose configurations a study's document printed.

A study's `published.specialists` holds the printed table (classes, cases, patch, stages, width,
size) joined with strides, kernels, batch size, spacing and normalisation of the plans that its
authors published, and with our count of weights.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import lru_cache

from evaluation.files.card_places import CardFile, stamped
from evaluation.studies.record import Study

CONVOLUTIONS_OF_A_STAGE = 2
"""The printed depth: 2 in every stage of every specialist."""

Shape = tuple[int, ...]


@dataclass(frozen=True)
class PinnedPlan:
    """The printed configuration of one specialist.

    Axes are nnU-Net's after its transposition (for most scans slices first). `unit_spacing` says
    that the published plan has lost its spacing, so nnU-Net's copy of the scans gets 1 mm.
    `parameters` is our count of the network's weights, which a test builds to compare.
    """

    number: int
    id: str
    entry: str
    printed_name: str
    n_classes: int
    n_train: int
    n_test: int
    patch_size: Shape
    n_stages: int
    width: Shape
    strides: tuple[Shape, ...]
    kernel_sizes: tuple[Shape, ...]
    batch_size: int
    spacing_mm: tuple[float, ...]
    normalisation: str
    unit_spacing: bool
    printed_size_millions: int
    parameters: int
    source: str


def pinned_plans(study: Study) -> dict[str, PinnedPlan]:
    """A study's printed specialists by their ids; none where it prints none."""
    name = study.published.specialists
    return {} if name is None else _plans(stamped(study.file(name)))


@lru_cache
def _plans(file: CardFile) -> dict[str, PinnedPlan]:
    with file.path.open(newline="", encoding="utf-8") as stream:
        return {row["id"]: _pinned(row) for row in csv.DictReader(stream)}


def _pinned(row: dict[str, str]) -> PinnedPlan:
    return PinnedPlan(
        number=int(row["number"]),
        id=row["id"],
        entry=row["entry"],
        printed_name=row["printed_name"],
        n_classes=int(row["n_classes"]),
        n_train=int(row["n_train"]),
        n_test=int(row["n_test"]),
        patch_size=_numbers(row["patch_size"]),
        n_stages=int(row["n_stages"]),
        width=_numbers(row["width"]),
        strides=tuple(_numbers(part) for part in row["strides"].split("|")),
        kernel_sizes=tuple(_numbers(part) for part in row["kernel_sizes"].split("|")),
        batch_size=int(row["batch_size"]),
        spacing_mm=tuple(float(n) for n in row["spacing_mm"].split()),
        normalisation=row["normalisation"],
        unit_spacing=row["unit_spacing"] == "true",
        printed_size_millions=int(row["printed_size_millions"]),
        parameters=int(row["parameters"]),
        source=row["source"],
    )


def _numbers(text: str) -> Shape:
    return tuple(int(n) for n in text.split())
