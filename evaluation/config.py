"""A run's configuration: validated before any work, unknown keys refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from evaluation.card_places import work_on
from evaluation.errors import BenchError
from evaluation.files import write_json, write_text
from evaluation.paths import RunPaths
from evaluation.records import Record, invalid_record, load_record

Space = Literal["native", "resampled", "own"]


class Cohort(Record):
    """A virtual cohort that the run writes itself, in the raw layouts of its entries."""

    patients: int = Field(default=14, ge=2, description="virtual patients of each entry")
    test_patients: int = Field(default=4, ge=1, description="how many of them are the test split")


class RunConfig(Record):
    """What one run does.

    The run's folder is `results/<name>`; a run of phantoms never passes for one of real data
    because `data_kind` travels with every table.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", description="names the run folder")
    data_kind: Literal["synthetic", "real"]
    raw_root: str = Field(description="folder that holds the raw datasets; relative to the clone")
    entries: list[str] | Literal["all"] = "all"
    classes: dict[str, list[str]] = Field(
        default={},
        description="restrict an entry to some of its annotated classes; `-name` leaves one out",
    )
    models: list[str] = Field(min_length=1)
    presets: dict[str, str] = Field(default={}, description="model id -> preset name")
    shard_size: int = Field(default=100, ge=1, description="cases of one job")
    space: list[Space] = Field(default=["native"], min_length=1)
    tolerance_mm: list[float] = Field(default=[1.0], min_length=1)
    missing_data: Literal["skip", "error"] = "skip"
    seed: int = 0
    cohort: Cohort | None = Field(default=None, description="only for synthetic runs")

    @model_validator(mode="after")
    def _consistent(self) -> RunConfig:
        if (self.cohort is None) != (self.data_kind == "real"):
            raise ValueError("a synthetic run needs `cohort`, a real run must not have it")
        if any(t < 0 for t in self.tolerance_mm):
            raise ValueError("tolerance_mm must not be negative")
        return self


def load_config(path: Path) -> RunConfig:
    """Read and validate a configuration file."""
    return load_record(path, RunConfig)


def config_from(values: Mapping[str, Any], origin: str) -> RunConfig:
    """Validate values that the workflow has already read and merged."""
    try:
        return RunConfig.model_validate(dict(values))
    except ValidationError as error:
        raise invalid_record(origin, RunConfig, error) from error


def freeze(config: RunConfig, path: Path) -> None:
    """Write the effective configuration into the run folder, if it changed."""
    text = config.model_dump_json(indent=2) + "\n"
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def load_frozen(run_folder: Path) -> RunConfig:
    """The effective configuration of a run: its models are the configured and the added ones.

    Cards that the user's own folder has not are from then on looked for in this run.
    """
    work_on(run_folder)
    path = run_folder / "config.json"
    if not path.is_file():
        raise BenchError(
            "no run here",
            file=path,
            hint="start it with snakemake, which writes the configuration into the run's folder",
        )
    return RunConfig.model_validate_json(path.read_text(encoding="utf-8"))


def read_added(run_folder: Path) -> list[str]:
    """Models that `satbench add` put into a run, in that order.

    Raises:
        BenchError: the list is damaged.
    """
    path = RunPaths(run_folder).added
    if not path.is_file():
        return []
    try:
        return TypeAdapter(list[str]).validate_json(path.read_bytes())
    except ValidationError as error:
        raise BenchError(
            "the list of added models cannot be read",
            file=path,
            expected='model ids, `["my-unet"]`',
            hint="delete the file and add the models again; what they predicted is kept",
        ) from error


def write_added(run_folder: Path, models: Sequence[str]) -> None:
    """Write the list of added models, if it changed."""
    if list(models) != read_added(run_folder):
        write_json(RunPaths(run_folder).added, list(models))


def json_schema() -> dict[str, Any]:
    """JSON Schema of a configuration, which the workflow and editors validate against."""
    draft = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": draft, **RunConfig.model_json_schema()}
