"""The list of a run's added models, `added.json`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from evaluation.errors import BenchError
from evaluation.files.writing import write_json
from evaluation.paths import RunPaths


def read_added(run_folder: Path) -> list[str]:
    """Models that `satbench add` put into a run, in that order.

    Raises:
        BenchError: the list is damaged.
    """
    path = RunPaths(run_folder).added
    if not path.is_file():
        return []
    try:
        return TypeAdapter(list[str]).validate_json(path.read_bytes())
    except ValidationError as error:
        raise BenchError(
            "the list of added models cannot be read",
            file=path,
            expected='model ids, `["my-unet"]`',
            hint="delete the file and add the models again; what they predicted is kept",
        ) from error


def write_added(run_folder: Path, models: Sequence[str]) -> None:
    """Write the list of added models, if it changed."""
    if list(models) != read_added(run_folder):
        write_json(RunPaths(run_folder).added, list(models))
