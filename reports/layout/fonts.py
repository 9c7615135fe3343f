"""Fonts of figures: signs that matplotlib's own font lacks come from fonts of the machine.

DejaVu Sans comes with matplotlib, so every machine draws the same Latin, Greek and Cyrillic
letters. Others are drawn with the first of the fonts below that is installed; a sign that no font
has is shown as `?`, never as an empty box, and the caption says so.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OWN_FONT = "DejaVu Sans"
# How the files begin, in small letters; the wider a font's choice of signs, the earlier.
FALLBACK_FILES = (
    "notosanscjk", "sourcehansans", "notosanssc", "notosansjp", "notosanskr", "notosanstc",
    "wqy-", "droidsansfallback", "msyh", "simhei", "pingfang", "hiragino", "yugoth", "malgun",
    "arialuni", "unifont", "notosans-regular", "notosansarabic-regular",
    "notosansdevanagari-regular", "notosansthai-regular", "freesans",
)  # fmt: skip
INSTALL_HINT = "a font such as Noto Sans CJK shows them once it is installed"


@lru_cache(maxsize=1)
def fallback_fonts() -> tuple[str, ...]:
    """Paths of the machine's fonts for other scripts, the first choice first."""
    from matplotlib.font_manager import findSystemFonts

    names = sorted(findSystemFonts(), key=lambda path: (len(path), path))
    found: dict[str, str] = {}
    for path in names:
        stem = Path(path).stem.lower()
        start = next((s for s in FALLBACK_FILES if stem.startswith(s)), None)
        if start is not None and "bold" not in stem and "serif" not in stem:
            found.setdefault(start, path)
    return tuple(found[start] for start in FALLBACK_FILES if start in found)


@lru_cache(maxsize=32)
def _signs(path: str) -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(path).get_charmap())


def _own() -> str:
    from matplotlib.font_manager import FontProperties, findfont

    return findfont(FontProperties(family=[OWN_FONT]))


def missing_signs(text: str) -> set[str]:
    """The signs of a text that no font here has."""
    rare = {sign for sign in text if ord(sign) > 0x7E and not sign.isspace()}
    rare -= {sign for sign in rare if ord(sign) in _signs(_own())}
    for path in fallback_fonts() if rare else ():
        rare -= {sign for sign in rare if ord(sign) in _signs(path)}
    return rare


def families() -> list[str]:
    """Families in which matplotlib looks for a sign, one after the other."""
    from matplotlib.font_manager import FontProperties, fontManager

    names = [OWN_FONT]
    for path in fallback_fonts():
        # Known to matplotlib though it was installed after matplotlib listed the fonts.
        fontManager.addfont(path)
        names.append(FontProperties(fname=path).get_name())
    return list(dict.fromkeys(names))


def replace_missing(figure: Figure) -> bool:
    """Show `?` for each sign that no font has; whether there was one."""
    from matplotlib.text import Text

    replaced = False
    for artist in figure.findobj(Text):
        shown: Any = artist
        if lost := missing_signs(shown.get_text()):
            shown.set_text("".join("?" if s in lost else s for s in shown.get_text()))
            replaced = True
    return replaced
