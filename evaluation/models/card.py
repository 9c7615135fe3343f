"""A model card: one YAML file that puts a model on the leaderboard.

Built-in cards lie in `evaluation/models/cards/`, a user's own in `config/models/`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from evaluation.errors import BenchError, did_you_mean
from evaluation.files.card_places import (
    CardFile,
    card_candidates,
    card_files,
    run_at_work,
    stamped,
)
from evaluation.files.records import Card, Record, merged, read_card
from evaluation.files.writing import visible
from evaluation.models.added import read_added
from evaluation.variants import Training, declared, declared_ids

CARD_FOLDER = Path(__file__).parent / "cards"
USER_CARD_FOLDER = Path("config/models")
log = logging.getLogger(__name__)

ModelId = Annotated[str, Field(pattern=r"^[a-z0-9]+([-_.][a-z0-9]+)*$", max_length=64)]


# 0 is the background everywhere.
Value = Annotated[int, Field(ge=1, le=65535, strict=True)]
Values = Annotated[list[Value], Field(min_length=1)]


class PredictionFolder(Record):
    """Predictions made elsewhere: `<folder>/<dataset>/<case>.nii.gz` or one mask per class.

    `labels` maps a dataset to class -> value (or list of values) of its label maps; without it,
    `<folder>/<dataset>/<case>/<class>.nii.gz` masks are expected (blanks in class names as `_`).
    A case needs the mask of every class that any case has one of, empty where it is absent.
    """

    kind: Literal["prediction-folder"]
    folder: str
    labels: dict[str, dict[str, Value | Values]] = Field(default={})


class Command(Record):
    """A program: `{input}` holds `<case>.nii.gz` images and `request.json`; it fills `{output}`.

    It answers as a prediction folder for that dataset would look like: `<case>.nii.gz` with
    `labels`, or `<case>/<class>.nii.gz` masks. Other braces in the command stay as they are.

    With `texts` it can also be asked in free words (`satbench stress`), once for a case: then
    `request.json` has `texts`, file stem -> text, and it answers with `<case>/<stem>.nii.gz`
    masks; one that is left out says that the text is refused.
    """

    kind: Literal["command"]
    command: list[str] = Field(min_length=1)
    labels: dict[str, dict[str, Value | Values]] = Field(default={})
    timeout_s: float = Field(default=24 * 3600.0, gt=0, allow_inf_nan=False)
    texts: bool = Field(default=False, description="it can be asked in free words")


class PythonObject(Record):
    """A Python object, `module:object`, called with a `ModelContext`."""

    kind: Literal["python"]
    object: str = Field(pattern=r"^[\w.]+:\w+$")
    options: dict[str, Any] = Field(default={})


class ModelCard(Card):
    """What is known of a model, and how to ask it.

    `trained_on` lists what it was trained on (contamination column): dataset ids, a dataset's
    training side in a study as `<study>/<dataset>`, or the special word `run` for the training
    splits of the run itself. `role` keeps controls and references apart from entrants.
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
    trains: bool = Field(default=False, description="it states stages that train it in a run")
    alone: bool = Field(default=False, description="a run has room for one of it, not for variants")
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


def find_model(name: str) -> ModelCard:
    """The card of a model id.

    Only this card is read, so that a fault in another one stops nothing. An added model whose
    card is broken goes on with the copy that its run carries.

    Raises:
        BenchError: there is none (the closest ids are named), or it is not valid.
    """
    if (training := declared(name)) is not None:
        return _variant_card(name, training)
    built_in, own = CARD_FOLDER / f"{name}.yaml", card_candidates("models", name)
    if built_in.is_file():
        own = [built_in]
    if not own:
        raise BenchError(
            f"no model card `{name}`",
            file=f"{USER_CARD_FOLDER}/{name}.yaml",
            hint=did_you_mean(name, model_ids()) + " (`satbench new model NAME` writes a card)",
        )
    try:
        card = _read(stamped(own[0]))
        _refuse_strangers(card, own[0])
        return card
    except BenchError:
        run = run_at_work()
        if len(own) == 1 or run is None or name not in read_added(run):
            raise
        log.warning("%s is not valid; the run's copy %s is used", *own)
        return _read(stamped(own[1]))


def _variant_card(name: str, training: Training) -> ModelCard:
    """A model's card under the id of one of its variants."""
    base = find_model(training.settings.model)
    adapter = base.adapter
    if isinstance(adapter, PythonObject):
        options = {"variant_of": base.id, **adapter.options}
        adapter = adapter.model_copy(update={"options": options})
    own = {"id": name, "title": training.title, "adapter": adapter}
    return base.model_copy(update=own)


def _refuse_strangers(card: ModelCard, file: Path) -> None:
    """Refuse labels of a dataset that nobody knows: a slip of the pen would leave it out."""
    from evaluation.datasets.registry import load_cards

    adapter = card.adapter
    labels = {} if isinstance(adapter, PythonObject) else adapter.labels
    known = load_cards() if labels else {}
    for name in labels:
        if name not in known:
            raise BenchError(
                f"labels of a dataset that has no card: `{name}`", file=file,
                hint=did_you_mean(name, list(known)),
            )  # fmt: skip


@lru_cache(maxsize=256)
def _read(file: CardFile) -> ModelCard:
    return read_card(file.path, ModelCard)


def built_in_ids() -> list[str]:
    """Ids of the models whose cards come with the package."""
    return [path.stem for path in visible(CARD_FOLDER, "*.yaml")]


def own_ids() -> list[str]:
    """Ids of the user's own models, whose cards may yet be at fault."""
    return [file.path.stem for file in card_files("models")]


def model_ids() -> list[str]:
    """Ids of the built-in models, of the user's own, and of the variants of the run at work."""
    return [*built_in_ids(), *own_ids(), *declared_ids()]


def model_faults() -> list[BenchError]:
    """What is wrong with cards of the user's; only a run that names one of them is stopped."""
    faults = []
    for path, _ in card_files("models"):
        try:
            if path.stem in built_in_ids():
                raise BenchError(
                    f"the id `{path.stem}` is taken by a card of the benchmark", file=path,
                    hint="choose another id and file name",
                )  # fmt: skip
            read_card(path, ModelCard)
        except BenchError as error:
            faults.append(error)
    return faults


def model_cards(names: Iterable[str]) -> dict[str, ModelCard]:
    """Cards of those models that have one."""
    known = set(model_ids())
    return {name: find_model(name) for name in names if name in known}


def load_object(target: str, where: str) -> Any:
    """Import `module:object`.

    Raises:
        BenchError: the module or the object is not there; `where` names the card.
    """
    module_name, _, name = target.partition(":")
    try:
        return getattr(_module(module_name, where), name)
    except AttributeError as error:
        raise BenchError(f"`{module_name}` has no `{name}`", file=where) from error


def _module(name: str, where: str) -> ModuleType:
    try:
        return import_module(name)
    except Exception as error:
        # It may be the user's own module: a fault in it is theirs to see, in one line.
        raise BenchError(
            f"cannot import `{name}`",
            file=where,
            found=f"{type(error).__name__}: {error}",
            hint="install the extra that the model needs, for example `pip install satbench[sat]`",
        ) from error


def function_of(card: ModelCard, module: str, name: str) -> Any:
    """What a model that is trained here gives besides its adapter, or None.

    It is the function `name` of the module `module` in the adapter's package; a model without
    such a module (in a file of its own, say) has the function beside the adapter's object, or
    not at all. All other models have none.

    Raises:
        BenchError: the adapter's module cannot be imported, or a module `module` lacks the name.
    """
    if not (card.trains and card.adapter.kind == "python"):
        return None
    where, own = f"card {card.id}", card.adapter.object.partition(":")[0]
    package = own.rpartition(".")[0]
    # The adapter's own module is not imported for it: it may load what only predicting needs.
    if package and _module(package, where) and find_spec(f"{package}.{module}"):
        return load_object(f"{package}.{module}:{name}", where)
    return getattr(_module(own, where), name, None)


def check_preset(card: ModelCard, preset: str) -> None:
    """Find and validate a preset, as the model's own package reads it.

    That is its `load_preset` (module `config`), for a model that is trained here. What another
    Python object makes of its preset is its own business.

    Raises:
        BenchError: there is no such preset, it is not valid, or this model never reads one.
    """
    if card.adapter.kind != "python" or card.role == "control":
        raise BenchError(
            f"`{card.id}` has no presets",
            found=f"the preset `{preset}`",
            hint="a preset belongs to a model that is trained here: "
            + ", ".join(c.id for c in model_cards(built_in_ids()).values() if c.trains),
        )
    preset_of(card, preset)


def preset_of(card: ModelCard, name: str | None) -> Any:
    """A preset as the model's own package reads it, with the changes of a variant.

    A preset that holds values of single models besides says itself what a change replaces, in its
    method `changed(changes)`. None: the package reads none.

    Raises:
        BenchError: there is no such preset, or it is not valid.
    """
    load = function_of(card, "config", "load_preset")
    if load is None:
        return None
    found, training = load(name), declared(card.id)
    if training is None or not training.settings.changes:
        return found
    changes = training.settings.changes
    if hasattr(found, "changed"):
        return load(found.changed(changes))
    return load(merged(found.model_dump(mode="json"), changes))
