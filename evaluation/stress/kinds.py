"""The kinds of stress, what each wants of an answer, and one prompt of a kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Wanted = Literal["same", "other", "none"]


@dataclass(frozen=True)
class Kind:
    """A way to change the words of a prompt.

    Attributes:
        id: in rows and tables.
        title: in tables and figures.
        wanted: `same`: the mask of the name that was changed; `other`: the mask of another
            structure, which the new words name; `none`: no voxel, for nothing is meant that the
            scan shows.
    """

    id: str
    title: str
    wanted: Wanted


KINDS: dict[str, Kind] = {
    kind.id: kind
    for kind in (
        Kind("synonym", "synonym", "same"),
        Kind("typing-error", "typing error", "same"),
        Kind("general", "general name for all parts", "same"),
        Kind("modality", "another modality named", "same"),
        Kind("side", "other side", "other"),
        Kind("neighbour", "neighbour", "other"),
        Kind("negation", "negation", "none"),
        Kind("absent", "organ that the scan does not show", "none"),
        Kind("irrelevant", "irrelevant text", "none"),
    )
}


@dataclass(frozen=True)
class Prompt:
    """One text that a model is asked by.

    Attributes:
        kind: id of the kind of stress.
        text: the words.
        classes: the class that was asked for before the words changed; with a general name, all
            of its parts.
        meaning: the classes that the words mean, whose union is the right answer; () for none.
    """

    kind: str
    text: str
    classes: tuple[str, ...]
    meaning: tuple[str, ...]
