"""The stages of all models that a run trains, as the workflow's two rules see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from evaluation.config import RunConfig
from evaluation.errors import BenchError, did_you_mean
from evaluation.models.card import find_model
from evaluation.models.presets import FrozenPreset, context_of
from evaluation.models.stages import Stage, stages_of
from evaluation.paths import RunPaths

STEP = "stage"


@dataclass(frozen=True)
class PlannedStage:
    """A stage of a model, with what the configuration asks for in place of its own resources."""

    model: str
    stage: Stage
    asked: Mapping[str, int | str]

    @property
    def title(self) -> str:
        """`sat-nano/train`, `nnunet/train/acdc`: how configuration and logs name it."""
        return "/".join(filter(None, (self.model, self.stage.name, self.stage.unit)))

    @property
    def settings(self) -> str:
        """What the file of its settings says: their digest, and the title."""
        return f"{self.stage.digest} {self.title}"

    @property
    def options(self) -> str:
        """Those of `satbench train` that mean this stage."""
        unit = f" --unit {self.stage.unit}" if self.stage.unit else ""
        return f"--model {self.model} --stage {self.stage.name}{unit}"

    def resource(self, name: str, attempt: int = 1) -> int | str | None:
        """What its job asks for, by the workflow's name of the resource; None: nothing."""
        own = self.stage.resources
        stated = {
            "threads": own.threads, "gpu": own.gpus, "nodes": own.nodes, "mem_mb": own.mem_mb,
            "runtime": own.runtime_min,
        }  # fmt: skip
        value = self.asked.get(name, stated.get(name))
        grows = name == "mem_mb" or (name == "runtime" and not own.goes_on)
        return value * attempt if grows and isinstance(value, int) else value


@dataclass(frozen=True)
class StagePlan:
    """Stages by their output, relative to the run's folder, and by model."""

    by_output: dict[str, PlannedStage] = field(default_factory=dict)
    by_model: dict[str, list[PlannedStage]] = field(default_factory=dict)
    resources: tuple[str, ...] = ("gpu", "nodes", "mem_mb", "runtime")

    def outputs(self, *, gpu: bool) -> list[str]:
        """Of the stages that want a GPU, or of the others."""
        found = self.by_output.items()
        return [name for name, planned in found if bool(planned.stage.resources.gpus) == gpu]

    def before_prediction(self, model: str, dataset: str) -> list[Stage]:
        """What must be done before a model can predict an entry."""
        planned = self.by_model.get(model, [])
        return [p.stage for p in planned if dataset in p.stage.predicts]

    def predicts_on_gpu(self, model: str) -> bool:
        """As it is trained here, else as its card says; one that was trained by hand: without."""
        card = find_model(model)
        if not card.trains:
            return card.gpu
        return any(p.stage.resources.gpus for p in self.by_model.get(model, []) if p.stage.predicts)


def plan_stages(
    paths: RunPaths,
    config: RunConfig,
    models: Sequence[str],
    presets: Mapping[str, FrozenPreset],
    entries: Sequence[str],
) -> StagePlan:
    """The stages of those models that are trained.

    Args:
        paths: of the run.
        config: of the run; its key `stages` changes resources.
        models: to be planned.
        presets: of those that are trained, by model.
        entries: those with data.

    Raises:
        BenchError: a model's stages cannot be planned, two models state one file as the output
            of different stages, or `stages` names one that there is not.
    """
    more = {name for asked in config.stages.values() for name in asked} - {"threads"}
    plan = StagePlan(resources=tuple(dict.fromkeys((*StagePlan.resources, *sorted(more)))))
    for card in map(find_model, models):
        if not card.trains:
            continue
        stages = stages_of(context_of(card, paths, config, presets[card.id].values, entries))
        plan.by_model[card.id] = [_planned(config, card.id, stage) for stage in stages]
        for planned in plan.by_model[card.id]:
            output = str(planned.stage.output.relative_to(paths.root))
            same = plan.by_output.setdefault(output, planned)
            if same.stage.digest != planned.stage.digest:
                raise BenchError(
                    f"`{same.title}` and `{planned.title}` make one file from other settings",
                    file=planned.stage.output,
                )
    titles = [p.title for planned in plan.by_model.values() for p in planned]
    for name in config.stages:
        known = any(f"{title}/".startswith(f"{name}/") for title in titles)
        if name.partition("/")[0] in plan.by_model and not known:
            raise BenchError(f"stages: there is no `{name}`", hint=did_you_mean(name, titles))
    return plan


def _planned(config: RunConfig, model: str, stage: Stage) -> PlannedStage:
    planned = PlannedStage(model, stage, {})
    # The more exact name wins: `nnunet/train/acdc` over `nnunet/train`.
    names = sorted(n for n in config.stages if f"{planned.title}/".startswith(f"{n}/"))
    asked = {key: value for name in names for key, value in config.stages[name].items()}
    return PlannedStage(model, stage, asked)
