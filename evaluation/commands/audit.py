"""`satbench data audit`: the same scan in two places."""

from __future__ import annotations

from pathlib import Path

import typer

from evaluation.commands.groups import group

UNDECLARED = 3


def register(app: typer.Typer) -> None:
    """Add the commands to `satbench data`."""
    group(app, "data").command("audit")(audit)


def audit(
    run: Path | None = typer.Option(None, "--run", help="Run folder, results/<name>."),
    raw_root: Path | None = typer.Option(
        None, "--raw-root", help="Instead of a run: folder that holds the raw datasets."
    ),
    dataset: list[str] = typer.Option(
        [], "--dataset", help="With --raw-root: only this entry (repeatable)."
    ),
    out: Path | None = typer.Option(
        None, "--out", help="With --raw-root: folder for audit.parquet and the fingerprints."
    ),
    jobs: int = typer.Option(1, "--jobs", min=1, help="Scans at once; each needs memory."),
    strict: bool = typer.Option(
        False, "--strict", help="Exit with code 3 if an undeclared link crosses the split."
    ),
) -> None:
    """Find scans of one patient in two entries or on both sides of a split, by image content.

    With --run it reads splits/*.csv and the images in cases/, keeps fingerprints/ (made once for
    each scan) and writes tables/audit.parquet, which the view `clean` is made from.
    """
    from evaluation.audit.running import audit as compare_all
    from evaluation.audit.scans import scans_of_raw, scans_of_run
    from evaluation.datasets.registry import find_card, load_cards
    from evaluation.errors import BenchError
    from evaluation.paths import RunPaths

    if (run is None) == (raw_root is None) or (raw_root is None) != (out is None):
        raise BenchError("give either --run, or --raw-root together with --out")
    if run is not None and dataset:
        raise BenchError(
            "a run is audited as a whole",
            found=f"--dataset {dataset[0]}",
            hint="leave --dataset out: fingerprints that are there are not made again",
        )
    chosen = [find_card(name) for name in dataset] or list(load_cards().values())
    if run is not None:
        scans = scans_of_run(run)
        store, table = run / "fingerprints", RunPaths(run).table("audit")
    else:
        assert raw_root is not None
        assert out is not None
        scans = scans_of_raw(raw_root, chosen, lambda text: typer.echo(text, err=True))
        store, table = out / "fingerprints", out / "audit.parquet"
    outcome = compare_all(scans, chosen, store, table, jobs)
    for line in outcome.lines:
        typer.echo(line)
    if strict and outcome.undeclared_leaks:
        raise typer.Exit(UNDECLARED)
