"""A public release of a universal system as a checkpoint of ours, for a run.

A release names its outputs by numbers only. Which number is which class is said in a file: for each
entry the rows of its classes (of Hermes' task tables, or the channels of the last convolution), and
the row of its modality. The order of the published training is not printed anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from baselines.universal.config import Preset, load_preset
from baselines.universal.entries import UNKNOWN, Catalogue, Entry, Label
from baselines.universal.networks.hermes import Hermes
from baselines.universal.networks.priors import PriorTables
from baselines.universal.released import load_released
from baselines.universal.systems import new_model
from evaluation.datasets.registry import find_card
from evaluation.errors import BenchError, did_you_mean
from evaluation.files.records import Record, read_mapping, validated
from evaluation.training.checkpoints import read_checkpoint, save_content

PRESET = "released"
RELEASED: Mapping[str, str] = {
    "resunet": "resunet",
    "medformer": "medformer",
    "hermes-r": "hermes_r",
    "hermes-m": "hermes_m",
}


class ReleasedEntry(Record):
    """What a release knows of an entry.

    Attributes:
        rows: class -> row of the task tables, or channel of the output (0 is the background).
        modality: row of the modality tables; none: unknown.
    """

    rows: dict[str, int]
    modality: int | None = None


def read_entries(path: Path) -> dict[str, ReleasedEntry]:
    """The file of entries: `<dataset>: {modality: 0, rows: {<class>: 3, ...}}`.

    Raises:
        BenchError: it is not valid, or names a dataset or a class that there is not.
    """
    found = {}
    for dataset, values in read_mapping(path).items():
        where = f"{path}, {dataset}"
        if not isinstance(values, dict):
            raise BenchError("an entry is a mapping", file=where, expected="rows: {class: row}")
        entry = validated(values, where, ReleasedEntry)
        names = find_card(str(dataset)).class_names
        for name in entry.rows:
            if name not in names:
                raise BenchError(
                    f"`{dataset}` has no class `{name}`", file=path, hint=did_you_mean(name, names)
                )
        found[str(dataset)] = entry
    return found


def convert_released(system: str, file: Path, entries: Path, out: Path) -> int:
    """Write one checkpoint of a released state dict.

    Args:
        system: one of `RELEASED`.
        file: the released file; nothing in it is run.
        entries: see `read_entries`.
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
        sizes = preset.network.model_copy(update={"prior_length": length})
        preset = preset.model_copy(update={"network": sizes})
    with torch.device("meta"):
        model = new_model(preset, known)
    model.network = network
    return model.content()


def _tables(network: Hermes) -> PriorTables:
    tables = network.priors[0]
    assert isinstance(tables, PriorTables)
    return tables


def _of_tokens(network: Hermes, given: Mapping[str, ReleasedEntry], path: Path) -> Catalogue:
    tables = _tables(network)
    n_tokens, modalities = len(tables.tasks), len(tables.modalities)
    entries = []
    for dataset, entry in given.items():
        # The last rows are the null token and the unknown modality.
        _within(entry.rows, range(n_tokens - 1), f"rows of `{dataset}`", path)
        if entry.modality is not None:
            _within({"modality": entry.modality}, range(modalities - 1), dataset, path)
        entries.append(
            Entry(
                dataset=dataset,
                kind=find_card(dataset).modality,
                classes=tuple(entry.rows),
                tokens=tuple(entry.rows.values()),
                modality=UNKNOWN if entry.modality is None else entry.modality,
            )
        )
    names = tuple(f"row {row}" for row in range(modalities - 1))
    return Catalogue(entries=tuple(entries), n_tokens=n_tokens, modalities=names)


def _of_channels(network: nn.Module, given: Mapping[str, ReleasedEntry], path: Path) -> Catalogue:
    if len(given) != 1:
        raise BenchError(
            "this network is of one entry", file=path, found=", ".join(given), expected="one entry"
        )
    ((dataset, entry),) = given.items()
    outputs = int(network.head.bias.numel())  # type: ignore[union-attr,operator]
    _within(entry.rows, range(1, outputs), f"rows of `{dataset}`", path)
    names = {row: name for name, row in entry.rows.items()}
    labels = tuple(
        Label(
            value=row,
            name=f"{row:03d} {names.get(row, 'not asked for')}",
            owner=names.get(row, ""),
            classes=(names[row],) if row in names else (),
        )
        for row in range(1, outputs)
    )
    found = Entry(
        dataset=dataset,
        kind=find_card(dataset).modality,
        classes=tuple(entry.rows),
        tokens=tuple(range(len(entry.rows))),
        labels=labels,
    )
    return Catalogue(entries=(found,), n_tokens=len(entry.rows) + 1)


def _within(rows: Mapping[str, int], allowed: range, what: str, path: Path) -> None:
    bad = {name: row for name, row in rows.items() if row not in allowed}
    if bad or len(set(rows.values())) < len(rows):
        raise BenchError(
            f"{what} are not those of this release",
            file=path,
            found=bad or "a row twice",
            expected=f"different rows from {allowed[0]} to {allowed[-1]}",
        )
