"""`satbench evaluate`: score a folder of predictions against a folder of references."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from evaluation.errors import BenchError
from evaluation.files.expressions import with_group, within_patience
from evaluation.metrics.catalogue import find_metrics
from evaluation.metrics.reading import read_labels
from evaluation.metrics.scoring import checked_tolerances, find_engine
from evaluation.metrics.values import distinct_values
from evaluation.schema import INSTANCES, scores_table
from evaluation.scoring.comparing import FINE_TOLERANCE
from evaluation.scoring.finding import find_cases
from evaluation.scoring.folder_pairs import GEOMETRY, Settings, key_of, pairs_of
from evaluation.scoring.inputs import PairedFiles, Source
from evaluation.scoring.journal import Journal
from evaluation.scoring.labels import Label, Labels, find_labels, read_labels_file, without_ignored
from evaluation.scoring.outputs import instances_file, require_ours, write_rows
from evaluation.scoring.pipeline import in_threads, measure_cases
from evaluation.volumes.segmentation import Part
from evaluation.volumes.segments import segments_of


@dataclass(frozen=True)
class Outcome:
    """What became of an evaluation.

    Attributes:
        rows: score rows of all cases.
        failed: case -> why it could not be scored at all (its reference is unusable).
        unmatched: predictions without a reference.
        labels_from: where the classes come from, in words.
        reused: number of cases whose rows were there already.
        unnamed: what no class names (`value 7`, `reference: value 7`) -> the cases that hold it.
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
    require_ours(output)
    patient = _pattern(patient_pattern)
    find_engine(settings.engine)
    find_metrics(settings.metrics)
    checked_tolerances(settings.tolerances_mm)
    known = (read_labels_file(labels_file), labels_file) if labels_file else find_labels(reference)
    given, ignored = without_ignored(known[0]) if known else (None, ())
    cases, unmatched = find_cases(reference, prediction, given)
    patients = _patients(patient, (case.name for case in cases))
    with Journal(output, output.with_name(f".{output.name}.cases.jsonl")) as journal:
        if given is None:
            labels, labels_from = _labels(reference, cases, jobs)
        else:
            labels, labels_from = given, str(known[1] if known else "")
        cases = _with_values(labels, cases)
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
            frame["patient"] = frame["case"].map(patients)
        write_rows(output, frame)
        counted = None
        if any(metric.needs_instances for metric in find_metrics(settings.metrics)):
            counted = pd.DataFrame(instances, columns=INSTANCES.names)
            write_rows(instances_file(output), counted, INSTANCES)
        journal.keep_only(keys.values())
    return Outcome(frame, failed, unmatched, labels_from, reused, unnamed, counted)


def _labels(reference: Path, cases: list[PairedFiles], jobs: int) -> tuple[Labels, str]:
    """The classes, where nobody has named them."""
    sound = [case.reference for case in cases if not case.reference.problem]
    if not sound:
        raise BenchError(
            "no reference can be used", file=reference, found=cases[0].reference.problem
        )
    if segmented := [source for source in sound if source.layout == "segments"]:
        return _segment_labels(segmented), "the names of the reference's segments"
    if masks := [source for source in sound if source.layout == "masks"]:
        names = sorted({name for source in masks for name in source.masks()})
        return {name: Label(file=name) for name in names}, "the names of the reference's masks"

    def values(source: Source) -> set[int] | str:
        try:
            return distinct_values(read_labels(source.path).array)
        except BenchError as error:
            # Reported again when the case itself is scored.
            return error.one_line

    answers = list(in_threads(values, sound, jobs, "look for labels"))
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


def _segment_labels(sources: list[Source]) -> Labels:
    """Names of segments, with the value where it is the same in every reference."""
    values: dict[str, set[int]] = {}
    for source in sources:
        for name, part in _segments(source).items():
            values.setdefault(name, set()).update(part.values if part.layer == 0 else (-1,))
    return {
        name: Label(values=tuple(found)) if len(found) == 1 and found != {-1} else Label(file=name)
        for name, found in sorted(values.items())
    }


def _segments(source: Source) -> dict[str, Part]:
    try:
        return segments_of(source.path)
    except BenchError:
        return {}  # said when the case itself is scored


def _with_values(labels: Labels, cases: list[PairedFiles]) -> list[PairedFiles]:
    """The cases; a label map among references of another layout cannot be read without values.

    Such a stray file costs its own case, not all the others.
    """
    nameless = next((name for name, label in labels.items() if not label.values), None)
    others = any(case.reference.layout != "label maps" for case in cases)
    if nameless is None or not others:
        return cases
    problem = f"a label map among other references, and class `{nameless}` has no value"
    return [
        replace(case, reference=replace(case.reference, problem=problem))
        if case.reference.layout == "label maps" and not case.reference.problem
        else case
        for case in cases
    ]


def _check_labels(labels: Labels, cases: list[PairedFiles]) -> None:
    """Label maps need values."""
    nameless = [name for name, label in labels.items() if not label.values]
    sources = [s for c in cases for s in (c.reference, c.prediction) if s and not s.problem]
    maps = [source for source in sources if source.layout == "label maps"]
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
        if source is None or source.problem:
            continue
        if source.layout == "masks":
            masks = source.masks()
            found |= {n for n, label in labels.items() if source.mask_of(n, label, masks)}
        elif source.layout == "segments":
            found |= _segments(source).keys() & labels.keys()
    return frozenset(found)


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(with_group(text))
    except ValueError as error:
        raise BenchError(
            "patient pattern has no group, or is no regular expression", found=error,
            hint="for example ^(p\\d+)_",
        ) from error  # fmt: skip


def _patients(pattern: re.Pattern[str], cases: Iterable[str]) -> dict[str, str]:
    """The patient of each case; a case that the pattern does not fit is one of its own."""
    with within_patience(pattern.pattern):
        found = {case: pattern.search(case) for case in cases}
    return {case: match.group(1) or case if match else case for case, match in found.items()}
