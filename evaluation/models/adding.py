"""`satbench add`: put one more model into a run that is already there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from evaluation.config import freeze, load_frozen
from evaluation.datasets.registry import find_card
from evaluation.errors import BenchError
from evaluation.measure import measure_shard
from evaluation.models.card import find_model
from evaluation.models.running import predict_shard
from evaluation.paths import RunPaths
from evaluation.tables.run_tables import aggregate_run
from evaluation.workflow.plan import n_test_shards
from evaluation.workflow.provenance import write_record


def add_model(run: Path, model_id: str, say: Callable[[str], None], jobs: int = 1) -> None:
    """Predict, measure and aggregate one model in an existing run, then render its report.

    What is predicted already is kept. The model joins the run's effective configuration; to keep
    it when the workflow runs again, name it under `models:` in the configuration file too.

    Args:
        run: run folder with standardised cases and splits.
        model_id: id of a model card.
        say: called with one line for each step.
        jobs: cases measured at once.

    Raises:
        BenchError: there is no such card or no entry to predict, or the model wants a training.
    """
    paths, config = RunPaths(run), load_frozen(run)
    card = find_model(model_id)
    if card.trains and not paths.model_run(model_id).is_dir():
        raise BenchError(
            f"`{model_id}` is trained by the workflow",
            file=paths.model_run(model_id),
            hint="name it under `models:` in the configuration and run snakemake",
        )
    datasets = sorted(path.stem for path in (run / "splits").glob("*.csv"))
    if not datasets:
        raise BenchError(
            "the run has no split yet", file=run / "splits", hint="run the workflow on it first"
        )
    if model_id not in config.models:
        freeze(config.model_copy(update={"models": [*config.models, model_id]}), paths.config)
    for dataset in datasets:
        for shard in range(n_test_shards(find_card(dataset), config)):
            predict_shard(run, model_id, dataset, shard)
            measure_shard(run, model_id, dataset, shard, jobs)
        say(f"{dataset}: predicted and measured")
    for line in aggregate_run(run):
        say(line)
    write_record(run)
    # By its command: this package does not know the one that renders.
    satbench = Path(sys.executable).with_name("satbench")
    subprocess.run([str(satbench), "report", "--run", str(run)], check=True)
