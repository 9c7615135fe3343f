"""Training cases on the network's own grid, read crop by crop later.

`runs/multi-decoder/prepared/<dataset>/<case>/` holds `image.npy` (float16, normalised),
`labels.npy` (see `evaluation.classes.leaves`), `points.npy` (leaf, x, y, z of voxels
to centre crops on) and, last, `record.json`. `index.json` comes when all cases are there; a killed
preparation goes on with the next case.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from baselines.nnunet.export import check_disk
from baselines.universal.multi_decoder.config import MODEL, Grid, Preset, Triple
from baselines.universal.multi_decoder.grid import (
    image_on_grid,
    labels_on_grid,
    normalise,
    own_shape,
)
from evaluation.cases import read_case_record, read_reference
from evaluation.classes.leaves import Leaf, leaf_map, leaves_of, places_of
from evaluation.config import RunConfig
from evaluation.datasets.card import DatasetCard
from evaluation.datasets.registry import entry_ids, find_card
from evaluation.datasets.scope import classes_in_scope
from evaluation.datasets.sharding import read_split
from evaluation.errors import BenchError
from evaluation.files.identity import digest, is_outdated, made_again
from evaluation.files.records import Record
from evaluation.files.writing import atomic_path, write_text
from evaluation.paths import RunPaths
from evaluation.spent import SPENT_FILE, Meter
from evaluation.volumes.image_files import Array, read_volume

INDEX_FILE = "index.json"
RECORD_FILE = "record.json"
FORMAT = 1
POINTS_PER_LEAF = 500
BYTES_PER_VOXEL = 3  # float16 image and uint8 labels


class PreparedCase(Record):
    """A case in the store; `source` is a fingerprint of what it was made from."""

    case: str
    source: str
    shape: Triple
    resolved_voxels: int


class PreparedEntry(Record):
    """An entry in the store: its labels, the classes as unions of them, and its cases."""

    dataset: str
    n_labels: int
    classes: dict[str, tuple[int, ...]]
    cases: tuple[PreparedCase, ...]


class PreparedIndex(Record):
    """`index.json`: what the store holds."""

    format: int
    grid: Grid
    entries: tuple[PreparedEntry, ...]


def trained_classes(card: DatasetCard, config: RunConfig) -> tuple[str, ...]:
    """Annotated classes of an entry that the run is about; unions follow from them."""
    return tuple(c.name for c in classes_in_scope(card, config) if c.kind == "annotated")


def prepare_run(paths: RunPaths, config: RunConfig, preset: Preset) -> PreparedIndex:
    """Prepare the training cases of all entries of a run that have a split.

    Cases that are there already, made from the same source for the same grid, are kept.

    Raises:
        BenchError: no entry has a training case, the disk is too small, or a case cannot be read.
    """
    store = paths.model_run(MODEL) / "prepared"
    names = entry_ids(config)
    cards = [find_card(name) for name in names]
    train: dict[str, list[str]] = {}
    for card in cards:
        if trained_classes(card, config) and paths.split(card.id).is_file():
            train[card.id] = [r.case for r in read_split(paths, card.id) if r.split == "train"]
    if not any(train.values()):
        raise BenchError(
            "no entry of this run has a training case",
            file=paths.root / "splits",
            hint="standardise and split the data first; snakemake does so",
        )
    check_disk(store, _estimated_bytes(paths, train, preset.grid))
    (store / INDEX_FILE).unlink(missing_ok=True)
    entries = []
    with tqdm(total=sum(map(len, train.values())), desc="prepare", unit="case") as bar:
        for dataset, cases in train.items():
            card = find_card(dataset)
            classes = trained_classes(card, config)
            leaves = leaves_of([card.class_entry(name) for name in classes], dataset)
            prepared = []
            for case in cases:
                folder = store / dataset / case
                source = paths.case(dataset, case)
                prepared.append(prepare_case(folder, source, leaves, classes, preset.grid))
                bar.update()
            if prepared:
                entries.append(
                    PreparedEntry(
                        dataset=dataset,
                        n_labels=len(leaves) + 1,
                        classes=places_of(leaves, classes),
                        cases=tuple(prepared),
                    )
                )
    index = PreparedIndex(format=FORMAT, grid=preset.grid, entries=tuple(entries))
    write_text(store / INDEX_FILE, index.model_dump_json(indent=1) + "\n")
    made_again(store / INDEX_FILE)
    return index


def prepare_case(
    folder: Path, source: Path, leaves: Sequence[Leaf], classes: Sequence[str], grid: Grid
) -> PreparedCase:
    """Put one case on the own grid and write it.

    Args:
        folder: where its files go.
        source: the standardised case.
        leaves: labels of its entry.
        classes: annotated classes that the labels stand for.
        grid: spacing and intensities.

    Raises:
        BenchError: the case cannot be read or normalised.
    """
    record = read_case_record(source)
    labels_of = [[leaf.value, sorted(leaf.classes)] for leaf in leaves]
    made_from = digest(FORMAT, record.image, record.labels, record.modality, grid, labels_of)
    done = folder / RECORD_FILE
    if done.is_file() and not is_outdated(done, folder.parents[1] / INDEX_FILE):
        known = PreparedCase.model_validate_json(done.read_text(encoding="utf-8"))
        if known.source == made_from:
            return known
    done.unlink(missing_ok=True)
    meter = Meter(folder / SPENT_FILE, made_from, on_gpu=False)
    shape = own_shape(record.shape, record.spacing_mm, grid.spacing_mm)
    image = image_on_grid(read_volume(source / "image.nii.gz").array, shape)
    try:
        normalised = normalise(image, record.modality, grid)
    except BenchError as error:
        raise BenchError(
            f"training case `{record.case}` of `{record.dataset}`: {error.one_line}", file=source
        ) from error
    found = leaf_map(read_reference(source)[1], leaves, classes)
    labels = labels_on_grid(found.labels, shape)
    _write_array(folder / "image.npy", normalised.astype(np.float16))
    _write_array(folder / "labels.npy", labels)
    _write_array(folder / "points.npy", sample_points(labels, f"{record.dataset}/{record.case}"))
    prepared = PreparedCase(
        case=record.case, source=made_from, shape=shape, resolved_voxels=found.resolved_voxels
    )
    meter.write()
    write_text(done, prepared.model_dump_json() + "\n")
    return prepared


def sample_points(labels: Array, name: str) -> Array:
    """Some voxels of every label that is there, rows (label, x, y, z) uint16 sorted by label."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    random = np.random.default_rng(seed)
    rows = [np.zeros((0, 4), np.uint16)]
    for value in np.unique(labels[labels > 0]):
        voxels = np.argwhere(labels == value)
        picked = voxels[random.permutation(len(voxels))[:POINTS_PER_LEAF]]
        rows.append(np.insert(picked, 0, value, axis=1).astype(np.uint16))
    return np.concatenate(rows)


def read_index(store: Path) -> PreparedIndex:
    """The index of a prepared store.

    Raises:
        BenchError: the store is not there or not complete.
    """
    path = store / INDEX_FILE
    if not path.is_file():
        raise BenchError(
            "no prepared training data", file=path, hint="run `satbench multi-decoder prepare`"
        )
    return PreparedIndex.model_validate_json(path.read_text(encoding="utf-8"))


def _write_array(path: Path, array: Array) -> None:
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.save(stream, np.ascontiguousarray(array))


def _estimated_bytes(paths: RunPaths, train: dict[str, list[str]], grid: Grid) -> int:
    total = 0
    for dataset, cases in train.items():
        for case in cases:
            record = read_case_record(paths.case(dataset, case))
            shape = own_shape(record.shape, record.spacing_mm, grid.spacing_mm)
            total += BYTES_PER_VOXEL * int(np.prod(shape))
    return total
