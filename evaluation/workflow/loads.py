"""The load that each entry brings to a run: cases, classes, and sizes of scans.

Nothing here opens an image, unless the run already has standardised cases, whose sizes are then
used. Every assumed size is a named constant with its origin.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from evaluation.cases import read_case_record
from evaluation.classes.modality import Modality
from evaluation.config import RunConfig
from evaluation.datasets.card import DatasetCard
from evaluation.datasets.registry import find_card
from evaluation.datasets.scope import classes_in_scope
from evaluation.datasets.sharding import n_shards, n_test_shards
from evaluation.datasets.splits import planned_cases, split_rule
from evaluation.files.writing import visible
from evaluation.paths import RunPaths
from evaluation.studies.record import find_study

# --- Sizes of scans, for entries that have no standardised cases yet ---------------------------
# Typical grids, rounded up: a CT of 512 x 512 x 230 at 0.8 x 0.8 x 2.5 mm, an MR scan of
# 256 x 256 x 140 at 1 mm, a PET of 400 x 400 x 125 at 2 x 2 x 3 mm (assumption).
VOXELS: dict[Modality, float] = {"ct": 60e6, "mri": 9e6, "pet": 20e6}


VOXEL_MM3: dict[Modality, float] = {"ct": 1.6, "mri": 1.0, "pet": 12.0}


# Entry -> (voxels, mm3 of one), where it is known to differ much: measured over the 260 cases of
# MSD Hippocampus (shape 35 x 50 x 36, median); TotalSegmentator is published at 1.5 mm, a torso of
# 400 x 400 x 600 mm; ACDC's short axis stacks are about 256 x 216 x 10 at 1.5 x 1.5 x 10 mm.
KNOWN_SCANS: dict[str, tuple[float, float]] = {
    "msd_hippocampus": (63e3, 1.0),
    "totalsegmentator": (28.5e6, 3.375),
    "acdc": (553e3, 22.5),
}


# Virtual patients: the largest grid that a phantom is drawn on is about 46 x 36 x 44 voxels.
PHANTOM_VOXELS = 73e3


PHANTOM_VOXEL_MM3 = 216.0


@dataclass(frozen=True)
class Load:
    """The work that one entry brings: cases, and size of a scan."""

    card: DatasetCard
    n_train: int
    n_test: int
    n_classes: int
    voxels: float
    voxel_mm3: float
    shards: int
    test_shards: int


def run_loads(config: RunConfig, entries: Iterable[str]) -> tuple[list[Load], int]:
    """The load of each entry, and for how many of them sizes were measured in the run."""
    paths = RunPaths(Path("results") / config.name)
    loads, measured = [], 0
    for name in entries:
        card = find_card(name)
        planned = planned_cases(card, config)
        if planned is None:
            rule = split_rule(card, find_study(config.study))
            n_train, n_test = rule.train + rule.validation, rule.test
        else:
            n_test = sum(row.split == "test" for row in planned)
            n_train = len(planned) - n_test
        sizes = measured_scan(paths, card)
        measured += sizes is not None
        voxels, voxel_mm3 = sizes or assumed_scan(card, config)
        loads.append(
            Load(
                card,
                n_train,
                n_test,
                len(classes_in_scope(card, config)),
                voxels,
                voxel_mm3,
                n_shards(card, config),
                n_test_shards(card, config),
            )
        )
    return loads, measured


def assumed_scan(card: DatasetCard, config: RunConfig) -> tuple[float, float]:
    """Voxels of a scan and mm3 of a voxel, by entry or by modality."""
    if config.data_kind == "synthetic":
        return PHANTOM_VOXELS, PHANTOM_VOXEL_MM3
    by_modality = VOXELS[card.modality], VOXEL_MM3[card.modality]
    return KNOWN_SCANS.get(card.id, by_modality)


def measured_scan(paths: RunPaths, card: DatasetCard) -> tuple[float, float] | None:
    """Mean voxels and mm3 of the run's standardised cases; None if there are none yet."""
    folder = paths.root / "cases" / card.id
    records = [read_case_record(path.parent) for path in visible(folder, "*/case.json")]
    if not records:
        return None
    voxels = np.array([prod(record.shape) for record in records], dtype=float)
    volumes = np.array([prod(record.spacing_mm) for record in records])
    return float(voxels.mean()), float((volumes * voxels).sum() / voxels.sum())
