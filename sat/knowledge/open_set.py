"""The open set that comes with the package: Uberon, WordNet, Disease Ontology and own texts.

5,558 definitions of 5,160 concepts and 14,906 triplets; every one of the 341 class names has both.
Licences: `sat/knowledge/data/LICENSES.md`.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from evaluation.classes import vocabulary
from sat.knowledge.records import Knowledge, Pair, Triplet, plain, read_rows

DATA = Path(__file__).parent / "data"


@cache
def open_set() -> Knowledge:
    """All definitions and triplets of the package."""
    pairs = tuple(
        Pair(row["concept_id"], row["concept"], row["definition"])
        for _, row in read_rows(
            DATA / "definitions.csv", ("concept_id", "concept", "definition", "source", "licence")
        )
    )
    triplets = tuple(
        Triplet(row["head"], row["relation"], row["tail"])
        for _, row in read_rows(
            DATA / "triplets.csv", ("head", "relation", "tail", "source", "licence")
        )
    )
    line = f"open set of the package: {len(pairs):,} definitions, {len(triplets):,} triplets"
    return Knowledge(pairs, triplets, (line,))


@cache
def class_names() -> tuple[str, ...]:
    """The 341 names of the 362 classes of the study `sat`."""
    return tuple(dict.fromkeys(info.name for info in vocabulary("sat")))


@cache
def class_definitions() -> dict[str, tuple[str, ...]]:
    """Class name -> its definitions, the first one the most fitting."""
    concepts = {
        plain(row["class_name"]): row["concept_id"]
        for _, row in read_rows(DATA / "sat_classes.csv", ("modality", "class_name", "concept_id"))
    }
    texts: dict[str, list[str]] = {}
    for pair in open_set().pairs:
        texts.setdefault(pair.concept_id, []).append(pair.definition)
    return {name: tuple(texts[concepts[plain(name)]]) for name in class_names()}
