"""How the specialists of a run are planned and trained: a preset, validated key by key."""

from __future__ import annotations

from math import ceil
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from evaluation.files.records import PresetSource, Record, read_preset
from evaluation.models.preset_list import PresetFacts, device_words, sides

PRESET_FOLDER = Path(__file__).parent / "presets"
DEFAULT_PRESET = "paper"

Fold = Literal["all"] | Annotated[int, Field(ge=0, le=4)]


class Network(Record):
    """What is changed in the plan; what is left out stays as nnU-Net or Table 7 has it.

    With `patch_cap`, strides and stages follow from the smaller patch by nnU-Net's own rule.
    """

    width: int | None = Field(default=None, ge=4, description="channels of the first stage")
    patch_cap: int | None = Field(
        default=None, ge=16, description="longest side of a patch, voxels"
    )
    patch_size: tuple[int, int, int] | None = Field(default=None, description="voxels")
    batch_size: int | None = Field(default=None, ge=1)


class Schedule(Record):
    """Length and optimiser of a short training.

    A specialist with n leaf labels trains for max(at_least, base + per_class * n) iterations,
    rounded up to whole epochs: more labels need more steps.
    """

    base: int = Field(ge=0, description="iterations")
    per_class: int = Field(default=0, ge=0, description="further iterations for each leaf label")
    at_least: int = Field(default=1, ge=1, description="iterations")
    iterations_per_epoch: int = Field(ge=1)
    validation_iterations: int = Field(default=2, ge=1, description="batches, after each epoch")
    save_every: int = Field(default=1, ge=1, description="epochs between two resume points")
    optimiser: Literal["adamw", "sgd"]
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    mirroring: bool = Field(description="mirrored patches in training")

    def epochs(self, n_leaves: int) -> int:
        """Number of epochs for a specialist with that many leaf labels."""
        iterations = max(self.at_least, self.base + self.per_class * n_leaves)
        return ceil(iterations / self.iterations_per_epoch)


class NnunetPreset(Record):
    """One way to make specialists.

    `planned` lets nnU-Net plan, `pinned` writes Table 7's configuration as a plan. Without
    `schedule`, the trainer is nnU-Net's own: 1000 epochs of 250 iterations, SGD, mirroring.
    """

    description: str
    mode: Literal["planned", "pinned"]
    network: Network = Network()
    schedule: Schedule | None = None
    folds: tuple[Fold, ...] = Field(default=("all",), min_length=1)
    test_time_mirroring: bool = True
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = Field(default=1, ge=1, description="threads of one training on a CPU")
    workers: int = Field(default=1, ge=1, description="processes of planning and preprocessing")

    @model_validator(mode="after")
    def _consistent(self) -> NnunetPreset:
        if self.test_time_mirroring and self.schedule is not None and not self.schedule.mirroring:
            raise ValueError(
                "test_time_mirroring needs schedule.mirroring: a network that never saw mirrored "
                "patches cannot be asked to label them"
            )
        if self.network.patch_cap is not None and self.network.patch_size is not None:
            raise ValueError("give patch_cap or patch_size, not both")
        return self


def load_preset(source: PresetSource = None) -> NnunetPreset:
    """A built-in preset by name, a file (a path that ends in `.yaml`), or the values of a run.

    Raises:
        BenchError: no such preset, or an invalid one (file, field and what was found).
    """
    return read_preset(source or DEFAULT_PRESET, PRESET_FOLDER, NnunetPreset, "nnU-Net")


def preset_facts(_model: str, name: str) -> PresetFacts:
    """What `satbench presets` says of one.

    Raises:
        BenchError: as `load_preset`.
    """
    preset = load_preset(name)
    network, schedule = preset.network, preset.schedule
    origin = "of Table 7" if preset.mode == "pinned" else "of nnU-Net's plan"
    patch = sides(network.patch_size) if network.patch_size else origin
    if network.patch_cap:
        patch = f"{origin} up to {network.patch_cap}"
    steps = "1000 epochs of 250 iterations"
    if schedule is not None:
        each = f" + {schedule.per_class} a class" if schedule.per_class else ""
        steps = f"{schedule.base}{each} iterations"
        steps += f", at least {schedule.at_least}" if schedule.at_least > schedule.base else ""
    folds = f", {len(preset.folds)} networks each" if len(preset.folds) > 1 else ""
    return PresetFacts(
        device_words(preset.device),
        f"from {network.width}" if network.width else origin,
        patch,
        steps + folds,
        preset.description,
        preset,
    )
