"""What the paper says about its collection and its specialists, against Tables 1, 7 and 8."""

from __future__ import annotations

from collections.abc import Iterator

from evaluation.classes.vocabulary import vocabulary
from evaluation.datasets.collection import published_collection
from evaluation.published.claim import Claim
from evaluation.published.specialists import pinned_plans

PRINTED_SCANS = 11_462
PRINTED_ANNOTATIONS = 142_254
PRINTED_CLASSES = 362
PRINTED_SPECIALISTS = 31
PRINTED_SIZE_MILLIONS = 1000


def collection_claims() -> Iterator[Claim]:
    """Sums over the rows of the paper's Tables 1, 7 and 8."""
    rows = published_collection()
    for column, printed in (("scans", PRINTED_SCANS), ("annotations", PRINTED_ANNOTATIONS)):
        total = int(rows[column].sum())
        yield Claim(
            "sat-v1",
            "Table 1",
            f"its summary row is the sum of its {column}",
            f"{printed:,}",
            f"{total:,}",
            total == printed,
            "" if total == printed else f"{abs(printed - total)} apart",
        )
    keys = {info.key for info in vocabulary()}
    names = {name for _, name in keys}
    yield Claim(
        "sat-v1",
        "abstract, from Table 8",
        "362 classes",
        f"{PRINTED_CLASSES}",
        f"{len(keys)} by (modality, name), {len(names)} names",
        len(keys) == PRINTED_CLASSES,
        f"{len(keys) - len(names)} names stand for a class in CT and one in MR",
    )
    plans = pinned_plans().values()
    yield Claim(
        "sat-v1",
        "title of Table 5, from Table 7",
        "31 specialists",
        f"{PRINTED_SPECIALISTS}",
        f"{len(plans)} rows",
        len(plans) == PRINTED_SPECIALISTS,
        "36 everywhere else in the text",
    )
    printed_size = sum(plan.printed_size_millions for plan in plans)
    counted = sum(plan.parameters for plan in plans) / 1e6
    yield Claim(
        "sat-v1",
        "Sec. 7, from Table 7",
        "the specialists together have around 1000 M weights",
        f"around {PRINTED_SIZE_MILLIONS:,} M",
        f"{printed_size:,} M as printed, {counted:,.1f} M by our count",
        abs(printed_size - PRINTED_SIZE_MILLIONS) < 100,
    )
    parts = [plan.n_classes for plan in plans if plan.entry == "totalsegmentator"]
    yield Claim(
        "sat-v1",
        "Table 7, TotalSegmentator",
        "its subsets are its 103 annotated classes",
        "103",
        f"{sum(parts)} in {len(parts)} subsets",
        sum(parts) == 103,
    )
