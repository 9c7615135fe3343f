"""Other words for classes, written by hand: no class is called so.

None of them occurs in a text that stage 1 of SAT-Nano learns from; a test holds them to it.
"""

from __future__ import annotations

import csv
from functools import lru_cache
from pathlib import Path

from evaluation.classes.modality import find_modality
from evaluation.classes.vocabulary import Key

FILE = Path(__file__).parent / "synonyms.csv"
SETS = ("paraphrase", "term")


@lru_cache
def read_synonyms(name: str) -> dict[Key, str]:
    """Class -> synonym of one set.

    `paraphrase` says the same in more or other words and mostly keeps the stem; `term` has other
    words altogether (Latin, a function, an abbreviation).
    """
    with FILE.open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["set"] == name]
    return {(find_modality(row["modality"]), row["name"]): row["synonym"] for row in rows}
