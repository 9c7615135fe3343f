"""What an empty or missing mask counts: pure functions of score rows.

Two policies. `present-only` scores a class where the reference holds it; predicting what is not
there is reported apart, as a false-positive rate. `paper` scores every class of the list on
every scan, both sides empty = 1, as the authors' code does, and takes a class that was not
annotated for an empty one. Under both, a missing prediction is 0 wherever the class would be
scored, and an unsupported class is not scored unless asked for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.errors import BenchError, did_you_mean
from evaluation.schema import POLICIES, STATUSES

Floats = NDArray[np.floating[Any]]
CODE = {status: code for code, status in enumerate(STATUSES)}
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
    raw: Floats,
    status: NDArray[np.int8],
    reference_voxels: NDArray[np.integer[Any]],
    prediction_voxels: NDArray[np.integer[Any]],
    policy: str,
    *,
    unsupported_zero: bool = False,
) -> NDArray[np.float64]:
    """Values that enter the means, NaN = not scored.

    Args:
        raw: DSC or NSD as measured, 0..1; looked at only where the status is `scored`.
        status: codes as from `status_codes`; `ABSENT` is never scored.
        reference_voxels: size of the reference; negative = unknown, taken for present so that a
            missing prediction is never excused. Broadcasts against `status`.
        prediction_voxels: size of the prediction, for what `paper` makes of `not_annotated`.
        policy: `present-only` or `paper`.
        unsupported_zero: unsupported counts 0 wherever the class would be scored.

    Raises:
        BenchError: no such policy.
    """
    if policy not in POLICIES:
        raise BenchError(f"no policy `{policy}`", hint=did_you_mean(policy, POLICIES))
    zeros = ["prediction_empty"]
    judged = ["prediction_missing"] + (["unsupported"] if unsupported_zero else [])
    values = np.where(status == CODE["scored"], raw, np.nan).astype(np.float64)
    would_be_scored = np.broadcast_to(np.asarray(reference_voxels) != 0, status.shape)
    if policy == "paper":
        zeros.append("reference_empty")
        would_be_scored = np.ones(status.shape, dtype=bool)
        values[status == CODE["both_empty"]] = 1.0
        unknown = status == CODE["not_annotated"]
        values[unknown] = (np.broadcast_to(prediction_voxels, status.shape) == 0)[unknown]
    for name in zeros:
        values[status == CODE[name]] = 0.0
    for name in judged:
        values[(status == CODE[name]) & would_be_scored] = 0.0
    return values


def false_positives(
    status: NDArray[np.int8], prediction_voxels: NDArray[np.integer[Any]]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Where the reference is known to be empty and a prediction exists, and where it is not empty.

    Returns:
        (absent, false positive), both of the shape of `status`.
    """
    absent = (status == CODE["both_empty"]) | (status == CODE["reference_empty"])
    return absent, absent & (np.broadcast_to(prediction_voxels, status.shape) > 0)
