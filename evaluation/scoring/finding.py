"""Find the cases of two folders (or two files) and match them by name."""

from __future__ import annotations

from pathlib import Path

from evaluation.errors import BenchError
from evaluation.scoring.inputs import (
    PairedFiles,
    Source,
    is_segmentation,
    one_file,
    readable,
    some_of,
)
from evaluation.scoring.labels import Labels
from evaluation.scoring.layouts import answers_in, references_in
from evaluation.volumes.image_files import VOLUME_SUFFIXES, stem_of


def find_cases(
    reference: Path, prediction: Path, labels: Labels | None = None
) -> tuple[list[PairedFiles], list[str]]:
    """Cases of the reference in alphabetical order, and predictions that have no reference.

    Two files make one case whatever their names. In folders, the name of a case is its file name
    without suffix, or the name of its folder (`evaluation.scoring.layouts`). Where every label is
    a file name, two folders that hold those files themselves are one case.

    Args:
        reference: file or folder.
        prediction: file or folder.
        labels: the classes, if they are known already.

    Raises:
        BenchError: a path does not exist, a file meets a folder, a folder holds no
            segmentation, or no prediction has the name of a reference.
    """
    for path in (reference, prediction):
        if not path.exists():
            raise BenchError("no such file or folder", file=path.absolute())
    if reference.is_file() and prediction.is_file():
        for path in (reference, prediction):
            if not is_segmentation(path):
                raise BenchError(
                    "not a volume by its name, nor a DICOM object that holds segments", file=path,
                    expected=", ".join(VOLUME_SUFFIXES) + ", or DICOM SEG or RTSTRUCT",
                )  # fmt: skip
        name = readable(stem_of(reference))
        return [PairedFiles(name, one_file(reference), one_file(prediction))], []
    for path, other in ((reference, prediction), (prediction, reference)):
        if path.is_file() and other.is_dir():
            raise BenchError(
                "one path is a file and the other a folder",
                found=f"{reference} and {prediction}",
                expected="two files, or two folders",
                hint="to score one case, name its file on both sides",
            )
        if not path.is_dir():
            raise BenchError("neither a file nor a folder", file=path)
    if labels and all(label.file for label in labels.values()):
        pair = Source(reference, "masks"), Source(prediction, "masks")
        if all(source.holds_a_mask(labels) for source in pair):
            return [PairedFiles(readable(reference.resolve().name), *pair)], []
    known, form = references_in(reference, prediction, labels)
    answers = answers_in(prediction, form, labels)
    if not known.keys() & answers.keys():
        raise BenchError(
            "no prediction has the name of a reference",
            file=prediction,
            found=some_of(answers),
            expected=some_of(known),
            hint="a case is matched by its file name without the suffix, or by its folder's name: "
            "rename the predictions",
        )
    cases = [PairedFiles(name, source, answers.get(name)) for name, source in sorted(known.items())]
    return cases, sorted(answers.keys() - known.keys())
