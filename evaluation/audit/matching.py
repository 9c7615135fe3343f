"""Compare all fingerprints by index: which pairs share voxel hashes or agree on an alignment.

No pair of scans is visited unless its scans share something: hashes are sorted, codes lie in
tables keyed by 16 of their bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.audit.fingerprint import Fingerprint
from evaluation.audit.symmetry import (
    CODE_BITS,
    KEY_BITS,
    MATRICES,
    RELATIVE,
    VARIANT_FLIP,
    VARIANT_SOURCE,
    VARIANT_SYMMETRY,
)
from evaluation.metrics.compiled import compiled

COMMON_HASH = 50
"""A hash in more scans than this is a pattern of some software, not of a patient."""

N_TABLES = 8
KEY_LENGTH = 16
FARTHEST = 18
TOLERANCE = 0.04
TOLERANCE_MM = (2.5, 12.0)
MOST_CENTRES = 256

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Match:
    """Two scans that have something in common.

    Args:
        first, second: positions in the list of fingerprints, first < second.
        shared: voxel hashes that both sketches hold.
        votes: keypoints that agree on one alignment.
        turn: (3, 3) flip and permutation that leads from `second` to `first`.
        shift_mm: where `second`'s origin lies in `first` after the turn.
    """

    first: int
    second: int
    shared: int
    votes: int
    turn: Ints
    shift_mm: NDArray[np.float64]


def find_matches(
    prints: Sequence[Fingerprint], groups: Sequence[int], fewest_votes: int, fewest_shared: int
) -> list[Match]:
    """All pairs of scans of different groups that reach one of the two thresholds.

    Args:
        prints: fingerprints.
        groups: for each scan a number; scans with equal numbers are known to belong together
            (one patient of one entry) and are not compared.
        fewest_votes: keypoints that must agree, or
        fewest_shared: hashes that must be shared.
    """
    group = np.asarray(groups, dtype=np.int64)
    shared = shared_hashes([p.sketch for p in prints], group)
    voted = vote(prints, group, fewest_votes)
    pairs = set(voted) | {pair for pair, n in shared.items() if n >= fewest_shared}
    nothing = (0, np.eye(3, dtype=np.int64), np.zeros(3))
    return [
        Match(i, j, shared.get((i, j), 0), *voted.get((i, j), nothing)) for i, j in sorted(pairs)
    ]


def shared_hashes(
    sketches: Sequence[NDArray[np.uint64]], group: Ints
) -> dict[tuple[int, int], int]:
    """Number of shared hashes of every pair of different groups that shares any."""
    if not sketches:
        return {}
    owner = np.repeat(np.arange(len(sketches)), [len(s) for s in sketches]).astype(np.int32)
    values = np.concatenate(sketches)
    order = np.argsort(values, kind="stable")
    pairs = _pairs_of_runs(values[order], owner[order], group, COMMON_HASH, len(sketches))
    found, counts = np.unique(pairs, return_counts=True)
    n = len(sketches)
    return {
        (int(pair) // n, int(pair) % n): int(count)
        for pair, count in zip(found, counts, strict=True)
    }


def vote(
    prints: Sequence[Fingerprint], group: Ints, fewest: int
) -> dict[tuple[int, int], tuple[int, Ints, NDArray[np.float64]]]:
    """Votes, turn and shift (mm) of every pair whose keypoints agree often enough."""
    n = len(prints)
    scan = np.repeat(np.arange(n), [len(p.keypoints) for p in prints]).astype(np.int32)
    if scan.size == 0:
        return {}
    code = np.concatenate([p.keypoints.code for p in prints])
    octave = np.concatenate([p.keypoints.octave for p in prints])
    symmetry = np.concatenate([p.keypoints.symmetry for p in prints])
    position = np.concatenate([p.keypoints.position_mm for p in prints])
    point = np.arange(scan.size, dtype=np.int64)
    extra_point, extra_code, extra_symmetry = _variants(
        code, symmetry, np.concatenate([p.keypoints.ambiguous for p in prints])
    )
    query_point = np.concatenate([point, extra_point])
    query_code = np.concatenate([code, extra_code])
    query_symmetry = np.concatenate([symmetry, extra_symmetry])
    low, high = _words(code, octave)
    query_low, query_high = _words(query_code, octave[query_point])
    keys, query_keys = _keys(code), _keys(query_code)
    rows: list[NDArray[np.int64]] = []
    for table in range(N_TABLES):
        order = np.argsort(keys[table], kind="stable")
        begin = np.searchsorted(keys[table][order], np.arange((1 << KEY_LENGTH) + 1))
        # Questions in the order of their keys: a bucket stays in the cache while it is needed.
        asked = np.argsort(query_keys[table], kind="stable")
        rows.append(
            _close_codes(
                query_low[asked], query_high[asked], scan[query_point[asked]], asked,
                query_keys, group, table, begin,
                low[order], high[order], scan[order], order, keys, FARTHEST,
            )
        )  # fmt: skip
    hits = np.concatenate(rows)
    if not len(hits):
        return {}
    first, second = query_point[hits[:, 0]], hits[:, 1]
    turn = RELATIVE[query_symmetry[hits[:, 0]], symmetry[second]]
    shift = position[first] - np.einsum("nij,nj->ni", MATRICES[turn], position[second])
    pair = scan[first].astype(np.int64) * n + scan[second]
    order = np.lexsort((turn, pair))
    pair, turn, shift = pair[order], turn[order], shift[order].astype(np.float64)
    first, second = first[order], second[order]
    side = np.array([max(p.sides_mm) for p in prints])
    tolerance = np.clip(TOLERANCE * side, *TOLERANCE_MM)
    edges = np.flatnonzero(np.diff(pair * 48 + turn)) + 1
    bounds = np.concatenate([[0], edges, [len(pair)]])
    best: dict[tuple[int, int], tuple[int, Ints, NDArray[np.float64]]] = {}
    large = np.flatnonzero(np.diff(bounds) >= fewest)
    for a, b in zip(bounds[large].tolist(), bounds[large + 1].tolist(), strict=True):
        i, j = divmod(int(pair[a]), n)
        reach = float(min(tolerance[i], tolerance[j]))
        votes, centre = _largest_cluster(shift[a:b], first[a:b], second[a:b], reach, MOST_CENTRES)
        if votes >= fewest and votes > best.get((j, i), (0,))[0]:
            best[(j, i)] = (votes, turn[a : a + 1], centre)
    # The later scan of a pair asked; the answer is given from the earlier one's side.
    answers = {}
    for (i, j), (votes, turned, centre) in best.items():
        back = MATRICES[int(turned[0])].T
        answers[(i, j)] = (votes, back, -back @ centre)
    return answers


def _variants(
    code: NDArray[np.uint8], symmetry: NDArray[np.uint8], ambiguous: NDArray[np.uint8]
) -> tuple[Ints, NDArray[np.uint8], NDArray[np.uint8]]:
    points, codes, symmetries = [], [], []
    for v in range(len(VARIANT_SOURCE)):
        chosen = np.flatnonzero(ambiguous & (1 << v))
        bits = np.unpackbits(code[chosen], axis=1).astype(bool)
        points.append(chosen)
        codes.append(np.packbits(bits[:, VARIANT_SOURCE[v]] ^ VARIANT_FLIP[v], axis=1))
        symmetries.append(VARIANT_SYMMETRY[v][symmetry[chosen]].astype(np.uint8))
    return np.concatenate(points), np.concatenate(codes), np.concatenate(symmetries)


def _words(
    code: NDArray[np.uint8], octave: NDArray[np.uint8]
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Codes as two words; the free half of the second holds a mark of the octave.

    The three marks differ in 21 bits or more, which is farther than codes may be apart.
    """
    low = np.ascontiguousarray(code[:, :8]).view(np.uint64)[:, 0]
    high = np.ascontiguousarray(code[:, 8:]).view(np.uint32)[:, 0].astype(np.uint64)
    marks = np.array([0, 0x001FFFFF, 0xFFFFF800], dtype=np.uint64) << np.uint64(32)
    return low, high | marks[octave]


def _keys(code: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """(8, n) keys of the tables, each from 16 of the lowest 72 bits."""
    rng = np.random.default_rng(20)
    chosen = [rng.choice(KEY_BITS, KEY_LENGTH, replace=False) for _ in range(N_TABLES)]
    keys = np.zeros((N_TABLES, len(code)), dtype=np.uint16)
    for a in range(0, len(code), 1 << 20):
        bits = np.unpackbits(code[a : a + (1 << 20)], axis=1, count=CODE_BITS)
        for table, places in enumerate(chosen):
            packed = np.ascontiguousarray(np.packbits(bits[:, places], axis=1))
            keys[table, a : a + (1 << 20)] = packed.view(np.uint16)[:, 0]
    return keys


@compiled
def _bits_set(word: Any) -> int:
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + (
        (word >> np.uint64(2)) & np.uint64(0x3333333333333333)
    )
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return int((word * np.uint64(0x0101010101010101)) >> np.uint64(56))


@compiled
def _close_codes(
    query_low: Any, query_high: Any, query_scan: Any, query: Any, query_keys: Any, group: Any,
    table: int, begin: Any, low: Any, high: Any, scan: Any, point: Any, keys: Any, farthest: int,
) -> Any:  # fmt: skip
    """(query row, point) of close codes in one table that no earlier table has given.

    Only earlier scans are asked; buckets hold them in ascending order.
    """
    found = np.empty((4096, 2), dtype=np.int64)
    n = 0
    for q in range(query_low.size):
        key = query_keys[table, query[q]]
        for r in range(begin[key], begin[key + 1]):
            if scan[r] >= query_scan[q]:
                break
            distance = _bits_set(query_low[q] ^ low[r])
            if distance > farthest:
                continue
            distance += _bits_set(query_high[q] ^ high[r])
            if distance > farthest or group[scan[r]] == group[query_scan[q]]:
                continue
            known = False
            for t in range(table):
                if query_keys[t, query[q]] == keys[t, point[r]]:
                    known = True
                    break
            if known:
                continue
            if n == found.shape[0]:
                larger = np.empty((2 * n, 2), dtype=np.int64)
                larger[:n] = found
                found = larger
            found[n, 0] = query[q]
            found[n, 1] = point[r]
            n += 1
    return found[:n]


@compiled
def _pairs_of_runs(values: Any, owner: Any, group: Any, common: int, n_scans: int) -> Any:
    """First * n_scans + second for every two owners of one hash, from sorted hashes."""
    found = np.empty(4096, dtype=np.int64)
    n = 0
    a = 0
    while a < values.size:
        b = a + 1
        while b < values.size and values[b] == values[a]:
            b += 1
        if b - a <= common:
            for i in range(a, b):
                for j in range(i + 1, b):
                    if group[owner[i]] == group[owner[j]]:
                        continue
                    if n == found.size:
                        larger = np.empty(2 * n, dtype=np.int64)
                        larger[:n] = found
                        found = larger
                    first, second = min(owner[i], owner[j]), max(owner[i], owner[j])
                    found[n] = np.int64(first) * n_scans + second
                    n += 1
        a = b
    return found[:n]


@compiled
def _largest_cluster(shift: Any, first: Any, second: Any, reach: float, most: int) -> Any:
    """Most distinct keypoints (of both scans) whose shifts agree, and their mean shift."""
    n = shift.shape[0]
    best = 0
    centre = np.zeros(3)
    stride = max(1, n // most)
    one = np.empty(n, dtype=np.int64)
    other = np.empty(n, dtype=np.int64)
    for c in range(0, n, stride):
        m = 0
        total = np.zeros(3)
        for k in range(n):
            d = shift[k] - shift[c]
            if d[0] * d[0] + d[1] * d[1] + d[2] * d[2] <= reach * reach:
                one[m] = first[k]
                other[m] = second[k]
                total += shift[k]
                m += 1
        if m <= best:
            continue
        votes = min(np.unique(one[:m]).size, np.unique(other[:m]).size)
        if votes > best:
            best = votes
            centre = total / m
    return best, centre
