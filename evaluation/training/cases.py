"""Which cases of a run are trained on, validated on, and tested on."""

from __future__ import annotations

from evaluation.config import RunConfig
from evaluation.datasets.registry import entry_ids, find_card
from evaluation.datasets.sharding import read_split
from evaluation.errors import BenchError
from evaluation.paths import RunPaths
from evaluation.protocol import Side


def cases_of_split(paths: RunPaths, dataset: str, split: Side) -> list[str]:
    """Cases of one side of a dataset's split, sorted."""
    return sorted(patients_of_split(paths, dataset, split))


def patients_of_split(paths: RunPaths, dataset: str, split: Side) -> dict[str, str]:
    """The patient of each case of one side of a dataset's split."""
    return {row.case: row.patient for row in read_split(paths, dataset) if row.split == split}


def datasets_of_run(paths: RunPaths, config: RunConfig) -> list[str]:
    """Entries of the configuration that have a split in this run, in alphabetical order."""
    found = sorted(find_card(entry).id for entry in entry_ids(config))
    found = [dataset for dataset in found if paths.split(dataset).is_file()]
    if not found:
        raise BenchError(
            "no entry of this run has a split", file=paths.root / "splits",
            hint="standardise and split the data first",
        )  # fmt: skip
    return found
