"""How the universal systems are built and trained: presets that all nine share.

A preset file has what is common to all systems, and under `systems` what differs in single ones.
Which system a model is, its id says, or the option `system` of its card.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from baselines.universal.networks.sizes import NetworkSizes
from evaluation.errors import BenchError, did_you_mean
from evaluation.files.records import PresetSource, Record, merged, read_preset, validated
from evaluation.models.card import ModelCard, find_model
from evaluation.models.preset_list import PresetFacts, device_words, sides
from evaluation.training.settings import TrainingPreset, Triple

PRESET_FOLDER = Path(__file__).parent / "presets"
DEFAULT_PRESET = "paper"
STRIDE = 16

SYSTEMS = (
    "resunet", "medformer", "hermes-r", "hermes-m", "multi-decoder", "dodnet", "clip-driven",
    "uniseg", "multitalent",
)  # fmt: skip
# The traditional way: a network for each entry, which sees no other.
ONE_FOR_EACH_ENTRY = ("resunet", "medformer")
# Labels that exclude each other, instead of a mask for each class.
OF_LABELS = (*ONE_FOR_EACH_ENTRY, "multi-decoder", "uniseg")


class Upstream(Record):
    """What a training starts from, and what of it learns (see `upstream.py`)."""

    checkpoint: str = Field(description="file of an earlier training of the same system")
    trains: Literal["all", "new", "nothing"] = Field(
        default="all",
        description="every weight, the tokens of new tasks alone, or nothing: the checkpoint as it "
        "is, for a row of its own beside what came of it",
    )


class Share(Record):
    """A part of the training side's patients; a smaller share of one draw is within a larger."""

    part: float = Field(gt=0, le=1)
    draw: int = Field(default=0, ge=0)


class Preset(TrainingPreset):
    """Everything that decides the training of one system, apart from data and seed."""

    system: str = Field(description="one of `SYSTEMS`, or `module:object` of a user's own")
    network: NetworkSizes = NetworkSizes()
    shares: dict[str, str] = Field(
        default={},
        description="entry -> entry whose task tokens its classes of the same name have (Hermes, "
        "DoDNet); every other class of every entry is a task of its own",
    )
    # Left out of digests where it is not said: what was trained before stays valid.
    sequences: dict[str, str] = Field(
        default={},
        exclude_if=lambda said: not said,
        description="sequence of an MR -> name of its modality, which others may have, too "
        "(Hermes); every other sequence is a modality of its own",
    )
    text: str = Field(
        default="minilm",
        description="CLIP-driven: `minilm`, `learnt`, or a file of vectors (see `text.py`)",
    )

    upstream: Upstream | None = None
    entries: tuple[str, ...] = Field(default=(), description="the only ones to train on")
    share: Share | None = Field(default=None, description="of each entry's training patients")
    answers_as: dict[str, str] = Field(
        default={},
        description="entry that is never trained on -> trained entry whose tasks of the same name "
        "answer for it",
    )

    @property
    def stride(self) -> Triple:
        """Every step halves all three axes, four times."""
        return STRIDE, STRIDE, STRIDE

    @property
    def named_entries(self) -> dict[str, Collection[str]]:
        """Also those that share tokens, are trained, or answer for others."""
        return {
            **super().named_entries,
            "shares": [*self.shares, *self.shares.values()],
            "entries": self.entries,
            "answers_as": [*self.answers_as, *self.answers_as.values()],
        }

    @model_validator(mode="after")
    def _whole_batches_of_whole_lists(self) -> Self:
        training, sampling = self.training, self.training.sampling
        if not self.fills_patch:
            raise ValueError("training.pad_to must be `patch`: the losses are those of a batch")
        if sampling.max_prompts is not None or sampling.split_by_specialist:
            raise ValueError(
                "sampling.max_prompts and .split_by_specialist are not for universal systems: a "
                "crop is asked for all tasks of its entry"
            )
        if self.system == "uniseg":
            if sampling.crops_per_group % training.batch:
                raise ValueError(
                    "uniseg has one task a batch: sampling.crops_per_group must be a multiple of "
                    "training.batch"
                )
            if self.inference.patch != training.patch:
                raise ValueError(
                    "uniseg's prompt has the size of the training's patch: inference.patch must "
                    "be the same"
                )
        return self


class Presets(Record):
    """A preset file: the values of `Preset` that all systems share, and those of single ones."""

    name: str = ""
    description: str
    network: dict[str, Any] = Field(default={})
    grid: dict[str, Any]
    training: dict[str, Any]
    inference: dict[str, Any]
    shares: dict[str, Any] = Field(default={})
    sequences: dict[str, str] = Field(default={}, exclude_if=lambda said: not said)
    text: str = "minilm"
    upstream: dict[str, Any] | None = None
    entries: tuple[str, ...] = ()
    share: dict[str, Any] | None = None
    answers_as: dict[str, str] = Field(default={})
    systems: dict[str, dict[str, Any]] = Field(
        default={}, description="sections are merged key by key with the common ones"
    )

    @model_validator(mode="after")
    def _known(self) -> Self:
        for system in self.systems:
            if system not in SYSTEMS and ":" not in system:
                raise ValueError(f"systems.{system}: {did_you_mean(system, SYSTEMS)}")
        return self

    def of(self, system: str) -> Preset:
        """The preset of one system.

        Raises:
            BenchError: it is not valid (field and what was found).
        """
        common = self.model_dump(mode="json", exclude={"systems"})
        values = merged(common, {**self.systems.get(system, {}), "system": system})
        return validated(values, f"preset `{self.name}`, system {system}", Preset)

    def in_title(self, card: ModelCard) -> str:
        """Which text the vectors of CLIP-driven are of, which its card leaves to the preset."""
        options = card.adapter.options if card.adapter.kind == "python" else {}
        system = system_of(card.id, options)
        return text_words(self.of(system).text) if system == "clip-driven" else ""

    def changed(self, changes: dict[str, Any]) -> dict[str, Any]:
        """The values with those of a variant, which also replace what single systems have."""
        return _joined(self.model_dump(mode="json"), changes)


def text_words(text: str) -> str:
    """A preset's `text` in print."""
    named = {"minilm": "MiniLM text", "learnt": "learnt vectors"}
    return named.get(text, f"text of {Path(text).name}")


def _joined(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """`base` with the values of `change`: the last word has whoever speaks last.

    What `change` says of all systems also replaces what `base` says of single ones.
    """
    systems = {
        system: merged(own, {key: value for key, value in change.items() if key in own})
        for system, own in base.get("systems", {}).items()
    }
    return merged({**base, "systems": systems}, change)


def load_preset(source: PresetSource = None) -> Presets:
    """A built-in preset by name, a file (a path that ends in `.yaml`), or the values of a run.

    Raises:
        BenchError: no such preset, or an invalid one. A fault within a section is found by `of`.
    """
    return read_preset(source or DEFAULT_PRESET, PRESET_FOLDER, Presets, "universal", _joined)


def system_of(model: str, options: Mapping[str, object] | None = None) -> str:
    """The system of a model: the option `system` of its card, otherwise its own or its base's id.

    A user's own is named as `module:object`, a subclass of `MaskModel` or `LabelModel`.

    Raises:
        BenchError: there is no such system.
    """
    if options is None:
        adapter = find_model(model).adapter
        options = adapter.options if adapter.kind == "python" else {}
    name = str(options.get("system", options.get("variant_of", model)))
    if name in SYSTEMS or ":" in name:
        return name
    raise BenchError(
        f"no universal system `{name}`",
        file=f"card {model}",
        expected="an option `system` in the card (or an id) that is `module:object` or one of "
        + ", ".join(SYSTEMS),
        hint=did_you_mean(name, SYSTEMS),
    )


def preset_facts(model: str, name: str) -> PresetFacts:
    """What `satbench presets` says of one, for one system.

    Raises:
        BenchError: as `load_preset`, or it is not valid for the system.
    """
    common, system = load_preset(name), system_of(model)
    preset = common.of(system)
    training = preset.training
    whole = merged(
        common.model_dump(mode="json"), preset.model_dump(mode="json", exclude={"system"})
    )
    return PresetFacts(
        device_words(training.device, training.processes),
        sides(preset.network.widths),
        sides(training.patch),
        f"{training.steps} steps",
        preset.description,
        Presets.model_validate({**whole, "systems": {}}),
        () if preset.upstream is None else (preset.upstream.checkpoint,),
    )
