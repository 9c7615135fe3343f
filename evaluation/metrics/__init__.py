"""DSC and NSD of every class of a case, exactly and in one sweep."""

from evaluation.metrics.records import ClassPair, ClassScore, Status
from evaluation.metrics.scoring import ENGINES, EngineName, score, score_pairs

__all__ = ["ENGINES", "ClassPair", "ClassScore", "EngineName", "Status", "score", "score_pairs"]
