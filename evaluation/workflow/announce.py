"""What is said to the person who starts a workflow: at its start and at its end.

Its jobs write into logs, which nobody reads who does not know that something is in them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import typer

from evaluation.config import RunConfig
from evaluation.datasets.draw import drawn_sides
from evaluation.datasets.registry import find_card
from evaluation.datasets.sharding import n_shards
from evaluation.datasets.splits import (
    list_remarks,
    natural_key,
    planned_cases,
    read_split_file,
    split_file,
    split_rule,
)
from evaluation.errors import BenchError
from evaluation.files.reading import mapping_of
from evaluation.models.card import model_faults
from evaluation.models.presets import FrozenPreset, preset_fallbacks
from evaluation.paths import RunPaths
from evaluation.runs.declared import Added, added_lines, leftovers
from evaluation.studies.record import find_study
from evaluation.workflow.configuration import unused_names
from evaluation.workflow.plan import Plan


def announce(
    config: RunConfig,
    plan: Plan,
    paths: RunPaths,
    added: Added,
    presets: Mapping[str, FrozenPreset],
) -> None:
    """Say on stderr, before anything starts, what will run and what will not."""
    n_entries = len(plan.entries) + len(plan.not_run)
    models = ", ".join(config.models)
    head = f"run `{config.name}` ({config.data_kind} data)"
    lines = [f"{head}: {len(plan.entries)} of {n_entries} entries, models {models}"]
    if plan.problem:
        lines.append(f"  only a plan: {plan.problem.problem}")
    lines += [f"  not run: {name}: {reason}" for name, reason in plan.not_run.items()]
    lines += [f"  {model}: {line}" for model, line in preset_fallbacks(config, presets)]
    lines += [f"  not used: {note}" for note in unused_names(config)]
    lines += [f"  this card is left out: {fault.one_line}" for fault in model_faults()]
    lines += [f"  {line}" for line in added_lines(added, paths.root)]
    entries = [*plan.entries, *plan.not_run]
    lines += [f"  {line}" for line in leftovers(paths.root, config.models, entries)]
    if config.data_kind == "real" and plan.problem is None:
        lines += [f"  {text}" for name in plan.entries for text in raw_remarks(name, config, paths)]
    say(lines)


def say(lines: Sequence[str]) -> None:
    """Lines for the person who started the workflow: its jobs write into logs."""
    for line in lines:
        typer.echo(line, err=True)


def raw_remarks(dataset: str, config: RunConfig, paths: RunPaths) -> Iterator[str]:
    """What lies on disk beside what the run has, or will have; names only, no file is opened."""
    from evaluation.datasets.readers import discover
    from evaluation.datasets.shards import read_rows
    from evaluation.datasets.standardise import patient_of

    card, study = find_card(dataset), find_study(config.study)
    try:
        raw = [c.case for c in discover(card, Path(config.raw_root)) if c.case not in card.exclude]
        patients = [patient_of(card, case) for case in raw]
    except BenchError as error:
        yield f"{dataset}: {error.one_line}"
        return
    listed = planned_cases(card, config)
    if listed is not None:
        yield from list_remarks(card, study, listed)
        known = {row.case for row in listed}
        if absent := sorted(known.difference(raw), key=natural_key):
            n = f"{len(absent)} of {len(known)}"
            yield f"{dataset}: {n} listed cases are not on disk: {_few(absent)}"
        if extra := [case for case in raw if case not in known]:
            yield (
                f"{dataset}: {len(raw)} on disk, {len(raw) - len(extra)} in the run; not on its "
                f"list: {_few(extra)}. To take them in, write them into "
                f"{split_file(dataset, study)}"
            )
        raw = [case for case in raw if case in known]
    elif split_rule(card, study).rule == "none" and len(raw) != card.expected_cases:
        yield f"{dataset}: {len(raw)} on disk, its card expects {card.expected_cases}"
    else:
        said: list[str] = []
        rule, people = split_rule(card, study), Counter(patients)
        sides = drawn_sides(card, rule, config.seed, people, said.append, config.fold)
        yield from said
        if moved := _moved(paths.split(dataset), sides):
            yield (
                f"{dataset}: by the scans, seed and fold of now, the draw moves {_few(moved)}; "
                "what hangs on them is trained and scored again. To keep the sides as they were, "
                f"copy {paths.split(dataset)} to {split_file(dataset, study)}, add the new scans "
                "that you want, and write `rule: official` into the card"
            )
    tables = [paths.case_shard(dataset, shard) for shard in range(n_shards(card, config))]
    rows = {row.case: row for path in tables if path.is_file() for row in read_rows(path)}
    usable = {case for case, row in rows.items() if row.status == "ok"}
    if not rows or usable == set(raw):
        return
    head = f"{dataset}: {len(raw)} on disk, {len(usable)} in the run"
    there = {case for case, row in rows.items() if not row.reason.startswith("not found under")}
    broken = [case for case in raw if case in there - usable]
    if broken:
        where = tables[0].parent
        yield f"{head}: {_few(broken)} could not be standardised; {where} says why"
    if new := [case for case in raw if case not in usable and case not in broken]:
        yield f"{head}; new: {_few(new)}; they are taken in now, what hangs on them is made again"
    if gone := sorted(usable.difference(raw), key=natural_key):
        yield f"{head}; no longer there: {_few(gone)}; they are left out now"


def _moved(split: Path, sides: Mapping[str, str]) -> list[str]:
    """Patients of a run's split that a new draw puts on another side, with both."""
    if not split.is_file():
        return []
    before = {row.patient: row.split for row in read_split_file(split)}
    return [
        f"patient {patient} from {before[patient]} to {sides[patient]}"
        for patient in sorted(before.keys() & sides.keys(), key=natural_key)
        if before[patient] != sides[patient]
    ]


def _few(cases: Sequence[str]) -> str:
    return ", ".join(cases[:5]) + (" …" if len(cases) > 5 else "")


def announce_notes(paths: RunPaths) -> None:
    """Say on stderr, after everything is made, what stands beside the numbers of the tables."""
    say([f"  {line}" for line in mapping_of(paths.notes).get("lines", [])])
