"""The 36 nnU-Net specialists of Table 7, and those that a run is about.

`specialists.csv` holds Table 7 (classes, cases, patch, stages, width, printed size) joined with
strides, kernels, batch size, spacing and normalisation of the plans that SAT-DS published.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from baselines.leaves import Leaf, leaves_of
from evaluation.config import RunConfig
from evaluation.datasets.card import DatasetCard, Specialist
from evaluation.datasets.registry import entry_ids, find_card
from evaluation.datasets.scope import classes_in_scope
from evaluation.errors import BenchError, did_you_mean

TABLE = Path(__file__).parent / "specialists.csv"

Shape = tuple[int, ...]


@dataclass(frozen=True)
class PinnedPlan:
    """Table 7's configuration of one specialist.

    Axes are nnU-Net's after its transposition (for most scans slices first). `unit_spacing` says
    that the published plan has lost its spacing, so nnU-Net's copy of the scans gets 1 mm.
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
    source: str


@dataclass(frozen=True)
class SpecialistPlan:
    """A specialist of a run: which classes it learns, as which disjoint leaf labels."""

    id: str
    dataset: str
    classes: tuple[str, ...]
    leaves: tuple[Leaf, ...]
    pinned: PinnedPlan | None


@lru_cache
def pinned_plans() -> dict[str, PinnedPlan]:
    """The 36 rows of Table 7 by specialist id."""
    with TABLE.open(newline="", encoding="utf-8") as stream:
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
        source=row["source"],
    )


def _numbers(text: str) -> Shape:
    return tuple(int(n) for n in text.split())


def specialists_of(card: DatasetCard, config: RunConfig) -> list[SpecialistPlan]:
    """Specialists of an entry that have a class in the run's scope, in the card's order.

    A card without `specialists` (a user's own dataset) gets one for all of its classes.
    """
    in_scope = {c.name for c in classes_in_scope(card, config) if c.kind == "annotated"}
    plans = []
    for specialist in card.specialists or (Specialist(id=card.id),):
        names = specialist.classes or tuple(c.name for c in card.annotated)
        classes = tuple(c.name for c in card.annotated if c.name in in_scope and c.name in names)
        if classes:
            plans.append(
                SpecialistPlan(
                    id=specialist.id,
                    dataset=card.id,
                    classes=classes,
                    leaves=leaves_of([card.class_entry(name) for name in classes], card.id),
                    pinned=pinned_plans().get(specialist.id),
                )
            )
    return plans


def find_specialist(specialist: str, config: RunConfig) -> tuple[DatasetCard, SpecialistPlan]:
    """A specialist of a run, with the card of its entry.

    Raises:
        BenchError: the run has no such specialist.
    """
    entries = entry_ids(config.entries)
    known: list[str] = []
    for entry in entries:
        card = find_card(entry)
        for plan in specialists_of(card, config):
            if plan.id == specialist:
                return card, plan
            known.append(plan.id)
    raise BenchError(
        f"run `{config.name}` has no specialist `{specialist}`",
        expected="a specialist of one of the run's entries with a class in its scope",
        hint=did_you_mean(specialist, known),
    )


@lru_cache
def count_parameters(plan: PinnedPlan) -> int:
    """Number of weights of a specialist's network, built on the meta device (no memory).

    One input channel, one output for each class and one for the background; instance norm with
    weights, convolutions with bias, two of them in each stage (paper, Table 7 and §"baselines").
    """
    import torch
    from dynamic_network_architectures.architectures.unet import PlainConvUNet

    with torch.device("meta"):
        network = PlainConvUNet(
            input_channels=1,
            n_stages=plan.n_stages,
            features_per_stage=list(plan.width),
            conv_op=torch.nn.Conv3d,
            kernel_sizes=[list(k) for k in plan.kernel_sizes],
            strides=[list(s) for s in plan.strides],
            n_conv_per_stage=[2] * plan.n_stages,
            num_classes=plan.n_classes + 1,
            n_conv_per_stage_decoder=[2] * (plan.n_stages - 1),
            conv_bias=True,
            norm_op=torch.nn.InstanceNorm3d,
            norm_op_kwargs={"eps": 1e-5, "affine": True},
            nonlin=torch.nn.LeakyReLU,
            nonlin_kwargs={"inplace": True},
            deep_supervision=True,
        )
    return sum(parameter.numel() for parameter in network.parameters())
