"""Lesions counted as lesions: against the values of challenges and tools, and rule by rule."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

import satbench
from evaluation.errors import BenchError
from evaluation.metrics.instances.components import connected
from evaluation.metrics.instances.matching import match_instances
from evaluation.metrics.instances.pairs import pair_instances, pair_instances_by_class
from evaluation.metrics.instances.protocols import PROTOCOLS
from evaluation.metrics.instances.scores import (
    counts_by_volume,
    instance_rows,
    instance_scores,
    ratio,
)

PeerValues = Callable[[str], Iterator[tuple[Any, list[dict[str, str]]]]]
score_instances = satbench.score_instances
PANOPTICA = {
    "naive IOU 0.5": ("greedy", "IoU", 0.5),
    "naive IOU 0.1": ("greedy", "IoU", 0.1),
    "naive DSC 0.5": ("greedy", "DSC", 0.5),
    "naive IOU 0.1 many-to-one": ("many-to-one", "IoU", 0.1),
    "bipartite IOU 0.5": ("one-to-one", "IoU", 0.5),
    "bipartite DSC 1e-6": ("one-to-one", "DSC", 1e-6),
    "naive IOU 0.5;drawn instances": ("greedy", "IoU", 0.5),
}
BRATS_2023 = {
    "Num_TP": "tp",
    "Num_FP": "fp",
    "Num_FN": "fn",
    "LesionWise_Score_Dice": "lesionwise_dsc",
    "LesionWise_Score_HD95": "lesionwise_hd95",
}


def brats_2026_name(metric: str) -> str:
    """Our name of a value of brats-evaluation."""
    name = metric.removesuffix("_mean").removeprefix("all_instance_").replace("_instance", "")
    start, _, last = name.rpartition("_")
    last = {"prec": "precision", "rec": "recall"}.get(last, last)
    return f"{start}_{last}" if start else last


def by_volume(pair: Any, matches: Any, edges: list[float]) -> list[tuple[int, int]]:
    detected = np.isin(np.arange(len(pair.reference)), [r for r, _ in matches])
    return counts_by_volume(pair.reference.voxels * pair.voxel_mm3, detected, edges)


def ours_of(pair: Any) -> Callable[[dict[str, str]], float | None]:
    """What we make of a row of values; None where we do not compute it."""
    masks = pair.reference > 0, pair.prediction > 0

    @cache
    def protocol(name: str, drawn: tuple[bool, bool] = (False, False)) -> dict[str, float]:
        sides = [
            labels if as_drawn else mask
            for labels, mask, as_drawn in zip(
                (pair.reference, pair.prediction), masks, drawn, strict=True
            )
        ]
        return score_instances(*sides, pair.spacing, name)

    @cache
    def matched(parameter: str):
        drawn = "drawn" in parameter
        sides = (pair.reference, pair.prediction) if drawn else masks
        connectivity = (None, None) if drawn else (26, 26)
        found = pair_instances(*sides, pair.spacing, connectivity)
        matches = match_instances(found, *PANOPTICA[parameter])
        surfaces = [found.surface(*match, "voxel-pooled", solid=True) for match in matches]
        return found, matches, instance_scores(found, matches), surfaces

    def value(row: dict[str, str]) -> float | None:
        metric, parameter = row["metric"], row["parameter"]
        match row["peer"]:
            case "BraTS 2023 script" if metric in BRATS_2023:
                name = f"brats-2023-{parameter.partition(';')[0][-3:].lower()}"
                return protocol(name)[BRATS_2023[metric]]
            case "brats-evaluation":
                name = "brats-2026-mets" if "mets" in parameter else "brats-2026"
                return protocol(name).get(brats_2026_name(metric))
            case "autoPET script" if "volume" in metric:
                return protocol("autopet")[metric.replace("_volume", "")]
            case "WMH script" | "ISLES22 script":
                name = "wmh-2017" if row["peer"] == "WMH script" else "isles-2022"
                return protocol(name)[metric.removeprefix("lesion_")]
            case "CC-Metrics":
                names = {"cc_dice": "cc_dsc", "cc_surface_dice": "cc_nsd"}
                return protocol("cc-metrics")[names.get(metric, metric)]
            case "CVPR25 text script" if "reference 6-components" not in parameter:
                drawn = "reference as drawn" in parameter, "prediction as drawn" in parameter
                return protocol("f1-iou50", drawn)[metric]
            case "panoptica" if metric == "recall_by_volume":
                found, matches, *_ = matched(parameter.partition(";")[0])
                number, hits = by_volume(found, matches, [5, 20, 100])[int(parameter[-1])]
                return ratio(hits, number)
            case "panoptica" if parameter in PANOPTICA:
                _, matches, scores, surfaces = matched(parameter)
                known = {"tp": "tp", "fp": "fp", "fn": "fn", "rq": "f1", "pq": "pq"}
                known |= {"prec": "precision", "rec": "recall"}
                if metric in known:
                    return getattr(scores, known[metric])
                if not matches:
                    return None
                match metric:
                    case "sq":
                        return scores.sq
                    case "sq_dsc":
                        return scores.dsc_tp
                    case "sq_hd95":
                        return float(np.mean([s.hd_percentile(95) for s in surfaces]))
                    case "sq_assd":
                        return float(np.mean([s.masd() for s in surfaces]))
                    case "sq_nsd":
                        return float(np.mean([s.nsd(min(pair.spacing)) for s in surfaces]))
        return None

    return value


def test_values_of_challenges_and_tools(peer_values: PeerValues) -> None:
    compared, wrong = Counter(), []
    for pair, values in peer_values("instance_pairs"):
        value = ours_of(pair)
        for row in values:
            ours, theirs = value(row), float(row["value"])
            if ours is None:
                continue
            compared[row["peer"]] += 1
            # These two work with float32.
            single = row["peer"] in ("BraTS 2023 script", "CC-Metrics")
            within = 1e-6 * max(1, abs(theirs)) if single else 1e-9
            same = theirs == ours or (math.isnan(theirs) and math.isnan(ours))
            if not same and not abs(theirs - ours) <= within:
                wrong.append((pair.id, row["peer"], row["metric"], row["parameter"], theirs, ours))
    assert wrong == []
    assert compared["panoptica"] > 3000
    assert compared["brats-evaluation"] > 1500
    assert compared["BraTS 2023 script"] == 48 * 15
    assert compared["CC-Metrics"] > 4 * 48
    assert compared["autoPET script"] == 2 * 48
    assert compared["WMH script"] == compared["ISLES22 script"] == 2 * 48


def boxes(shape: tuple[int, int, int], *corners: tuple[tuple[int, ...], tuple[int, ...]]):
    mask = np.zeros(shape, bool)
    for low, high in corners:
        mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = True
    return mask


def lesions():
    """Two lesions; one prediction overlaps both, one before it the first, the last one none."""
    a = boxes((10, 10, 44), ((2, 2, 4), (7, 7, 16)), ((2, 2, 19), (7, 7, 31)))
    b = boxes(
        (10, 10, 44),
        ((2, 2, 8), (7, 7, 26)),
        ((2, 2, 1), (7, 7, 7)),
        ((2, 2, 40), (4, 4, 42)),
    )
    return a, b


def test_the_best_sum_pairs_what_greed_leaves_alone() -> None:
    pair = pair_instances(*lesions(), (1.0, 1.0, 1.0))
    assert pair.overlaps[:, :2].tolist() == [[0, 0], [0, 1], [1, 1]]
    assert match_instances(pair, "one-to-one", "IoU", 0.1) == [(0, [0]), (1, [1])]
    assert match_instances(pair, "greedy", "IoU", 0.1) == [(0, [1])]
    assert match_instances(pair, "many-to-one", "IoU", 0.1) == [(0, [1, 0])]
    assert match_instances(pair, "one-to-one", "IoU", 0.5) == []
    one = np.ones((4, 4, 8), bool)
    split = one.copy()
    split[:, :, 4] = False
    halves = pair_instances(one, split, (1, 1, 1))
    assert match_instances(halves, "many-to-one", "IoU", 0.2) == [(0, [0, 1])]
    assert match_instances(halves, "one-to-one", "IoU", 0.2) == [(0, [0])]
    with pytest.raises(BenchError, match="one-to-one"):
        match_instances(halves, "one to one")


def test_equal_sums_are_paired_as_the_solver_of_all_pairs_does() -> None:
    # A prediction overlaps two lesions equally well.
    a = boxes((6, 6, 30), ((0, 0, 0), (2, 2, 2)), ((2, 2, 6), (4, 4, 10)), ((2, 2, 14), (4, 4, 18)))
    b = boxes((6, 6, 30), ((4, 4, 0), (6, 6, 2)), ((2, 2, 8), (4, 4, 16)))
    pair = pair_instances(a, b, (1.0, 1.0, 1.0))
    assert pair.overlaps[:, :2].tolist() == [[1, 0], [2, 0]]
    assert len(set(pair.scores("IoU").tolist())) == 1
    # panoptica's costs; of equal sums the solver takes one.
    cost = np.full((3, 2), 1 + 1e-6)
    cost[1:, 0] = 1 - pair.scores("IoU")
    taken = [
        (r, [p]) for r, p in zip(*map(list, linear_sum_assignment(cost)), strict=True) if p == 0
    ]
    assert match_instances(pair, "one-to-one", "IoU", 0.1) == taken
    with pytest.MonkeyPatch.context() as patch:
        # Group by group, as where there are very many: the same sum.
        patch.setattr("evaluation.metrics.instances.matching._AT_ONCE", 0)
        apart = match_instances(pair, "one-to-one", "IoU", 0.1)
        assert [pair.overlap(*match) for match in apart] == [pair.overlap(*taken[0])]


def test_nearest_takes_what_is_close_enough() -> None:
    a, b = lesions()
    pair = pair_instances(a, b, (1.0, 1.0, 2.0))
    # The third prediction is ten voxels of 2 mm away from the second lesion's last voxel.
    assert match_instances(pair, "nearest", within_mm=19.9) == [(0, [0, 1])]
    assert match_instances(pair, "nearest", within_mm=20) == [(0, [0, 1]), (1, [2])]


def test_rows_say_what_became_of_every_instance() -> None:
    a, b = lesions()
    pair = pair_instances(a, b, (1.0, 1.0, 2.0))
    rows = instance_rows(pair, match_instances(pair, "one-to-one", "IoU", 0.3))
    assert [(r.side, r.instance, r.matched_to, r.detected) for r in rows] == [
        ("reference", 1, (2,), True),
        ("reference", 2, (), False),
        ("prediction", 1, (), False),
        ("prediction", 3, (), False),
    ]
    assert rows[1].dsc == 0
    assert math.isnan(rows[1].hd95_mm)
    mine, its = a.copy(), b.copy()
    mine[:, :, 17:] = its[:, :, :8] = its[:, :, 30:] = False
    expected = satbench.score(mine, its, (1.0, 1.0, 2.0), metrics=["dsc", "iou", "hd95"])
    assert [rows[0].dsc, rows[0].iou, rows[0].hd95_mm] == pytest.approx(list(expected.values()))
    assert rows[3].volume_ml == pytest.approx(0.016)
    scores = instance_scores(pair, [(0, [1])])
    assert (scores.tp, scores.fp, scores.fn) == (1, 2, 1)
    assert scores.precision == pytest.approx(1 / 3)
    assert scores.f1 == pytest.approx(2 / 5)
    assert scores.pq == pytest.approx(scores.f1 * expected["iou"])
    assert scores.lesion_dsc == pytest.approx(expected["dsc"] / 2)
    assert scores.false_positive_ml == pytest.approx((5 * 5 * 6 + 8) * 2 / 1000)
    assert by_volume(pair, [(0, [1])], [10, 1000]) == [(0, 0), (2, 1), (0, 0)]


def test_a_lesion_in_one_slice_of_a_volume_is_a_solid() -> None:
    a = boxes((5, 9, 9), ((2, 2, 2), (3, 6, 6)))
    b = np.roll(a, 1, axis=0)
    pair = pair_instances(a, a | b, (3.0, 1.0, 1.0))
    expected = satbench.score(a, a | b, (3.0, 1.0, 1.0), metrics=["hd", "assd"])
    surface = pair.surface(0, [0])
    assert expected == {"hd": surface.hd(), "assd": pytest.approx(surface.assd())}
    assert surface.hd() == 3


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 2**32), st.sampled_from((6, 18, 26)), st.sampled_from("CF"))
def test_all_classes_in_one_pass_equal_each_by_itself(seed, connectivity, order) -> None:
    rng = np.random.default_rng(seed)
    shape = rng.integers(2, 12, 3)
    maps = [
        np.asarray(rng.choice(4, shape, p=(0.7, 0.1, 0.1, 0.1)), np.uint8, order=order)
        for _ in range(2)
    ]
    found = pair_instances_by_class(*maps, (1, 2, 3), [1, 2, 3, 9], connectivity)
    for value, pair in found.items():
        alone = pair_instances(
            maps[0] == value, maps[1] == value, (1, 2, 3), (connectivity, connectivity)
        )
        for side in ("reference", "prediction"):
            one, other = getattr(pair, side), getattr(alone, side)
            assert one.voxels.tolist() == other.voxels.tolist()
            assert one.boxes == other.boxes
        assert pair.overlaps.tolist() == alone.overlaps.tolist()
        assert match_instances(pair) == match_instances(alone)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.integers(0, 2**32), st.permutations(range(3)), st.sampled_from(list(PROTOCOLS)))
def test_axis_order_and_padding_change_no_protocol(seed, order, protocol) -> None:
    rng = np.random.default_rng(seed)
    shape = rng.integers(6, 14, 3)
    a, b = (
        (rng.random([-(-s // 2) for s in shape]) < 0.15).repeat(2, 0).repeat(2, 1).repeat(2, 2)
        for _ in range(2)
    )
    # Far enough from the edge for every dilation; regions are those of the whole volume.
    a, b = np.pad(a, 4), np.pad(b | (a & (rng.random(a.shape) < 0.6)), 4)
    if protocol == "cc-metrics":
        # Which of two equally near lesions comes first hangs on the order of axes.
        b &= a
    before = score_instances(a, b, (1.0, 1.5, 2.0), protocol)
    turned = [np.pad(side, ((1, 2), (0, 3), (0, 0))).transpose(order) for side in (a, b)]
    after = score_instances(*turned, np.array((1.0, 1.5, 2.0))[list(order)], protocol)
    counted = {k: v for k, v in before.items() if "hd95" not in k and "nsd" not in k}
    if protocol.startswith("brats-2026") or protocol in ("panoptic", "f1-iou50"):
        # Equal sums may be reached by different pairs.
        counted = {k: v for k, v in counted.items() if k in ("tp", "fp", "fn", "f1", "recall")}
    else:
        counted = before
    for name, number in counted.items():
        assert after[name] == pytest.approx(number, abs=1e-12, nan_ok=True), name


def test_neighbourhoods() -> None:
    mask = boxes((5, 5, 5), ((0, 0, 0), (1, 1, 1)), ((1, 1, 0), (2, 2, 1)), ((2, 2, 1), (3, 3, 2)))
    assert [len(connected(mask, c)) for c in (6, 18, 26)] == [3, 2, 1]
    with pytest.raises(BenchError, match="connectivity"):
        connected(mask, 8)


def test_unusable_arguments_are_refused() -> None:
    a = np.ones((3, 3, 3), bool)
    for arguments, message in (
        ((a, a[:2], (1, 1, 1)), "one shape"),
        ((a, a, (1, 1, 0)), "spacing"),
        ((a, a, (1, 1, 1), "brats"), "no protocol"),
    ):
        with pytest.raises(BenchError, match=message):
            score_instances(*arguments)
