"""Scores of what lies in two folders, or in memory."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from evaluation.classes.modality import Modality
from evaluation.errors import BenchError, one_of
from evaluation.files.writing import write_json
from evaluation.metrics import ClassScore, EngineName
from evaluation.metrics import score as score_segmentations
from evaluation.metrics.reading import as_labels
from evaluation.metrics.values import distinct_values
from evaluation.protocol import DEFAULT_METRICS, POLICIES
from evaluation.scoring.folder_pairs import Settings
from evaluation.scoring.folders import evaluate as evaluate_folders
from evaluation.scoring.inputs import readable, some_of
from evaluation.scoring.summary import summarise
from evaluation.volumes.image_files import stem_of
from evaluation.volumes.segmentation import ClassPlace, Kind, Part, Segmentation, pack_masks

Side = ArrayLike | Mapping[str, ArrayLike] | Segmentation


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found.

    Attributes:
        rows: one row for each case, class and tolerance, a missing prediction included; columns
            as `satbench dictionary` explains them. DSC and NSD lie in 0..1.
        failed: case -> why its reference could not be used; such a case has no row.
        missing: case -> why (part of) its prediction is missing.
        unmatched: predictions without a reference.
        classes_from: where the classes come from, in words.
    """

    rows: pd.DataFrame
    failed: dict[str, str]
    missing: dict[str, str]
    unmatched: list[str]
    classes_from: str

    def summary(self, policy: str = "present-only") -> pd.DataFrame:
        """Means by class, and what they are means of.

        Args:
            policy: what empty masks count. `present-only`: a class that the reference lacks is
                not scored; `paper`: both sides empty count 1. A missing prediction counts 0
                wherever its class is scored.

        Returns:
            One row for each class: `n` scores in the mean, `dsc` and `nsd` by tolerance (0..1),
            and how often each status occurs besides `scored`.

        Raises:
            BenchError: no such policy.
        """
        return self._means(policy)[0]

    def overall(self, policy: str = "present-only") -> pd.DataFrame:
        """As `summary`, in two rows: the mean of the classes' means, and of all scores."""
        return self._means(policy)[1]

    def _means(self, policy: str) -> tuple[pd.DataFrame, pd.DataFrame]:
        one_of("policy", policy, POLICIES)
        found = summarise(self.rows, policy)
        return found.classes, found.overall


def evaluate(
    reference: str | PathLike[str],
    prediction: str | PathLike[str],
    *,
    metrics: Sequence[str] = DEFAULT_METRICS,
    tolerance_mm: float | Sequence[float] = 1.0,
    labels: Mapping[str, int | Sequence[int] | str] | str | PathLike[str] | None = None,
    out: str | PathLike[str] | None = None,
    model: str | None = None,
    dataset: str | None = None,
    modality: str = "unknown",
    engine: EngineName = "sweep",
    resample: Literal["refuse", "nearest"] = "refuse",
    patient_pattern: str = r"^(.*)$",
    jobs: int = 1,
) -> Evaluation:
    r"""Score a folder of predictions against a folder of references, matched by name.

    Args:
        reference: label map, folder of label maps (NIfTI, NRRD, MetaImage), or folder with one
            folder of masks for each case.
        prediction: the same.
        metrics: ids of metrics (`satbench metrics` lists them).
        tolerance_mm: one or more tolerances in mm, each at least 0, of metrics that have one.
        labels: class -> value, list of values, or name of its mask file; or a YAML or JSON file
            with that. Default: `dataset.json` beside the reference, else the values in it.
        out: where the rows are kept too, `.parquet` or `.csv`; a call that was stopped goes on
            there, and cases whose files have not changed are not measured again.
        model: name in the rows; the prediction's by default.
        dataset: name in the rows; the reference's by default.
        modality: of the scans, in the rows.
        engine: `sweep`, `surface-distance` or `monai`.
        resample: a prediction on another grid: `refuse` it, or take the `nearest` voxels.
        patient_pattern: regular expression whose first group in a case's name is the patient.
        jobs: cases at once; each needs memory.

    Raises:
        BenchError: a path, label, tolerance or name that cannot be used. A prediction that cannot
            be read is no error but a row with the status `prediction_missing` and the reason.

    >>> import satbench
    >>> result = satbench.evaluate("refs/", "preds/", tolerance_mm=1, labels={"liver": 1})
    >>> print(result.summary())
       class  n    dsc  nsd @ 1 mm  prediction_missing
    0  liver  2  0.375         0.5                   1
    >>> result.missing
    {'case_2': 'no prediction of this name'}
    >>> satbench.evaluate("refs/", "preds/case_1.nii.gz")
    Traceback (most recent call last):
    evaluation.errors.BenchError: one path is a file and the other a folder
    ...
    """
    one_of("modality", modality, (*get_args(Modality), "unknown"))
    one_of("resample", resample, ("refuse", "nearest"))
    reference, prediction = Path(reference), Path(prediction)
    settings = Settings(
        labels={},
        answered=frozenset(),
        tolerances_mm=tuple(dict.fromkeys(_several(tolerance_mm))),
        metrics=tuple(dict.fromkeys(metrics)),
        engine=engine,
        resample=resample,
        model=model or readable(stem_of(prediction.resolve())),
        dataset=dataset or readable(stem_of(reference.resolve())),
        modality=modality,
    )
    with TemporaryDirectory() as folder:
        file = None if labels is None or isinstance(labels, Mapping) else Path(labels)
        if isinstance(labels, Mapping):
            write_json(file := Path(folder) / "labels.json", dict(labels))
        rows = Path(folder) / "scores.parquet" if out is None else Path(out)
        found = evaluate_folders(reference, prediction, rows, settings, file, jobs, patient_pattern)
    if found.failed:
        warnings.warn(
            "references that cannot be used, so that their cases have no rows: "
            + some_of(found.failed),
            stacklevel=2,
        )
    return Evaluation(found.rows, found.failed, found.missing, found.unmatched, found.labels_from)


def score(
    reference: Side,
    prediction: Side | None,
    spacing_mm: Sequence[float],
    tolerances_mm: float | Sequence[float],
    classes: Mapping[str, int | Sequence[int]] | Sequence[str],
    metrics: Sequence[str] = DEFAULT_METRICS,
    engine: EngineName = "sweep",
) -> list[ClassScore]:
    """Score the classes of one case that is in memory.

    Args:
        reference: label map (x, y, z) of whole numbers; or class -> mask (x, y, z), which may
            overlap; or a `Segmentation`.
        prediction: the same on the same grid, or None if there is none.
        spacing_mm: voxel size along x, y, z in mm.
        tolerances_mm: one or more tolerances of NSD in mm, each at least 0.
        classes: class -> value or values in the label maps; names are enough for masks.
        metrics: ids of metrics (`satbench metrics` lists them).
        engine: `sweep` (all classes at once), `surface-distance` or `monai`.

    Returns:
        One record for each class and tolerance with its status, metrics by id, voxels, surfaces.

    Raises:
        BenchError: shapes differ, a spacing or tolerance cannot be used, or a label map is given
            and a class has no value.

    >>> import numpy as np, satbench
    >>> reference, prediction = np.zeros((2, 10, 10, 10), dtype=np.uint8)
    >>> reference[2:6, 2:6, 2:6], prediction[3:7, 2:6, 2:6] = 1, 1
    >>> found = satbench.score(reference, prediction, (1, 1, 3), 1, {"liver": 1, "spleen": 2})
    >>> [(one.class_name, one.status, one["dsc"], one["nsd"]) for one in found]
    [('liver', 'scored', 0.75, 1.0), ('spleen', 'both_empty', nan, nan)]
    """
    return score_segmentations(
        _segmentation(reference, spacing_mm, classes, "annotated"),
        None if prediction is None else _segmentation(prediction, spacing_mm, classes, "direct"),
        spacing_mm,
        _several(tolerances_mm),
        list(classes),
        engine,
        metrics,
    )


def _segmentation(
    side: Side,
    spacing_mm: Sequence[float],
    classes: Mapping[str, int | Sequence[int]] | Sequence[str],
    kind: Kind,
) -> Segmentation:
    if isinstance(side, Segmentation):
        return side
    affine = np.diag([*spacing_mm, 1.0])
    if isinstance(side, Mapping):
        masks = {name: _mask(name, np.asarray(mask)) for name, mask in side.items()}
        if len(shapes := {mask.shape for mask in masks.values()}) > 1:
            raise BenchError("masks of one side have different shapes", found=sorted(shapes))
        return pack_masks(masks, affine, kind)
    if not isinstance(classes, Mapping):
        raise BenchError(
            "a label map needs the value of each class",
            found=classes,
            expected="a mapping such as {'liver': 1, 'kidney': [2, 3]}",
        )
    places = {
        name: ClassPlace(
            kind=kind, parts=(Part(layer=0, values=tuple(np.atleast_1d(values).tolist())),)
        )
        for name, values in classes.items()
    }
    return Segmentation((as_labels(np.asarray(side), "label map"),), affine, places)


def _mask(name: str, array: NDArray[Any]) -> NDArray[np.bool_]:
    """A mask; several values would be a label map, and exchanged classes would score 1."""
    labels = as_labels(array, f"mask `{name}`") if array.size else array
    if len(values := sorted(distinct_values(labels) - {0})) > 1:
        raise BenchError(
            f"the mask `{name}` holds several values", found=", ".join(map(str, values[:8])),
            expected="0 and one other value",
        )  # fmt: skip
    mask: NDArray[np.bool_] = labels != 0
    return mask


def _several(numbers: float | Sequence[float]) -> Sequence[float]:
    return [numbers] if isinstance(numbers, int | float) else numbers
