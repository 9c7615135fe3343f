"""A model card: one YAML file that puts a model on the leaderboard.

Built-in cards lie in `evaluation/models/cards/`, a user's own in `config/models/`.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from evaluation.errors import BenchError, did_you_mean
from evaluation.records import Card, Cards, Record

CARD_FOLDER = Path(__file__).parent / "cards"
USER_CARD_FOLDER = Path("config/models")

ModelId = Annotated[str, Field(pattern=r"^[a-z0-9]+([-_.][a-z0-9]+)*$")]


class PredictionFolder(Record):
    """Predictions made elsewhere: `<folder>/<dataset>/<case>.nii.gz` or one mask per class.

    `labels` maps a dataset to class -> value (or list of values) of its label maps; without it,
    `<folder>/<dataset>/<case>/<class>.nii.gz` masks are expected (blanks in class names as `_`).
    A case needs the mask of every class that any case has one of, empty where it is absent.
    """

    kind: Literal["prediction-folder"]
    folder: str
    labels: dict[str, dict[str, int | list[int]]] = Field(default={})


class Command(Record):
    """A program: `{input}` holds `<case>.nii.gz` images and `request.json`; it fills `{output}`.

    It answers as a prediction folder for that dataset would look like: `<case>.nii.gz` with
    `labels`, or `<case>/<class>.nii.gz` masks. Other braces in the command stay as they are.
    """

    kind: Literal["command"]
    command: list[str] = Field(min_length=1)
    labels: dict[str, dict[str, int | list[int]]] = Field(default={})
    timeout_s: float = 24 * 3600.0


class PythonObject(Record):
    """A Python object, `module:object`, called with a `ModelContext`."""

    kind: Literal["python"]
    object: str = Field(pattern=r"^[\w.]+:\w+$")
    options: dict[str, Any] = Field(default={})


class ModelCard(Card):
    """What is known of a model, and how to ask it.

    `trained_on` lists dataset ids (contamination column); the special word `run` stands for the
    training splits of the run itself. `role` keeps controls and references apart from entrants.
    """

    id: ModelId
    title: str
    role: Literal["entrant", "control"] = "entrant"
    description: str
    citation: str
    licence: str
    parameters: int | None = Field(default=None, ge=0, description="number of weights")
    trained_on: tuple[str, ...] = ()
    test_time_augmentation: str = "none"
    link: str | None = None
    trains: bool = Field(default=False, description="the workflow has rules that train it")
    gpu: bool = Field(default=False, description="predicting wants one GPU")
    version: str | int = Field(
        default=1,
        description="raise it when the model answers otherwise and no file that the card names "
        "has changed: its predictions are then made again",
    )
    adapter: Annotated[PredictionFolder | Command | PythonObject, Field(discriminator="kind")]

    @model_validator(mode="after")
    def _no_absolute_python(self) -> ModelCard:
        if self.role == "control" and self.adapter.kind != "python":
            raise ValueError(f"model card `{self.id}`: a control is a python adapter")
        return self


@lru_cache
def load_model_cards(user_folder: Path = USER_CARD_FOLDER) -> Cards[ModelCard]:
    """Built-in cards and the user's own, by id.

    A user's card that is not valid, or takes a built-in id, is left out (`Cards.faults`).
    """
    cards: Cards[ModelCard] = Cards()
    cards.read(CARD_FOLDER, ModelCard, whole=True)
    cards.read(user_folder, ModelCard)
    return cards


def find_model(name: str) -> ModelCard:
    """The card of a model id.

    Raises:
        BenchError: there is none (the closest ids are named), or its file is no card.
    """
    cards = load_model_cards()
    if name not in cards:
        cards.refuse(name)
        raise BenchError(
            f"no model card `{name}`",
            file=f"{USER_CARD_FOLDER}/{name}.yaml",
            hint=did_you_mean(name, list(cards)) + " (`satbench new model NAME` writes a card)",
        )
    return cards[name]


def load_object(target: str, where: str) -> Any:
    """Import `module:object`.

    Raises:
        BenchError: the module or the object is not there; `where` names the card.
    """
    module_name, _, name = target.partition(":")
    try:
        return getattr(import_module(module_name), name)
    except ImportError as error:
        raise BenchError(
            f"cannot import `{module_name}`",
            file=where,
            found=error,
            hint="install the extra that the model needs, for example `pip install satbench[sat]`",
        ) from error
    except AttributeError as error:
        raise BenchError(f"`{module_name}` has no `{name}`", file=where) from error


def costs_function(card: ModelCard, name: str) -> Any:
    """A function of the module `costs` beside the adapter of a model that is trained here.

    None for all other models.

    Raises:
        BenchError: the module or the function is not there.
    """
    return _beside_adapter(card, "costs", name)


def check_preset(card: ModelCard, preset: str) -> None:
    """Find and validate a preset, as the model's own package reads it.

    That is `load_preset(name)` of the module `config` beside the adapter, for a model that is
    trained here. What another Python object makes of its preset is its own business.

    Raises:
        BenchError: there is no such preset, it is not valid, or this model never reads one.
    """
    if card.adapter.kind != "python" or card.role == "control":
        raise BenchError(
            f"`{card.id}` has no presets",
            found=f"the preset `{preset}`",
            hint="a preset belongs to a model that is trained here: "
            + ", ".join(c.id for c in load_model_cards().values() if c.trains),
        )
    load = _beside_adapter(card, "config", "load_preset")
    if load is not None:
        load(preset)


def _beside_adapter(card: ModelCard, module: str, name: str) -> Any:
    if not (card.trains and card.adapter.kind == "python"):
        return None
    package, dot, _ = card.adapter.object.partition(":")[0].rpartition(".")
    return load_object(f"{package}{dot}{module}:{name}", f"card {card.id}")
