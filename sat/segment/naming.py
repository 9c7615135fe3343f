"""From what a person types to the classes that a checkpoint knows.

A name is looked for among the trained classes, then in the vocabulary with its aliases; what is
found nowhere goes to the text encoder as it is. Queries of trained classes use the embeddings in
the checkpoint. New texts are encoded and pass through the checkpoint's own projection, whose
statistics come from its class list and not from the prompts of the day.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from evaluation.classes import find_class, vocabulary
from evaluation.classes.modality import Modality
from evaluation.errors import BenchError
from evaluation.stress.wording import IRRELEVANT
from sat.model import SatModel
from sat.prompts.book import Key, embed_new
from sat.segment.known import (
    foreign_script,
    negates,
    not_trained,
    plain_prompt,
    several_in,
    spelled_alike,
    words_of,
)

N_NEAREST = 3
MOST_OTHERS = 32
"""So many names of structures that were not trained are enough to know how near such names are."""
Origin = Literal["trained", "vocabulary", "text"]


@dataclass(frozen=True)
class Prompt:
    """A class to segment.

    Attributes:
        name: of the class, or the text itself in lower case.
        asked: how the user called it; several spellings of one class are one prompt.
        origin: `trained`; `vocabulary`, which the checkpoint was not trained on for this
            modality; or `text`, which no class is called.
        nearest: trained classes with the most similar text, for prompts that are not trained.
        similarity: cosine of its text with the nearest one's, -1..1.
        unrelated: the largest such cosine of texts that have nothing to do with anatomy; a prompt
            no nearer than these is far from all that the checkpoint knows.
        others: such a cosine that three in four names of structures have at most that it was not
            trained on; a prompt no nearer than this may well be one of those.
        several: classes that the text names, if it names more than one.
        similar_names: classes of the vocabulary that are spelled alike, for `text`.
        trained_for: another modality that the checkpoint was trained on the class for.
    """

    name: str
    asked: tuple[str, ...]
    origin: Origin
    nearest: tuple[str, ...] = ()
    similarity: float | None = None
    unrelated: float | None = None
    others: float | None = None
    several: tuple[str, ...] = ()
    similar_names: tuple[str, ...] = ()
    trained_for: Modality | None = None

    @property
    def far(self) -> bool:
        """Whether its text is no nearer to a trained class than words about something else."""
        if self.similarity is None or self.unrelated is None:
            return False
        return self.similarity <= self.unrelated

    @property
    def doubtful(self) -> bool:
        """Whether its text is no nearer than names of structures that were not trained are.

        A text that names the nearest class in so many words is not.
        """
        if self.far or self.similarity is None or self.others is None:
            return False
        words = set(words_of(self.name).split())
        named = any(words.issuperset(words_of(name).split()) for name in self.nearest)
        return self.similarity <= self.others and not named

    @property
    def warning(self) -> str | None:
        """What the user should know before trusting the answer."""
        if self.origin == "trained":
            return None
        if self.origin == "text":
            what = "is no known class; its text goes to the text encoder"
        elif self.trained_for is not None:
            what = f"is a class that this checkpoint was trained on for {self.trained_for} only"
        else:
            what = "is a class of the vocabulary that this checkpoint was not trained on"
        near = "nearest trained classes: " + ", ".join(self.nearest)
        if self.similarity is not None:
            near += f" (similarity of the first {self.similarity:.2f})"
        parts = [f"`{self.name}` {what}"]
        if self.similar_names:
            parts.append("did you mean " + " or ".join(f"`{n}`" for n in self.similar_names))
        if self.several:
            parts.append(f"it names {' and '.join(f'`{n}`' for n in self.several)}: ask for each")
        if self.origin == "text" and negates(self.name):
            parts.append("a negation is not understood: the mask is of what is named")
        if foreign_script(self.name):
            parts.append("it is not in Latin letters, and the text encoder was taught English")
        parts.append(near)
        if self.far:
            parts.append(
                "FAR from all of them: words about something else are as near "
                f"({self.unrelated:.2f}), so do not trust this mask (another language? a structure "
                "that was not trained? --list shows what is known)"
            )
        elif self.doubtful:
            parts.append(
                "NOT NEAR: names of structures that it was not trained on are as near "
                f"({self.others:.2f}), so it may find another structure"
            )
        return "; ".join(parts)


def resolve(model: SatModel, modality: Modality, texts: Sequence[str]) -> list[Prompt]:
    """Prompts in the order asked, each class once; `nearest` is filled in by `embed`.

    Raises:
        BenchError: no prompt, or one that is none (see `plain_prompt`).
    """
    if not texts:
        raise BenchError(
            "no prompt: name at least one structure",
            hint='for example --prompt "left kidney" --prompt liver, or --all',
        )
    found: dict[str, Prompt] = {}
    for text in texts:
        prompt = _look_up(model, modality, plain_prompt(text))
        known = found.get(prompt.name)
        asked = (text,) if known is None else (*known.asked, text)
        found[prompt.name] = replace(prompt, asked=asked)
    return list(found.values())


def trained_names(model: SatModel, modality: Modality) -> list[str]:
    """All classes that a checkpoint was trained on for a modality.

    Raises:
        BenchError: there is none.
    """
    names = [name for m, name in model.book.keys if m == modality]
    if not names:
        raise not_trained(model.book, modality)
    return names


def _look_up(model: SatModel, modality: Modality, plain: str) -> Prompt:
    trained = {plain_prompt(name): name for m, name in model.book.keys if m == modality}
    by_words = {words_of(known): name for known, name in trained.items()}
    known = trained.get(plain) or by_words.get(words_of(plain))
    if known is not None:
        return Prompt(known, (), "trained")
    try:
        name = find_class(modality, plain).name
    except BenchError:
        return Prompt(
            plain,
            (),
            "text",
            several=several_in(modality, trained, plain),
            similar_names=spelled_alike(modality, plain),
        )
    if plain_prompt(name) in trained:
        return Prompt(trained[plain_prompt(name)], (), "trained")
    other = next((m for m, known in model.book.keys if known == name), None)
    return Prompt(name, (), "vocabulary", trained_for=other)


def embed(
    model: SatModel,
    modality: Modality,
    prompts: Sequence[Prompt],
    text_encoder: Path | None = None,
) -> tuple[list[Prompt], Tensor]:
    """Embeddings (N, E) of prompts, and the prompts with their nearest trained classes.

    The text encoder is loaded only if a prompt is not in the checkpoint.

    Args:
        model: whose checkpoint holds the trained classes' embeddings.
        modality: of the scan.
        prompts: what `resolve` found.
        text_encoder: folder of the encoder, for presets that use one of the user's own.

    Raises:
        BenchError: an encoder is needed that is not there, or it gives another width.
    """
    book, settings = model.book, model.preset.prompts
    rows = {key: row for row, key in enumerate(book.keys)}
    new = [prompt for prompt in prompts if prompt.origin != "trained"]
    encoded: dict[str, Tensor] = {}
    unrelated: float | None = None
    others: float | None = None
    if new:
        keys: list[Key] = [(modality, prompt.name) for prompt in new]
        # Whatever the encoder's cosines are like: what is no nearer than these texts is far, and
        # what is no nearer than most of these names may be such a structure.
        strange = [*IRRELEVANT, *_not_trained(model, modality)]
        beside: list[Key] = [(modality, text) for text in strange]
        vectors = embed_new(book, settings, keys, text_encoder, beside)
        encoded = {prompt.name: vector for prompt, vector in zip(new, vectors, strict=False)}
        near = [_nearest(model, modality, vector)[1] for vector in vectors[len(keys) :]]
        unrelated = max(near[: len(IRRELEVANT)], default=None)
        names = sorted(near[len(IRRELEVANT) :])
        others = names[len(names) * 3 // 4] if names else None
    answer, embeddings = [], []
    for prompt in prompts:
        if prompt.origin == "trained":
            answer.append(prompt)
            embeddings.append(book.embeddings[rows[modality, prompt.name]])
        else:
            vector = encoded[prompt.name]
            nearest, similarity = _nearest(model, modality, vector)
            prompt = replace(prompt, nearest=nearest, similarity=similarity)
            answer.append(replace(prompt, unrelated=unrelated, others=others))
            embeddings.append(vector)
    return answer, torch.stack(embeddings)


def _not_trained(model: SatModel, modality: Modality) -> list[str]:
    """Names of the vocabulary that a checkpoint was not trained on, at most `MOST_OTHERS`."""
    trained = {words_of(name) for _, name in model.book.keys}
    names = sorted(
        info.name
        for info in vocabulary()
        if info.modality == modality and words_of(info.name) not in trained
    )
    return names[:: max(1, -(-len(names) // MOST_OTHERS))]


def _nearest(model: SatModel, modality: Modality, vector: Tensor) -> tuple[tuple[str, ...], float]:
    """Trained classes by the cosine of their text's embedding, and the largest cosine.

    They are of the modality if there are any.
    """
    keys = model.book.keys
    own = [row for row, (m, _) in enumerate(keys) if m == modality]
    rows = own or list(range(len(keys)))
    cosines = torch.nn.functional.cosine_similarity(model.book.embeddings[rows], vector[None])
    order = cosines.argsort(descending=True).tolist()[:N_NEAREST]
    return tuple(keys[rows[i]][1] for i in order), float(cosines.max())
