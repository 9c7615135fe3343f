from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.errors import BenchError
from evaluation.metrics.catalogue import find_metric
from evaluation.protocol import STATUSES
from evaluation.tables.policies import (
    CODE,
    false_positives,
    never_measured,
    policy_values,
    status_codes,
)

NAN = float("nan")
DSC = find_metric("dsc")
# status, reference voxels, prediction voxels -> present-only, paper
CASES = [
    ("scored", 9, 9, 0.7, 0.7),
    ("prediction_empty", 9, 0, 0.0, 0.0),
    ("reference_empty", 0, 9, NAN, 0.0),
    ("both_empty", 0, 0, NAN, 1.0),
    ("not_annotated", 0, 0, NAN, 1.0),
    ("not_annotated", 0, 9, NAN, 0.0),
    ("prediction_missing", 9, 0, 0.0, 0.0),
    ("prediction_missing", 0, 0, NAN, 0.0),
    ("prediction_missing", -1, 0, 0.0, 0.0),
    ("unsupported", 9, 0, NAN, NAN),
]


def values(policy: str, metric: str = "dsc", **other) -> np.ndarray:
    status = status_codes([case[0] for case in CASES])
    raw = np.full(len(CASES), 0.7)
    reference, predicted = (np.array([case[i] for case in CASES]) for i in (1, 2))
    return policy_values(
        find_metric(metric), raw, status, reference, predicted, policy, 50.0, **other
    )


@pytest.mark.parametrize(("policy", "column"), [("present-only", 3), ("paper", 4)])
def test_each_status_under_each_policy(policy: str, column: int) -> None:
    np.testing.assert_array_equal(values(policy), [case[column] for case in CASES])


@pytest.mark.parametrize(
    ("metric", "policy", "expected"),
    [
        # An empty prediction misses the whole volume; without a reference there is no share.
        ("relative_volume_error", "present-only", [0.7, 1, NAN, NAN, NAN, NAN, 1, NAN, 1, NAN]),
        ("relative_volume_error", "paper", [0.7, 1, NAN, NAN, NAN, NAN, 1, 1, 1, NAN]),
        # What an empty side counts was measured; a missing answer has no bias.
        ("volume_difference", "present-only", [0.7, 0.7, *[NAN] * 8]),
        ("volume_difference", "paper", [0.7, 0.7, 0.7, 0, 0, 0.7, *[NAN] * 4]),
        # A missed structure has no distance: left out, or the diagonal of the scan's field.
        ("hd95", "present-only", [0.7, *[NAN] * 9]),
        ("hd95", "field-diagonal", [0.7, 50, NAN, NAN, NAN, NAN, 50, NAN, 50, NAN]),
        ("dsc", "field-diagonal", [case[3] for case in CASES]),
        # Lesions that nobody answered for were measured as missed.
        ("lesion_f1", "present-only", [0.7, 0.7, NAN, NAN, NAN, NAN, 0.7, NAN, 0.7, NAN]),
    ],
)
def test_other_metrics_count_what_their_records_say(metric, policy, expected) -> None:
    np.testing.assert_array_equal(values(policy, metric), expected)


def test_scores_that_know_another_metric_only_have_no_mean() -> None:
    """Nothing but the zeros of empty predictions would be left."""
    status = status_codes(["scored", "prediction_empty", "scored"])
    raw = np.array([[NAN, 0.5], [0.0, 0.0], [NAN, NAN]])
    assert never_measured(raw, np.stack([status, status], axis=1)).tolist() == [True, False]
    empty = status_codes([["prediction_empty"], ["both_empty"]])
    assert never_measured(np.zeros((2, 1)), empty).tolist() == [False]


def test_unsupported_counts_zero_only_where_the_class_would_be_scored() -> None:
    assert values("present-only", unsupported_zero=True)[-1] == 0
    status = status_codes(["unsupported"])
    nothing = np.zeros(1, dtype=int)
    for policy, expected in (("present-only", NAN), ("paper", 0.0)):
        got = policy_values(DSC, nothing, status, nothing, nothing, policy, unsupported_zero=True)
        np.testing.assert_array_equal(got, [expected])


pairs = st.lists(
    st.tuples(st.sampled_from(STATUSES), st.integers(-1, 5), st.integers(0, 5), st.floats(0, 1)),
    min_size=1,
    max_size=30,
)


@given(pairs)
def test_policies_agree_wherever_both_score_and_paper_scores_more(rows) -> None:
    status = status_codes([r[0] for r in rows])
    reference, predicted, raw = (np.array([r[i] for r in rows]) for i in (1, 2, 3))
    present = policy_values(DSC, raw, status, reference, predicted, "present-only")
    paper = policy_values(DSC, raw, status, reference, predicted, "paper")
    both = np.isfinite(present)
    assert np.isfinite(paper[both]).all()
    np.testing.assert_array_equal(present[both], paper[both])
    assert np.isnan(paper[status == CODE["unsupported"]]).all()
    known = paper[np.isfinite(paper)]
    assert ((known >= 0) & (known <= 1)).all()


def test_false_positives_are_counted_where_the_reference_is_known_to_be_empty() -> None:
    status = status_codes(["both_empty", "reference_empty", "scored", "not_annotated"])
    absent, wrong = false_positives(status, np.array([0, 7, 7, 7]))
    assert absent.tolist() == [True, True, False, False]
    assert wrong.tolist() == [False, True, False, False]


def test_unknown_names_are_refused() -> None:
    with pytest.raises(BenchError, match="fine"):
        status_codes(["fine"])
    with pytest.raises(BenchError, match="no policy"):
        values("papper")
