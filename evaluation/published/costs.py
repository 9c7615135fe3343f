"""What the networks of a study's document need: memory, weights, time of one forward pass."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import lru_cache

from evaluation.files.card_places import CardFile, stamped
from evaluation.studies.record import Study


@dataclass(frozen=True)
class PrintedCost:
    """One printed row: memory in GB, weights in millions, seconds of a forward pass."""

    memory_gb: str
    parameters_m: str
    seconds: str


def printed_costs(study: Study) -> dict[str, PrintedCost]:
    """A study's printed costs by model, each as printed; none where it prints none."""
    name = study.published.costs
    return {} if name is None else _costs(stamped(study.file(name)))


@lru_cache
def _costs(file: CardFile) -> dict[str, PrintedCost]:
    with file.path.open(newline="", encoding="utf-8") as stream:
        return {
            row["model"]: PrintedCost(row["memory_gb"], row["parameters_m"], row["seconds"])
            for row in csv.DictReader(stream)
        }
