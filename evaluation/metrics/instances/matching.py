"""Which predicted instance stands for which reference instance: rules with names.

A match is a reference instance and the predicted ones that stand for it, several only where the
rule says so. No predicted instance stands for two.

`one-to-one` (default): at most one for one, so that the sum of the scores is largest among all
ways to pair; only pairs that overlap and reach the threshold count (panoptica's bipartite rule).
`most-pairs`: as many pairs that reach the threshold as possible, among these the largest sum
(Cellpose, the text track of CVPR 2025).
`greedy`: best score first, one for one; ties go by the prediction's, then the reference's number.
`many-to-one`: the same, but a reference takes all predictions that reach the threshold with it.
`nearest`: every prediction goes to the reference whose voxels are nearest to its own, if they are
no further than `within_mm`; a reference takes several. Scores do not matter.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from evaluation.errors import BenchError, did_you_mean
from evaluation.metrics.instances.components import Components, Ints
from evaluation.metrics.instances.pairs import InstancePair
from evaluation.metrics.instances.rules import Measure, Rule

Matches = list[tuple[int, list[int]]]
Floats = NDArray[np.float64]

# What leaving an instance without a partner costs more than a pair that scores 0.
_UNMATCHED = 1e-6
# So many pairs of instances are asked for at once.
_AT_ONCE = 1 << 20


def match_instances(
    pair: InstancePair,
    rule: Rule = "one-to-one",
    measure: Measure = "IoU",
    threshold: float = 0.5,
    within_mm: float = 0.0,
) -> Matches:
    """Match the instances of a pair by a rule (see the module).

    Args:
        pair: the instances.
        rule: name of the rule.
        measure: the score of two instances.
        threshold: a pair counts if its score is at least this, and above 0.
        within_mm: for `nearest`: largest distance between the nearest voxel centres.

    Returns:
        Reference instance and the predictions that stand for it, by reference instance.
    """
    if rule == "nearest":
        return _nearest(pair, within_mm)
    scores = pair.scores(measure)
    reaching = (scores > 0) & (scores >= threshold)
    rows = pair.overlaps[reaching, :2]
    scores = scores[reaching]
    if rule in ("one-to-one", "most-pairs"):
        shape = len(pair.reference), len(pair.prediction)
        return _assigned(rows, scores, shape, most=rule == "most-pairs")
    if rule in ("greedy", "many-to-one"):
        return _greedy(rows, scores, many=rule == "many-to-one")
    raise BenchError(
        f"no matching rule `{rule}`",
        expected=", ".join(get_args(Rule)),
        hint=did_you_mean(rule, get_args(Rule)),
    )


def _assigned(rows: Ints, scores: Floats, shape: tuple[int, int], most: bool) -> Matches:
    """The best assignment of all instances; `shape` are their numbers on either side.

    Where there are very many, group by group of instances that overlap each other: the sum is the
    same. Otherwise all at once, as the tools of the field ask the same solver, so that it chooses
    as they do among pairings of one sum.
    """
    if not len(rows):
        return []
    if shape[0] * shape[1] <= _AT_ONCE:
        return sorted((r, [p]) for r, p in _best(rows, scores, shape, most))
    size = rows.max(axis=0) + 1
    graph = coo_array((np.ones(len(rows)), (rows[:, 0], size[0] + rows[:, 1])), (size.sum(),) * 2)
    group = connected_components(graph, directed=False)[1][rows[:, 0]]
    matches: Matches = []
    for members in np.split(np.argsort(group, kind="stable"), np.cumsum(np.bincount(group))[:-1]):
        if not len(members):
            continue
        own = rows[members]
        references, at_r = np.unique(own[:, 0], return_inverse=True)
        predictions, at_p = np.unique(own[:, 1], return_inverse=True)
        numbers = len(references), len(predictions)
        for r, p in _best(np.column_stack([at_r, at_p]), scores[members], numbers, most):
            matches.append((int(references[r]), [int(predictions[p])]))
    return sorted(matches)


def _best(
    rows: Ints, scores: Floats, shape: tuple[int, int], most: bool
) -> Iterator[tuple[int, int]]:
    """Pairs among `rows` with the largest sum, or as many as possible and then the largest sum."""
    cost = np.full(shape, 0.0 if most else 1 + _UNMATCHED)
    r, p = rows.T
    cost[r, p] = -1 - scores / (2 * min(shape)) if most else 1 - scores
    allowed = np.zeros(shape, dtype=bool)
    allowed[r, p] = True
    for first, second in zip(*linear_sum_assignment(cost), strict=True):
        if allowed[first, second]:
            yield int(first), int(second)


def _greedy(rows: NDArray[np.int64], scores: Floats, many: bool) -> Matches:
    taken: dict[int, list[int]] = {}
    used: set[int] = set()
    for i in np.lexsort((rows[:, 0], rows[:, 1], -scores)):
        r, p = rows[i].tolist()
        if p in used or (r in taken and not many):
            continue
        taken.setdefault(r, []).append(p)
        used.add(p)
    return sorted(taken.items())


def _nearest(pair: InstancePair, within_mm: float) -> Matches:
    taken: dict[int, list[int]] = {}
    if not len(pair.reference) or not len(pair.prediction):
        return []
    places, owners = instance_voxels(pair.reference)
    tree = KDTree(places * np.asarray(pair.spacing_mm))
    own, predicted = instance_voxels(pair.prediction)
    distances, at = map(np.asarray, tree.query(own * np.asarray(pair.spacing_mm)))
    for p in range(len(pair.prediction)):
        mine = predicted == p
        shared = pair.overlaps[pair.overlaps[:, 1] == p]
        if len(shared):
            # At distance 0 from several, the one with most common voxels.
            r = int(shared[np.argmax(shared[:, 2]), 0])
        else:
            nearest = np.argmin(distances[mine])
            if distances[mine][nearest] > within_mm:
                continue
            r = int(owners[at[mine][nearest]])
        taken.setdefault(r, []).append(p)
    return sorted(taken.items())


def instance_voxels(side: Components) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices (n, 3) of all voxels of all instances, and their instances; in C order."""
    places = np.argwhere(side.labels)
    index = np.full(int(side.labels.max(initial=0)) + 1, -1, dtype=np.int64)
    index[side.numbers] = np.arange(len(side))
    owners = index[side.labels[tuple(places.T)]]
    return places[owners >= 0], owners[owners >= 0]
