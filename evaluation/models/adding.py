"""`satbench add`: put one more model into a run that is already there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from evaluation.config import freeze, load_frozen
from evaluation.datasets.registry import find_card
from evaluation.errors import BenchError
from evaluation.files import visible
from evaluation.measure import measure_shard
from evaluation.models.adapters import build_model
from evaluation.models.card import find_model
from evaluation.models.gate import checked_classes
from evaluation.models.running import predict_shard
from evaluation.paths import RunPaths
from evaluation.tables.run_tables import aggregate_run
from evaluation.workflow.plan import n_test_shards
from evaluation.workflow.provenance import write_record


def add_model(run: Path, model_id: str, say: Callable[[str], None], jobs: int = 1) -> None:
    """Predict, measure and aggregate one model in an existing run, then render its report.

    What is predicted already is kept. The model joins the run's effective configuration once it
    is measured on all entries; what fails before the tables are there leaves the configuration as
    it was. To keep the model when the workflow runs again, name it under `models:` in the
    configuration file too.

    Args:
        run: run folder with standardised cases and splits.
        model_id: id of a model card.
        say: called with one line for each step.
        jobs: cases measured at once.

    Raises:
        BenchError: there is no such card or no entry to predict, the model wants a training, or
            its adapter cannot be built or asked for its classes.
    """
    paths, config = RunPaths(run), load_frozen(run)
    card = find_model(model_id)
    if card.trains and not paths.model_run(model_id).is_dir():
        raise BenchError(
            f"`{model_id}` is trained by the workflow",
            file=paths.model_run(model_id),
            hint="name it under `models:` in the configuration and run snakemake",
        )
    datasets = [path.stem for path in visible(run / "splits", "*.csv")]
    if not datasets:
        raise BenchError(
            "the run has no split yet", file=run / "splits", hint="run the workflow on it first"
        )
    _ask_for_classes(paths, model_id, datasets)
    for dataset in datasets:
        for shard in range(n_test_shards(find_card(dataset), config)):
            predict_shard(run, model_id, dataset, shard)
            measure_shard(run, model_id, dataset, shard, jobs)
        say(f"{dataset}: predicted and measured")
    with _joined(paths, model_id):
        for line in aggregate_run(run):
            say(line)
        write_record(run)
    # By its command: this package does not know the one that renders.
    satbench = Path(sys.executable).with_name("satbench")
    subprocess.run([str(satbench), "report", "--run", str(run)], check=True)


def _ask_for_classes(paths: RunPaths, model_id: str, datasets: Sequence[str]) -> None:
    """Build the model for this alone: a fault on the last entry shows before the first one."""
    model = build_model(model_id, paths, load_frozen(paths.root))
    for dataset in datasets:
        checked_classes(model.classes(dataset), find_card(dataset))


@contextmanager
def _joined(paths: RunPaths, model_id: str) -> Iterator[None]:
    """Name the model in the run's configuration; take that back if the block fails."""
    # Read anew: predicting takes hours, in which another model may have joined.
    before = load_frozen(paths.root)
    if model_id not in before.models:
        freeze(before.model_copy(update={"models": [*before.models, model_id]}), paths.config)
    try:
        yield
    except BaseException:
        freeze(before, paths.config)
        raise
