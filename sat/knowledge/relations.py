"""Relations that a language model found in definitions: the question, and the answer as a CSV.

The paper extends its triplets in this way (section 4.1). Which model is asked is the user's choice:
`satbench sat knowledge template` prints the question, ours or another one's (the paper prints its
own), and `--relations` reads the collected answers.
"""

from __future__ import annotations

import re
from pathlib import Path

from evaluation.errors import BenchError
from evaluation.files.reading import text_of
from sat.knowledge.records import Knowledge, Pair, Triplet, plain, read_rows, refuse_faults

TEMPLATE_FILE = Path(__file__).parent / "templates" / "relations.txt"
COLUMNS = ("head", "relation", "tail")
_BRACKETS = re.compile(r"\s*(?:\d+[.):]|[-*\u2022])?\s*[(\[<]([^()\[\]<>]*)[)\]>][.,;]?\s*")


def question(name: str, definition: str, template: Path = TEMPLATE_FILE) -> str:
    """A template, with `{name}` and `{definition}` in this order, filled with one concept.

    Raises:
        BenchError: there is no concept or no definition, or the template lacks one of the two.
    """
    if not name.strip() or not definition.strip():
        raise BenchError(
            "the question needs a concept and its definition", found=f"{name!r}, {definition!r}"
        )
    # Not `format`: a definition may hold braces.
    text = text_of(template)
    before, found, rest = text.partition("{name}")
    between, also, after = rest.partition("{definition}")
    if not (found and also):
        raise BenchError(
            "the template has no places for the concept and its definition", file=template,
            expected="{name} and, behind it, {definition}",
        )  # fmt: skip
    return f"{before}{name.strip()}{between}{' '.join(definition.split())}{after}"


def read_definitions(path: Path) -> list[Pair]:
    """A CSV of definitions: `concept`, `definition` and, if there is one, `concept_id`."""
    return [
        Pair(row.get("concept_id") or f"line {line}", row["concept"], row["definition"])
        for line, row in read_rows(path, ("concept", "definition"))
    ]


def own_definitions(path: Path) -> Knowledge:
    """The definitions of a user's CSV, `concept,definition`.

    Raises:
        BenchError: see `read_rows`.
    """
    pairs = tuple(read_definitions(path))
    return Knowledge(pairs, (), (f"definitions of {path.name}: {len(pairs):,}",))


def read_relations(path: Path) -> Knowledge:
    """Collected answers; repeated relations count once.

    A file `.csv` has exactly the columns `head,relation,tail`. Any other is text with one relation
    a line in brackets, `(left kidney, part of, abdomen)`, with or without a number or a bullet.

    Raises:
        BenchError: see `read_rows`; a line is no relation, or leads from a concept to itself.
    """
    rows, faults = _of_csv(path) if path.suffix.lower() == ".csv" else _of_text(path)
    found: dict[tuple[str, ...], Triplet] = {}
    for line, triplet in rows:
        if plain(triplet.head) == plain(triplet.tail):
            faults.append(f"line {line}: `{triplet.head}` {triplet.relation} itself")
        found.setdefault(tuple(plain(part) for part in triplet), triplet)
    refuse_faults(path, faults)
    if not found:
        raise BenchError("the answers hold no relation", file=path)
    title = f"relations of {path.name}: {len(found):,} triplets"
    return Knowledge((), tuple(found.values()), (title,))


def _of_csv(path: Path) -> tuple[list[tuple[int, Triplet]], list[str]]:
    rows = read_rows(path, COLUMNS, optional=())
    return [(line, Triplet(*(row[name] for name in COLUMNS))) for line, row in rows], []


def _of_text(path: Path) -> tuple[list[tuple[int, Triplet]], list[str]]:
    rows, faults = [], []
    for line, text in enumerate(text_of(path).splitlines(), start=1):
        found = _BRACKETS.fullmatch(text)
        parts = [part.strip(" '\"") for part in found[1].split(",")] if found else []
        if len(parts) == 3 and all(parts):
            rows.append((line, Triplet(*parts)))
        elif text.strip():
            faults.append(f"line {line}: `{text.strip()[:40]}` is no (head, relation, tail)")
    return rows, faults
