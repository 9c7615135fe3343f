"""Where the masks of several raters lie, found by one file pattern; no image is needed.

The pattern says which text is the case, the rater and the class:

- `{case}/{rater}.nii.gz`, `{rater}/{case}.nii.gz`, `{case}_mask{rater}.nii`: a label map each;
- `{case}.nii.gz`, without a rater: the parts along the file's fourth axis are one rater each;
- `{case}/task{class}_seg{rater}.nii.gz`: a mask each for every class and rater (QUBIQ). Files that
  differ in another field alone (`_instance-{n}_`) are one mask together.

Without `{case}` the folder is one case.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from evaluation.datasets.readers.patterns import Finder, Pattern, PatternArguments, fill
from evaluation.errors import BenchError
from evaluation.metrics.reading import read_labels
from evaluation.metrics.values import distinct_values
from evaluation.volumes.frames import count_frames
from evaluation.volumes.image_files import has_volume_suffix, same_grid, to_ras

if TYPE_CHECKING:
    from evaluation.datasets.card import DatasetCard

NO_IMAGE = "no_image"
"""The reader of entries that have no images."""


class RaterMasks(PatternArguments):
    """Where the masks of an entry's raters lie.

    `masks` is a file pattern with the fields `{case}`, `{rater}` and `{class}`, each as the files
    need it. `case` is a template of the case's id, as the reader of the images makes it.
    `classes`: what stands for `{class}` -> name of a class; without it, both are the same.
    """

    masks: Pattern
    case: str = "{case}"
    classes: Mapping[str, str] = Field(default={})

    @model_validator(mode="after")
    def _classes_have_a_field(self) -> RaterMasks:
        if self.classes and "{class}" not in self.masks:
            raise ValueError("classes: the pattern has no field {class}")
        return self

    @property
    def by_class(self) -> bool:
        """Whether each class has mask files of its own; else all are values of label maps."""
        return "{class}" in self.masks


@dataclass(frozen=True)
class RaterFiles:
    """What one rater drew of a case.

    Attributes:
        path: the label map, or where the masks lie.
        masks: mask files by class; none of a label map.
        frame: which part along the fourth axis; None: the files are 3D.
        problem: why it cannot be used.
    """

    path: Path
    masks: tuple[tuple[str, tuple[Path, ...]], ...] = ()
    frame: int | None = None
    problem: str | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """All of its files."""
        return tuple(path for _, paths in self.masks for path in paths) or (self.path,)


def find_raters(folder: Path, statement: RaterMasks) -> dict[str, dict[str, RaterFiles]]:
    """Case -> rater -> files, both sorted; headers are read only where a file holds all raters.

    Raises:
        BenchError: no file fits the pattern.
    """
    if not folder.is_dir():
        raise BenchError("no such folder", file=folder.absolute())
    finder = statement.finder()
    found: dict[str, dict[str, dict[str, list[Path]]]] = {}
    for match in finder.find(folder, statement.masks):
        if not (match.path.is_file() and has_volume_suffix(match.path)):
            continue
        values = {"case": folder.resolve().name, **match.values}
        name = values.get("class", "")
        by_rater = found.setdefault(fill(statement.case, values), {})
        classes = by_rater.setdefault(values.get("rater", ""), {})
        classes.setdefault(statement.classes.get(name, name), []).append(match.path)
    if not found:
        raise _nothing(folder, statement, finder)
    return {case: _of_case(statement, found[case]) for case in sorted(found)}


def _nothing(folder: Path, statement: RaterMasks, finder: Finder) -> BenchError:
    fields = "; ".join(f"{{{name}}} = {text}" for name, text in statement.names.items())
    return BenchError(
        "no file of a rater in this folder",
        file=folder,
        found=finder.instead(folder, statement.masks),
        expected=f"volumes such as {statement.masks}" + (f" ({fields})" if fields else ""),
        hint="the pattern is a path below the folder; {case}, {rater} and {class} stand for text",
    )


def _of_case(
    statement: RaterMasks, raters: Mapping[str, Mapping[str, list[Path]]]
) -> dict[str, RaterFiles]:
    found: dict[str, RaterFiles] = {}
    for rater in sorted(raters, key=_natural):
        classes = raters[rater]
        first = next(iter(classes.values()))[0]
        if statement.by_class:
            masks = tuple((name, tuple(paths)) for name, paths in sorted(classes.items()))
            files = RaterFiles(first.parent, masks)
        else:
            several = classes[""]
            names = ", ".join(path.name for path in several)
            problem = f"several label maps fit: {names}" if len(several) > 1 else None
            files = RaterFiles(first, problem=problem)
        if rater:
            found[rater] = files
        else:
            found |= _along_fourth_axis(files)
    return found


def _along_fourth_axis(files: RaterFiles) -> dict[str, RaterFiles]:
    """A rater for each part along the fourth axis, numbered from 1."""
    try:
        counts = {count_frames(path) for path in files.files}
    except BenchError as error:
        return {"1": RaterFiles(files.path, files.masks, problem=error.one_line)}
    if len(counts) > 1 or 0 in counts:
        why = "no fourth axis along which raters could lie, and the pattern has no field {rater}"
        if len(counts) > 1:
            why = "its files differ in the length of their fourth axis"
        return {"1": RaterFiles(files.path, files.masks, problem=why)}
    return {
        str(n + 1): RaterFiles(files.path, files.masks, frame=n, problem=files.problem)
        for n in range(counts.pop())
    }


def require_images(card: DatasetCard) -> None:
    """Refuse an entry whose cases are references of raters alone.

    Raises:
        BenchError: by its name.
    """
    if card.reader == NO_IMAGE:
        raise BenchError(
            f"`{card.id}` has references of several raters and no image: no model can run on it",
            expected="entries with images",
            hint=f"take it out of `entries`; `satbench ceiling --dataset {card.id} --raw-root DIR` "
            "scores its raters against each other",
        )


def _natural(name: str) -> list[tuple[int, int, str]]:
    """So that rater 10 comes behind rater 9."""
    parts = re.findall(r"\d+|\D+", name)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


def fault_of(raters: Mapping[str, RaterFiles], known: set[int] | None) -> str:
    """What is wrong with the masks of a case, in words; empty: nothing.

    Args:
        raters: the files of each.
        known: values that label maps may hold; None: any.
    """
    if len(raters) < 2:
        return f"masks of {len(raters)} rater ({', '.join(raters)}), at least two are compared"
    first = None
    for rater, files in raters.items():
        if files.problem:
            return f"rater {rater}: {files.problem}"
        for path in files.files:
            try:
                volume = read_labels(path, frame=files.frame)
            except BenchError as error:
                return f"rater {rater}: {error.one_line}"
            grid = to_ras(volume)
            first = first or grid
            if difference := same_grid(first, grid):
                return f"rater {rater}: {path.name} lies on another grid: {difference}"
            values = distinct_values(volume.array)
            if known is not None and (strange := sorted(values - known)):
                return f"rater {rater}: {path.name} holds unknown label values {strange[:20]}"
            if files.masks and len(values - {0}) > 1:
                return f"rater {rater}: {path.name} is no mask, it holds several values"
    return ""
