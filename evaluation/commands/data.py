"""Commands around the raw data: standardise a shard; `data check` and its siblings."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from evaluation.commands.groups import group

FAULTS_FOUND = 3


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(standardise)
    group(app, "data").command()(check)


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
    """Read every case of a raw root and report what is wrong with it (exit code 3 if anything)."""
    from evaluation.datasets.check import check_root, count, finding_lines
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
        typer.echo(f"{'entry':<20} {'ok':>6} {'note':>6} {'fault':>6} {'excluded':>9}")
        for name, row in count(findings).items():
            typer.echo(
                f"{name:<20} {row['ok']:>6} {row['note']:>6} {row['fault']:>6} {row['excluded']:>9}"
            )
    if any(finding.verdict == "fault" for finding in findings):
        raise typer.Exit(FAULTS_FOUND)
