"""What the workflow plans: entries and models of a run, without opening any data.

The rules call these functions; they hold no logic of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from evaluation.config import RunConfig, freeze, frozen_kind
from evaluation.datasets.raters import require_images
from evaluation.datasets.registry import entry_ids, find_card
from evaluation.datasets.splits import planned_cases
from evaluation.datasets.status import present_entries
from evaluation.errors import BenchError
from evaluation.files.sums import watch
from evaluation.files.writing import write_if_other
from evaluation.models.added import read_added, write_added
from evaluation.models.presets import FrozenPreset, freeze_preset
from evaluation.paths import RunPaths
from evaluation.runs.carrying import carry_cards
from evaluation.runs.declared import Added


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
        BenchError: an unknown entry, one that has no images, or one whose split list is not there
            or not valid.
    """
    cards = [find_card(name) for name in entry_ids(config)]
    for card in cards:
        require_images(card)
    everything = tuple(card.id for card in cards)
    for card in cards:
        planned_cases(card, config)  # a promised list that is not there stops the run now
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


def start_run(
    config: RunConfig,
    plan: Plan,
    paths: RunPaths,
    added: Added,
    presets: Mapping[str, FrozenPreset],
) -> None:
    """Write the effective configuration, the cards and presets it uses, and what has no data.

    An added model that the configuration names by now is taken off the list of the added ones.

    Raises:
        BenchError: the plan cannot start; or the run folder holds a run of the other kind of data;
            or a model was added or removed since the plan was made.
    """
    if plan.problem:
        raise plan.problem
    if frozen_kind(paths.config) not in (None, config.data_kind):
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
    watch(paths.root)
    kept = [name for name in added.listed if name in added.models or name in added.left_out]
    write_added(paths.root, kept)
    freeze(config, paths.config)
    carry_cards(paths, config)
    for model, preset in presets.items():
        freeze_preset(paths, model, preset)
    lines = ["dataset,reason", *(f'{name},"{why}"' for name, why in sorted(plan.not_run.items()))]
    write_if_other(paths.not_run, "\n".join(lines) + "\n")
