"""Which classes two folders hold, where nobody names them, and which of them are answered."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from evaluation.errors import BenchError
from evaluation.metrics.reading import read_labels
from evaluation.metrics.values import distinct_values
from evaluation.scoring.inputs import PairedFiles, Source
from evaluation.scoring.labels import Label, Labels
from evaluation.scoring.pipeline import in_threads
from evaluation.volumes.segmentation import Part
from evaluation.volumes.segments import segments_of


def labels_in(reference: Path, cases: list[PairedFiles], jobs: int) -> tuple[Labels, str]:
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
            return distinct_values(read_labels(source.path, frame=source.frame).array)
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


def with_values(labels: Labels, cases: list[PairedFiles]) -> list[PairedFiles]:
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


def check_labels(labels: Labels, cases: list[PairedFiles]) -> None:
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


def answered_by(labels: Labels, cases: list[PairedFiles]) -> frozenset[str]:
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
