"""A case on disk and in memory: one image, and masks as a few integer layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, TypeVar

import numpy as np
from pydantic import AfterValidator, Field, ValidationError

from evaluation.classes.modality import Modality
from evaluation.errors import BenchError
from evaluation.files.identity import array_digest, digest
from evaluation.files.reading import is_folder_name, text_of
from evaluation.files.records import Record
from evaluation.files.sums import discard
from evaluation.files.writing import write_text
from evaluation.volumes.axes import AS_STORED, AxisOrder
from evaluation.volumes.image_files import Affine, Volume, read_volume, same_grid, write_volume
from evaluation.volumes.inflate import Arena
from evaluation.volumes.segmentation import ClassPlace, Segmentation

CASE_FILE = "case.json"
PREDICTION_FILE = "prediction.json"
MOST_LAYERS = 65_536


R = TypeVar("R", bound=Record)


def _file_name(name: str) -> str:
    """A case's files lie under its name: one that leads elsewhere would be written elsewhere."""
    if not is_folder_name(name):
        raise ValueError("not a name of one folder")
    return name


FolderName = Annotated[str, AfterValidator(_file_name)]
"""The id of a dataset, case or model wherever it is read: it names a folder."""


class CaseRecord(Record):
    """`case.json`: what is known of a standardised case.

    `not_annotated` are classes of the dataset that this case has no annotation for; a class in
    `classes` whose mask is empty was annotated and found absent. `made_from` is a digest of what
    the case was made from (contents of the source files, card, classes): it is made anew when
    that changes. `image` and `labels` are digests of what was written, so that what hangs on the
    image alone is not made again for a corrected label.
    """

    dataset: FolderName
    case: FolderName
    patient: str
    modality: Modality
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    source_orientation: str
    n_layers: int = Field(ge=0, le=MOST_LAYERS)
    classes: dict[str, ClassPlace]
    not_annotated: tuple[str, ...] = ()
    source_sha256: dict[str, str] = Field(default={})
    sequence: str | None = None
    grid_axes: AxisOrder = Field(
        default=AS_STORED, description="along which directions the sides of a common grid lie"
    )
    geometry: str = Field(default="", description="how a header that says two things was read")
    made_from: str = ""
    image: str = ""
    labels: str = ""


class PredictionRecord(Record):
    """`prediction.json`: where each predicted class lives in the layers beside it.

    With `own_n_layers`, the folder also holds `own-layer-*.nii.gz` on the model's own grid, where
    the same classes may be packed in another way. `made_from` is a digest of image, model and
    classes, `masks` one of the answer itself; `seconds` is what predicting this case took.
    """

    model: FolderName
    dataset: FolderName
    case: FolderName
    n_layers: int = Field(ge=0, le=MOST_LAYERS)
    classes: dict[str, ClassPlace]
    own_n_layers: int = Field(default=0, le=MOST_LAYERS)
    own_classes: dict[str, ClassPlace] = Field(default={})
    made_from: str = ""
    masks: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class ImageCase:
    """What a model is given: the image and its geometry, never a label.

    The image is read on demand and never cached; `content` is a digest of it. It is given towards
    R, A, S; a network whose voxels are no cubes turns it by `grid_axes` (evaluation.volumes.axes).
    """

    dataset: str
    case: str
    patient: str
    modality: Modality
    folder: Path
    spacing_mm: tuple[float, float, float]
    shape: tuple[int, int, int]
    content: str = ""
    grid_axes: AxisOrder = AS_STORED
    sequence: str | None = None

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
    if not paths:
        raise BenchError("the record names no layer", file=folder, hint="run the step again")
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


def write_case(
    folder: Path, image: Volume, segmentation: Segmentation, record: CaseRecord
) -> CaseRecord:
    """Write image, layers and, last, `case.json`, whose presence says that the case is whole.

    Returns:
        The record as written, with the digests of image and labels.
    """
    write_volume(folder / "image.nii.gz", image)
    write_layers(folder, segmentation)
    digests = {
        "image": array_digest([image.array], _geometry(image.affine)),
        "labels": segmentation_digest(segmentation, list(record.not_annotated)),
    }
    record = record.model_copy(update=digests)
    write_text(folder / CASE_FILE, record.model_dump_json(indent=2) + "\n")
    return record


def segmentation_digest(segmentation: Segmentation, *values: object) -> str:
    """A digest of layers, their grid and where the classes live in them."""
    places = {name: place.model_dump(mode="json") for name, place in segmentation.classes.items()}
    return array_digest(segmentation.layers, _geometry(segmentation.affine), places, *values)


def _geometry(affine: Affine) -> list[list[float]]:
    # As the file keeps it; -0.0 and 0.0 are the same place.
    plain: list[list[float]] = (np.asarray(affine, dtype=np.float32) + 0.0).tolist()
    return plain


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
        content=record.image,
        grid_axes=record.grid_axes,
        sequence=record.sequence,
    )


def read_reference(
    folder: Path, arenas: list[Arena] | None = None
) -> tuple[CaseRecord, Segmentation]:
    """The reference segmentation of a case folder, classes annotated and generated."""
    record = read_case_record(folder)
    return record, read_layers(folder, record.n_layers, record.classes, arenas=arenas)


def write_prediction(
    folder: Path,
    model: str,
    case: ImageCase,
    prediction: Prediction,
    *,
    made_from: str = "",
    seconds: float = 0.0,
) -> PredictionRecord:
    """Write layers and, last, `prediction.json`; an older answer in the folder is replaced.

    The old record goes first: killed in between, the folder holds no prediction.
    """
    discard(folder / PREDICTION_FILE)
    write_layers(folder, prediction.segmentation)
    own = prediction.own_grid
    if own is not None:
        write_layers(folder, own, prefix="own-")
    parts = [prediction.segmentation] if own is None else [prediction.segmentation, own]
    record = PredictionRecord(
        model=model,
        dataset=case.dataset,
        case=case.case,
        n_layers=len(prediction.segmentation.layers),
        classes=dict(prediction.segmentation.classes),
        own_n_layers=0 if own is None else len(own.layers),
        own_classes={} if own is None else dict(own.classes),
        made_from=made_from,
        masks=digest([segmentation_digest(part) for part in parts]),
        seconds=round(seconds, 3),
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
    if not path.is_file():
        raise BenchError(f"{path.name} is missing", file=path, hint="run the step again")
    try:
        return kind.model_validate_json(text_of(path))
    except ValidationError as error:
        raise BenchError(
            f"{path.name} is not a valid record", file=path, found=str(error).splitlines()[1:3]
        ) from error
