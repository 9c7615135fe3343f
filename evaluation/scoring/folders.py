"""`satbench evaluate`: score a folder of predictions against a folder of references."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pandas as pd

from evaluation.errors import BenchError, in_one_line
from evaluation.files.expressions import with_group, within_patience
from evaluation.metrics.catalogue import find_metrics
from evaluation.metrics.scoring import checked_tolerances, find_engine
from evaluation.schema import INSTANCES, scores_table
from evaluation.scoring.comparing import FINE_TOLERANCE, Comparison
from evaluation.scoring.finding import find_cases
from evaluation.scoring.folder_pairs import GEOMETRY, Settings, key_of, pairs_of
from evaluation.scoring.inputs import PairedFiles, Source
from evaluation.scoring.journal import Journal
from evaluation.scoring.known_classes import answered_by, check_labels, labels_in, with_values
from evaluation.scoring.labels import Labels, find_labels, read_labels_file, without_ignored
from evaluation.scoring.outputs import instances_file, require_ours, write_rows
from evaluation.scoring.pipeline import ModelCases, measure_cases


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
    asked = [(prediction, output, settings)]
    return evaluate_models(reference, asked, labels_file, jobs, patient_pattern)[0]


def evaluate_models(
    reference: Path,
    asked: Sequence[tuple[Path, Path, Settings]],
    labels_file: Path | None = None,
    jobs: int = 1,
    patient_pattern: str = r"^(.*)$",
) -> list[Outcome]:
    """As `evaluate`, of several models that share the references, each of which is read once.

    Args:
        reference: as there.
        asked: of each model prediction, output and settings.
        labels_file: classes of all of them.
        jobs: cases at once.
        patient_pattern: as there.
    """
    known = (read_labels_file(labels_file), labels_file) if labels_file else find_labels(reference)
    given = without_ignored(known[0])[0] if known else None
    matched = [
        Matched(*find_cases(reference, prediction, given), output, settings)
        for prediction, output, settings in asked
    ]
    named = (known[0], str(known[1])) if known else None
    return evaluate_matched(reference, matched, named, jobs, patient_pattern)


@dataclass(frozen=True)
class Matched:
    """A model's cases, each with its reference, and where its rows go.

    Attributes:
        cases: what is compared.
        unmatched: predictions without a reference.
        output: file of the rows.
        settings: as of `evaluate`.
    """

    cases: list[PairedFiles]
    unmatched: list[str]
    output: Path
    settings: Settings


def evaluate_matched(
    reference: Path,
    models: Sequence[Matched],
    named: tuple[Labels, str] | None,
    jobs: int = 1,
    patient_pattern: str = r"^(.*)$",
) -> list[Outcome]:
    """As `evaluate_models`, of cases that are matched already.

    Args:
        reference: where the references lie, for messages.
        models: each with its cases.
        named: the classes, and where they come from in words; None: whatever the references hold.
        jobs: cases at once.
        patient_pattern: as of `evaluate`.
    """
    for model in models:
        require_ours(model.output)
        find_engine(model.settings.engine)
        find_metrics(model.settings.metrics)
        checked_tolerances(model.settings.tolerances_mm)
    given, ignored = without_ignored(named[0]) if named else (None, ())
    pattern = _pattern(patient_pattern)
    patients = _patients(pattern, {case.name for model in models for case in model.cases})
    looked: dict[tuple[Source, ...], tuple[Labels, str]] = {}
    under_way = []
    with ExitStack() as open_journals:
        for model in models:
            output, settings, cases = model.output, model.settings, model.cases
            path = output.with_name(f".{output.name}.cases.jsonl")
            journal = open_journals.enter_context(Journal(output, path))
            if given is None:
                sources = tuple(case.reference for case in cases)
                if sources not in looked:
                    looked[sources] = labels_in(reference, cases, jobs)
                labels, labels_from = looked[sources]
            else:
                labels, labels_from = given, named[1] if named else ""
            cases = with_values(labels, cases)
            check_labels(labels, cases)
            full = replace(
                settings, labels=labels, ignored=ignored, answered=answered_by(labels, cases)
            )
            keys = {case.name: key_of(case, full) for case in cases}
            journal.recall(keys.values())
            by_name = {case.name: case for case in cases}
            work = ModelCases(keys, partial(_pairs_of, by_name, full), full.measuring, journal)
            reused = sum(not work.lacks(case) for case in keys)
            under_way.append(_Model(work, output, full, model.unmatched, labels_from, reused))
        for work, case, error in measure_cases([model.work for model in under_way], jobs):
            failed = next(model.failed for model in under_way if model.work is work)
            failed[case] = in_one_line(error)
        return [model.written(patients) for model in under_way]


def _pairs_of(
    cases: Mapping[str, PairedFiles], settings: Settings, case: str
) -> Iterator[Comparison]:
    return pairs_of(cases[case], settings)


@dataclass(frozen=True)
class _Model:
    """One model under way, and what is known of it before its cases are measured."""

    work: ModelCases
    output: Path
    settings: Settings
    unmatched: list[str]
    labels_from: str
    reused: int
    failed: dict[str, str] = field(default_factory=dict)

    def written(self, patients: Mapping[str, str]) -> Outcome:
        """Write the rows of all cases that could be measured."""
        keys, journal, settings = self.work.keys, self.work.journal, self.settings
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
        write_rows(self.output, frame)
        counted = None
        if any(metric.needs_instances for metric in find_metrics(settings.metrics)):
            counted = pd.DataFrame(instances, columns=INSTANCES.names)
            write_rows(instances_file(self.output), counted, INSTANCES)
        journal.keep_only(keys.values())
        return Outcome(
            frame, self.failed, self.unmatched, self.labels_from, self.reused, unnamed, counted
        )


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
