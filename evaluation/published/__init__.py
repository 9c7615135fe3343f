"""Published numbers as data: shown beside ours, never ranked with them."""

from evaluation.published.numbers import published, published_beside_ours
from evaluation.published.scope import (
    claims_for,
    published_entries,
    published_for,
    reproduces_paper,
)

__all__ = [
    "claims_for",
    "published",
    "published_beside_ours",
    "published_entries",
    "published_for",
    "reproduces_paper",
]
