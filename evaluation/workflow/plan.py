"""What the workflow plans: entries, shards and models of a run, without opening any data.

The rules call these functions; they hold no logic of their own.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import typer
from pydantic import BaseModel

from evaluation.config import RunConfig, freeze, load_frozen, read_added, write_added
from evaluation.datasets.card import DatasetCard
from evaluation.datasets.registry import entry_ids, find_card
from evaluation.datasets.scope import classes_in_scope
from evaluation.datasets.splits import SPLIT_FOLDER, SplitRow, planned_cases, split_file
from evaluation.datasets.status import present_entries
from evaluation.errors import BenchError
from evaluation.files import write_text
from evaluation.models.card import find_model
from evaluation.paths import RunPaths
from evaluation.workflow.carrying import carry_cards
from evaluation.workflow.declared import Added, added_lines, leftovers


@dataclass(frozen=True)
class Plan:
    """Which entries a run works on, and which it leaves out, with the reason.

    `problem` stops a real run at its start; a dry run shows the plan nevertheless.
    """

    entries: tuple[str, ...]
    not_run: dict[str, str]
    problem: BenchError | None = None


def plan_entries(config: RunConfig) -> Plan:
    """Entries of the configuration that have data under `raw_root`.

    A synthetic run writes its own data, so all of its entries are there. If nothing at all is
    present, everything is planned, so that the whole benchmark can be looked at before any
    download, and `problem` says that it cannot start; so it does for data that is missing with
    `missing_data: error`.

    Raises:
        BenchError: an unknown entry.
    """
    cards = [find_card(name) for name in entry_ids(config.entries)]
    everything = tuple(card.id for card in cards)
    if config.data_kind == "synthetic":
        return Plan(everything, {})
    present = present_entries(Path(config.raw_root), cards)
    missing = {
        card.id: f"no data at {Path(config.raw_root) / card.folder}"
        for card in cards
        if not present.get(card.id, False)
    }
    if len(missing) == len(cards):
        problem = BenchError(
            "none of the run's entries has data",
            file=Path(config.raw_root).resolve(),
            expected=", ".join(card.folder for card in cards[:8]),
            hint="set raw_root (`--config raw_root=DIR`); `satbench data status --raw-root DIR` "
            "says what to download into which folder",
        )
        return Plan(everything, {}, problem)
    if missing and config.missing_data == "error":
        problem = BenchError(
            f"{len(missing)} of {len(cards)} entries have no data and missing_data is `error`",
            found="; ".join(missing.values()),
            hint="download them, or set `missing_data: skip`",
        )
        return Plan(everything, {}, problem)
    return Plan(tuple(name for name in everything if name not in missing), missing)


def n_shards(card: DatasetCard, config: RunConfig) -> int:
    """Number of shards of an entry: from its planned list, else from the expected count."""
    planned = planned_cases(card, config)
    n_cases = len(planned) if planned is not None else card.expected_cases
    return max(1, ceil(n_cases / config.shard_size))


def shard_cases(
    card: DatasetCard, config: RunConfig, shard: int, discovered: Sequence[str]
) -> list[str]:
    """Case ids of a shard: position in the planned list modulo the number of shards.

    Entries without a list use the position among the discovered cases (sorted); their number
    must then be the expected one, or the planned shards would not cover them.

    Raises:
        BenchError: the entry has no list and another number of cases than its card expects.
    """
    shards = n_shards(card, config)
    planned = planned_cases(card, config)
    if planned is None:
        found = len(discovered) + sum(c not in discovered for c in card.exclude)
        if ceil(found / config.shard_size) > shards:
            raise BenchError(
                f"`{card.id}` has more cases than its card expects; the plan does not cover them",
                found=f"{found} cases",
                expected=f"{card.expected_cases} cases",
                hint="correct `expected_cases` in the card, or remove what does not belong there",
            )
        return [case for i, case in enumerate(sorted(discovered)) if i % shards == shard]
    listed = [row.case for row in planned]
    known = set(listed)
    extra = sorted(case for case in discovered if case not in known)
    return [case for i, case in enumerate([*listed, *extra]) if i % shards == shard]


def read_split(paths: RunPaths, dataset: str) -> list[SplitRow]:
    """The effective split of a run.

    Raises:
        BenchError: the run has none yet.
    """
    path = paths.split(dataset)
    if not path.is_file():
        raise BenchError(
            f"`{dataset}` is not split yet in this run",
            file=path,
            hint=f"`satbench split --run {paths.root} --dataset {dataset}`, or the workflow",
        )
    with path.open(newline="") as stream:
        return [SplitRow(r["case"], r["patient"], r["split"]) for r in csv.DictReader(stream)]


def cases_to_predict(
    paths: RunPaths, config: RunConfig, card: DatasetCard, shard: int
) -> list[str]:
    """Test cases of a shard: position among the run's test cases modulo the number of shards."""
    tests = [row.case for row in read_split(paths, card.id) if row.split == "test"]
    shards = n_test_shards(card, config)
    return [case for i, case in enumerate(tests) if i % shards == shard]


def n_test_shards(card: DatasetCard, config: RunConfig) -> int:
    """Number of shards of the test cases: planned from the list, else from Table 7's count."""
    planned = planned_cases(card, config)
    n_cases = card.split.test if planned is None else sum(r.split == "test" for r in planned)
    return max(1, ceil(n_cases / config.shard_size))


def announce(config: RunConfig, plan: Plan, run: Path, added: Added) -> None:
    """Say on stderr, before anything starts, what will run and what will not."""
    n_entries = len(plan.entries) + len(plan.not_run)
    models = ", ".join(config.models)
    head = f"run `{config.name}` ({config.data_kind} data)"
    lines = [f"{head}: {len(plan.entries)} of {n_entries} entries, models {models}"]
    notes = [f"only a plan: {plan.problem.problem}"] if plan.problem else []
    notes += [f"not run: {name}: {reason}" for name, reason in plan.not_run.items()]
    notes += added_lines(added, run)
    notes += leftovers(run, config.models, [*plan.entries, *plan.not_run])
    typer.echo("\n  ".join([*lines, *notes]), err=True)


def start_run(config: RunConfig, plan: Plan, paths: RunPaths, added: Added) -> None:
    """Write the effective configuration, the cards it uses and the list of entries without data.

    An added model that the configuration names by now is taken off the list of the added ones.

    Raises:
        BenchError: the plan cannot start; or the run folder holds a run of the other kind of data;
            or a model was added or removed since the plan was made.
    """
    if plan.problem:
        raise plan.problem
    if paths.config.is_file() and load_frozen(paths.root).data_kind != config.data_kind:
        raise BenchError(
            f"run `{config.name}` exists with another data_kind",
            file=paths.config,
            expected=config.data_kind,
            hint="choose another `name`; virtual and real patients never share a run",
        )
    if read_added(paths.root) != list(added.listed):
        raise BenchError(
            "a model was added or removed while this workflow was being planned",
            file=paths.added,
            found=", ".join(read_added(paths.root)) or "no added model",
            expected=", ".join(added.listed) or "no added model",
            hint="give the same command again",
        )
    kept = [name for name in added.listed if name in added.models or name in added.left_out]
    write_added(paths.root, kept)
    freeze(config, paths.config)
    carry_cards(paths, config)
    lines = ["dataset,reason", *(f'{name},"{why}"' for name, why in sorted(plan.not_run.items()))]
    text = "\n".join(lines) + "\n"
    if not paths.not_run.is_file() or paths.not_run.read_text(encoding="utf-8") != text:
        write_text(paths.not_run, text)


def digest(*settings: object) -> str:
    """A short hash of settings, for `params`: a job runs again when, and only when, it changes."""
    text = json.dumps([_plain(s) for s in settings], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _plain(setting: object) -> object:
    return setting.model_dump(mode="json") if isinstance(setting, BaseModel) else setting


def standardise_digest(card: DatasetCard, config: RunConfig) -> str:
    """What a standardised case depends on; not the card's prose."""
    fields = {"modality", "folder", "reader", "reader_args", "classes", "ignore_values", "exclude"}
    fields |= {"patient_pattern"}
    kept = card.model_dump(mode="json", include=fields)
    return digest(kept, config.raw_root, config.cohort, scope_digest(card, config))


def split_digest(card: DatasetCard, config: RunConfig) -> str:
    """What a split depends on; a committed list never changes, a user's own may."""
    own = split_file(card.id)
    listed = (
        [own.read_text(encoding="utf-8")] if own.parent != SPLIT_FOLDER and own.is_file() else []
    )
    return digest(card.split, config.seed, config.cohort, *listed)


def scope_digest(card: DatasetCard, config: RunConfig) -> str:
    """Which classes of an entry are trained and scored."""
    return digest([c.name for c in classes_in_scope(card, config)])


def predict_digest(model: str, card: DatasetCard, config: RunConfig) -> str:
    """What a shard's predictions depend on besides cases and checkpoints."""
    return digest(find_model(model).adapter, scope_digest(card, config))


def measure_digest(card: DatasetCard, config: RunConfig) -> str:
    """What a shard's score rows depend on besides the masks."""
    return digest(config.space, config.tolerance_mm, scope_digest(card, config))
