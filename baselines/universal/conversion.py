"""A public release of a universal system as a checkpoint of ours, for a run.

A release names its outputs by numbers only. Which number is which class is said in a file, see
`released_entries`: for each entry the rows of its classes (of Hermes' task tables, or the channels
of the last convolution), and the row of its modality. `PUBLISHED_ENTRIES` is that of Hermes'
published training, and says what of it is inferred.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from baselines.universal.config import Preset, load_preset
from baselines.universal.entries import UNKNOWN, Catalogue, Entry, Label, modality_of
from baselines.universal.networks.hermes import Hermes
from baselines.universal.networks.priors import PriorSizes, PriorTables
from baselines.universal.released import load_released
from baselines.universal.released_entries import (
    PUBLISHED_ENTRIES,
    ReleasedEntry,
    read_entries,
    require_rows_apart,
    require_rows_within,
)
from baselines.universal.systems import new_model
from evaluation.datasets.registry import find_card
from evaluation.errors import BenchError
from evaluation.training.checkpoints import read_checkpoint, save_content

PRESET = "released"
RELEASED: Mapping[str, str] = {
    "resunet": "resunet",
    "medformer": "medformer",
    "hermes-r": "hermes_r",
    "hermes-m": "hermes_m",
}


def convert_released(system: str, file: Path, entries: Path, out: Path) -> int:
    """Write one checkpoint of a released state dict.

    Args:
        system: one of `RELEASED`.
        file: the released file; nothing in it is run.
        entries: see `read_entries`; `PUBLISHED_ENTRIES` is for tables of the published sizes alone.
        out: the checkpoint to write.

    Returns:
        Its number of weights.

    Raises:
        BenchError: there is no release of the system, the file is missing, corrupt, holds code or
            other keys than the release, the entries do not fit, or `out` is there already.
    """
    if system not in RELEASED:
        raise BenchError(f"no public release of `{system}` is known", expected=", ".join(RELEASED))
    if out.exists():
        raise BenchError("this is there already", file=out, hint="name another, or remove it")
    network = load_released(RELEASED[system], read_checkpoint(file)).float()
    given = read_entries(entries)
    if entries == PUBLISHED_ENTRIES:
        _of_the_published_training(network, file)
    known = (
        _of_tokens(network, given, entries)
        if isinstance(network, Hermes)
        else _of_channels(network, given, entries)
    )
    model = _model(load_preset(PRESET).of(system), known, network)
    with torch.no_grad():
        bad = [name for name, value in network.state_dict().items() if not value.isfinite().all()]
    if bad:
        raise BenchError(
            "the file holds weights that are not numbers", file=file,
            found=f"{len(bad)} tensors, the first is ours {bad[0]}",
        )  # fmt: skip
    save_content(out, model)
    return sum(parameter.numel() for parameter in network.parameters())


def _model(preset: Preset, known: Catalogue, network: nn.Module) -> dict[str, Any]:
    """The content of the checkpoint."""
    if isinstance(network, Hermes):
        length = _tables(network).modalities.shape[1]
        # All rows of its tables are in the catalogue, the unused ones too.
        sizes = preset.network.model_copy(update={"prior_length": length, "spare_tasks": 0})
        preset = preset.model_copy(update={"network": sizes})
    with torch.device("meta"):
        model = new_model(preset, known)
    model.network = network
    return model.content()


def _tables(network: Hermes) -> PriorTables:
    tables = network.priors[0]
    assert isinstance(tables, PriorTables)
    return tables


def _of_the_published_training(network: nn.Module, file: Path) -> None:
    """Refuse a release with other tables than those that `PUBLISHED_ENTRIES` is about."""
    expected = PriorSizes()
    tables = _tables(network) if isinstance(network, Hermes) else None
    found = None if tables is None else (len(tables.tasks), len(tables.modalities))
    if found != (expected.tasks, expected.modalities):
        raise BenchError(
            "this is not a release of the published training",
            file=file,
            found="no tables" if found is None else f"{found[0]} task and {found[1]} modality rows",
            expected=f"{expected.tasks} and {expected.modalities}",
            hint="say with --entries which row is which class",
        )


def _of_tokens(network: Hermes, given: Mapping[str, ReleasedEntry], path: Path) -> Catalogue:
    tables = _tables(network)
    n_tokens, modalities = len(tables.tasks), len(tables.modalities)
    entries = []
    for dataset, entry in given.items():
        rows = {name: entry.rows_of(name) for name in entry.rows}
        several = [name for name, own in rows.items() if len(own) > 1]
        if several:
            raise BenchError(
                f"`{several[0]}` of `{dataset}` has several rows, and a task of Hermes has one",
                file=path, found=entry.rows[several[0]],
            )  # fmt: skip
        # The last rows are the null token and the unknown modality.
        require_rows_within(rows, range(n_tokens - 1), f"rows of `{dataset}`", path)
        require_rows_apart(rows, f"rows of `{dataset}`", path)
        own = {"modality": (entry.modality,)} if isinstance(entry.modality, int) else {}
        own |= {name: (row,) for name, row in entry.sequences.items()}
        require_rows_within(own, range(modalities - 1), f"modality rows of `{dataset}`", path)
        entries.append(
            Entry(
                dataset=dataset,
                kind=find_card(dataset).modality,
                classes=tuple(rows),
                tokens=tuple(row for (row,) in rows.values()),
                modality=entry.one_modality,
                sequences=entry.sequences,
            )
        )
    names = _modality_names(entries, modalities - 1)
    return Catalogue(entries=tuple(entries), n_tokens=n_tokens, modalities=names)


def _modality_names(entries: Sequence[Entry], count: int) -> tuple[str, ...]:
    """Names of the rows, by which a further training finds those of its own entries."""
    called = load_preset(PRESET).sequences
    names: dict[int, set[str]] = {row: set() for row in range(count)}
    for entry in entries:
        own = modality_of(find_card(entry.dataset), called)
        if own is not None and entry.modality != UNKNOWN:
            names[entry.modality].add(own)
        for sequence, row in entry.sequences.items():
            names[row].add(called.get(sequence, sequence))
    return tuple(own.pop() if len(own) == 1 else f"row {row}" for row, own in names.items())


def _of_channels(network: nn.Module, given: Mapping[str, ReleasedEntry], path: Path) -> Catalogue:
    if len(given) != 1:
        raise BenchError(
            "this network is of one entry", file=path, found=", ".join(given), expected="one entry"
        )
    ((dataset, entry),) = given.items()
    outputs = int(network.head.bias.numel())  # type: ignore[union-attr,operator]
    rows = {name: entry.rows_of(name) for name in entry.rows}
    require_rows_within(rows, range(1, outputs), f"rows of `{dataset}`", path)
    require_rows_apart(rows, f"rows of `{dataset}`", path)
    found = Entry(
        dataset=dataset,
        kind=find_card(dataset).modality,
        classes=tuple(rows),
        tokens=tuple(range(len(rows))),
        labels=tuple(_label(row, rows) for row in range(1, outputs)),
    )
    return Catalogue(entries=(found,), n_tokens=len(rows) + 1)


def _label(row: int, rows: Mapping[str, Sequence[int]]) -> Label:
    """A channel as a label of all classes that it is a part of; the smallest is its owner."""
    classes = sorted((name for name, own in rows.items() if row in own), key=lambda n: len(rows[n]))
    owner = classes[0] if classes else ""
    name = f"{row:03d} {owner or 'not asked for'}"
    return Label(value=row, name=name, owner=owner, classes=tuple(sorted(classes)))
