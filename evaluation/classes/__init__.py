"""The class vocabulary: (modality, name) keys of the studies, their regions and compositions."""

from evaluation.classes.regions import (
    LESION,
    REGIONS,
    UNASSIGNED,
    Regions,
    composition_keys,
    plain_region,
    region_of,
)
from evaluation.classes.vocabulary import ClassInfo, Key, find_class, vocabulary

__all__ = [
    "LESION",
    "REGIONS",
    "UNASSIGNED",
    "ClassInfo",
    "Key",
    "Regions",
    "composition_keys",
    "find_class",
    "plain_region",
    "region_of",
    "vocabulary",
]
