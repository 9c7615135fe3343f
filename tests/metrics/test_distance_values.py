"""Every value that surface-distance, MONAI, Metrics Reloaded, MedPy and panoptica gave."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import satbench

PeerValues = Callable[[str], Iterator[tuple[Any, list[dict[str, str]]]]]


def score_masks(a, b, spacing, metrics, definition="surface-element"):
    return satbench.score(a, b, spacing_mm=spacing, metrics=metrics, definition=definition)


FAMILIES = {
    "surface-distance": "surface-element",
    "MONAI": "voxel-larger",
    "MetricsReloaded": "voxel-larger",
    "medpy": "voxel-pooled",
    "panoptica": "voxel-pooled",
}
# What the peers measure in another way or not as the definition says.
OTHERS = ("directed", "connectivity=2", "connectivity=3", "smallest spacing")


def asked(row: dict[str, str]) -> tuple[str, str] | None:
    """Definition and our name of what a row holds."""
    family = FAMILIES.get(row["peer"])
    parameter = row["parameter"]
    if family is None or any(text in parameter for text in OTHERS):
        return None
    if "use_subvoxels" in parameter:
        family = "surface-element"
    number = parameter.partition("=")[2].partition(";")[0].split()
    match row["metric"]:
        case "hd" | "assd" | "masd" as name:
            return family, name
        case "hd_percentile":
            return family, f"hd{number[0]}"
        case "nsd":
            return family, f"nsd@{number[0]}"
        case "boundary_iou":
            return family, f"boundary_iou@{number[0]}"
    return None


def test_values_of_the_peers(peer_values: PeerValues) -> None:
    compared, wrong = 0, []
    for pair, values in peer_values("pairs"):
        if not (pair.reference.any() and pair.prediction.any()):
            # The peers disagree; here a distance is undefined.
            found = score_masks(pair.reference, pair.prediction, pair.spacing, ["hd95", "nsd@1"])
            assert math.isnan(found["hd95"])
            neither = not (pair.reference.any() or pair.prediction.any())
            assert math.isnan(found["nsd@1"]) if neither else found["nsd@1"] == 0
            continue
        flat = 1 in pair.reference.shape
        rows: dict[str, list[tuple[str, dict[str, str]]]] = {}
        for row in values:
            key = asked(row)
            # What tools make of one slice as a volume differs.
            if key and flat == ("dim=2" in row["parameter"]):
                rows.setdefault(key[0], []).append((key[1], row))
        for definition, of_family in rows.items():
            names = sorted({name for name, _ in of_family})
            ours = score_masks(pair.reference, pair.prediction, pair.spacing, names, definition)
            for name, row in of_family:
                theirs = float(row["value"])
                # MONAI computes in float32.
                within = 1e-5 * max(1, abs(theirs)) if row["peer"] == "MONAI" else 1e-9
                compared += 1
                if not abs(theirs - ours[name]) <= within:
                    wrong.append((pair.id, row["peer"], definition, name, theirs, ours[name]))
    assert wrong == []
    assert compared > 4500


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        (
            "surface-element",
            {"hd": 4.079215610874, "hd95": 3.4, "assd": 1.240779168765, "masd": 1.195788007830}
            | {"nsd@1": 0.533992991652, "boundary_iou@2": 0.410034602076},
        ),
        (
            "voxel-larger",
            {"hd": 4.079215610874, "hd95": 3.577708763999, "assd": 1.430597413288}
            | {"masd": 1.359661056623, "nsd@1": 0.479674796748},
        ),
        ("voxel-pooled", {"hd": 4.079215610874, "hd95": 3.4, "nsd@1": 0.504812834225}),
    ],
)
def test_two_balls_by_comparing_all_points(definition: str, expected: dict[str, float]) -> None:
    z, y, x = np.indices((9, 32, 36)) * np.reshape((3.0, 0.8, 0.8), (3, 1, 1, 1))
    a, b = (
        ((z - 12) ** 2 + (y - 12) ** 2 + (x - centre) ** 2) < radius**2
        for centre, radius in ((12, 8), (14.4, 6.5))
    )
    found = score_masks(a, b, (3.0, 0.8, 0.8), list(expected), definition)
    assert found == pytest.approx(expected, abs=1e-11)
