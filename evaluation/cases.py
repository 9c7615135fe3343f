"""A case on disk and in memory: one image, and masks kept as a few integer layers.

Masks may overlap (a cavity and the effusion in it), so a segmentation is a short list of integer
label maps ("layers") and, for each class, the places where it lives: one or more pairs of a layer
and its values. A union of classes costs a look-up, never another volume.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from evaluation.errors import BenchError, did_you_mean
from evaluation.files import write_text
from evaluation.inflate import Arena
from evaluation.io import Affine, Array, Volume, read_volume, same_grid, write_volume
from evaluation.modality import Modality as Modality
from evaluation.records import Record

Kind = Literal["annotated", "generated", "direct", "union"]
CASE_FILE = "case.json"
PREDICTION_FILE = "prediction.json"


R = TypeVar("R", bound=Record)


class Part(Record):
    """Voxels of one layer whose value is in `values`."""

    layer: int
    values: tuple[int, ...]


class ClassPlace(Record):
    """Where a class lives.

    `kind` is `annotated` or `generated` (a union of annotated classes) in a reference, and
    `direct` or `union` (of predicted classes) in a prediction.
    """

    kind: Kind
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Segmentation:
    """Integer layers (x, y, z) on one grid and the classes in them."""

    layers: tuple[Array, ...]
    affine: Affine
    classes: Mapping[str, ClassPlace]

    def mask(self, class_name: str) -> NDArray[np.bool_]:
        """Boolean mask (x, y, z) of a class.

        Raises:
            BenchError: the class is not in this segmentation.
        """
        place = self.classes.get(class_name)
        if place is None:
            raise BenchError(
                f"class `{class_name}` is not in this segmentation",
                hint=did_you_mean(class_name, list(self.classes)),
            )
        mask = np.zeros(self.shape, dtype=bool)
        for part in place.parts:
            mask |= np.isin(self.layers[part.layer], part.values)
        return mask

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of voxels along x, y, z."""
        return tuple(self.layers[0].shape)


def pack_masks(masks: Mapping[str, NDArray[np.bool_]], affine: Affine, kind: Kind) -> Segmentation:
    """Pack boolean masks (x, y, z), which may overlap, into few uint8 layers.

    A mask goes to the first layer in which all of its voxels are free (a greedy rule). Empty
    masks keep a value of their own, so that an annotated but absent class stays known.
    """
    layers: list[NDArray[np.uint8]] = []
    used: list[int] = []
    classes: dict[str, ClassPlace] = {}
    for name, mask in masks.items():
        # Slice by slice along the last axis: large masks come in Fortran order, where indexing a
        # whole volume with a whole mask costs ten times as much.
        slices = [z for z in range(mask.shape[-1]) if mask[..., z].any()]
        for index, layer in enumerate(layers):
            if used[index] < 255 and not any(layer[..., z][mask[..., z]].any() for z in slices):
                break
        else:
            layers.append(np.zeros(mask.shape, dtype=np.uint8, order="F"))
            used.append(0)
            index = len(layers) - 1
        used[index] += 1
        for z in slices:
            layers[index][..., z][mask[..., z]] = used[index]
        classes[name] = ClassPlace(kind=kind, parts=(Part(layer=index, values=(used[index],)),))
    return Segmentation(tuple(layers), affine, classes)


def union_place(places: Iterable[ClassPlace], kind: Kind) -> ClassPlace:
    """The union of several places as one look-up."""
    values: dict[int, set[int]] = {}
    for place in places:
        for part in place.parts:
            values.setdefault(part.layer, set()).update(part.values)
    parts = tuple(
        Part(layer=layer, values=tuple(sorted(found))) for layer, found in sorted(values.items())
    )
    return ClassPlace(kind=kind, parts=parts)


class CaseRecord(Record):
    """`case.json`: what is known of a standardised case.

    `not_annotated` are classes of the dataset that this case has no annotation for; a class in
    `classes` whose mask is empty was annotated and found absent. `settings` is a hash of what the
    case was made with (card, classes, sizes of the source files): it is made anew when that
    changes.
    """

    dataset: str
    case: str
    patient: str
    modality: Modality
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    source_orientation: str
    n_layers: int
    classes: dict[str, ClassPlace]
    not_annotated: tuple[str, ...] = ()
    source_sha256: dict[str, str] = Field(default={})
    sequence: str | None = None
    settings: str = ""


class PredictionRecord(Record):
    """`prediction.json`: where each predicted class lives in the layers beside it.

    With `own_n_layers`, the folder also holds `own-layer-*.nii.gz` on the model's own grid, where
    the same classes may be packed in another way.
    """

    model: str
    dataset: str
    case: str
    n_layers: int
    classes: dict[str, ClassPlace]
    own_n_layers: int = 0
    own_classes: dict[str, ClassPlace] = Field(default={})


@dataclass(frozen=True)
class ImageCase:
    """What a model is given: the image and its geometry, never a label.

    `array` is read on demand and never cached.
    """

    dataset: str
    case: str
    patient: str
    modality: Modality
    folder: Path
    spacing_mm: tuple[float, float, float]
    shape: tuple[int, int, int]

    def image(self) -> Volume:
        """The image (x, y, z) in RAS orientation with its affine."""
        return read_volume(self.folder / "image.nii.gz")


@dataclass(frozen=True)
class Prediction:
    """What a model answers for one case: layers on the grid of the image.

    `own_grid` optionally holds the same classes on the model's own grid.
    """

    segmentation: Segmentation
    own_grid: Segmentation | None = field(default=None)


def layer_paths(folder: Path, n_layers: int, prefix: str = "") -> list[Path]:
    """The files of the layers of a case or prediction."""
    return [folder / f"{prefix}layer-{index}.nii.gz" for index in range(n_layers)]


def write_layers(folder: Path, segmentation: Segmentation, prefix: str = "") -> None:
    """Write every layer atomically."""
    paths = layer_paths(folder, len(segmentation.layers), prefix)
    for path, layer in zip(paths, segmentation.layers, strict=True):
        write_volume(path, Volume(layer, segmentation.affine))


def read_layers(
    folder: Path,
    n_layers: int,
    classes: Mapping[str, ClassPlace],
    prefix: str = "",
    arenas: list[Arena] | None = None,
) -> Segmentation:
    """Read layers and check that they lie on one grid.

    Args:
        folder: of the case or prediction.
        n_layers: how many there are.
        classes: where the classes live in them.
        prefix: of the files' names.
        arenas: memory to read into, one for each layer, grown as needed. What is read into them
            next overwrites these layers.

    Raises:
        BenchError: a layer is missing, unreadable or on another grid than the first.
    """
    paths = layer_paths(folder, n_layers, prefix)
    if arenas is None:
        volumes = [read_volume(path) for path in paths]
    else:
        arenas += [Arena() for _ in range(n_layers - len(arenas))]
        pairs = zip(paths, arenas[:n_layers], strict=True)
        volumes = [read_volume(path, arena) for path, arena in pairs]
    for path, volume in zip(paths, volumes, strict=True):
        if difference := same_grid(volumes[0], volume):
            raise BenchError("layers lie on different grids", file=path, found=difference)
    return Segmentation(tuple(v.array for v in volumes), volumes[0].affine, classes)


def write_case(folder: Path, image: Volume, segmentation: Segmentation, record: CaseRecord) -> None:
    """Write image, layers and, last, `case.json`, whose presence says that the case is whole."""
    write_volume(folder / "image.nii.gz", image)
    write_layers(folder, segmentation)
    write_text(folder / CASE_FILE, record.model_dump_json(indent=2) + "\n")


def read_case_record(folder: Path) -> CaseRecord:
    """Read and validate `case.json`."""
    return _read_record(folder / CASE_FILE, CaseRecord)


def read_image_case(folder: Path) -> ImageCase:
    """The model's view of a case folder."""
    record = read_case_record(folder)
    return ImageCase(
        dataset=record.dataset,
        case=record.case,
        patient=record.patient,
        modality=record.modality,
        folder=folder,
        spacing_mm=record.spacing_mm,
        shape=record.shape,
    )


def read_reference(
    folder: Path, arenas: list[Arena] | None = None
) -> tuple[CaseRecord, Segmentation]:
    """The reference segmentation of a case folder, classes annotated and generated."""
    record = read_case_record(folder)
    return record, read_layers(folder, record.n_layers, record.classes, arenas=arenas)


def write_prediction(
    folder: Path, model: str, case: ImageCase, prediction: Prediction
) -> PredictionRecord:
    """Write layers and, last, `prediction.json`."""
    write_layers(folder, prediction.segmentation)
    own = prediction.own_grid
    if own is not None:
        write_layers(folder, own, prefix="own-")
    record = PredictionRecord(
        model=model,
        dataset=case.dataset,
        case=case.case,
        n_layers=len(prediction.segmentation.layers),
        classes=dict(prediction.segmentation.classes),
        own_n_layers=0 if own is None else len(own.layers),
        own_classes={} if own is None else dict(own.classes),
    )
    write_text(folder / PREDICTION_FILE, record.model_dump_json(indent=2) + "\n")
    return record


def read_prediction_record(folder: Path) -> PredictionRecord:
    """Read and validate `prediction.json`."""
    return _read_record(folder / PREDICTION_FILE, PredictionRecord)


def read_prediction(
    folder: Path, own_grid: bool = False, arenas: list[Arena] | None = None
) -> tuple[PredictionRecord, Segmentation]:
    """A prediction's record and its layers (on the model's own grid if asked for)."""
    record = read_prediction_record(folder)
    if own_grid:
        own = record.own_n_layers, record.own_classes
        return record, read_layers(folder, *own, "own-", arenas)
    return record, read_layers(folder, record.n_layers, record.classes, arenas=arenas)


def _read_record(path: Path, kind: type[R]) -> R:
    try:
        return kind.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BenchError(f"{path.name} is missing", file=path, hint="run the step again") from error
    except ValidationError as error:
        raise BenchError(
            f"{path.name} is not a valid record", file=path, found=str(error).splitlines()[1:3]
        ) from error


def classes_present(segmentation: Segmentation, names: Sequence[str]) -> list[str]:
    """Those of `names` that have at least one voxel."""
    present = [set(np.unique(layer).tolist()) for layer in segmentation.layers]
    return [
        name
        for name in names
        if any(present[p.layer].intersection(p.values) for p in segmentation.classes[name].parts)
    ]
