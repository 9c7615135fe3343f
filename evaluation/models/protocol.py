"""What a model must be able to do, whatever it is made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from evaluation.cases import ImageCase, Prediction
from evaluation.config import RunConfig
from evaluation.files.records import PresetSource
from evaluation.paths import RunPaths


@dataclass(frozen=True)
class ModelContext:
    """What an adapter is built from, and its stages: where the run lies, how it is configured.

    `work` is the model's own folder (`results/<run>/runs/<model>`), with what its training wrote.
    `preset` has the values that the run keeps (`evaluation.models.presets`), or is a name that
    the model alone understands. `options` come from the model's card. `entries` are those with
    data, for the stages of a training.
    """

    model: str
    paths: RunPaths
    config: RunConfig
    work: Path
    preset: PresetSource
    options: dict[str, object]
    entries: tuple[str, ...] = ()


@runtime_checkable
class Model(Protocol):
    """A Python object that predicts one case at a time.

    An adapter is named in a model card as `module:object`; calling the object with a
    `ModelContext` gives the model.
    """

    def classes(self, dataset: str) -> dict[str, str | None]:
        """For each class of the dataset: None if supported, otherwise the reason why not."""
        ...

    def predict(self, case: ImageCase, classes: Sequence[str]) -> Prediction:
        """Segment one case for the supported classes among `classes`.

        Raises:
            Exception: anything; it becomes the case's reason and the other cases go on.
        """
        ...


@runtime_checkable
class BatchModel(Protocol):
    """A model whose cost is in starting: it is given a whole shard at once."""

    def classes(self, dataset: str) -> dict[str, str | None]:
        """As in `Model`."""
        ...

    def predict_all(
        self, cases: Sequence[ImageCase], classes: Sequence[str]
    ) -> Iterator[tuple[ImageCase, Prediction | Exception, float]]:
        """Yield (case, prediction or what went wrong, seconds), in any order."""
        ...


@runtime_checkable
class Identified(Protocol):
    """A model that can say what its answer to a case depends on, besides image, card and classes.

    Such as the digest of a checkpoint or of a file of predictions: an answer is made again when,
    and only when, this changes. A model without it is known by its card (`version`, files that
    the card names) alone.
    """

    def made_from(self, case: ImageCase, classes: Sequence[str], /) -> object:
        """Values for JSON; cheap, and the same as long as the answer would be the same."""
        ...


@runtime_checkable
class TextModel(Protocol):
    """A model that is asked in free words; optional, beside `Model` or `BatchModel`.

    `satbench stress` asks by it: names of classes, and words that are no name.
    """

    def predict_texts(self, case: ImageCase, texts: Sequence[str], /) -> Prediction:
        """Segment one case by texts: the answer has a mask under each text, on the image's grid.

        A text that the answer leaves out was refused, which is right for words that mean nothing
        in the scan; it counts as an empty mask.

        Raises:
            Exception: anything; the case is then not judged, and the others go on.
        """
        ...
