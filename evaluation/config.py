"""A run's configuration: validated before any work, unknown keys refused."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
    model_validator,
)

from evaluation.errors import BenchError
from evaluation.files.card_places import work_on
from evaluation.files.reading import mapping_of, text_of
from evaluation.files.records import Record, invalid_record
from evaluation.files.writing import write_if_other
from evaluation.metrics.distances.definitions import DEFAULT_DEFINITION, DefinitionName
from evaluation.protocol import DEFAULT_METRICS, Space
from evaluation.studies.aspect import Aspect, AspectId
from evaluation.variants import Variant, declare, names_of

T = TypeVar("T")
# What numpy's older generators accept, which nnU-Net draws from.
HIGHEST_SEED = 2**32 - 1
# Wider than any body; no surface is further away.
WIDEST_TOLERANCE_MM = 1000


def _no_boolean(value: object) -> object:
    # YAML's `yes` and `on` would pass for 1.
    if isinstance(value, bool):
        raise ValueError("a number is wanted, not true or false")
    return value


def _listed(value: object) -> object:
    """One value where a list is meant: `entries: acdc`, `--config tolerance_mm=2`."""
    return [value] if isinstance(value, str | int | float) else value


def _entries(value: object) -> object:
    return "all" if value in ("all", ["all"]) else _listed(value)


def _once(values: list[T]) -> list[T]:
    twice = [value for i, value in enumerate(values) if value in values[:i]]
    if twice:
        raise ValueError(f"`{twice[0]}` is there twice")
    return values


def _nothing_is_empty(value: object) -> object:
    return {} if value is None else value


# Snakemake hands on the numbers inside `--config 'tolerance_mm=[1, 2]'` as text; pydantic reads it.
Once = AfterValidator(_once)
Listed = BeforeValidator(_listed)
Empty = BeforeValidator(_nothing_is_empty)
Number = BeforeValidator(_no_boolean)
ModelName = Annotated[str, Field(pattern=r"^[a-z0-9]+([-_.][a-z0-9]+)*$", max_length=48)]
ToleranceMm = Annotated[float, Field(ge=0, le=WIDEST_TOLERANCE_MM, allow_inf_nan=False), Number]


class Cohort(Record):
    """A virtual cohort that the run writes itself, in the raw layouts of its entries."""

    patients: Annotated[int, Number] = Field(
        default=14, ge=2, le=10_000, description="virtual patients of each entry"
    )
    test_patients: Annotated[int, Number] = Field(
        default=4, ge=1, description="how many of them are the test split"
    )

    @model_validator(mode="after")
    def _some_are_for_training(self) -> Cohort:
        if self.test_patients >= self.patients:
            raise ValueError("test_patients must be fewer than patients")
        return self


class RunConfig(Record):
    """What one run does.

    The run's folder is `results/<name>`; a run of phantoms never passes for one of real data
    because `data_kind` travels with every table.
    """

    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=64, description="names the run folder"
    )
    study: str = Field(
        description="whose entries, splits, grid and published numbers: id of a built-in study, or "
        "the path of a study's YAML file, relative to where the work is done"
    )
    data_kind: Literal["synthetic", "real"]
    raw_root: str = Field(
        min_length=1, description="folder that holds the raw datasets; relative to the clone"
    )
    entries: Annotated[Annotated[list[str], Once] | Literal["all"], BeforeValidator(_entries)] = (
        Field(default="all", description="ids of datasets; `all` are the study's entries")
    )
    classes: Annotated[dict[str, Annotated[list[str], Listed, Once]], Empty] = Field(
        default={},
        description="restrict an entry to some of its annotated classes; `-name` leaves one out",
    )
    models: Annotated[list[str], Listed, Once] = Field(
        default=[], description="ids of models; the variants stand behind them"
    )
    presets: Annotated[dict[str, str], Empty] = Field(
        default={}, description="model id -> preset name, or a file"
    )
    variants: Annotated[dict[ModelName, Variant], Empty] = Field(
        default={}, description="ways to train a model, each a row; see evaluation/variants.py"
    )
    stages: Annotated[dict[str, dict[str, int | str]], Empty] = Field(
        default={},
        description="`model/stage` or `model/stage/unit` of a training -> what its job asks for "
        "instead of what the model states: threads, gpu, nodes, mem_mb, runtime (minutes), and "
        "anything that the cluster's executor knows",
    )
    aspects: Annotated[dict[AspectId, Aspect], Empty] = Field(
        default={},
        description="named sets of classes with a mean of their own, besides the study's",
    )
    shard_size: Annotated[int, Number] = Field(default=100, ge=1, description="cases of one job")
    space: Annotated[list[Space], Listed, Once] = Field(default=["native"], min_length=1)
    tolerance_mm: Annotated[list[ToleranceMm], Listed, Once] = Field(default=[1.0], min_length=1)
    metrics: Annotated[list[str], Listed, Once] = Field(
        default=list(DEFAULT_METRICS),
        min_length=1,
        description="what is measured, such as hd95 or nsd@0.5; `satbench metrics` lists them",
    )
    definition: DefinitionName = Field(
        default=DEFAULT_DEFINITION, description="of surfaces and their distances"
    )
    missing_data: Literal["skip", "error"] = "skip"
    seed: Annotated[int, Number] = Field(default=0, ge=0, le=HIGHEST_SEED)
    fold: Annotated[int, Number] = Field(
        default=1,
        ge=1,
        description="which patient is tested, in the order of their ids, of entries that leave one "
        "out: a run for each, and `satbench join-folds` at the end",
    )
    cohort: Cohort | None = Field(default=None, description="only for synthetic runs")

    @model_validator(mode="before")
    @classmethod
    def _names_its_study(cls, values: Any) -> Any:
        if isinstance(values, dict) and "study" not in values:
            raise ValueError(
                "`study` is missing, which says whose entries, splits and grid are meant: add a "
                "built-in study, such as `study: sat`, or the path of a study's YAML file"
            )
        return values

    @model_validator(mode="before")
    @classmethod
    def _rows_of_variants(cls, values: Any) -> Any:
        """Each variant is one of the run's models, with its preset."""
        variants = values.get("variants") if isinstance(values, dict) else None
        if not isinstance(variants, dict):
            return values
        models, presets = _listed(values.get("models") or []), values.get("presets") or {}
        if not (isinstance(models, list) and isinstance(presets, dict)):
            return values
        models, presets = [*models], {**presets}
        for name, found in variants.items():
            plain = found.model_dump() if isinstance(found, Variant) else found
            if not (isinstance(plain, dict) and isinstance(plain.get("seeds", []), list)):
                continue
            for row in names_of(str(name), plain.get("seeds", [])):
                models += [row] * (row not in models)
                if isinstance(plain.get("preset"), str):
                    presets[row] = plain["preset"]
        return values | {"models": models, "presets": presets}

    @model_validator(mode="after")
    def _consistent(self) -> RunConfig:
        if not self.models:
            raise ValueError("a run needs `models`, or `variants` of some")
        if (self.cohort is None) != (self.data_kind == "real"):
            raise ValueError("a synthetic run needs `cohort`, a real run must not have it")
        return self


def declare_variants(config: RunConfig) -> None:
    """Let this process know the variants of a run as models (`evaluation.variants`)."""
    declare(config.variants)


def freeze(config: RunConfig, path: Path) -> None:
    """Write the effective configuration into the run folder, if it changed."""
    write_if_other(path, config.model_dump_json(indent=2) + "\n")


def load_frozen(run_folder: Path) -> RunConfig:
    """The effective configuration of a run: its models are the configured and the added ones.

    Cards that the user's own folder has not are from then on looked for in this run.

    Raises:
        BenchError: there is none, it is damaged, or it is of a version that knew no studies.
    """
    work_on(run_folder)
    path = run_folder / "config.json"
    if not path.is_file():
        raise BenchError(
            "no run here",
            file=path,
            hint="start it with snakemake, which writes the configuration into the run's folder",
        )
    content = text_of(path)
    try:
        config = RunConfig.model_validate_json(content)
    except ValidationError as error:
        if '"study"' not in content and mapping_of(path):
            raise BenchError(
                "this run was made by a version that knew no studies",
                file=path,
                expected="the key `study`",
                hint="add `study: sat` to the configuration that made it (such runs were of no "
                "other) and start snakemake with it again: the run is brought up to date, and what "
                "is still right is kept",
            ) from error
        raise invalid_record(path, RunConfig, error) from error
    declare_variants(config)
    return config


def frozen_kind(path: Path) -> str | None:
    """`data_kind` of a frozen configuration of any version; None if it does not say."""
    found = mapping_of(path)
    return str(found.get("data_kind")) if found else None


def json_schema() -> dict[str, Any]:
    """JSON Schema of a configuration, which the workflow and editors validate against."""
    draft = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": draft, **RunConfig.model_json_schema()}
