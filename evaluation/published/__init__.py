"""Published numbers as data: shown beside ours, never ranked with them."""

from evaluation.published.claims import check_claims
from evaluation.published.numbers import SOURCES, published, published_beside_ours

__all__ = ["SOURCES", "check_claims", "published", "published_beside_ours"]
