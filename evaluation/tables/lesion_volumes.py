"""The table `lesion_volumes` of a run: which lesions are detected, by how large they are."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import Any

import pandas as pd

from evaluation.metrics.instances.scores import counts_by_volume, ratio
from evaluation.paths import RunPaths
from evaluation.schema import INSTANCES, LESION_VOLUMES, read_table
from evaluation.tables.scores import Expected

EDGES_ML = (0.01, 0.1, 1.0, 10.0)
"""Lesions are sorted by powers of ten: from a few voxels to the size of an organ's part."""
_KEYS = ["modality", "class", "kind", "space", "matching"]


def lesion_volumes(paths: RunPaths, expected: Expected) -> pd.DataFrame:
    """One row for each bin of volume of each class that is counted one by one.

    The lesions of all test cases are counted together: one scan may have none or hundreds.
    """
    rows = []
    for model in expected.models:
        for dataset in expected.entries:
            for key, part in _lesions(paths, expected, model, dataset):
                about: dict[str, object] = dict(zip(_KEYS, key, strict=True))
                about |= {"data_kind": expected.data_kind, "model": model, "dataset": dataset}
                counts = counts_by_volume(part["volume_ml"], part["detected"], EDGES_ML)
                for low, high, (n, hits) in zip(
                    (0.0, *EDGES_ML), (*EDGES_ML, inf), counts, strict=True
                ):
                    found: dict[str, object] = {
                        "n_lesions": n,
                        "n_detected": hits,
                        "recall": ratio(hits, n),
                    }
                    rows.append({**about, "from_ml": low, "below_ml": high, **found})
    return pd.DataFrame(rows, columns=LESION_VOLUMES.names) if rows else LESION_VOLUMES.empty()


def _lesions(
    paths: RunPaths, expected: Expected, model: str, dataset: str
) -> Iterator[tuple[tuple[Any, ...], pd.DataFrame]]:
    """Lesions of the references of what the run declares, by `_KEYS`."""
    path = paths.instances(model, dataset)
    if not expected.counts_lesions or not path.is_file():
        return
    frame = read_table(path, INSTANCES)
    declared = (
        (frame["side"] == "reference")
        & frame["case"].isin(list(expected.test_cases(dataset)))
        & frame["class"].isin(list(expected.classes.get(dataset, ())))
        & frame["space"].isin(expected.spaces)
    )
    for key, part in frame[declared].groupby(_KEYS, observed=True):
        yield (key if isinstance(key, tuple) else (key,)), part
