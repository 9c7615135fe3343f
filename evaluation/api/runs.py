"""What a run has found, and the cards of datasets."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path

import pandas as pd

from evaluation.config import RunConfig, load_frozen
from evaluation.datasets.card import DatasetCard
from evaluation.datasets.registry import entry_ids, find_card
from evaluation.errors import BenchError, one_of
from evaluation.paths import RunPaths
from evaluation.schema import SCORES, TABLES, read_table


@dataclass(frozen=True)
class Run:
    """A run of the workflow, `results/<name>`.

    Attributes:
        folder: where it lies.
        config: what it does; the models that `satbench add` put into it are among its models.
    """

    folder: Path
    config: RunConfig

    @property
    def models(self) -> list[str]:
        """Ids of its models."""
        return list(self.config.models)

    @property
    def entries(self) -> list[str]:
        """Ids of its datasets."""
        return entry_ids(self.config)

    @cached_property
    def tables(self) -> dict[str, pd.DataFrame]:
        """Its result tables by name, as far as they are made (see `read_tables`)."""
        return read_tables(self.folder)

    def scores(self, model: str) -> pd.DataFrame:
        """Score rows of a model on all entries: one for each case, class, tolerance and space.

        Raises:
            BenchError: no such model in the run, or nothing of it is scored.
        """
        one_of("model", model, self.models)
        files = [RunPaths(self.folder).scores(model, entry) for entry in self.entries]
        there = [read_table(path, SCORES) for path in files if path.is_file()]
        if not there:
            raise BenchError(
                f"no scores of `{model}` in this run",
                file=files[0].parent,
                hint=f"measure it, then `satbench aggregate --run {self.folder}`",
            )
        return pd.concat(there, ignore_index=True)


def load_run(folder: str | PathLike[str]) -> Run:
    """A run of the workflow by its folder.

    Raises:
        BenchError: there is no run, or its configuration is damaged.

    >>> import satbench
    >>> run = satbench.load_run("results/smoke")
    >>> run.models, run.entries, run.config.data_kind
    (['oracle', 'empty'], ['msd_spleen'], 'synthetic')
    >>> run.scores("oracle").groupby("class")["dsc"].mean()
    class
    spleen    1.0
    Name: dsc, dtype: float64
    """
    path = Path(folder)
    return Run(path, load_frozen(path))


def read_tables(folder: str | PathLike[str]) -> dict[str, pd.DataFrame]:
    """The result tables of a run by name, each checked against its columns.

    Args:
        folder: the run's folder, `results/<name>`.

    Returns:
        Name -> table, of those that are made; `satbench dictionary` explains every column.

    Raises:
        BenchError: there is none, or a file is not the table of its name.

    >>> import satbench
    >>> tables = satbench.read_tables("results/smoke")
    >>> tables["completeness"][["model", "dataset", "status"]]
        model     dataset    status
    0  oracle  msd_spleen  complete
    1   empty  msd_spleen  complete
    """
    paths = {name: RunPaths(Path(folder)).table(name) for name in TABLES}
    found = {name: read_table(path, TABLES[name]) for name, path in paths.items() if path.is_file()}
    if not found:
        raise BenchError(
            "no result table here",
            file=RunPaths(Path(folder)).table("overall").parent,
            hint=f"name a run's folder, and make its tables: satbench aggregate --run {folder}",
        )
    return found


def find_dataset(name: str) -> DatasetCard:
    """The card of a dataset, the benchmark's or your own, by its id or any printed spelling.

    Raises:
        BenchError: no card has that name; the closest ones are named.

    >>> import satbench
    >>> card = satbench.find_dataset("MSD Hippocampus")
    >>> card.id, card.modality, [entry.name for entry in card.annotated]
    ('msd_hippocampus', 'mri', ['anterior hippocampus', 'posterior hippocampus'])
    """
    return find_card(name)
