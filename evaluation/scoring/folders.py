"""`satbench evaluate`: score a folder of predictions against a folder of references."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from evaluation.errors import BenchError
from evaluation.files.writing import atomic_path
from evaluation.metrics.catalogue import find_metrics, metrics_among
from evaluation.metrics.reading import read_labels
from evaluation.metrics.scoring import checked_tolerances, find_engine
from evaluation.metrics.values import distinct_values
from evaluation.schema import INSTANCES, Table, scores_table, write_table
from evaluation.scoring.comparing import FINE_TOLERANCE
from evaluation.scoring.folder_pairs import GEOMETRY, Settings, key_of, pairs_of
from evaluation.scoring.inputs import PairedFiles, find_cases
from evaluation.scoring.journal import Journal
from evaluation.scoring.labels import Label, Labels, find_labels, read_labels_file, without_ignored
from evaluation.scoring.pipeline import in_threads, measure_cases

OUTPUT_SUFFIXES = (".parquet", ".csv")


@dataclass(frozen=True)
class Outcome:
    """What became of an evaluation.

    Attributes:
        rows: score rows of all cases.
        failed: case -> why it could not be scored at all (its reference is unusable).
        unmatched: predictions without a reference.
        labels_from: where the classes come from, in words.
        reused: number of cases whose rows were there already.
        unnamed: value or mask file that no class names -> the cases whose predictions hold it.
        instances: rows of single structures, where a metric counts them; else None.
    """

    rows: pd.DataFrame
    failed: dict[str, str]
    unmatched: list[str]
    labels_from: str
    reused: int
    unnamed: dict[str, list[str]]
    instances: pd.DataFrame | None

    @property
    def missing(self) -> dict[str, str]:
        """Case -> why (part of) its prediction is missing."""
        lacking = self.rows[self.rows["status"] == "prediction_missing"].drop_duplicates("case")
        return dict(zip(lacking["case"], lacking["reason"], strict=True))

    @property
    def geometry(self) -> dict[str, str]:
        """Case -> how its geometry was decided, where a header says two things."""
        told = self.rows[self.rows["reason"].str.contains(GEOMETRY, regex=False)]
        told = told.drop_duplicates("case")
        words = [reason.partition(GEOMETRY)[2] for reason in told["reason"]]
        return dict(zip(told["case"], words, strict=True))

    @property
    def unsupported(self) -> list[str]:
        """Classes for which no prediction has a mask; they are in no mean."""
        return sorted(self.rows.loc[self.rows["status"] == "unsupported", "class"].unique())

    @property
    def finer_than_voxels(self) -> dict[float, int]:
        """Tolerance in mm -> number of cases whose voxels are larger than it."""
        fine = self.rows[self.rows["reason"].str.contains(FINE_TOLERANCE, regex=False)]
        counts = fine.groupby("tolerance_mm")["case"].nunique()
        return {float(tolerance): int(n) for tolerance, n in counts.items()}  # type: ignore[arg-type]


def evaluate(
    reference: Path,
    prediction: Path,
    output: Path,
    settings: Settings,
    labels_file: Path | None = None,
    jobs: int = 1,
    patient_pattern: str = r"^(.*)$",
) -> Outcome:
    """Score every case and write the rows.

    Args:
        reference: label map, folder of label maps, or folder of folders of masks.
        prediction: the same, matched by name.
        output: `.parquet` or `.csv`; a journal of finished cases is kept beside it.
        settings: metrics, tolerances, engine and names; its labels are filled in here.
        labels_file: classes; without it, `dataset.json` beside the reference, or whatever the
            references hold.
        jobs: cases at once.
        patient_pattern: regular expression whose first group in a case's name is the patient.

    Raises:
        BenchError: the arguments are unusable, or the output cannot be written.
    """
    if not output.name.lower().endswith(OUTPUT_SUFFIXES):
        raise BenchError(
            "unknown format of the output", file=output, expected=" or ".join(OUTPUT_SUFFIXES)
        )
    if output.is_dir():
        raise BenchError("the output is a folder", file=output, hint="name a file in --out")
    patient = _pattern(patient_pattern)
    find_engine(settings.engine)
    find_metrics(settings.metrics)
    checked_tolerances(settings.tolerances_mm)
    given, ignored = without_ignored(read_labels_file(labels_file)) if labels_file else (None, ())
    cases, unmatched = find_cases(reference, prediction, given)
    with Journal(output, output.with_name(f".{output.name}.cases.jsonl")) as journal:
        labels, labels_from = _labels(reference, cases, given, labels_file, jobs)
        if given is None:
            labels, ignored = without_ignored(labels)
        _check_labels(labels, cases)
        settings = replace(
            settings, labels=labels, ignored=ignored, answered=_answered(labels, cases)
        )
        by_name = {case.name: case for case in cases}
        keys = {case.name: key_of(case, settings) for case in cases}
        journal.recall(keys.values())
        reused = sum(journal.rows_of(key) is not None for key in keys.values())
        failed = {
            case: error.one_line
            if isinstance(error, BenchError)
            else f"{type(error).__name__}: {error}"
            for case, error in measure_cases(
                keys,
                lambda case: pairs_of(by_name[case], settings),
                settings.measuring,
                journal,
                jobs,
            )
        }
        done = {case: journal.rows_of(key) for case, key in keys.items()}
        unnamed: dict[str, list[str]] = {}
        for name, found in done.items():
            for value in found.unnamed if found else ():
                unnamed.setdefault(value, []).append(name)
        rows = [row for found in done.values() if found for row in found.rows]
        table = scores_table(settings.metrics)
        frame = pd.DataFrame(rows, columns=table.names) if rows else table.empty()
        instances = [row for found in done.values() if found for row in found.instances]
        if rows:
            frame["patient"] = [_patient(patient, case) for case in frame["case"]]
        write_rows(output, frame)
        counted = None
        if any(metric.needs_instances for metric in find_metrics(settings.metrics)):
            counted = pd.DataFrame(instances, columns=INSTANCES.names)
            write_rows(instances_file(output), counted, INSTANCES)
        journal.keep_only(keys.values())
    return Outcome(frame, failed, unmatched, labels_from, reused, unnamed, counted)


def instances_file(output: Path) -> Path:
    """Where the single structures are written: beside the score rows, in the same format."""
    return output.with_name(f"instances{output.suffix.lower()}")


def write_rows(path: Path, frame: pd.DataFrame, table: Table | None = None) -> None:
    """Write score rows, or those of another table, as Parquet or CSV, atomically."""
    try:
        if path.name.lower().endswith(".csv"):
            with atomic_path(path) as temporary:
                frame.to_csv(temporary, index=False)
        else:
            names = [metric.id for metric in metrics_among(frame.columns)]
            write_table(path, frame, table or scores_table(names))
    except OSError as error:
        raise BenchError("output cannot be written", file=path, found=error) from error


def _labels(
    reference: Path,
    cases: list[PairedFiles],
    given: Labels | None,
    given_file: Path | None,
    jobs: int,
) -> tuple[Labels, str]:
    if given is not None:
        return given, str(given_file)
    found = find_labels(reference)
    if found is not None:
        return found[0], str(found[1])
    if all(case.reference.layout == "masks" for case in cases):
        sound = [case.reference for case in cases if not case.reference.problem]
        names = sorted({name for source in sound for name in source.masks()})
        return {name: Label(file=name) for name in names}, "the names of the reference's masks"

    def values(case: PairedFiles) -> set[int] | str:
        try:
            return distinct_values(read_labels(case.reference.path).array)
        except BenchError as error:
            # Reported again when the case itself is scored.
            return error.one_line

    answers = list(in_threads(values, cases, jobs, "look for labels"))
    everything = set().union(*(a for a in answers if isinstance(a, set))) - {0}
    if not everything:
        unreadable = [answer for answer in answers if isinstance(answer, str)]
        raise BenchError(
            "no label in any reference",
            file=reference,
            found=f"{len(unreadable)} of {len(answers)} files cannot be used: {unreadable[0]}"
            if unreadable
            else f"{len(answers)} files in which every voxel is 0",
            hint="check that this is the folder of label maps, or name the classes with --labels",
        )
    labels = {str(value): Label(values=(value,)) for value in sorted(everything)}
    return labels, "the values in the references"


def _check_labels(labels: Labels, cases: list[PairedFiles]) -> None:
    """Label maps need values."""
    nameless = [name for name, label in labels.items() if not label.values]
    maps = [s for c in cases for s in (c.reference, c.prediction) if s and s.layout == "label maps"]
    if maps and nameless:
        raise BenchError(
            f"class `{nameless[0]}` has no value, but there are label maps",
            file=maps[0].path,
            expected="a value or a list of values for every class in --labels",
        )


def _answered(labels: Labels, cases: list[PairedFiles]) -> frozenset[str]:
    """Classes for which the prediction has a mask somewhere."""
    found: set[str] = set()
    for case in cases:
        source = case.prediction
        if source is not None and source.layout == "masks" and not source.problem:
            masks = source.masks()
            found |= {n for n, label in labels.items() if source.mask_of(n, label, masks)}
    return frozenset(found)


def _pattern(text: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise BenchError("patient pattern is no regular expression", found=error) from error
    if pattern.groups < 1:
        raise BenchError("patient pattern has no group", found=text, hint="for example ^(p\\d+)_")
    return pattern


def _patient(pattern: re.Pattern[str], case: str) -> str:
    match = pattern.search(case)
    return match.group(1) if match and match.group(1) else case
