"""How alike the learnt priors of Hermes are: cosines between modalities, and between tasks.

A prior has a vector at each of the five levels, and a modality several tokens there. The document
shows cosines of them (its Fig. 3) without saying how levels and tokens are joined. The rule here is
`joined`, since the network's own heads read the tokens so; `by level` and `deepest` are shown
beside it, because a pattern that only one rule shows is a pattern of the rule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, get_args

import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

from baselines.universal.entries import UNKNOWN, Catalogue
from baselines.universal.networks.hermes import Hermes
from baselines.universal.networks.priors import PriorTables

Kind = Literal["modality", "task"]
KINDS: tuple[Kind, ...] = get_args(Kind)
DEEPEST = 2  # the encoder's 16x among the levels
UNKNOWN_NAME = "unknown"


def _joined(levels: Sequence[Tensor]) -> Tensor:
    return cosines(torch.cat(list(levels), dim=1))


def _by_level(levels: Sequence[Tensor]) -> Tensor:
    return torch.stack([cosines(level) for level in levels]).mean(0)


def _deepest(levels: Sequence[Tensor]) -> Tensor:
    return cosines(levels[DEEPEST])


RULES: Mapping[str, Callable[[Sequence[Tensor]], Tensor]] = {
    "joined": _joined,
    "by level": _by_level,
    "deepest": _deepest,
}
"""Rule -> cosines (N, N) of N priors, given their vectors (N, C) at each level.

`joined`: the levels side by side in one vector, as the heads read them; wide levels count more.
`by level`: the mean of the five levels' cosines. `deepest`: the encoder's 16x alone.
"""


def cosines(vectors: Tensor) -> Tensor:
    """Cosines (N, N) between vectors (N, C)."""
    unit = functional.normalize(vectors.double(), dim=1)
    return unit @ unit.T


def prior_levels(network: Hermes, kind: Kind) -> list[Tensor]:
    """Vectors (N, C) of all priors of a kind at each level, the null token left out.

    The tokens of a modality are averaged, as the modality head does it.
    """
    tables = [level for level in network.priors if isinstance(level, PriorTables)]
    if kind == "task":
        return [level.tasks.detach()[:-1] for level in tables]
    return [level.modalities.detach().mean(dim=1) for level in tables]


def prior_names(known: Catalogue, kind: Kind) -> list[str]:
    """What the priors of a kind stand for: modalities, or entry and class of each task token."""
    if kind == "modality":
        return [*known.modalities, UNKNOWN_NAME]
    names: dict[int, str] = {}
    for entry in known.entries:
        for token, name in zip(entry.tokens, entry.classes, strict=True):
            names.setdefault(token, f"{entry.dataset}: {name}")
    return [names[token] for token in sorted(names)]


def similarities(network: Hermes, known: Catalogue) -> pd.DataFrame:
    """Every pair under every rule: kind, rule, prior, other, cosine.

    The unknown modality is left out where no entry has it: its tokens were never trained.
    """
    rows: list[tuple[Kind, str, str, str, float]] = []
    rows_of = [set(e.sequences.values()) or {e.modality} for e in known.entries]
    unknown = any(UNKNOWN in found for found in rows_of)
    for kind in KINDS:
        levels, names = prior_levels(network, kind), prior_names(known, kind)
        if kind == "task":
            # Rows that no class has were never trained.
            used = sorted({token for entry in known.entries for token in entry.tokens})
            levels = [level[used] for level in levels]
        if kind == "modality" and not unknown:
            levels, names = [level[:-1] for level in levels], names[:-1]
        for rule, join in RULES.items():
            for prior, cosines_of_it in zip(names, join(levels).tolist(), strict=True):
                pairs = zip(names, cosines_of_it, strict=True)
                rows += [(kind, rule, prior, other, cosine) for other, cosine in pairs]
    return pd.DataFrame(rows, columns=["kind", "rule", "prior", "other", "cosine"])
