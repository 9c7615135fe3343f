"""Relations that a language model found in definitions: the question, and the answer as a CSV.

The paper extends its triplets in this way (section 4.1). Which model is asked is the user's choice:
`satbench sat knowledge template` prints the question, `--relations` reads the collected answers.
"""

from __future__ import annotations

from pathlib import Path

from evaluation.errors import BenchError
from sat.knowledge.records import Knowledge, Pair, Triplet, plain, read_rows, refuse_faults

TEMPLATE_FILE = Path(__file__).parent / "templates" / "relations.txt"
COLUMNS = ("head", "relation", "tail")


def question(name: str, definition: str) -> str:
    """The template filled with one concept."""
    if not name.strip() or not definition.strip():
        raise BenchError(
            "the question needs a concept and its definition", found=f"{name!r}, {definition!r}"
        )
    # Not `format`: a definition may hold braces.
    template = TEMPLATE_FILE.read_text(encoding="utf-8")
    before, rest = template.split("{name}")
    between, after = rest.split("{definition}")
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
    """A CSV with exactly the columns `head,relation,tail`; repeated rows count once.

    Raises:
        BenchError: see `read_rows`; or a relation leads from a concept to itself.
    """
    found: dict[tuple[str, ...], Triplet] = {}
    faults = []
    for line, row in read_rows(path, COLUMNS, optional=()):
        triplet = Triplet(row["head"], row["relation"], row["tail"])
        if plain(triplet.head) == plain(triplet.tail):
            faults.append(f"line {line}: `{triplet.head}` {triplet.relation} itself")
        found.setdefault(tuple(plain(part) for part in triplet), triplet)
    refuse_faults(path, faults)
    title = f"relations of {path.name}: {len(found):,} triplets"
    return Knowledge((), tuple(found.values()), (title,))
