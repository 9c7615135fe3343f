"""All named sources of knowledge, joined."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from sat.knowledge.open_set import class_names, open_set
from sat.knowledge.records import Knowledge
from sat.knowledge.relations import own_definitions, read_relations
from sat.knowledge.sampling import held_out_concepts
from sat.knowledge.settings import Sources
from sat.knowledge.umls import read_umls


def gather(sources: Sources, seed: int = 0, *, progress: bool = False) -> Knowledge:
    """Read every source that is named.

    Args:
        sources: which.
        seed: of the draw from UMLS's relations.
        progress: show a bar for UMLS's files.

    Raises:
        BenchError: a source is missing or damaged, see the module of each.
    """
    found = open_set() if sources.open_set else Knowledge()
    if sources.umls is not None:
        found += read_umls(
            Path(sources.umls),
            semantic_types=sources.semantic_types,
            max_triplets=sources.max_triplets,
            seed=seed,
            progress=progress,
        )
    if sources.definitions is not None:
        found += own_definitions(Path(sources.definitions))
    if sources.relations is not None:
        found += read_relations(Path(sources.relations))
    return found


@cache
def held_out(part: float) -> dict[str, tuple[str, ...]]:
    """The concepts of the open set that a training with `held_out: part` never sees."""
    return held_out_concepts(open_set().pairs, class_names(), part)
