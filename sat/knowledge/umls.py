"""Definitions and relations of a local UMLS folder (licensed; never part of this package).

A relation row of MRREL says what the SECOND concept is to the FIRST: `C1|..|CHD|C2|..|isa` reads
"C2 is a C1", so its head is C2 and its tail C1. Every relation stands there twice, once each way;
one of the two is kept.
"""

from __future__ import annotations

import hashlib
import heapq
import html
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from evaluation.errors import BenchError
from sat.knowledge.records import Knowledge, Pair, Triplet
from sat.knowledge.rrf import RrfFolder
from sat.knowledge.settings import PAPER_TRIPLETS

# Synonyms, allowed qualifiers, explicit non-relations and deleted ones say nothing of anatomy.
_DROPPED = {"SY", "AQ", "QB", "XR", "DEL"}
_WORDS = {
    "CHD": "child of", "PAR": "parent of", "RN": "narrower than", "RB": "broader than",
    "RO": "related to", "RQ": "possibly related to", "RL": "similar to", "SIB": "sibling of",
    "RU": "related to",
}  # fmt: skip
_BOTH_WAYS = {"CHD": "hierarchy", "PAR": "hierarchy", "RN": "breadth", "RB": "breadth"}
_TAG = re.compile(r"</?[A-Za-z][^<>]*>|<!--.*?-->")


@dataclass(frozen=True)
class _Row:
    """A relation that stands for both of its rows."""

    preference: tuple[int, int, int, str]
    head: int
    relation: str
    tail: int


def read_umls(
    folder: Path,
    *,
    semantic_types: Collection[str] = (),
    max_triplets: int | None = PAPER_TRIPLETS,
    seed: int = 0,
    progress: bool = False,
) -> Knowledge:
    """English definitions and relations of the concepts of a UMLS folder.

    Suppressed rows and relations of a concept with itself are left out, a concept is called by its
    preferred English name (or its first other unsuppressed English one), HTML tags are removed.

    Args:
        folder: META with MRCONSO, MRDEF and MRREL; MRSTY with `semantic_types`; MRFILES and MRDOC
            are used where they are.
        semantic_types: TUIs such as T023; only concepts of these, and relations between two of
            them. Empty: all concepts.
        max_triplets: draw so many relations at random; None: all.
        seed: of the draw, which depends on nothing else but the relations themselves.
        progress: show a bar for every file.

    Returns:
        Pairs in the order of MRDEF, triplets in a random order.

    Raises:
        BenchError: see `RrfFolder`; or nothing is left.
    """
    required = ["MRCONSO.RRF", "MRDEF.RRF", "MRREL.RRF"] + ["MRSTY.RRF"] * bool(semantic_types)
    source = RrfFolder(folder, required, progress=progress)
    allowed = _of_types(source, semantic_types) if semantic_types else None
    definitions = []
    for cui, aui, text, suppress in source.rows("MRDEF.RRF", ("CUI", "AUI", "DEF", "SUPPRESS")):
        if suppress == "N" and (cleaned := _cleaned(text)):
            definitions.append((_number(cui, source, "MRDEF.RRF"), aui, cleaned))
    english, named = _english(source, {aui for _, aui, _ in definitions}, allowed)
    definitions = [d for d in definitions if d[1] in english and _in(named, d[0])]
    relations = _sample(_relations(source, named), max_triplets, seed)
    needed = {cui for cui, _, _ in definitions}
    for row in relations:
        needed |= {row.head, row.tail}
    names = _names(source, needed)
    pairs = tuple(Pair(f"C{cui:07}", names[cui], text) for cui, _, text in definitions)
    triplets = tuple(Triplet(names[r.head], r.relation, names[r.tail]) for r in relations)
    if not pairs and not triplets:
        raise BenchError(
            "nothing of this UMLS folder is left",
            file=folder,
            expected="English, unsuppressed definitions or relations"
            + (f" of {', '.join(semantic_types)}" if semantic_types else ""),
        )
    line = f"UMLS folder: {len(pairs):,} definitions, {len(triplets):,} triplets"
    return Knowledge(pairs, triplets, (line,))


def _number(cui: str, source: RrfFolder, file: str) -> int:
    if not (cui.startswith("C") and cui[1:].isdecimal() and len(cui) <= 9):
        raise BenchError(
            "not a concept identifier of UMLS", file=source.folder / file, found=cui,
            expected="C and seven digits",
        )  # fmt: skip
    return int(cui[1:])


def _in(marked: bytearray, number: int) -> bool:
    return number < len(marked) and bool(marked[number])


def _mark(marked: bytearray, number: int) -> None:
    """One byte a concept: a set of the 3.3 million in a release would take 300 MB."""
    if number >= len(marked):
        marked.extend(bytes(number + 1 - len(marked)))
    marked[number] = 1


def _of_types(source: RrfFolder, types: Collection[str]) -> bytearray:
    marked, known = bytearray(), set()
    for cui, tui in source.rows("MRSTY.RRF", ("CUI", "TUI")):
        known.add(tui)
        if tui in types:
            _mark(marked, _number(cui, source, "MRSTY.RRF"))
    if unknown := sorted(set(types) - known):
        raise BenchError(
            "no concept of this UMLS folder has these semantic types",
            file=source.folder / "MRSTY.RRF",
            found=", ".join(unknown),
            expected=", ".join(sorted(known)[:20]),
        )
    return marked


def _english(
    source: RrfFolder, wanted: Collection[str], allowed: bytearray | None
) -> tuple[set[str], bytearray]:
    """Which of the wanted atoms (AUI) are English, and which concepts have an English name."""
    atoms: set[str] = set()
    named = bytearray()
    for cui, language, aui, suppress in source.rows(
        "MRCONSO.RRF", ("CUI", "LAT", "AUI", "SUPPRESS")
    ):
        if language != "ENG":
            continue
        if aui in wanted:
            atoms.add(aui)
        number = _number(cui, source, "MRCONSO.RRF")
        if suppress == "N" and (allowed is None or _in(allowed, number)):
            _mark(named, number)
    return atoms, named


def _names(source: RrfFolder, needed: Collection[int]) -> dict[int, str]:
    best: dict[int, tuple[int, str]] = {}
    columns = ("CUI", "LAT", "TS", "STT", "ISPREF", "STR", "SUPPRESS")
    for cui, language, status, form, preferred, text, suppress in source.rows(
        "MRCONSO.RRF", columns
    ):
        if language != "ENG" or suppress != "N":
            continue
        number = _number(cui, source, "MRCONSO.RRF")
        if number not in needed:
            continue
        rank = 4 * (status != "P") + 2 * (form != "PF") + (preferred != "Y")
        if number not in best or rank < best[number][0]:
            best[number] = rank, text
    return {number: text for number, (_, text) in best.items()}


def _cleaned(text: str) -> str:
    return " ".join(html.unescape(_TAG.sub(" ", text)).split())


def _inverses(source: RrfFolder) -> dict[str, str]:
    """Name of a relation -> name of its inverse, of MRDOC if it is there."""
    if not source.has("MRDOC.RRF"):
        return {}
    return {
        value: inverse
        for key, value, kind, inverse in source.rows(
            "MRDOC.RRF", ("DOCKEY", "VALUE", "TYPE", "EXPL")
        )
        if key == "RELA" and kind == "rela_inverse"
    }


def _relations(source: RrfFolder, named: bytearray) -> Iterator[tuple[str, _Row]]:
    """Every row that counts, with a key that both rows of a relation share."""
    inverses = _inverses(source)
    columns = ("CUI1", "REL", "CUI2", "RELA", "DIR", "SUPPRESS")
    for first, rel, second, rela, direction, suppress in source.rows("MRREL.RRF", columns):
        if suppress != "N" or rel in _DROPPED or first == second:
            continue
        tail = _number(first, source, "MRREL.RRF")
        head = _number(second, source, "MRREL.RRF")
        if not (_in(named, head) and _in(named, tail)):
            continue
        if rela:
            shared = min(rela, inverses[rela]) if rela in inverses else _stem(rela)
            words = "is a" if rela == "isa" else rela.replace("_", " ")
        else:
            shared = _BOTH_WAYS.get(rel, rel)
            words = _WORDS.get(rel, rel)
        # The direction that the source asserts; else the one from the narrower concept.
        preference = (
            {"Y": 0, "N": 2}.get(direction, 1),
            {"CHD": 0, "RN": 0, "PAR": 2, "RB": 2}.get(rel, 1),
            int(rela.startswith(("inverse_", "has_"))),
            f"{words}|{head}",
        )
        key = f"{min(head, tail)}|{max(head, tail)}|{shared}"
        yield key, _Row(preference, head, words, tail)


def _stem(rela: str) -> str:
    """What `isa` and `inverse_isa`, `part_of` and `has_part` have in common."""
    return rela.removeprefix("inverse_").removeprefix("has_").removesuffix("_of")


def _sample(rows: Iterator[tuple[str, _Row]], most: int | None, seed: int) -> list[_Row]:
    """The relations with the `most` smallest hashes of their keys, a uniform draw.

    Both rows of a relation fall on one hash wherever they stand, so that a single pass with
    memory for the draw alone keeps exactly one of them.
    """
    kept: dict[int, _Row] = {}
    heap: list[int] = []
    salt = f"{seed}|".encode()
    for key, row in rows:
        order = int.from_bytes(hashlib.blake2b(salt + key.encode(), digest_size=8).digest(), "big")
        known = kept.get(order)
        if known is not None:
            if row.preference < known.preference:
                kept[order] = row
        elif most is None or len(kept) < most:
            kept[order] = row
            heapq.heappush(heap, -order)
        elif heap and order < -heap[0]:
            kept[order] = row
            del kept[-heapq.heapreplace(heap, -order)]
    return [kept[order] for order in sorted(kept)]
