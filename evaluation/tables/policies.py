"""What an empty or missing mask counts: pure functions of score rows and of a metric's record.

Three policies. `present-only` scores a class where the reference holds it; predicting what is not
there is reported apart, as a false-positive rate. `paper` scores every class of the list on
every scan, both sides empty = 1 in DSC and NSD, as the authors' code does, and takes a class that
was not annotated for an empty one. Under all, a missing prediction counts the worst (0 in DSC
and NSD) wherever the class would be scored, and an unsupported class is not scored unless asked
for. What exactly an empty or missing side counts is in the metric's record.

A missed structure has no distance, so `present-only`, the default, leaves it out of a mean of
distances and the number of values stands beside it: whatever it were made to cost in mm would be a
property of the scan and not of the prediction, and the mean would tell mostly of the fields of view
(DSC and recall say what is missed, and a model that lacks values is not ranked). `field-diagonal`
is `present-only` for those who must rank by one number: a distance of a missed structure counts
the diagonal of the scan's field, the longest distance that there can be.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.errors import BenchError, did_you_mean
from evaluation.metrics.metric import Metric
from evaluation.protocol import POLICIES, STATUSES

Floats = NDArray[np.floating[Any]]
CODE: dict[str, int] = {status: code for code, status in enumerate(STATUSES)}
ABSENT = -1
"""Status code of a pair for which a model has no row at all, such as an entry it never saw."""


def status_codes(status: Any) -> NDArray[np.int8]:
    """Codes (position in `STATUSES`) of an array of status names."""
    names = np.asarray(status, dtype=object)
    known, inverse = np.unique(names.astype(str), return_inverse=True)
    unknown = [name for name in known if name not in CODE]
    if unknown:
        raise BenchError(
            "unknown status in score rows",
            found=", ".join(unknown),
            expected=", ".join(STATUSES),
        )
    table = np.array([CODE[name] for name in known], dtype=np.int8)
    return table[inverse].reshape(names.shape)


def policy_values(
    metric: Metric,
    raw: Floats,
    status: NDArray[np.int8],
    reference_voxels: NDArray[np.integer[Any]],
    prediction_voxels: NDArray[np.integer[Any]],
    policy: str,
    field_mm: Floats | float = np.nan,
    *,
    unsupported_zero: bool = False,
) -> NDArray[np.float64]:
    """Values that enter the means, NaN = not scored.

    Args:
        metric: says what empty and missing sides count.
        raw: its values in the score rows.
        status: codes as from `status_codes`; `ABSENT` is never scored.
        reference_voxels: size of the reference; negative = unknown, taken for present so that a
            missing prediction is never excused. Broadcasts against `status`.
        prediction_voxels: size of the prediction, for what `paper` makes of `not_annotated`;
            negative = unknown.
        policy: one of the three.
        field_mm: diagonal of each scan's field; NaN = unknown. Broadcasts against `status`.
        unsupported_zero: unsupported counts as missing wherever the class would be scored.

    Raises:
        BenchError: no such policy.
    """
    values = np.where(status == CODE["scored"], raw, np.nan).astype(np.float64)
    _fill(values, raw, status == CODE["prediction_empty"], metric.prediction_empty)
    if policy == "paper":
        values[status == CODE["both_empty"]] = metric.both_empty
        _fill(values, raw, status == CODE["reference_empty"], metric.reference_empty)
        unknown = status == CODE["not_annotated"]
        predicted = np.broadcast_to(prediction_voxels, status.shape)
        values[unknown & (predicted == 0)] = metric.both_empty
        # Of another tool's scores nobody may know (negative): such a pair stays out.
        _fill(values, raw, unknown & (predicted > 0), metric.reference_empty)
    lost = is_missing(status, reference_voxels, policy)
    if unsupported_zero:
        lost |= is_missing(status, reference_voxels, policy, "unsupported")
    _fill(values, raw, lost, metric.missing)
    if policy == "field-diagonal" and metric.needs_distances:
        missed = lost | (status == CODE["prediction_empty"])
        values[missed] = np.broadcast_to(field_mm, status.shape)[missed]
    return values


def is_missing(
    status: NDArray[np.int8],
    reference_voxels: NDArray[np.integer[Any]],
    policy: str,
    what: str = "prediction_missing",
) -> NDArray[np.bool_]:
    """Pairs that would be scored if there were a prediction, in the shape of `status`.

    Raises:
        BenchError: no such policy.
    """
    if policy not in POLICIES:
        raise BenchError(f"no policy `{policy}`", hint=did_you_mean(policy, POLICIES))
    lost: NDArray[np.bool_] = status == CODE[what]
    if policy != "paper":
        lost &= np.broadcast_to(np.asarray(reference_voxels) != 0, status.shape)
    return lost


def never_measured(raw: Floats, status: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Models (last axis) of whose scored pairs none has a value: scores that know other metrics.

    What empty and missing sides count would be their whole mean.
    """
    scored = (status == CODE["scored"]).reshape(-1, status.shape[-1])
    known = np.isfinite(raw).reshape(scored.shape) & scored
    return np.asarray(scored.any(axis=0) & ~known.any(axis=0))


def _fill(values: Floats, raw: Floats, where: NDArray[np.bool_], counts: float | None) -> None:
    """What a metric counts at some pairs; None = what was measured there."""
    values[where] = np.broadcast_to(raw, values.shape)[where] if counts is None else counts


def false_positives(
    status: NDArray[np.int8], prediction_voxels: NDArray[np.integer[Any]]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Where the reference is known to be empty and a prediction exists, and where it is not empty.

    Returns:
        (absent, false positive), both of the shape of `status`.
    """
    absent = (status == CODE["both_empty"]) | (status == CODE["reference_empty"])
    return absent, absent & (np.broadcast_to(prediction_voxels, status.shape) > 0)
