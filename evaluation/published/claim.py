"""One claim of a document beside the value from its own tables."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Claim:
    """A row of the table `claims`; fields as its columns."""

    source: str
    where: str
    claim: str
    printed: str
    recomputed: str
    holds: bool
    note: str = ""
