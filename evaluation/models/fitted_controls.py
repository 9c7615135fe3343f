"""Controls that learn something trivial: an intensity window, or a mean label map.

What either of them reaches needs no network. They are fitted on the run's training cases when
first asked about a dataset, and what was fitted is kept in the model's own folder with the digest
of the cases that it was fitted on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from evaluation.cases import CASE_FILE, ImageCase, Prediction, read_image_case, read_reference
from evaluation.classes.modality import Modality
from evaluation.datasets.registry import find_card
from evaluation.datasets.scope import classes_in_scope
from evaluation.datasets.sharding import read_split
from evaluation.errors import BenchError
from evaluation.files.identity import digest
from evaluation.files.reading import array_of, mapping_of
from evaluation.files.writing import atomic_path, write_json
from evaluation.models.controls import control_classes
from evaluation.models.protocol import ModelContext
from evaluation.volumes.image_files import Array
from evaluation.volumes.segmentation import pack_masks

Counts = NDArray[np.float64]
Masks = Mapping[str, NDArray[np.bool_]]
Window = tuple[float, float]
Fitted = tuple[dict[str, Array], dict[str, float]]

PERCENTILES = tuple((low, high) for low in (2, 10, 25) for high in (75, 90, 98))
"""The nine windows that are tried: percentiles of the class's own training intensities."""

CUT_OFFS = (0.2, 0.35, 0.5, 0.65)
"""The four cut-offs that are tried on the mean label map."""

VERSION = 1
"""Raised when the same training cases give another control."""

CT_RANGE_HU = (-1024.0, 1024.0)
N_BINS = 512
MAP_SIDE = 48


class FittedControl(ABC):
    """A control with something fitted on the training cases of the run."""

    def __init__(self, context: ModelContext) -> None:
        self.context = context

    def classes(self, dataset: str) -> dict[str, str | None]:
        """See `control_classes`."""
        return control_classes(self.context.config, dataset)

    def made_from(self, case: ImageCase, _classes: Sequence[str]) -> object:
        """The training cases, by their contents."""
        return self.fitted_on(case.dataset)

    def fitted_on(self, dataset: str) -> str:
        """Digest of the training cases of an entry and of the classes in scope."""
        rows = [row for row in read_split(self.context.paths, dataset) if row.split == "train"]
        cases = sorted([row.case, row.image, row.labels] for row in rows)
        return digest(VERSION, self.context.model, cases, self.names(dataset))

    def predict(self, case: ImageCase, classes: Sequence[str]) -> Prediction:
        """One mask for each class; masks of different classes may overlap."""
        image = case.image()
        masks = self.masks(case, image.array, classes)
        return Prediction(pack_masks(masks, image.affine, "direct"))

    @abstractmethod
    def masks(self, case: ImageCase, image: Array, classes: Sequence[str]) -> Masks:
        """Masks (x, y, z) of the classes on the grid of the image."""

    def training(self, dataset: str) -> Iterator[tuple[ImageCase, Masks]]:
        """Image and masks of every training case, one after another.

        Raises:
            BenchError: the split has no training case that was standardised.
        """
        paths = self.context.paths
        names = [row.case for row in read_split(paths, dataset) if row.split == "train"]
        folders = [paths.case(dataset, name) for name in names]
        folders = [folder for folder in folders if (folder / CASE_FILE).is_file()]
        if not folders:
            raise BenchError(
                f"control `{self.context.model}` has no training case of `{dataset}`",
                file=paths.split(dataset),
                hint="standardise and split the dataset first",
            )
        for folder in folders:
            reference = read_reference(folder)[1]
            masks = {
                name: reference.mask(name)
                for name in self.names(dataset)
                if name in reference.classes
            }
            yield read_image_case(folder), masks

    def names(self, dataset: str) -> list[str]:
        """Annotated classes in scope."""
        scope = classes_in_scope(find_card(dataset), self.context.config)
        return [c.name for c in scope if c.kind == "annotated"]


def soft_scale(image: Array, modality: Modality) -> Array:
    """Intensities on a scale that images share.

    CT keeps its HU. MR has no unit, and PET's differ by centre, so they are scaled by their own
    0.5th and 99.5th percentile to 0..1 before a window can mean anything.
    """
    values = image.astype(np.float32)
    if modality == "ct":
        return values
    low, high = np.percentile(values, (0.5, 99.5))
    return np.asarray((values - low) / max(float(high - low), 1e-6), dtype=np.float32)


class Threshold(FittedControl):
    """Each class is an intensity window: the best of nine by mean Dice over the training cases."""

    def masks(self, case: ImageCase, image: Array, classes: Sequence[str]) -> Masks:
        """Voxels whose intensity lies in the class's window."""
        windows = self._windows(case.dataset)
        values = soft_scale(image, case.modality)
        never: Window = (np.inf, -np.inf)
        found = {}
        for name in classes:
            low, high = windows.get(name, never)
            found[name] = (values >= low) & (values < high)
        return found

    def _windows(self, dataset: str) -> dict[str, Window]:
        path = self.context.work / f"{dataset}.json"
        kept = mapping_of(path)
        if kept.get("made_from") != self.fitted_on(dataset):
            kept = {"made_from": self.fitted_on(dataset), "windows": self._fit(dataset)}
            write_json(path, {**kept, "percentiles": PERCENTILES})
        windows: dict[str, Window] = kept["windows"]
        return windows

    def _fit(self, dataset: str) -> dict[str, Window]:
        """One pass over the training cases: histograms say all that a window needs."""
        modality = find_card(dataset).modality
        edges = np.linspace(*(CT_RANGE_HU if modality == "ct" else (-0.25, 1.25)), N_BINS + 1)
        whole: dict[str, list[Counts]] = {}
        own: dict[str, list[Counts]] = {}
        for case, masks in self.training(dataset):
            values = soft_scale(case.image().array, modality)
            bins = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, N_BINS - 1)
            everything = np.bincount(bins.ravel(), minlength=N_BINS).astype(np.float64)
            for name, mask in masks.items():
                if mask.any():
                    counts = np.bincount(bins[mask], minlength=N_BINS).astype(np.float64)
                    own.setdefault(name, []).append(counts)
                    whole.setdefault(name, []).append(everything)
        return {
            name: best_window(np.stack(own[name]), np.stack(whole[name]), edges) for name in own
        }


def best_window(own: Counts, whole: Counts, edges: Counts) -> Window:
    """The window of highest mean Dice over cases.

    Args:
        own: (cases, bins) histogram of the class.
        whole: (cases, bins) histogram of the image.
        edges: (bins + 1,) edges of the bins, in the image's unit.

    Returns:
        Low (included) and high (excluded) edge of the window.
    """
    share = own.sum(axis=0).cumsum() / own.sum()
    best, best_dice = (0, 1), -1.0
    for low, high in PERCENTILES:
        first = int(np.searchsorted(share, low / 100))
        last = int(np.searchsorted(share, high / 100)) + 1
        inside = own[:, first:last].sum(axis=1)
        dice = 2 * inside / (own.sum(axis=1) + whole[:, first:last].sum(axis=1))
        if dice.mean() > best_dice:
            best, best_dice = (first, last), float(dice.mean())
    return float(edges[best[0]]), float(edges[best[1]])


class MeanMap(FittedControl):
    """Each class lies where it mostly lay in the training cases, whatever the image shows.

    Training masks are brought to one index grid of 48 voxels a side (nearest neighbour) and
    averaged; the mean is interpolated to the case's grid and cut at the best of four cut-offs.
    """

    def __init__(self, context: ModelContext) -> None:
        super().__init__(context)
        self._known: dict[str, Fitted] = {}

    def masks(self, case: ImageCase, image: Array, classes: Sequence[str]) -> Masks:
        """Voxels where the mean map reaches the class's cut-off."""
        maps, cut_offs = self._fitted(case.dataset)
        zoom = [n / MAP_SIDE for n in image.shape]
        found = {}
        for name in classes:
            if name not in maps:
                found[name] = np.zeros(image.shape, dtype=bool)
                continue
            mean = ndimage.zoom(
                maps[name].astype(np.float32), zoom, order=1, mode="nearest", grid_mode=True
            )
            found[name] = mean >= cut_offs[name]
        return found

    def _fitted(self, dataset: str) -> Fitted:
        if dataset not in self._known:
            path = self.context.work / f"{dataset}.npz"
            made_from = self.fitted_on(dataset)
            if not (path.is_file() and _maps_made_from(path) == made_from):
                _write_maps(path, made_from, *self._fit(dataset))
            self._known[dataset] = _read_maps(path)
        return self._known[dataset]

    def _fit(self, dataset: str) -> Fitted:
        small: dict[str, list[NDArray[np.bool_]]] = {}
        for _, masks in self.training(dataset):
            for name, mask in masks.items():
                small.setdefault(name, []).append(on_index_grid(mask))
        maps, cut_offs = {}, {}
        for name, stack in small.items():
            masks_of_class = np.stack(stack)
            mean = masks_of_class.mean(axis=0, dtype=np.float32)
            maps[name] = mean.astype(np.float16)
            cut_offs[name] = best_cut_off(mean, masks_of_class)
        return maps, cut_offs


def on_index_grid(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A mask (x, y, z) at the centres of 48 equal steps along each of its axes."""
    nearest = [((np.arange(MAP_SIDE) + 0.5) / MAP_SIDE * n).astype(int) for n in mask.shape]
    return mask[np.ix_(*nearest)]


def best_cut_off(mean: Array, masks: NDArray[np.bool_]) -> float:
    """The cut-off of highest mean Dice; `mean` is (x, y, z), `masks` (cases, x, y, z)."""
    present = masks[masks.any(axis=(1, 2, 3))]
    if not len(present):
        return CUT_OFFS[-1]
    sizes = present.sum(axis=(1, 2, 3))
    dice = []
    for cut_off in CUT_OFFS:
        answer = mean >= cut_off
        shared = (present & answer).sum(axis=(1, 2, 3))
        dice.append(float((2 * shared / (sizes + answer.sum())).mean()))
    return CUT_OFFS[int(np.argmax(dice))]


def _write_maps(
    path: Path, made_from: str, maps: Mapping[str, Array], cut_offs: Mapping[str, float]
) -> None:
    names = list(maps)
    with atomic_path(path) as temporary:
        np.savez_compressed(
            temporary,
            made_from=np.array(made_from),
            names=np.array(names),
            cut_offs=np.array([cut_offs[n] for n in names]),
            maps=np.stack([maps[n] for n in names]),
        )


def _maps_made_from(path: Path) -> str:
    """Nothing of a file that is damaged: it is made again."""
    try:
        return str(dict(array_of(path)).get("made_from", ""))
    except (BenchError, TypeError, ValueError):
        return ""


def _read_maps(path: Path) -> Fitted:
    stored = array_of(path)
    names = [str(name) for name in stored["names"]]
    maps = dict(zip(names, stored["maps"], strict=True))
    cut_offs = dict(zip(names, stored["cut_offs"].tolist(), strict=True))
    return maps, cut_offs
