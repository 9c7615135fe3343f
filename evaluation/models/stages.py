"""Stages of a model that a run trains: what it does before it can predict, job by job.

A model with `trains: true` in its card states them in `stages(context)`, in the module `stages` of
its package or beside its object. A stage is known by its output, the one file of the run that is
written last; two models may state the same stage, which then runs once. Whatever else a stage
writes (resume points above all) is its own business and survives a kill.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from evaluation.errors import BenchError
from evaluation.files.identity import digest
from evaluation.models.card import find_model, function_of
from evaluation.models.protocol import ModelContext


@dataclass(frozen=True)
class Resources:
    """What the job of a stage asks for.

    Attributes:
        threads: CPUs of the whole job.
        gpus: GPUs; a stage with any runs on a machine that has one.
        nodes: of a cluster.
        mem_mb: memory at the first attempt; every further one asks for as much more.
        runtime_min: time limit; it grows alike, unless a killed job goes on where it stopped.
        goes_on: whether it does.
    """

    threads: int = 1
    gpus: int = 0
    nodes: int = 1
    mem_mb: int = 16_000
    runtime_min: int = 720
    goes_on: bool = False


@dataclass(frozen=True)
class Granted:
    """What a stage has when it runs.

    Attributes:
        threads: CPUs of all its processes on this node together.
        gpus: on all nodes together.
        nodes: over which its processes are spread.
        processes: that share its work; None: one for each GPU, or as its settings say.
    """

    threads: int = 1
    gpus: int = 0
    nodes: int = 1
    processes: int | None = None


@dataclass(frozen=True)
class Stage:
    """One job on the way to a model.

    Attributes:
        name: such as `prepare`, `text`, `train`.
        output: file in the run that says that the stage is complete.
        run: does it; a line about what was done is printed. It keeps what it would make again.
        settings: values and records that it depends on besides `needs`; the stage runs again when
            their digest changes.
        needs: files that must be there first: of other stages, or of the run.
        unit: on which part of the work, such as a specialist; "" for all entries together.
        predicts: entries that cannot be predicted before this.
        resources: what its job asks for.
        priority: of jobs that could start, those of the highest start first.
    """

    name: str
    output: Path
    run: Callable[[Granted], str | None]
    settings: tuple[object, ...]
    needs: tuple[Path, ...] = ()
    unit: str = ""
    predicts: tuple[str, ...] = ()
    resources: Resources = Resources()
    priority: int = 10

    @property
    def digest(self) -> str:
        """Of the settings."""
        return digest(*self.settings)


def stages_of(context: ModelContext) -> list[Stage]:
    """The stages of a model in a run, in an order in which they can be done.

    Raises:
        BenchError: the model states none, or they cannot be done.
    """
    where = f"card {context.model}"
    state = function_of(find_model(context.model), "stages", "stages")
    if state is None:
        raise BenchError(
            f"`{context.model}` says `trains: true` and states no stages", file=where,
            expected="a function `stages(context)` beside its object, or in a module `stages`",
        )  # fmt: skip
    stages: list[Stage] = list(state(context))
    made: set[Path] = set()
    outputs = {stage.output for stage in stages}
    for stage in stages:
        fault = None
        if not stage.output.is_relative_to(context.paths.root):
            fault = "is outside of the run"
        elif stage.output in made:
            fault = "is the output of two stages"
        elif late := (outputs - made).intersection(stage.needs):
            fault = f"needs {min(late)}, which comes later"
        if fault:
            raise BenchError(f"stage `{stage.name}`: {stage.output} {fault}", file=where)
        made.add(stage.output)
    return stages
