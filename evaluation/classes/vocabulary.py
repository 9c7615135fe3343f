"""The classes of the built-in studies, each with all that is known of it.

A class is a pair of the scan's modality and a name. The study `sat` has the 362 of its Table 8
(341 distinct names), whose printed strings are the keys, odd spellings included; other studies
use those and add their own. `vocabulary.csv` holds names, aliases, side, and where a class is
annotated or generated; `regions.csv` its region.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, TypeAlias, cast

from evaluation.classes.modality import Modality, find_modality
from evaluation.errors import BenchError, did_you_mean

Key: TypeAlias = tuple[Modality, str]
Side: TypeAlias = Literal["left", "right", "none"]
FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class ClassInfo:
    """One class of the vocabulary.

    Args:
        modality: of the scan; with `name` the identity of the class.
        name: printed name in lower case.
        printed_modality: prefix in Table 8; differs from `modality` for ACDC's two cavities.
        printed: the literal of Table 8; empty for a class that it does not have.
        aliases: other spellings, raw file names and abbreviations that lead to this class.
        side: the patient's side, for classes that come in pairs.
        organ_or_lesion: whether it is anatomy or pathology.
        in_lesion_group: one of the 14 classes that make up Table 2's lesion row.
        merged: the class without a side that contains it ("" if there is none).
        generated_from: the unions that generate it, one for each way that entries do so.
        annotated_in: ids of the entries that annotate it.
        generated_in: ids of the entries that generate it from annotated classes.
        region: one of eight body regions, or `lesion`.
        region_rule: why it is there.
        region_alternative: another defensible region ("" if none).
        region_as_printed: where Tables 3 and 4 print it, or the class that contains it.
        printed_row: the row that says so, or `not printed`.
        studies: ids of the studies that use it.
    """

    modality: Modality
    name: str
    printed_modality: Modality
    printed: str
    aliases: tuple[str, ...]
    side: Side
    organ_or_lesion: Literal["organ", "lesion"]
    in_lesion_group: bool
    merged: str
    generated_from: tuple[tuple[str, ...], ...]
    annotated_in: tuple[str, ...]
    generated_in: tuple[str, ...]
    region: str
    region_rule: str
    region_alternative: str
    region_as_printed: str
    printed_row: str
    studies: tuple[str, ...]

    @property
    def key(self) -> Key:
        """(modality, name)."""
        return self.modality, self.name

    @property
    def is_leaf(self) -> bool:
        """Whether no entry generates it from other classes."""
        return not self.generated_in


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part for part in text.split("|") if part)


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@lru_cache
def vocabulary(study: str | None = None) -> tuple[ClassInfo, ...]:
    """All classes, those of Table 8 first and in its order; or the classes of one study."""
    if study is not None:
        return tuple(info for info in vocabulary() if study in info.studies)
    regions = {(row["modality"], row["name"]): row for row in _rows(FOLDER / "regions.csv")}
    found = []
    for row in _rows(FOLDER / "vocabulary.csv"):
        region = regions[row["modality"], row["name"]]
        found.append(
            ClassInfo(
                modality=cast("Modality", row["modality"]),
                name=row["name"],
                printed_modality=cast("Modality", row["printed_modality"]),
                printed=row["printed"],
                aliases=_parts(row["aliases"]),
                side=cast("Side", row["side"]),
                organ_or_lesion="lesion" if row["organ_or_lesion"] == "lesion" else "organ",
                in_lesion_group=row["lesion_group"] == "yes",
                merged=row["merged"],
                generated_from=tuple(
                    _parts(union) for union in row["generated_from"].split(" ; ") if union
                ),
                annotated_in=_parts(row["annotated_in"]),
                generated_in=_parts(row["generated_in"]),
                region=region["region"],
                region_rule=region["rule"],
                region_alternative=region["alternative"],
                region_as_printed=region["as_printed"],
                printed_row=region["printed_row"],
                studies=_parts(row["studies"]),
            )
        )
    return tuple(found)


def _plain(text: str) -> str:
    return " ".join(text.lower().replace("_", " ").split())


@lru_cache
def _index() -> dict[tuple[str, str], ClassInfo]:
    # Aliases first, so that a printed name always wins over somebody else's alias.
    index: dict[tuple[str, str], ClassInfo] = {}
    for info in vocabulary():
        for alias in info.aliases:
            index[info.modality, _plain(alias)] = info
    for info in vocabulary():
        index[info.printed_modality, _plain(info.name)] = info
        if info.printed:
            index[info.modality, _plain(info.printed)] = info
            index[info.printed_modality, _plain(info.printed)] = info
    for info in vocabulary():
        index[info.modality, _plain(info.name)] = info
    return index


def find_class(modality: str, name_or_alias: str) -> ClassInfo:
    """The class of a name, printed literal, alias or raw file name (case and `_` do not matter).

    Raises:
        BenchError: there is none; the closest names of that modality are given.
    """
    info = _index().get((modality, _plain(name_or_alias)))
    if info is None:
        names = [i.name for i in vocabulary() if i.modality == find_modality(modality)]
        raise BenchError(
            f"no {modality} class `{name_or_alias}` in the vocabulary",
            hint=did_you_mean(_plain(name_or_alias), names) + " (`satbench classes` lists all)",
        )
    return info
