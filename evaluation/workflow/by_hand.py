"""What `satbench add` made, and with which settings: Snakemake has no record of that.

Without one it would take predictions and score rows for up to date whatever has changed since. So
the settings' digests are kept in the run, and where they are no longer today's, the shard tables
are given a time before all of their inputs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from evaluation.config import RunConfig
from evaluation.datasets.registry import find_card
from evaluation.files import write_json
from evaluation.paths import RunPaths
from evaluation.workflow.declared import entries_with_split
from evaluation.workflow.digests import measure_digest, predict_digest
from evaluation.workflow.plan import n_test_shards

# Model -> entry -> step -> digest of its settings.
Made = dict[str, dict[str, dict[str, str]]]
_LONG_AGO = (1, 1)


def settings_of(model: str, config: RunConfig, entries: Sequence[str]) -> dict[str, dict[str, str]]:
    """Digests of the settings that a model is predicted and measured with, by entry."""
    return {
        name: {
            "predict": predict_digest(model, find_card(name), config),
            "measure": measure_digest(find_card(name), config),
        }
        for name in entries
    }


def read_made(paths: RunPaths) -> Made:
    """What was made by hand; a damaged file is as none, and what it knew of is made again."""
    try:
        made: Made = json.loads(paths.made_by_hand.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        return {folder.name: {} for folder in (paths.root / "scores").glob("[!.]*/")}
    return made


def write_made(paths: RunPaths, made: Made) -> None:
    """Write the record, if it changed."""
    if made != read_made(paths):
        write_json(paths.made_by_hand, made)


def make_old(paths: RunPaths, config: RunConfig) -> None:
    """Let Snakemake plan again what was made by hand with other settings than today's."""
    entries = entries_with_split(paths, config)
    for model, known in read_made(paths).items():
        if model not in config.models:
            continue
        for dataset, now in settings_of(model, config, entries).items():
            for step, setting in now.items():
                if known.get(dataset, {}).get(step) != setting:
                    for path in _outputs(paths, config, model, dataset, step):
                        os.utime(path, _LONG_AGO)


def take_over(paths: RunPaths, config: RunConfig) -> None:
    """At the start of a workflow: what is old is made with the settings of today by its jobs."""
    made, entries = read_made(paths), entries_with_split(paths, config)
    today = {m: settings_of(m, config, entries) for m in made if m in config.models}
    write_made(paths, made | today)


def _outputs(
    paths: RunPaths, config: RunConfig, model: str, dataset: str, step: str
) -> Iterator[Path]:
    place = paths.prediction_shard if step == "predict" else paths.score_shard
    for shard in range(n_test_shards(find_card(dataset), config)):
        if (path := place(model, dataset, shard)).is_file():
            yield path
