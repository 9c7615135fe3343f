"""Scores of what lies in two folders."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, get_args

import pandas as pd

from evaluation.classes.modality import Modality
from evaluation.errors import one_of
from evaluation.files.writing import write_json
from evaluation.metrics import EngineName
from evaluation.metrics.catalogue import asked_metrics
from evaluation.metrics.distances.definitions import DEFAULT_DEFINITION, DefinitionName
from evaluation.protocol import DEFAULT_METRICS, INSTANCE_METRICS, POLICIES
from evaluation.scoring.folder_pairs import Settings
from evaluation.scoring.folders import evaluate as evaluate_folders
from evaluation.scoring.inputs import readable, some_of
from evaluation.scoring.summary import summarise
from evaluation.volumes.image_files import stem_of


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
                not scored; `field-diagonal`: the same, and a distance of a missed class counts the
                diagonal of the scan's field instead of being left out; `paper`: both sides empty
                count 1. A missing prediction counts 0 wherever its class is scored.

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
    tolerance_mm: float | Sequence[float] | None = None,
    definition: DefinitionName = DEFAULT_DEFINITION,
    instances: bool = False,
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
        metrics: ids of metrics (`satbench metrics` lists them), percentiles such as `hd99`,
            tolerances in mm such as `nsd@0.5`.
        tolerance_mm: one or more tolerances in mm, each at least 0, of metrics that have one;
            without any, and where `metrics` names none, 1 mm.
        definition: of surfaces and their distances: `surface-element`, `voxel-larger` or
            `voxel-pooled`.
        instances: count the structures of every class one by one, too.
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
    ids, tolerances = asked_metrics(
        (*metrics, *(INSTANCE_METRICS if instances else ())), tolerance_mm
    )
    settings = Settings(
        labels={},
        answered=frozenset(),
        tolerances_mm=tolerances,
        metrics=ids,
        definition=definition,
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
