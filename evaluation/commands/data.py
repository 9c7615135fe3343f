"""Commands around the raw data: virtual patients, standardise a shard, `data check`."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from evaluation.commands.groups import STEPS, group

FAULTS_FOUND = 3


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(rich_help_panel=STEPS)(cohort)
    app.command(rich_help_panel=STEPS)(standardise)
    group(app, "data").command()(check)
    group(app, "data").command()(ceilings)


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


def standardise(
    run: Path = typer.Option(..., "--run", help="Run folder, results/<name>."),
    dataset: str = typer.Option(..., "--dataset", help="Dataset id."),
    shard: int = typer.Option(..., "--shard", min=0, help="Which shard of the cases."),
    jobs: int = typer.Option(1, "--jobs", min=1, help="Cases at once; each needs memory."),
) -> None:
    """Bring the raw cases of a shard into the benchmark's case folders."""
    from evaluation.datasets.shards import read_rows, standardise_shard

    table = standardise_shard(run, dataset, shard, jobs=jobs)
    rows = read_rows(table)
    for row in rows:
        if row.status == "failed":
            typer.echo(f"failed: {dataset} {row.case}: {row.reason}", err=True)
    ok = sum(row.status == "ok" for row in rows)
    typer.echo(f"{table}: {ok} of {len(rows)} cases")


def check(
    raw_root: Path = typer.Option(..., "--raw-root", help="Folder that holds the raw datasets."),
    dataset: list[str] = typer.Option([], "--dataset", help="Only this entry (repeatable)."),
    as_json: bool = typer.Option(False, "--json", help="Print every finding as JSON."),
) -> None:
    """Read every case of a raw root and report what is wrong with it (exit code 3 if anything).

    Of each entry it also says what its scans are like, and names those unlike the others.
    """
    from evaluation.datasets.check import check_root, count, finding_lines
    from evaluation.datasets.fingerprint import fingerprint_lines
    from evaluation.datasets.registry import find_card, load_cards
    from evaluation.datasets.status import is_present
    from evaluation.errors import BenchError

    cards = [find_card(name) for name in dataset] or list(load_cards().values())
    if not raw_root.is_dir():
        raise BenchError("the raw root is not a folder", file=raw_root, hint="check --raw-root")
    absent = [card.folder for card in cards if not is_present(card, raw_root)]
    if len(absent) == len(cards):
        raise BenchError(
            "no dataset here",
            file=raw_root,
            expected=", ".join(absent[:8]),
            hint="`satbench data status --raw-root DIR` says what to download into which folder",
        )
    findings = list(check_root(raw_root, cards))
    if as_json:
        typer.echo(json.dumps([finding.as_dict() for finding in findings], indent=2))
    else:
        for line in finding_lines(findings):
            typer.echo(line)
        for name in dict.fromkeys(finding.dataset for finding in findings):
            of_entry = [finding for finding in findings if finding.dataset == name]
            prints = {f.case: f.fingerprint for f in of_entry if f.fingerprint is not None}
            for line in fingerprint_lines(name, prints):
                typer.echo(line)
        typer.echo()
        typer.echo(f"{'entry':<20} {'ok':>6} {'note':>6} {'fault':>6} {'excluded':>9}")
        for name, row in count(findings).items():
            typer.echo(
                f"{name:<20} {row['ok']:>6} {row['note']:>6} {row['fault']:>6} {row['excluded']:>9}"
            )
    if any(finding.verdict == "fault" for finding in findings):
        raise typer.Exit(FAULTS_FOUND)


def ceilings(
    run: Path = typer.Option(..., "--run", help="A run whose cases are standardised."),
    grid: tuple[float, float, float] | None = typer.Option(
        None, "--grid", help="Sides in mm; the grid of the run's study by default."
    ),
    cases: int = typer.Option(10, "--cases", min=1, help="At most so many cases of an entry."),
    out: Path | None = typer.Option(None, "--out", help="A CSV as well."),
) -> None:
    """What perfect masks reach on a common grid, by entry and by the grid's axis order."""
    from evaluation.config import load_frozen
    from evaluation.datasets.ceilings import ceilings_of_run
    from evaluation.errors import BenchError
    from evaluation.files.spreadsheets import write_sheet
    from evaluation.studies.record import find_study

    sides = grid or find_study(load_frozen(run).study).protocol.spacing_mm
    if sides is None:
        raise BenchError("the study of this run has no grid", file=run, hint="name one by --grid")
    table, warnings = ceilings_of_run(run, sides, cases)
    typer.echo(table.to_string(index=False, float_format="%.4f"))
    for warning in warnings:
        typer.echo(f"warning: {warning}", err=True)
    if out is not None:
        write_sheet(out, table, "%.6f")
        typer.echo(str(out))
