"""The 48 flips and permutations of three axes, and what they do to patches and their codes."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct

SIDE = 5
"""Samples along each side of a patch."""

CODE_BITS = 96
KEY_BITS = 72
"""The lowest bits of a code, from which the keys of the index are taken."""

_ORDERS = list(permutations(range(3)))
_SIGNS = list(product((1, -1), repeat=3))


def symmetry_index(order: NDArray[np.int64], negative: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Index of symmetries: canonical axis k is the scan's axis order[:, k], turned if negative."""
    rank = {o: i for i, o in enumerate(_ORDERS)}
    table = np.zeros((3, 3, 3), dtype=np.int64)
    for o, i in rank.items():
        table[o] = i
    signs = negative @ np.array([4, 2, 1])
    return np.asarray(table[order[:, 0], order[:, 1], order[:, 2]] * 8 + signs)


def _matrices() -> NDArray[np.int64]:
    """(48, 3, 3): canonical coordinates -> coordinates of the scan."""
    out = np.zeros((48, 3, 3), dtype=np.int64)
    for i, order in enumerate(_ORDERS):
        for j, signs in enumerate(_SIGNS):
            for k in range(3):
                out[i * 8 + j, order[k], k] = signs[k]
    return out


MATRICES = _matrices()


def _relative() -> NDArray[np.int64]:
    """(48, 48): index of M_a M_b^T, which leads from scan b to scan a."""
    products = np.einsum("aij,bkj->abik", MATRICES, MATRICES)
    flat = {m.tobytes(): i for i, m in enumerate(np.ascontiguousarray(MATRICES))}
    return np.array(
        [[flat[np.ascontiguousarray(products[a, b]).tobytes()] for b in range(48)]
         for a in range(48)]
    )  # fmt: skip


RELATIVE = _relative()


def _gathers() -> NDArray[np.int64]:
    """(48, 125): for every place of the canonical patch the place in the scan's patch."""
    centre = SIDE // 2
    places = np.array(list(product(range(SIDE), repeat=3))) - centre
    mapped = np.einsum("sij,pj->spi", MATRICES, places) + centre
    return np.asarray((mapped[..., 0] * SIDE + mapped[..., 1]) * SIDE + mapped[..., 2])


GATHERS = _gathers()


def _frequencies() -> list[tuple[int, int, int]]:
    """Frequencies of the bits, the lowest first; whole families, closed under permutation."""
    families: dict[tuple[int, ...], list[tuple[int, int, int]]] = {}
    for f in product(range(SIDE), repeat=3):
        if sum(f) > 1:
            families.setdefault(tuple(sorted(f)), []).append((f[0], f[1], f[2]))
    chosen: list[tuple[int, int, int]] = []
    for _, family in sorted(families.items(), key=lambda kv: (sum(v * v for v in kv[0]), kv[0])):
        if len(chosen) + len(family) <= CODE_BITS:
            chosen += sorted(family)
    return chosen


FREQUENCIES = _frequencies()


def _basis() -> NDArray[np.float32]:
    """(125, 96): a patch times this gives the cosine coefficients whose signs are the code."""
    line = dct(np.eye(SIDE), axis=0, norm="ortho")
    columns = [np.einsum("i,j,k->ijk", line[a], line[b], line[c]) for a, b, c in FREQUENCIES]
    return np.stack([c.ravel() for c in columns], axis=1).astype(np.float32)


BASIS = _basis()


def _variants() -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64]]:
    """What four small changes of the canonical frame do to a code and to its symmetry.

    The changes: swap the first two axes, swap the last two, turn the last, turn the middle one.
    Turning an axis changes the sign of its odd frequencies; swapping axes swaps frequencies.
    """
    where = {f: i for i, f in enumerate(FREQUENCIES)}
    swaps = ((1, 0, 2), (0, 2, 1), (0, 1, 2), (0, 1, 2))
    turned = (None, None, 2, 1)
    source = np.array([[where[(f[s[0]], f[s[1]], f[s[2]])] for f in FREQUENCIES] for s in swaps])
    flip = np.array([[t is not None and f[t] % 2 == 1 for f in FREQUENCIES] for t in turned])
    symmetry = np.zeros((4, 48), dtype=np.int64)
    flat = {m.tobytes(): i for i, m in enumerate(np.ascontiguousarray(MATRICES))}
    for v, (swap, turn) in enumerate(zip(swaps, turned, strict=True)):
        for s in range(48):
            changed = MATRICES[s][:, list(swap)].copy()
            if turn is not None:
                changed[:, turn] *= -1
            symmetry[v, s] = flat[np.ascontiguousarray(changed).tobytes()]
    return source, flip, symmetry


VARIANT_SOURCE, VARIANT_FLIP, VARIANT_SYMMETRY = _variants()
