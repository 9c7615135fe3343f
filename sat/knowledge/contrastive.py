"""The contrastive loss of both stages of the knowledge injection (paper, section 4.1, eq. 4)."""

from __future__ import annotations

import torch
from torch import Tensor

from evaluation.errors import BenchError
from sat.knowledge.settings import TEMPERATURE, Form


def contrastive_loss(
    a: Tensor,
    b: Tensor,
    groups_a: Tensor | None = None,
    groups_b: Tensor | None = None,
    *,
    temperature: float = TEMPERATURE,
    form: Form = "infonce",
    mask_duplicates: bool = True,
) -> Tensor:
    """Symmetric contrastive loss of N matching rows.

    With s_ik = <a_i, b_k> / (|a_i| |b_k| temperature), and D the entries (i, k), i != k, that
    compare different meanings, the form `infonce` is

        L = 1/(2N) sum_i [ -log( e^s_ii / (e^s_ii + sum_{k: (i,k) in D} e^s_ik) )
                           -log( e^s_ii / (e^s_ii + sum_{k: (k,i) in D} e^s_ki) ) ]

    and `eq4`, the printed equation, leaves the positive out of its own denominator and has no 1/2:

        L = 1/N sum_i [ -log( e^s_ii / sum_{k: (i,k) in D} e^s_ik )
                        -log( e^s_ii / sum_{k: (k,i) in D} e^s_ki ) ]

    `infonce` is never negative; `eq4` is as low as 2 (log(N - 1) - 2 / temperature), and its pull
    on a positive, 1 / temperature each way, does not fade once the pair is found. The equation
    writes inner products only; without unit length it would have no lower bound.

    Args:
        a: features (N, d) of one side, of any length; unit length is taken here.
        b: features (N, d) of the other side; row i belongs to row i of `a`.
        groups_a: integers (N,), the same number for rows of the same meaning (one concept, one
            text). None: every row is of its own, or as `groups_b` if that is given.
        groups_b: the same for `b`, in one numbering with `groups_a`: an a and a b with the same
            number are not pushed apart either. None: as `groups_a`.
        temperature: fixed at 0.07 in the paper.
        form: `infonce` or `eq4`.
        mask_duplicates: leave (i, k) out of D where a_i and a_k, b_i and b_k, or a_i and b_k
            have one number: a right answer, not a negative. False: D is every i != k, as printed.

    Returns:
        A scalar, float32. With `eq4`, a term whose denominator has no entry left is left out of
        its mean (0 if none is left).

    Raises:
        BenchError: shapes do not match, the temperature is not positive, or `eq4` with N < 2.
    """
    if a.ndim != 2 or a.shape != b.shape:
        raise BenchError(
            "the two sides of a contrastive loss do not match",
            found=f"{tuple(a.shape)} and {tuple(b.shape)}",
            expected="twice (N, d)",
        )
    if not temperature > 0:
        raise BenchError("a temperature is positive", found=temperature)
    n = len(a)
    if n < (2 if form == "eq4" else 1):
        raise BenchError(
            "too few rows for a contrastive loss",
            found=n,
            expected="at least 2" if form == "eq4" else "at least 1",
            hint="the printed eq. 4 has no negative in a batch of one: drop the last short batch"
            if form == "eq4"
            else None,
        )
    with torch.autocast(a.device.type, enabled=False):
        unit_a = torch.nn.functional.normalize(a.float(), dim=-1)
        unit_b = torch.nn.functional.normalize(b.float(), dim=-1)
        similarity = unit_a @ unit_b.T / temperature
        positive = similarity.diagonal()
        excluded = torch.eye(n, dtype=torch.bool, device=a.device)
        if mask_duplicates and (groups_a is not None or groups_b is not None):
            excluded = excluded | _duplicates(n, groups_a, groups_b, a.device)
        if form == "infonce":
            excluded.fill_diagonal_(False)
            kept = similarity.masked_fill(excluded, -torch.inf)
            return ((kept.logsumexp(1) + kept.logsumexp(0)) / 2 - positive).mean()
        return _eq4(similarity, positive, excluded) + _eq4(similarity.T, positive, excluded.T)


def _eq4(similarity: Tensor, positive: Tensor, excluded: Tensor) -> Tensor:
    """One direction of eq. 4: the mean over the rows that have a denominator."""
    usable = ~excluded.all(1)
    # Rows without one keep finite numbers, so that their gradient is zero and not NaN.
    kept = similarity.masked_fill(excluded & usable[:, None], -torch.inf)
    return ((kept.logsumexp(1) - positive) * usable).sum() / usable.sum().clamp(min=1)


def _duplicates(
    n: int, groups_a: Tensor | None, groups_b: Tensor | None, device: torch.device
) -> Tensor:
    """(N, N), true where a_i and b_k mean the same.

    They do if they are in one group, or through a pair (a_m, b_m) of the batch with a_m in the
    group of a_i and b_m in that of b_k: what is right for a_m is right for a_i.
    """
    of_a = groups_a if groups_a is not None else groups_b
    of_b = groups_b if groups_b is not None else groups_a
    assert of_a is not None
    assert of_b is not None
    if of_a.shape != (n,) or of_b.shape != (n,):
        raise BenchError(
            "the groups of a contrastive loss do not match its rows",
            found=f"{tuple(of_a.shape)} and {tuple(of_b.shape)}",
            expected=f"({n},)",
        )
    of_a, of_b = of_a.to(device), of_b.to(device)
    alike_a, alike_b = (of[:, None] == of[None, :] for of in (of_a, of_b))
    through_a_pair = (alike_a.float() @ alike_b.float()) > 0
    same: Tensor = through_a_pair | (of_a[:, None] == of_b[None, :])
    return same
