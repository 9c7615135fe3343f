"""`satbench add`: put one more model into a run that is already there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import typer

from evaluation.config import RunConfig, freeze, load_frozen
from evaluation.datasets.registry import find_card
from evaluation.datasets.sharding import n_test_shards
from evaluation.errors import BenchError
from evaluation.files.writing import TEMPORARY_PREFIX
from evaluation.models.adapters import build_model
from evaluation.models.added import read_added, write_added
from evaluation.models.card import find_model
from evaluation.models.gate import checked_classes
from evaluation.models.presets import freeze_preset, named_preset
from evaluation.models.running import failures, predict_shard
from evaluation.paths import RunPaths
from evaluation.plugins import add_commands
from evaluation.runs.carrying import carry_cards
from evaluation.runs.declared import entries_with_split
from evaluation.runs.provenance import write_record
from evaluation.scoring.shards import measure_shard
from evaluation.tables.run_tables import aggregate_run
from evaluation.workflow.digests import declare, predict_digest
from evaluation.workflow.lock import RunLock
from evaluation.workflow.mending import require_whole

Say = Callable[[str], None]


def add_model(run: Path, model_id: str, say: Say, jobs: int = 1) -> None:
    """Predict, measure and aggregate one model in an existing run, then render its report.

    What is predicted already is kept. The model joins the run's list of added models, which a
    later workflow keeps, once it is measured on all entries; what fails before the tables are
    there leaves list and configuration as they were, and the next call goes on with what is done.

    Args:
        run: run folder with standardised cases and splits.
        model_id: id of a model card.
        say: called with one line for each step.
        jobs: cases measured at once.

    Raises:
        BenchError: there is no such card or no entry to predict, the model wants a training,
            its adapter cannot be built or asked for its classes, or another command works on
            the run.
    """
    load_frozen(run)
    with RunLock(run, f"`satbench add {model_id}`").held():
        paths, config = RunPaths(run), load_frozen(run)
        require_whole(run)
        card = find_model(model_id)
        if card.trains and not paths.model_run(model_id).is_dir():
            raise BenchError(
                f"`{model_id}` is not trained yet in this run",
                file=paths.model_run(model_id),
                hint="name it under `models:` in the configuration and run snakemake, or "
                f"`satbench train --run {run} --model {model_id}`",
            )
        if not card.trains and model_id in config.presets:
            preset = named_preset(card, config.presets[model_id])
            freeze_preset(paths, model_id, preset)
        datasets = entries_with_split(paths, config)
        if not datasets:
            raise BenchError(
                "the run has no split yet", file=run / "splits", hint="run the workflow on it first"
            )
        _ask_for_classes(paths, config, model_id, datasets)
        _sweep(paths, model_id)
        for dataset in datasets:
            # Before the first prediction: what changes meanwhile is made again by the workflow.
            settings = predict_digest(model_id, find_card(dataset), config)
            declare(paths.settings("predict", f"{model_id}/{dataset}"), settings)
            for shard in range(n_test_shards(find_card(dataset), config)):
                predict_shard(run, model_id, dataset, shard)
                measure_shard(run, model_id, dataset, shard, jobs)
            say(f"{dataset}: predicted and measured")
        with _joined(paths, model_id):
            for line in aggregate_run(run):
                say(line)
            write_record(run)
        render(run)
        for line in failures(run, [model_id], datasets):
            say(line)


def render(run: Path) -> None:
    """Render the report by its command: this package does not know the one that does it."""
    add_commands(typer.Typer())(["report", "--run", str(run)], standalone_mode=False)


def _ask_for_classes(
    paths: RunPaths, config: RunConfig, model_id: str, datasets: Sequence[str]
) -> None:
    """Build the model for this alone: a fault on the last entry shows before the first one."""
    model = build_model(model_id, paths, config)
    for dataset in datasets:
        checked_classes(model.classes(dataset), find_card(dataset))


def _sweep(paths: RunPaths, model_id: str) -> None:
    """Delete half-written files of a call that was killed; nobody else writes here now."""
    for part in ("predictions", "scores"):
        for leftover in (paths.root / part / model_id).rglob(f"{TEMPORARY_PREFIX}*"):
            leftover.unlink(missing_ok=True)


@contextmanager
def _joined(paths: RunPaths, model_id: str) -> Iterator[None]:
    """Declare the model in the run; take that back if the block fails."""
    added, before = read_added(paths.root), load_frozen(paths.root)
    after = before
    if model_id not in before.models:
        after = before.model_copy(update={"models": [*before.models, model_id]})
        write_added(paths.root, [*(m for m in added if m != model_id), model_id])
        freeze(after, paths.config)
    carry_cards(paths, after)
    try:
        yield
    except BaseException:
        write_added(paths.root, added)
        freeze(before, paths.config)
        raise
