"""A run's predictions as files for anybody: in each dataset's own values, on each scan's own grid.

A dataset with a label map gets label maps, one with a file for each structure gets masks with those
names. Inside a run, predictions are layers in RAS orientation, whose values mean nothing outside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from evaluation.cases import read_case_record, read_prediction
from evaluation.config import load_frozen
from evaluation.datasets.card import DatasetCard
from evaluation.datasets.registry import entry_ids, find_card
from evaluation.datasets.sharding import read_split
from evaluation.errors import BenchError, did_you_mean
from evaluation.files.writing import visible, write_text
from evaluation.paths import RunPaths
from evaluation.volumes.image_files import Array, Volume, from_ras, write_volume
from evaluation.volumes.segmentation import Segmentation

LABELS_FILE = "labels.yaml"


@dataclass(frozen=True)
class Exported:
    """What was written for an entry.

    Attributes:
        dataset: its id.
        folder: where.
        cases: how many, of `planned` test cases.
        planned: test cases of the run.
        not_written: case -> why.
        lost_voxels: class -> voxels, over all cases, that its values say otherwise than the
            prediction does: where classes overlap and no value of the dataset means both.
    """

    dataset: str
    folder: Path
    cases: int
    planned: int
    not_written: Mapping[str, str]
    lost_voxels: Mapping[str, int]


def export_predictions(
    run: Path,
    model: str,
    out: Path,
    datasets: Sequence[str] = (),
    done: Callable[[str], object] = lambda _case: None,
) -> Iterator[Exported]:
    """Write a model's predictions, entry by entry, as `<out>/<dataset>/<case>.nii.gz`.

    Of a dataset with a file for each structure: `<out>/<dataset>/<case>/<structure>.nii.gz`.
    Beside label maps lies `labels.yaml`, which `satbench evaluate --labels` reads.

    Args:
        run: the run's folder.
        model: whose.
        out: folder; files that are there already are replaced.
        datasets: only these entries.
        done: called with each case.

    Raises:
        BenchError: the run has no predictions of the model, or not the entry.
    """
    paths, config = RunPaths(run), load_frozen(run)
    cards = [find_card(name) for name in datasets or entry_ids(config)]
    if strange := [c.id for c in cards if not paths.split(c.id).is_file()] if datasets else []:
        raise BenchError(
            f"the run has no cases of `{strange[0]}`", file=paths.split(strange[0]),
            hint=did_you_mean(strange[0], [p.stem for p in paths.split("x").parent.glob("*.csv")]),
        )  # fmt: skip
    predicted = paths.root / "predictions"
    models = [path.name for path in visible(predicted) if path.is_dir()]
    if model not in models:
        raise BenchError(
            f"the run has no prediction of `{model}`",
            file=predicted,
            found=", ".join(models) or "no prediction at all",
            hint=did_you_mean(model, models),
        )
    there = [card for card in cards if paths.prediction(model, card.id, "x").parent.is_dir()]
    if not there:
        raise BenchError(
            f"`{model}` has no prediction of " + ", ".join(f"`{card.id}`" for card in cards[:5]),
            file=predicted / model,
            found=", ".join(path.name for path in visible(predicted / model)),
            hint="run it to its end, or name another --dataset",
        )
    for card in there:
        yield _export_entry(paths, card, model, out / card.id, done)


def _export_entry(
    paths: RunPaths, card: DatasetCard, model: str, folder: Path, done: Callable[[str], object]
) -> Exported:
    cases = [row.case for row in read_split(paths, card.id) if row.split == "test"]
    failed: dict[str, str] = {}
    lost: dict[str, int] = {}
    values = own_values(card)
    for case in cases:
        try:
            record = read_case_record(paths.case(card.id, case))
            _, answer = read_prediction(paths.prediction(model, card.id, case))
        except BenchError as error:
            failed[case] = error.one_line
            continue
        finally:
            done(case)
        if values:
            array, differing = in_values(answer, values)
            files = {folder / f"{case}.nii.gz": array}
            lost = {name: lost.get(name, 0) + differing.get(name, 0) for name in values}
        else:
            files = {
                folder / case / f"{entry.file}.nii.gz": answer.mask(entry.name).astype(np.uint8)
                for entry in card.annotated
                if entry.name in answer.classes
            }
        for path, array in files.items():
            write_volume(path, from_ras(Volume(array, answer.affine), record.source_orientation))
    if values and len(failed) < len(cases):
        text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, default_flow_style=None)
        write_text(folder / LABELS_FILE, text)
    written = len(cases) - len(failed)
    lost = {name: n for name, n in lost.items() if n}
    return Exported(card.id, folder, written, len(cases), failed, lost)


def own_values(card: DatasetCard) -> dict[str, list[int]]:
    """Values of the dataset's label map by annotated class; empty if it has mask files."""
    return {entry.name: list(entry.values) for entry in card.annotated if entry.values is not None}


def in_values(
    answer: Segmentation, values: Mapping[str, Sequence[int]]
) -> tuple[Array, dict[str, int]]:
    """A prediction as one label map (x, y, z) in a dataset's values, where 0 is the background.

    A value means every class that lists it. Each class is painted with the value that belongs to
    the fewest others besides it; classes of many values first, then small ones over large ones, so
    that a tumour stays in its organ. A class of which each value also means a smaller one (a
    kidney of a left and a right side) is not painted: its sides are.

    Returns:
        The label map, and for each class the voxels where it says otherwise than the prediction:
        none, unless predicted classes overlap in a way that no value means.
    """
    highest = max(value for listed in values.values() for value in listed)
    labels = np.zeros(answer.shape, dtype=np.uint8 if highest < 256 else np.uint16)
    known = [name for name in values if name in answer.classes]
    sizes = {name: int(np.count_nonzero(answer.mask(name))) for name in known}
    for name in sorted(known, key=lambda name: (-len(values[name]), -sizes[name])):
        own = [value for value in values[name] if not _means_less(value, name, values)]
        if own:
            fewest = min(own, key=lambda value: sum(value in listed for listed in values.values()))
            labels[answer.mask(name)] = fewest
    wrong = {
        name: int(np.count_nonzero(np.isin(labels, values[name]) != answer.mask(name)))
        for name in known
    }
    return labels, {name: n for name, n in wrong.items() if n}


def _means_less(value: int, name: str, values: Mapping[str, Sequence[int]]) -> bool:
    """Whether a value also belongs to a class that is a part of this one."""
    own = set(values[name])
    return any(value in listed and set(listed) < own for listed in values.values())
