"""Whose masks `satbench ceiling` compares: folders, one folder with a pattern, or a card's."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from evaluation.datasets.card import DatasetCard
from evaluation.datasets.raters import RaterMasks
from evaluation.datasets.registry import find_card
from evaluation.errors import BenchError
from evaluation.files.records import faults_of
from evaluation.scoring.labels import Label, Labels, find_labels, read_labels_file
from evaluation.scoring.raters import Raters, raters_by_pattern, raters_in_folders


@dataclass(frozen=True)
class CeilingSource:
    r"""What was asked for on the command line.

    Attributes:
        folders: one for each rater, or with `masks` the one that holds all.
        masks: file pattern.
        fields: regular expressions of its fields, as `rater=\d+`.
        raw_root: where the data of the entry's card lies; None: folders are named.
        dataset: the entry.
        labels: file that names the classes.
    """

    folders: tuple[Path, ...]
    masks: str | None
    fields: tuple[str, ...]
    raw_root: Path | None
    dataset: str
    labels: Path | None = None


@dataclass(frozen=True)
class RaterInputs:
    """Raters' masks and what is known of them.

    Attributes:
        raters: of each case.
        where: the folder that they lie in.
        named: the classes, and where they come from; None: whatever the masks hold.
        modality: of the entry; empty: unknown.
        patient_pattern: of the entry; empty: unknown.
    """

    raters: Raters
    where: Path
    named: tuple[Labels, str] | None
    modality: str = ""
    patient_pattern: str = ""


def inputs_of(source: CeilingSource) -> RaterInputs:
    """The raters' masks that were asked for.

    Raises:
        BenchError: the ways to name them are mixed, or nothing can be used.
    """
    if source.raw_root is not None:
        if source.folders or source.masks:
            raise BenchError(
                "raters are named twice", found="--raw-root and folders or --masks",
                expected="--raw-root, where the card says how the files lie, or folders",
            )  # fmt: skip
        return card_inputs(find_card(source.dataset), source.raw_root)
    given = read_labels_file(source.labels) if source.labels else None
    if source.masks is None:
        raters, labels = raters_in_folders(source.folders, given)
        where = source.folders[0]
    else:
        if len(source.folders) != 1:
            raise BenchError(
                "--masks is a pattern below one folder",
                found=f"{len(source.folders)} folders",
                expected="the folder that holds the masks of all raters",
            )
        (where,) = source.folders
        raters = raters_by_pattern(where, _statement(source.masks, source.fields))
        known = find_labels(where) if given is None else None
        labels = known[0] if known else given
    return RaterInputs(raters, where, (labels, str(source.labels or where)) if labels else None)


def _statement(masks: str, fields: tuple[str, ...]) -> RaterMasks:
    names = dict(text.partition("=")[::2] for text in fields)
    try:
        return RaterMasks.model_validate({"masks": masks, "names": names})
    except ValidationError as error:
        raise BenchError(
            "--masks or --field cannot be used",
            found=faults_of(RaterMasks, error),
            expected=r"such as --masks '{case}_mask{rater}.nii' --field 'rater=\d+'",
        ) from error


def card_inputs(
    card: DatasetCard, raw_root: Path, cases: Collection[str] | None = None
) -> RaterInputs:
    """The raters' masks of an entry, as its card says.

    Args:
        card: the entry.
        raw_root: where its folder lies.
        cases: only these; default: all that the card does not exclude.

    Raises:
        BenchError: the card names no raters, or their files are not there.
    """
    if card.raters is None:
        raise BenchError(
            f"the card `{card.id}` names no raters",
            expected="`raters:` with `masks: '{case}/{rater}.nii.gz'` or the like",
            hint="without a card, name folders, or one folder and --masks",
        )
    statement, where = card.raters, raw_root / card.folder
    if statement.by_class:
        files = {entry.file: entry.name for entry in card.annotated if entry.file}
        statement = statement.model_copy(update={"classes": files | dict(statement.classes)})
        labels = {entry.name: Label(file=entry.name) for entry in card.annotated}
    else:
        labels = {entry.name: Label(values=entry.values or ()) for entry in card.annotated}
        if card.ignore_values:
            labels["ignore"] = Label(values=card.ignore_values, ignored=True)
    found = raters_by_pattern(where, statement)
    wanted = found.keys() - card.exclude.keys() if cases is None else found.keys() & set(cases)
    raters = {case: own for case, own in found.items() if case in wanted}
    named = labels, f"card {card.id}"
    return RaterInputs(raters, where, named, card.modality, card.patient_pattern)
