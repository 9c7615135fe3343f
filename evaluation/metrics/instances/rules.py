"""How instances are told apart and matched: names, and what is taken where nothing else is said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from evaluation.errors import BenchError, one_of

Connectivity = Literal[6, 18, 26]
Rule = Literal["one-to-one", "most-pairs", "greedy", "many-to-one", "nearest"]
Measure = Literal["IoU", "DSC"]


@dataclass(frozen=True)
class Matching:
    """How the instances of a class are found and matched (see `instances.matching`).

    Args:
        rule: which predicted instance stands for which of the reference.
        threshold: a pair counts if its score is at least this, and above 0.
        measure: the score of two instances.
        connectivity: voxels that touch in a face (6), also in an edge (18), also in a corner (26)
            belong together.
        within_mm: of the rule `nearest`: largest distance between the nearest voxel centres.
    """

    rule: Rule = "one-to-one"
    threshold: float = 0.5
    measure: Measure = "IoU"
    connectivity: Connectivity = 26
    within_mm: float = 0.0

    def __post_init__(self) -> None:
        one_of("matching rule", self.rule, get_args(Rule))
        one_of("matching measure", self.measure, get_args(Measure))
        if self.connectivity not in get_args(Connectivity):
            raise BenchError(
                "connectivity is unusable", found=self.connectivity, expected="6 (faces), 18 or 26"
            )
        if not 0 <= self.threshold <= 1 or not self.within_mm >= 0:
            raise BenchError(
                "matching is unusable",
                found=f"threshold {self.threshold:g}, within {self.within_mm:g} mm",
                expected="a threshold from 0 to 1, a distance of at least 0",
            )

    @property
    def words(self) -> str:
        """For captions: `26-connected components, one-to-one at IoU 0.5`."""
        how = f"{self.measure} {self.threshold:g}"
        if self.rule == "nearest":
            how = f"{self.within_mm:g} mm"
        return f"{self.connectivity}-connected components, {self.rule} at {how}"


DEFAULT_MATCHING = Matching()
