"""What a step of stage 1 sees, and which concepts it never sees."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.errors import BenchError
from sat.knowledge.records import Knowledge, Pair, Triplet, plain


@dataclass(frozen=True)
class Division:
    """What is trained on: names with their definitions, and relations."""

    concepts: tuple[tuple[str, tuple[str, ...]], ...]
    triplets: tuple[Triplet, ...]


def held_out_concepts(
    pairs: Sequence[Pair], classes: Collection[str], part: float
) -> dict[str, tuple[str, ...]]:
    """Concepts that are kept for the retrieval score: name -> its definitions.

    Candidates are concepts that are no class of the benchmark, whose definitions neither contain
    their name nor belong to a class too. A hash of the name orders them, so that every training
    holds the same ones out, whatever its seed.

    Args:
        pairs: of the open set; concepts are the same if their names are (`plain`).
        classes: names of the benchmark's classes, never held out.
        part: of the candidates.
    """
    concepts = definitions_by_name(pairs)
    own = {plain(name) for name in classes}
    of_classes = {plain(text) for name in own & concepts.keys() for text in concepts[name][1]}
    candidates = [
        name
        for name, (_, texts) in concepts.items()
        if name not in own
        and not any(name in plain(text) or plain(text) in of_classes for text in texts)
    ]
    candidates.sort(key=lambda name: hashlib.sha256(name.encode()).digest())
    chosen = set(candidates[: round(part * len(candidates))])
    return {shown: tuple(texts) for name, (shown, texts) in concepts.items() if name in chosen}


def divide(knowledge: Knowledge, held_out: Mapping[str, Sequence[str]]) -> Division:
    """Knowledge less what is held out, from whichever source it comes.

    Args:
        knowledge: all pairs and triplets.
        held_out: neither these names, in pairs or triplets, nor these definitions are trained on.
    """
    names = {plain(name) for name in held_out}
    texts = {plain(text) for kept in held_out.values() for text in kept}
    concepts = []
    for name, (shown, found) in definitions_by_name(knowledge.pairs).items():
        seen = tuple(text for text in found if plain(text) not in texts)
        if seen and name not in names:
            concepts.append((shown, seen))
    triplets = tuple(
        t for t in knowledge.triplets if plain(t.head) not in names and plain(t.tail) not in names
    )
    return Division(tuple(concepts), triplets)


def definitions_by_name(pairs: Sequence[Pair]) -> dict[str, tuple[str, list[str]]]:
    """`plain` name -> the name as first written, and its different definitions in their order."""
    found: dict[str, tuple[str, list[str]]] = {}
    for pair in pairs:
        _, texts = found.setdefault(plain(pair.name), (pair.name, []))
        if pair.definition not in texts:
            texts.append(pair.definition)
    return found


@dataclass(frozen=True)
class TextBatch:
    """Rows of one step: text i of one side belongs to text i of the other.

    `groups_*`: the same number for the same text (`plain`), in one numbering for both sides.
    """

    left: tuple[str, ...]
    right: tuple[str, ...]
    groups_left: tuple[int, ...]
    groups_right: tuple[int, ...]


def text_batch(
    division: Division, batch: int, triplet_part: float, random: np.random.Generator
) -> TextBatch:
    """Draw the rows of one step.

    Pairs are (name ; definition): different concepts, each with one of its definitions. A triplet
    becomes (head + relation ; tail) or (head ; relation + tail), either with probability 1/2
    (paper, section 4.1; + joins by a space).

    Args:
        division: what may be drawn.
        batch: number of rows.
        triplet_part: part of them that are triplets; all or none where one kind is lacking.
        random: decides everything.
    """
    n_triplets = round(batch * triplet_part)
    if not division.triplets or not division.concepts:
        n_triplets = batch if division.triplets else 0
    rows: list[tuple[str, str]] = []
    for i in _draw(len(division.concepts), batch - n_triplets, random):
        name, texts = division.concepts[i]
        rows.append((name, texts[int(random.integers(len(texts)))]))
    for i in _draw(len(division.triplets), n_triplets, random):
        head, relation, tail = division.triplets[i]
        first = random.random() < 0.5
        rows.append((f"{head} {relation}", tail) if first else (head, f"{relation} {tail}"))
    numbers: dict[str, int] = {}
    left, right = zip(*rows, strict=True)
    groups = [
        tuple(numbers.setdefault(plain(text), len(numbers)) for text in side)
        for side in (left, right)
    ]
    return TextBatch(left, right, groups[0], groups[1])


def _draw(n: int, size: int, random: np.random.Generator) -> list[int]:
    if size > n:
        raise BenchError(
            "there is less knowledge than one step wants",
            found=f"{n} concepts or triplets",
            expected=f"{size} or more",
            hint="lower `batch`, or name more sources",
        )
    return [int(i) for i in random.choice(n, size, replace=False)] if size else []
