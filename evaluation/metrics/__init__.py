"""Metrics of every class of a case, measured exactly and in one sweep."""

from evaluation.metrics.records import ClassPair, ClassScore
from evaluation.metrics.scoring import ENGINES, EngineName, score, score_pairs

__all__ = ["ENGINES", "ClassPair", "ClassScore", "EngineName", "score", "score_pairs"]
