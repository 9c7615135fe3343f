"""How the words of a prompt are changed: functions of a name and a random generator.

No model and no scan is asked; the same generator gives the same words.
"""

from __future__ import annotations

import csv
import re
from functools import lru_cache
from pathlib import Path

import numpy as np

from evaluation.classes import find_class, vocabulary
from evaluation.classes.modality import MODALITIES, Modality
from evaluation.classes.synonyms import SETS, read_synonyms
from evaluation.confusions.names import without_side
from evaluation.errors import BenchError

WORDS_FILE = Path(__file__).parent / "words.csv"
NEGATIONS = ("no {}", "absence of the {}", "the {} is not there", "scan without {}")
MODALITY_WORDS: dict[Modality, str] = {"ct": "CT", "mri": "MRI", "pet": "PET"}
MODALITY_FORMS = ("{name} on {modality}", "{name} in a {modality} scan", "{modality}: {name}")
IRRELEVANT = (
    "a cup of coffee", "a football match", "a mountain in the snow", "a red bicycle",
    "a train to the city", "a yellow umbrella", "an old song", "asdf qwerty",
    "how to file a tax return", "lorem ipsum dolor sit amet", "please write a poem",
    "select all rows from the table", "the price of bread", "the weather tomorrow", "zzz",
)  # fmt: skip
"""Texts that have nothing to do with anatomy."""
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")


def is_name(modality: Modality, text: str) -> bool:
    """Whether a class of the vocabulary is called so, by name or alias."""
    try:
        find_class(modality, text)
    except BenchError:
        return False
    return True


def synonyms(modality: Modality, name: str) -> list[str]:
    """Other words for a class, none of which is another class's name; [] if none are known.

    Aliases of the vocabulary (no raw file names, no abbreviations), the synonyms written by hand,
    and rules: another term for a part of the name, the side behind it.
    """
    found = [
        alias
        for info in vocabulary()
        if info.key == (modality, name)
        for alias in info.aliases
        if "_" not in alias and alias == alias.lower()
    ]
    found += [known for s in SETS if (known := read_synonyms(s).get((modality, name)))]
    bare = without_side(name)
    if (other := _other_words(bare)) != bare:
        found.append(_with_side(name, bare, other))
    if bare != name:
        found.append(_with_side(name, bare, bare, behind=True))
    return [
        text
        for text in dict.fromkeys(found)
        if not is_name(modality, text) or find_class(modality, text).name == name
    ]


def _with_side(name: str, bare: str, words: str, behind: bool = False) -> str:
    """The words with the side that the name has besides its bare form."""
    if name == bare:
        return words
    side = next(word for word in name.split(" ") if word in ("left", "right"))
    return f"{words} on the {side} side" if behind else f"{side} {words}"


def _other_words(name: str) -> str:
    """The name with its first known phrase replaced; longer phrases come first."""
    for phrase, other in _phrases():
        changed = re.sub(rf"(?<!\w){re.escape(phrase)}(?!\w)", other, name, count=1)
        if changed != name:
            return changed
    return name


@lru_cache
def _phrases() -> tuple[tuple[str, str], ...]:
    with WORDS_FILE.open(newline="", encoding="utf-8") as stream:
        rows = [(row["phrase"], row["other"]) for row in csv.DictReader(stream)]
    return tuple(sorted(rows, key=lambda row: -len(row[0])))


def mistyped(modality: Modality, name: str, generator: np.random.Generator) -> str | None:
    """The name with one slip of the fingers in a word of four letters or more.

    Two letters exchanged, one left out, doubled, or its neighbour on the keyboard (QWERTY). The
    sides' words stay, so that a slip never turns one class into another. None: no such word.
    """
    words = name.split(" ")
    places = [
        (i, k)
        for i, word in enumerate(words)
        if word not in ("left", "right") and word.isalpha() and len(word) > 3
        for k in range(1, len(word) - 1)
    ]
    for place in generator.permutation(len(places)):
        i, k = places[int(place)]
        slip = _slip(words[i], k, int(generator.integers(4)))
        text = " ".join([*words[:i], slip, *words[i + 1 :]])
        if text != name and not is_name(modality, text):
            return text
    return None


def _slip(word: str, k: int, how: int) -> str:
    if how == 0:
        return word[:k] + word[k + 1] + word[k] + word[k + 2 :]
    if how == 1:
        return word[:k] + word[k + 1 :]
    if how == 2:
        return word[: k + 1] + word[k:]
    row = next((keys for keys in _ROWS if word[k] in keys), word[k] * 2)
    at = row.index(word[k])
    return word[:k] + row[at + 1 if at + 1 < len(row) else at - 1] + word[k + 1 :]


def negated(name: str, generator: np.random.Generator) -> str:
    """A text that says that the structure is not there, or not wanted."""
    return NEGATIONS[int(generator.integers(len(NEGATIONS)))].format(name)


def of_another_modality(modality: Modality, name: str, generator: np.random.Generator) -> str:
    """The name with the words of a modality that the scan has not."""
    others = [m for m in MODALITIES if m != modality]
    form = MODALITY_FORMS[int(generator.integers(len(MODALITY_FORMS)))]
    return form.format(name=name, modality=MODALITY_WORDS[others[int(generator.integers(2))]])


def irrelevant(generator: np.random.Generator) -> str:
    """A text that has nothing to do with anatomy."""
    return IRRELEVANT[int(generator.integers(len(IRRELEVANT)))]
