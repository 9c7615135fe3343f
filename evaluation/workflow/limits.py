"""What the jobs of the rules ask for, and whether the plan fits into what all jobs ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from evaluation.models.stages import Resources
from evaluation.workflow.estimate import Estimate, Work
from evaluation.workflow.stages import StagePlan

# Of the rules with shards; stages of a training state their own.
RULES = {
    "standardise": Resources(mem_mb=8_000, runtime_min=120),
    "predict": Resources(mem_mb=16_000, runtime_min=240),
    "predict_on_gpu": Resources(gpus=1, mem_mb=32_000, runtime_min=720),
    "measure": Resources(mem_mb=4_000, runtime_min=120),
}


def of_rule(rule: str, name: str) -> Callable[..., int]:
    """A function for a rule's resources: `mem_mb` or `runtime`, more with every attempt."""
    asked = RULES[rule]
    value = asked.mem_mb if name == "mem_mb" else asked.runtime_min
    return lambda wildcards, attempt: value * attempt  # noqa: ARG005


@dataclass(frozen=True)
class Limit:
    """Planned and allowed wall hours of one kind of job, and its threads.

    `threads` are those that the plan shares the work over; `asked` are those of the job.
    """

    title: str
    planned_hours: float
    limit_hours: float
    threads: int
    asked: int
    goes_on: bool

    @property
    def fits(self) -> bool:
        """Whether one attempt is enough by the plan."""
        return self.planned_hours <= self.limit_hours and self.threads <= self.asked


def limits(found: Estimate, stages: StagePlan) -> Iterator[Limit]:
    """One for each stage of a training, and for each model and entry of the rules with shards.

    A stage without planned work has NaN hours, which do not fit.
    """
    by_title = {work.title: work for cost in found.models.values() for work in cost.work}
    for planned in (p for of_model in stages.by_model.values() for p in of_model):
        own, work = planned.stage.resources, by_title.get(planned.title)
        gpus = planned.resource("gpu")
        at_hand = min(gpus, found.gpus) if isinstance(gpus, int) and gpus else found.gpus
        yield Limit(
            planned.title,
            float("nan") if work is None else work.wall_seconds(at_hand) / 3600,
            _hours(planned.resource("runtime")),
            0 if work is None else work.threads * max(1, min(work.gpus, at_hand)),
            int(planned.resource("threads") or 1),
            own.goes_on,
        )
    jobs: dict[tuple[str, str, str], list[Work]] = {}
    for work in found.work:
        if work.stage in RULES:
            # A job does an entry's shard, whatever the specialists that a model has for it.
            key = work.stage, work.model, work.unit.partition("-")[0]
            jobs.setdefault(key, []).append(work)
    for (rule, *names), parts in jobs.items():
        on_gpu = rule == "predict" and any(part.gpu_seconds for part in parts)
        asked = RULES[f"{rule}_on_gpu" if on_gpu else rule]
        hours = sum(part.wall_seconds(1) for part in parts) / 3600
        title = "/".join(filter(None, (rule, *names)))
        yield Limit(title, hours, asked.runtime_min / 60, 1, asked.threads, True)


def _hours(minutes: int | str | None) -> float:
    return minutes / 60 if isinstance(minutes, int) else float("inf")
