"""`satbench cohort`: write the virtual patients of a synthetic run."""

from __future__ import annotations

from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(cohort)


def cohort(
    run: Path = typer.Option(..., "--run", help="Run folder, results/<name>."),
    jobs: int = typer.Option(1, "--jobs", min=1, help="Patients drawn at once."),
) -> None:
    """Write virtual patients into the run's raw_root, in the raw layouts of its entries."""
    from tqdm import tqdm

    from evaluation.config import load_frozen
    from evaluation.datasets.phantoms import COHORT_FILE, DATASETS, write_cohort
    from evaluation.errors import BenchError

    config = load_frozen(run)
    if config.cohort is None:
        raise BenchError(
            f"run `{config.name}` uses real data, it has no virtual patients to write",
            file=run / "config.json",
            hint="a synthetic configuration has `data_kind: synthetic` and `cohort`",
        )
    root = Path(config.raw_root)
    datasets = list(DATASETS) if config.entries == "all" else config.entries
    n_patients = config.cohort.patients
    with tqdm(total=len(datasets) * n_patients, unit="patient", disable=None) as bar:

        def advance(dataset: str, _: int) -> None:
            bar.set_description(dataset)
            bar.update()

        write_cohort(root, datasets, n_patients, config.seed, progress=advance, jobs=jobs)
    typer.echo(root / COHORT_FILE)
