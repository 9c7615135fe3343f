"""What `satbench segment` says before it works: texts that are no prompt, and what is known."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from difflib import get_close_matches

from evaluation.classes import vocabulary
from evaluation.classes.modality import Modality
from evaluation.errors import BenchError, printable
from evaluation.stress.wording import is_name
from sat.prompts.book import PromptBook

MOST_CHARACTERS = 300
_ROUND = " .,;:!?\"'`"
_INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Cn")


def plain_prompt(text: str) -> str:
    """A prompt in lower case with single blanks in place of `_`, no punctuation round it.

    Raises:
        BenchError: it is empty, has no letter or several lines, holds characters that are not
            seen, or is a text rather than a name.
    """
    if len(text.strip().splitlines()) > 1:
        raise BenchError(
            "a prompt has several lines",
            found=f"`{printable(' | '.join(text.split()))[:60]}`",
            expected="one structure",
            hint="--prompt may be repeated",
        )
    plain = " ".join(text.lower().replace("_", " ").split()).strip(_ROUND) or text.strip()
    if not plain:
        raise BenchError("a prompt is empty", found=repr(text), hint="name a structure")
    hidden = [c for c in plain if unicodedata.category(c) in _INVISIBLE]
    if hidden:
        raise BenchError(
            "a prompt holds a character that is not seen",
            found=f"U+{ord(hidden[0]):04X}, here as `·`, in "
            f"`{printable(plain.replace(hidden[0], '·')[:60])}`",
            expected="letters, digits and signs",
            hint="type the prompt anew; it may have been copied from a page or a table",
        )
    if not any(c.isalpha() for c in plain):
        raise BenchError("a prompt has no letter", found=f"`{plain[:60]}`", hint="name a structure")
    if len(plain) > MOST_CHARACTERS:
        raise BenchError(
            "a prompt is too long",
            found=f"{len(plain)} characters, from `{plain[:40]} ...`",
            expected=f"at most {MOST_CHARACTERS}",
            hint="name one structure a prompt; --prompt may be repeated",
        )
    return plain


def words_of(name: str) -> str:
    """The words of a name in one order, so that `kidney, left` is `left kidney`."""
    return " ".join(sorted(re.findall(r"[^\W_]+", name.lower())))


def negates(text: str) -> bool:
    """Whether a text says that something is not there."""
    return re.search(r"\b(no|not|none|without|absent|absence|except)\b", text) is not None


def several_in(modality: Modality, trained: Mapping[str, str], plain: str) -> tuple[str, ...]:
    """The classes in a list such as `liver, spleen and stomach`; () if it is none."""
    parts = [part.strip() for part in re.split(r"[,;/&+]|\band\b", plain)]
    named = [part in trained or is_name(modality, part) for part in parts if part]
    return tuple(part for part in parts if part) if len(named) > 1 and all(named) else ()


def spelled_alike(modality: Modality, plain: str) -> tuple[str, ...]:
    """Classes of the vocabulary with a similar spelling, whatever the order of the words."""
    names = {words_of(info.name): info.name for info in vocabulary() if info.modality == modality}
    close = get_close_matches(words_of(plain), list(names), n=2, cutoff=0.75)
    return tuple(names[words] for words in close)


def foreign_script(text: str) -> bool:
    """Whether most letters are of another script than Latin."""
    letters = [c for c in text if c.isalpha()]
    latin = sum(unicodedata.name(c, "").startswith("LATIN") for c in letters)
    return 2 * latin < len(letters)


def known_lines(book: PromptBook, modality: Modality | None) -> Iterator[str]:
    """A line for each trained class with the other spellings that lead to it.

    Raises:
        BenchError: there is none for the modality.
    """
    keys = sorted(key for key in book.keys if modality in (None, key[0]))
    if not keys:
        raise not_trained(book, modality)
    aliases = {info.key: info.aliases for info in vocabulary()}
    width = max(len(name) for _, name in keys)
    for kind, name in keys:
        others = ", ".join(aliases.get((kind, name), ()))
        yield f"{kind:<4} {name:{width}}  {others}".rstrip()
    yield f"{len(keys)} classes"


def not_trained(book: PromptBook, modality: Modality | None) -> BenchError:
    """Says that a checkpoint knows no class of a modality."""
    return BenchError(
        f"this checkpoint was not trained on any {modality} class",
        found=f"classes of {', '.join(sorted({m for m, _ in book.keys}))}",
    )
