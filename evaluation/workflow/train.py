"""Stages done by one command: a single one as the workflow calls it, or what is missing by hand."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from evaluation.config import RunConfig, load_frozen
from evaluation.errors import BenchError, did_you_mean
from evaluation.files.identity import is_outdated
from evaluation.models.card import find_model
from evaluation.models.presets import freeze_preset, frozen_preset, named_preset
from evaluation.models.stages import Granted, Stage
from evaluation.paths import RunPaths
from evaluation.runs.declared import entries_with_data
from evaluation.workflow.digests import declare
from evaluation.workflow.gpu import require_gpu, shown_gpus
from evaluation.workflow.lock import RunLock
from evaluation.workflow.stages import STEP, PlannedStage, plan_stages

Say = Callable[[str], None]
# Set by torchrun in each process of several that share a stage.
RANK_VARIABLE = "LOCAL_RANK"


def do_stage(run: Path, model: str, name: str, unit: str, granted: Granted, say: Say) -> None:
    """Do a stage of a model, with the preset that the run keeps.

    Raises:
        BenchError: there is no such stage, no GPU where it wants one, or it fails.
    """
    paths, config = RunPaths(run), load_frozen(run)
    for planned in _chosen(_planned(paths, config, model), name, unit):
        _do(planned.stage, granted, say)


def train_model(
    run: Path,
    model: str,
    preset: str | None,
    granted: Granted,
    say: Say,
    name: str | None = None,
    unit: str = "",
) -> None:
    """Freeze the preset as it is now, then do what is missing or was made otherwise, in order.

    Args:
        run: with cases and splits.
        model: of a card that is trained.
        preset: by name; None: the configuration's, or that of the last time.
        granted: for each stage.
        say: called with a line for each stage.
        name: this stage alone, whether it is there or not.
        unit: of that stage; "": all.

    Raises:
        BenchError: as `do_stage`; or another command works on the run.
    """
    load_frozen(run)
    with RunLock(run, f"`satbench train --model {model}`").held():
        paths, config = RunPaths(run), load_frozen(run)
        kept = frozen_preset(paths, model)
        chosen = preset or config.presets.get(model) or (kept.name if kept else None)
        freeze_preset(paths, model, named_preset(find_model(model), chosen))
        stages = _planned(paths, config, model)
        for planned in stages if name is None else _chosen(stages, name, unit):
            output = planned.stage.output
            unit_of_job = str(output.relative_to(run))
            settings = paths.settings(STEP, unit_of_job)
            declare(settings, planned.settings)
            if name is None and _is_done(planned.stage, settings):
                say(f"{planned.title}: {output} is there")
                continue
            _do(planned.stage, granted, say)
            # It would measure an earlier job, and to Snakemake the stage would be as old as that.
            (run / "benchmarks" / STEP / f"{unit_of_job}.tsv").unlink(missing_ok=True)


def _planned(paths: RunPaths, config: RunConfig, model: str) -> list[PlannedStage]:
    card = find_model(model)
    if not card.trains:
        raise BenchError(
            f"`{model}` is not trained here", hint="its card does not say `trains: true`"
        )
    preset = frozen_preset(paths, model) or named_preset(card, config.presets.get(model))
    entries = entries_with_data(paths, config)
    return plan_stages(paths, config, [model], {model: preset}, entries).by_model[model]


def _chosen(stages: list[PlannedStage], name: str, unit: str) -> list[PlannedStage]:
    chosen = [p for p in stages if p.stage.name == name and unit in ("", p.stage.unit)]
    if not chosen:
        wanted = "/".join(filter(None, (name, unit)))
        known = ["/".join(filter(None, (p.stage.name, p.stage.unit))) for p in stages]
        raise BenchError(f"there is no stage `{wanted}`", hint=did_you_mean(wanted, known))
    return chosen


def _is_done(stage: Stage, settings: Path) -> bool:
    """Whether the output is there and nothing that it hangs on is younger."""
    if not stage.output.is_file() or is_outdated(stage.output, stage.output):
        return False
    made = stage.output.stat().st_mtime_ns
    return all(p.is_file() and p.stat().st_mtime_ns <= made for p in (settings, *stage.needs))


def _do(stage: Stage, granted: Granted, say: Say) -> None:
    alone = RANK_VARIABLE not in os.environ
    gpus = granted.gpus
    if stage.resources.gpus and alone:
        gpus = gpus or max(1, shown_gpus(os.environ)) * granted.nodes
        require_gpu(max(1, gpus // granted.nodes))
    threads = granted.threads or stage.resources.threads
    said = stage.run(replace(granted, threads=threads, gpus=gpus))
    if said:
        say(said)
    if alone and not stage.output.is_file():
        raise BenchError(f"the stage `{stage.name}` ended without its output", file=stage.output)
