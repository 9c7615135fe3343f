"""What a text encoder knows: definitions found by name, and names that it takes for one another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from tabulate import tabulate
from torch import Tensor

from evaluation.confusions.names import rows_of, side_pairs
from sat.knowledge.open_set import class_definitions, class_names
from sat.knowledge.records import plain

Embed = Callable[[Sequence[str]], Tensor]
AT = (1, 5, 10)
ALIKE = 0.95
# Pairs that the project's reference page follows.
_FOLLOWED = {
    "L1 and L2": ("lumbar vertebrae 1 (l1)", "lumbar vertebrae 2 (l2)"),
    "left and right kidney": ("left kidney", "right kidney"),
    "kidney and kidney tumor": ("kidney", "kidney tumor"),
}


def recall(queries: Tensor, texts: Tensor, meanings: Sequence[str]) -> dict[str, float]:
    """Part of the queries whose own text is among the first 1, 5 and 10, and their number.

    Args:
        queries: (N, E) of unit length, for example of names.
        texts: (N, E) of unit length; row i is the answer to query i.
        meanings: of the N texts: equal ones are all right answers.

    Returns:
        `n`, `r1`, `r5`, `r10` (0 to 1). Ties count against the query, so that an encoder that
        makes one vector of everything finds nothing.
    """
    numbers: dict[str, int] = {}
    meaning = torch.tensor([numbers.setdefault(m, len(numbers)) for m in meanings])
    ranks = []
    for start in range(0, len(queries), 1024):
        similarity = queries[start : start + 1024] @ texts.T
        right = meaning[start : start + 1024, None] == meaning[None, :]
        best = similarity.masked_fill(~right, -torch.inf).amax(1, keepdim=True)
        ranks.append(((similarity >= best) & ~right).sum(1))
    rank = torch.cat(ranks)
    return {"n": len(queries), **{f"r{k}": float((rank < k).float().mean()) for k in AT}}


def definition_recall(embed: Embed, definitions: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Recall of the first definition of each name among those of all names (one or more)."""
    texts = [found[0] for found in definitions.values()]
    return recall(embed(list(definitions)), embed(texts), [plain(text) for text in texts])


def confusion(embed: Embed, names: Sequence[str] | None = None) -> dict[str, Any]:
    """How near each other the names of the benchmark's classes are, as cosines.

    Args:
        embed: texts to rows of unit length.
        names: the 341 class names if None.

    Returns:
        `sides`: the pairs left/right, and how often a name's nearest one is its other side;
        `neighbours`: names that follow each other in a row of ribs, vertebrae or discs;
        `followed`: single pairs; `above`: number of all pairs above 0.95; `mean`: of all pairs.
    """
    listed = list(names if names is not None else class_names())
    vectors = torch.nn.functional.normalize(embed(listed), dim=-1)
    cosines = vectors @ vectors.T
    row = {name: i for i, name in enumerate(listed)}
    upper = cosines[torch.triu_indices(len(listed), len(listed), 1).unbind()]
    sides = side_pairs(listed)
    nearest = cosines.clone().fill_diagonal_(-2).argmax(1).tolist()
    swapped = sum(
        nearest[row[x]] == row[y]
        for left, right in sides
        for x, y in ((left, right), (right, left))
    )

    def spread(pairs: Sequence[tuple[str, str]]) -> dict[str, float]:
        values = [float(cosines[row[x], row[y]]) for x, y in pairs]
        if not values:
            return {"n": 0, "mean": float("nan"), "max": float("nan")}
        return {"n": len(values), "mean": sum(values) / len(values), "max": max(values)}

    neighbours = {
        title: spread(list(pairwise(sorted(members, key=members.__getitem__))))
        for title, members in rows_of(listed).items()
    }
    return {
        "mean": float(upper.mean()),
        "above": int((upper > ALIKE).sum()),
        "sides": {**spread(sides), "nearest_is_other_side": swapped},
        "neighbours": neighbours,
        "followed": {
            title: float(cosines[row[x], row[y]])
            for title, (x, y) in _FOLLOWED.items()
            if x in row and y in row
        },
    }


def examine(embed: Embed, held_out: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Everything about one encoder, as plain values.

    Args:
        embed: texts to rows of unit length.
        held_out: concepts with definitions that no training saw; without any, nothing is said.
    """
    return {
        "held_out": definition_recall(embed, held_out) if held_out else None,
        "classes": definition_recall(embed, class_definitions()),
        "confusion": confusion(embed),
    }


def table(columns: Mapping[str, dict[str, Any]]) -> str:
    """Encoders side by side, one column each: title -> what `examine` found."""
    rows = []
    for title, part in (("held-out definitions", "held_out"), ("class definitions", "classes")):
        if any(found[part] is None for found in columns.values()):
            continue
        n = next(iter(columns.values()))[part]["n"]
        for k in AT:
            values = (f"{100 * found[part][f'r{k}']:.1f}" for found in columns.values())
            rows.append([f"{title} R@{k} (n = {n}), %", *values])

    found = [column["confusion"] for column in columns.values()]
    sides, rows_of_like, pairs = (found[0][key] for key in ("sides", "neighbours", "followed"))
    rows += [
        ["cosine, all pairs of class names", *(f"{c['mean']:.3f}" for c in found)],
        [f"pairs above {ALIKE}", *(str(c["above"]) for c in found)],
        [f"left/right, mean (max), n = {sides['n']}", *(_spread(c["sides"]) for c in found)],
        [
            "names nearest to their other side",
            *(str(c["sides"]["nearest_is_other_side"]) for c in found),
        ],
    ]
    for row, of_first in rows_of_like.items():
        title = f"neighbours: {row}, mean (max), n = {of_first['n']}"
        rows.append([title, *(_spread(c["neighbours"][row]) for c in found)])
    rows += [[pair, *(f"{c['followed'][pair]:.3f}" for c in found)] for pair in pairs]
    return tabulate(rows, headers=["", *columns], disable_numparse=True)


def _spread(found: Mapping[str, float]) -> str:
    return f"{found['mean']:.3f} ({found['max']:.3f})"
