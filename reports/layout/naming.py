"""Names that people give fitted into figures and tables: their width, line breaks, shortening."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping

ELLIPSIS = "…"


def columns_of_text(text: str) -> int:
    """Width in columns of a letter: East Asian letters take two, combining signs none."""
    return sum(
        0 if unicodedata.combining(sign) else 1 + (unicodedata.east_asian_width(sign) in "WF")
        for sign in text
    )


def alike(text: str) -> str:
    """What two names that nobody can tell apart in print have in common."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def shortened(names: Mapping[str, str], most: int) -> dict[str, str]:
    """Each id's name in at most `most` columns, no two the same.

    A name that is too long ends with an ellipsis; names that are then the same have their ids.
    """
    short = {key: _cut(name, most) for key, name in names.items()}
    often = Counter(short.values())
    for key, name in names.items():
        if often[short[key]] > 1:
            mark = f" [{_cut(key, max(most // 2, 8))}]"
            short[key] = _cut(name, most - columns_of_text(mark)) + mark
    return short


def _cut(text: str, most: int) -> str:
    if columns_of_text(text) <= most:
        return text
    kept = ""
    for sign in text:
        if columns_of_text(kept + sign) > most - 1:
            break
        kept += sign
    return kept.rstrip(" -_,;:(（") + ELLIPSIS


def broken(text: str, width: int) -> list[str]:
    """Lines of at most `width` columns: between words, or within one that is too long."""
    lines = [""]
    for word in text.split():
        rest = word
        joined = f"{lines[-1]} {rest}".strip()
        if columns_of_text(joined) <= width:
            lines[-1] = joined
            continue
        if lines[-1]:
            lines.append("")
        for sign in rest:
            if columns_of_text(lines[-1] + sign) > width:
                lines.append("")
            lines[-1] += sign
    return lines
