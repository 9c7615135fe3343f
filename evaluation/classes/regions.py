"""Which region a class belongs to, and which classes make up a region's mean.

The paper publishes neither (DESIGN 4.7). `anatomical` goes by where the organ is; `as-printed`
follows the rows of Tables 3 and 4, which put a few organs elsewhere (brain, esophagus and
trachea in CT under head and neck, autochthon under thorax).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TypeAlias

from evaluation.classes.vocabulary import Key, vocabulary
from evaluation.errors import BenchError, did_you_mean
from evaluation.protocol import COMPOSITIONS, SCHEMES, Composition, Scheme

LESION = "lesion"
UNASSIGNED = "unassigned"
REGIONS = (
    "abdomen",
    "brain",
    "head and neck",
    "lower limb",
    "pelvis",
    "spine",
    "thorax",
    "upper limb",
)

Regions: TypeAlias = Mapping[tuple[str, str], str]
"""(modality, class) -> region of classes outside the vocabulary, from the cards of a run."""


def plain_region(name: str) -> str:
    """A region's name in one spelling: `Head_and-Neck` -> `head and neck`."""
    return " ".join(name.replace("_", " ").replace("-", " ").lower().split())


@lru_cache
def _regions(scheme: str) -> dict[tuple[str, str], str]:
    if scheme not in SCHEMES:
        raise BenchError("unknown region scheme", found=scheme, hint=did_you_mean(scheme, SCHEMES))
    return {
        info.key: info.region if scheme == "anatomical" else info.region_as_printed
        for info in vocabulary()
    }


def region_of(
    modality: str, name: str, scheme: Scheme = "anatomical", own: Regions | None = None
) -> str:
    """One of `REGIONS`, or `lesion`, or `unassigned` for a class that nobody gave a region.

    Args:
        modality: of the scan.
        name: of the class.
        scheme: for classes of the vocabulary.
        own: regions of classes outside the vocabulary, the same in every scheme
            (`evaluation.datasets.regions.class_regions`). A class that is in neither counts in
            class and dataset means and in no region.

    Raises:
        BenchError: there is no such scheme.
    """
    known = _regions(scheme).get((modality, name))
    return known or (own or {}).get((modality, name), UNASSIGNED)


@lru_cache
def composition_keys(composition: Composition) -> frozenset[Key]:
    """Keys of the vocabulary that enter a region's mean.

    Args:
        composition: `all`: every key. `leaves`: keys that no entry generates as a union, so no
            voxel counts both in a part and in its union. `merged`: a sided key is left out if a
            class without a side contains it (left and right kidney by kidney, the 24 ribs by
            rib), the way Tables 3 and 4 print.

    Raises:
        BenchError: there is no such composition.
    """
    if composition not in COMPOSITIONS:
        raise BenchError(
            "unknown composition",
            found=composition,
            hint=did_you_mean(composition, COMPOSITIONS),
        )
    return frozenset(
        info.key
        for info in vocabulary()
        if composition == "all"
        or (composition == "leaves" and info.is_leaf)
        or (composition == "merged" and not info.merged)
    )
