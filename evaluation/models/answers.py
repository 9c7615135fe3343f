"""The files that a model answers with: label maps, or one mask for each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evaluation.cases import ImageCase, Prediction
from evaluation.errors import BenchError
from evaluation.metrics.reading import read_labels
from evaluation.models.gate import on_grid
from evaluation.volumes.image_files import Array, Volume, read_grid
from evaluation.volumes.segmentation import ClassPlace, Part, Segmentation, pack_masks

Labels = Mapping[str, int | list[int]]


def mask_file(class_name: str) -> str:
    """File name of a class's own mask: `left kidney` -> `left_kidney.nii.gz`."""
    return class_name.replace(" ", "_").replace("/", "-") + ".nii.gz"


def answer_files(
    folder: Path, case: ImageCase, labels: Labels | None, classes: Sequence[str]
) -> list[Path]:
    """The files of one answer: the case's label map, or one mask for each class."""
    if labels is not None:
        return [folder / f"{case.case}.nii.gz"]
    return [folder / case.case / mask_file(name) for name in classes]


def read_answer(
    folder: Path, case: ImageCase, labels: Labels | None, classes: Sequence[str]
) -> Prediction:
    """Read `<case>.nii.gz` with `labels`, or the masks `<case>/<class>.nii.gz`.

    Any orientation is accepted; the grid must be the image's. Values are read by the rule of
    `satbench evaluate`: whole numbers within 1e-3, here none below 0. A mask holds 0 and one other
    value.

    Raises:
        BenchError: a file is missing, lies on another grid or holds other values.
    """
    image = read_grid(case.folder / "image.nii.gz")
    if labels is not None:
        array = _read_on_grid(answer_files(folder, case, labels, classes)[0], image)
        places = {
            name: ClassPlace(kind="direct", parts=(Part(layer=0, values=_values(labels[name])),))
            for name in classes
        }
        kind = np.uint8 if array.max() < 256 else np.uint16
        layers = (array.astype(kind, copy=False),)
        return Prediction(Segmentation(layers, image.affine, places))
    paths = _mask_paths(folder / case.case, classes)
    masks = {name: _read_mask(path, image) for name, path in paths.items()}
    return Prediction(pack_masks(masks, image.affine, "direct"))


def _values(value: int | list[int]) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, list) else (value,)


def _mask_paths(folder: Path, classes: Sequence[str]) -> dict[str, Path]:
    """The mask file of each class.

    Raises:
        BenchError: one is missing. It is not read as empty: nobody can tell a class that is absent
            from a file that was forgotten.
    """
    paths = {name: folder / mask_file(name) for name in classes}
    missing = [path.name for path in paths.values() if not path.is_file()]
    if len(missing) == len(paths):
        raise BenchError(
            "there is no mask of this case",
            file=folder,
            expected="one for each class: " + ", ".join(missing),
        )
    if missing:
        raise BenchError(
            "masks are missing; a class that the scan does not show needs an empty one",
            file=folder,
            found="all but " + ", ".join(missing),
        )
    return paths


def _read_mask(path: Path, image: Volume) -> NDArray[np.bool_]:
    from evaluation.metrics.values import distinct_values  # numba: only where voxels are read

    array = _read_on_grid(path, image)
    values = sorted(distinct_values(array) - {0})
    if len(values) > 1:
        raise BenchError(
            "mask holds more than one value besides 0",
            file=path,
            found=f"{', '.join(map(str, values[:8]))}{', ...' if len(values) > 8 else ''}",
            expected="0 and one other value, such as 1 or 255",
            hint="cut a probability map at its threshold; a label map needs `labels` in the card",
        )
    mask: NDArray[np.bool_] = array > 0
    return mask


def _read_on_grid(path: Path, image: Volume) -> Array:
    """Labels of a file (uint8, uint16 or int16, none negative) in the image's orientation."""
    array = on_grid(read_labels(path), image, "prediction", path)
    if (low := array.min()) < 0:
        raise BenchError(
            "prediction holds values below 0", file=path, found=low, expected="0 to 65535"
        )
    return array
