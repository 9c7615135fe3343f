"""What comes after an upstream training: new tasks on its weights, frozen or not.

For Hermes, whose tasks are tokens: a new entry's classes get new rows of the task tables, all other
weights are the upstream's. `trains: new` learns the new rows alone, so that what the network
answers for its old entries stays the same to the bit; `trains: all` goes on with every weight;
`trains: nothing` is the row before both. The document has no recipe for either: this one is ours.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from baselines.universal.config import Preset
from baselines.universal.entries import UNKNOWN, Catalogue, Entry
from baselines.universal.masks import HermesModel
from baselines.universal.model import UniversalModel
from baselines.universal.networks.priors import PriorTables
from baselines.universal.systems import load_model, new_model
from evaluation.datasets.shares import share_of
from evaluation.errors import BenchError
from evaluation.files.writing import atomic_path
from evaluation.training.store import PreparedIndex


def extended(known: Catalogue, fresh: Catalogue) -> Catalogue:
    """A catalogue with the entries of another behind it; entries that both have stay as they are.

    A modality that the first does not know is the unknown one.
    """
    first, old = known.n_tokens - 1, {entry.dataset for entry in known.entries}
    rows = {name: row for row, name in enumerate(known.modalities)}
    names = dict(enumerate(fresh.modalities))
    more: list[Entry] = []
    tokens: dict[int, int] = {}
    for entry in fresh.entries:
        if entry.dataset in old:
            continue
        own = tuple(tokens.setdefault(token, first + len(tokens)) for token in entry.tokens)
        of_row = {row: rows.get(name, UNKNOWN) for row, name in names.items()}
        found = {
            "tokens": own,
            "modality": of_row.get(entry.modality, UNKNOWN),
            "sequences": {name: of_row[row] for name, row in entry.sequences.items()},
        }
        more.append(entry.model_copy(update=found))
    entries = (*known.entries, *more)
    return known.model_copy(update={"entries": entries, "n_tokens": known.n_tokens + len(tokens)})


def _upstream_model(preset: Preset) -> tuple[Path, HermesModel]:
    """`upstream.checkpoint`: its file and its model.

    Raises:
        BenchError: it cannot be read, is of another system, or is no Hermes'.
    """
    assert preset.upstream is not None
    file = Path(preset.upstream.checkpoint)
    upstream = load_model(file)
    if not isinstance(upstream, HermesModel) or upstream.preset.system != preset.system:
        raise BenchError(
            "this checkpoint cannot be trained further so", file=file,
            found=upstream.preset.system, expected=f"{preset.system}, one of Hermes",
        )  # fmt: skip
    return file, upstream


def as_it_is(preset: Preset, checkpoint: Path) -> None:
    """Copy the upstream's checkpoint to where a training's would be.

    Raises:
        BenchError: as for a training that starts from it.
    """
    file, _ = _upstream_model(preset)
    with atomic_path(checkpoint) as temporary:
        shutil.copyfile(file, temporary)


def from_upstream(preset: Preset, fresh: Catalogue) -> UniversalModel:
    """The model of `upstream.checkpoint` with rows for the new entries, which are random.

    Raises:
        BenchError: the checkpoint cannot be read, is of another system or network, or is no
            Hermes'.
    """
    file, upstream = _upstream_model(preset)
    model = new_model(preset, extended(upstream.known, fresh))
    own, weights = model.network.state_dict(), upstream.network.state_dict()
    for name, value in weights.items():
        if name.endswith(".tasks"):
            # The null token is the last row, before and after; spare rows are of nobody.
            table, used = own[name].clone(), upstream.known.n_tokens - 1
            table[:used], table[-1] = value[:used], value[-1]
            value = table
        if name not in own or own[name].shape != value.shape:
            raise BenchError(
                "the preset's network is another one than the checkpoint's", file=file, found=name
            )
        own[name] = value
    model.network.load_state_dict(own)
    return freeze_upstream(model, len(upstream.known.entries))


class _OldRows(nn.Module):
    """Of a table, the old rows as they are and the new ones as they are learnt."""

    def __init__(self, table: Tensor, new: Tensor) -> None:
        super().__init__()
        self.register_buffer("old", table.detach().clone())
        self.register_buffer("new", new)
        self.old: Tensor
        self.new: Tensor

    def forward(self, table: Tensor) -> Tensor:
        return torch.where(self.new[:, None], table, self.old)


def freeze_upstream(model: UniversalModel, n_old: int) -> UniversalModel:
    """Leave only the rows of new tasks to learn, if the preset says so.

    Weight decay cannot reach the old rows either: the network never reads the table that learns
    but for the new ones.

    Args:
        model: with all weights in place.
        n_old: entries of the upstream training.
    """
    upstream = model.preset.upstream
    if upstream is None or upstream.trains == "all":
        return model
    tokens = [token for entry in model.known.entries[n_old:] for token in entry.tokens]
    for weights in model.network.parameters():
        weights.requires_grad_(False)
    for tables in model.network.modules():
        if isinstance(tables, PriorTables):
            new = torch.zeros(len(tables.tasks), dtype=torch.bool)
            new[tokens] = True
            parametrize.register_parametrization(tables, "tasks", _OldRows(tables.tasks, new))
            tables.get_parameter("parametrizations.tasks.original").requires_grad_(True)
    return model


def narrowed(index: PreparedIndex, preset: Preset) -> PreparedIndex:
    """The entries and the share of patients that the preset trains on.

    Raises:
        BenchError: an entry is not in the store.
    """
    index = index.of(preset.entries or None)
    share = preset.share
    if share is None:
        return index
    entries = []
    for entry in index.entries:
        patients = {case: entry.patients.get(case, case) for case in entry.cases}
        kept = set(share_of(entry.dataset, patients.values(), share.part, share.draw))
        cases = tuple(case for case in entry.cases if patients[case] in kept)
        entries.append(entry.model_copy(update={"cases": cases}))
    return index.model_copy(update={"entries": tuple(entries)})
