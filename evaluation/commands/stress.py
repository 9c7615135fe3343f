"""`satbench stress`: what becomes of a promptable model's masks when the words change."""

from __future__ import annotations

import math
from pathlib import Path

import typer

from evaluation.commands.groups import MODELS


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel=MODELS)(stress)


def stress(
    run: Path = typer.Option(..., "--run", help="Run folder, results/<name>."),
    model: str = typer.Option(..., "--model", help="Id of a model that takes text."),
    cases: int = typer.Option(20, "--cases", min=1, help="At most so many test cases an entry."),
    classes: int = typer.Option(8, "--classes", min=1, help="At most so many classes of a case."),
) -> None:
    """Ask a promptable model in changed words, and say which changes it heeds.

    Synonyms, typing errors, general names and another modality should keep the mask; another side
    or a neighbour should give another; a negation, an organ that the scan does not show and
    irrelevant text none. What is answered is kept; the rows join the run's table `stress`, and
    `satbench report` makes its table and figure.
    """
    from tabulate import tabulate

    from evaluation.config import load_frozen
    from evaluation.paths import RunPaths
    from evaluation.stress.kinds import KINDS
    from evaluation.stress.running import Extent, stress_model
    from evaluation.stress.table import GOOD, stress_table, write_stress
    from evaluation.tables.run_tables import expected_of
    from evaluation.workflow.lock import RunLock

    with RunLock(run, f"`satbench stress --model {model}`").held():
        paths, config = RunPaths(run), load_frozen(run)
        extent = Extent(cases, classes)
        done = stress_model(run, model, extent, lambda line: typer.echo(line, err=True))
        table = stress_table(model, done, config, expected_of(run)[1])
        write_stress(paths, table)
    wide = table.pivot_table(index="kind", columns="quantity", values="value", dropna=False)
    verdicts = table.drop_duplicates("kind").set_index("kind")["verdict"]
    heads = {"named": "by name", "lost": "DSC lost", "meant": "as meant",
             "unchanged": "mask unchanged", "alarm_ml": "false alarm, ml"}  # fmt: skip
    lines = [
        [KINDS[kind].title, *(_cell(wide.loc[kind, name]) for name in heads), verdicts[kind]]
        for kind in verdicts.index
    ]
    typer.echo(tabulate(lines, ["words", *heads.values(), "verdict"], disable_numparse=True))
    bad = [KINDS[kind].title for kind in verdicts.index if verdicts[kind] not in GOOD]
    typer.echo(
        f"{len(verdicts) - len(bad)} of {len(verdicts)} kinds as wanted"
        + (f"; not: {', '.join(bad)}" if bad else "")
    )
    typer.echo(str(paths.table("stress")))


def _cell(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.2f}"
