"""What the folders of a reference and of predictions hold: label maps or masks, by case or site.

Four forms are known, and none is guessed where the other could be meant:

- label maps in the folder itself: `case.nii.gz`;
- one folder for each case that holds its label map: `case/segmentation.nii.gz`, also below folders
  of sites; an image beside it is left out;
- one folder for each site that holds label maps: `site/case.nii.gz`;
- one folder for each case that holds one mask for each class: `case/liver.nii.gz`.

A folder holds label maps if its files hold several values. What the reference holds decides how
the predictions are read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from evaluation.errors import BenchError
from evaluation.files.writing import is_hidden
from evaluation.scoring.inputs import (
    Source,
    composed,
    is_segmentation,
    one_file,
    readable,
    some_of,
    volumes_in,
)
from evaluation.scoring.labels import Labels
from evaluation.volumes.image_files import (
    VOLUME_SUFFIXES,
    has_volume_suffix,
    read_volume,
    stem_of,
)
from evaluation.volumes.segments import has_segments

# TotalSegmentator's folder of masks inside a case's folder.
_MASK_FOLDER = "segmentations"
_DEEPEST = 4
_IMAGE_NAMES = {
    *("image", "imaging", "img", "scan", "volume", "ct", "mr", "mri", "pet", "adc", "dwi", "flair"),
    *("t1", "t1w", "t1c", "t1ce", "t1n", "t1gd", "t2", "t2w", "t2f"),
}
# No label map of a body or brain holds more values; an image nearly always does.
_MOST_VALUES = 255
_SAMPLE = 200_000


@dataclass(frozen=True)
class Leaf:
    """A folder that holds volumes, and its name: the path below the folder that was named."""

    name: str
    folder: Path
    files: tuple[Path, ...]
    masks: bool = False

    def role(self, file: Path) -> str:
        """What a file is in its folder: its name without suffix and without the folder's name."""
        stem = composed(stem_of(file)).lower()
        return stem.removeprefix(composed(self.folder.name).lower()).strip("-_. ")


@dataclass(frozen=True)
class Form:
    """How folders inside a folder are read.

    `role` is that of the one label map in each case's folder, `images` are those of scans. Where
    the references name their segments, several files of one case are masks by name.
    """

    kind: Literal["masks", "case", "site"] = "masks"
    role: str | None = None
    images: frozenset[str] = frozenset()
    segments: bool = False


def references_in(
    folder: Path, answers: Path, labels: Labels | None
) -> tuple[dict[str, Source], Form | None]:
    """References by name, and in which form the folders inside are (None: there are none).

    Args:
        folder: of the references.
        answers: folder of the predictions, whose names decide where both forms fit.
        labels: the classes, if they are known.

    Raises:
        BenchError: there is none, or the folder cannot be read.
    """
    leaves = _leaves(folder)
    form = _form(leaves, answers, labels) if leaves else None
    return _sources(folder, leaves, form or Form()), form


def answers_in(folder: Path, form: Form | None, labels: Labels | None) -> dict[str, Source]:
    """Predictions by name; read in the form of the references where these lie in folders.

    Raises:
        BenchError: there is none, or the folder cannot be read.
    """
    leaves = _leaves(folder)
    if form is None:
        alone = all(len(leaf.files) == 1 for leaf in leaves)
        form = Form("case") if alone and not _named(leaves, labels) else Form()
    found = _sources(folder, leaves, form)
    if form.kind == "case" and not form.segments:
        # References by case may be answered by site.
        for leaf in leaves:
            for name, source in _in_leaf(leaf, Form("site")) if len(leaf.files) > 1 else ():
                found.setdefault(name, source)
    return found


def _sources(folder: Path, leaves: list[Leaf], form: Form) -> dict[str, Source]:
    found: dict[str, list[Source]] = {}
    try:
        for path in sorted(folder.iterdir()):
            name = readable(stem_of(path))
            if path.is_file() and is_segmentation(path):
                found.setdefault(name, []).append(one_file(path))
            elif has_volume_suffix(path) and path.is_symlink() and not path.exists():
                nowhere = Source(path, "label maps", "the link leads nowhere")
                found.setdefault(name, []).append(nowhere)
        for leaf in leaves:
            for name, source in _in_leaf(leaf, form):
                found.setdefault(name, []).append(source)
    except PermissionError as error:
        raise BenchError("folder cannot be read", file=folder, found=error) from error
    if not found:
        raise BenchError(
            "folder holds no segmentation",
            file=folder,
            found=some_of(readable(path.name) for path in folder.iterdir()) or "an empty folder",
            expected=f"files {', '.join(VOLUME_SUFFIXES)}, DICOM SEG or RTSTRUCT, or a folder for "
            "each case that holds its label map or masks",
            hint="name the folder that directly holds the label maps, or the folders of the cases",
        )
    return {name: _only(sources) for name, sources in found.items()}


def _in_leaf(leaf: Leaf, form: Form) -> Iterator[tuple[str, Source]]:
    """What a folder holds, by the name of its case."""
    if form.kind == "masks" or leaf.masks:
        images = frozenset(file for file in leaf.files if leaf.role(file) in form.images)
        source = Source(leaf.folder, "masks", images=images)
        try:
            source.masks()
        except BenchError as error:
            source = replace(source, problem=error.one_line)
        yield leaf.name, source
    elif form.kind == "site":
        for file in leaf.files:
            if not _is_image_by_name(leaf.role(file)):
                yield f"{leaf.name}/{readable(stem_of(file))}", one_file(file)
    else:
        files = leaf.files
        for fits in (
            lambda f: leaf.role(f) == form.role,
            lambda f: not _is_image_by_name(leaf.role(f)),
        ):
            if len(files) > 1:
                files = tuple(filter(fits, files)) or files
        if len(files) == 1:
            yield leaf.name, one_file(files[0])
        elif form.segments:
            yield leaf.name, Source(leaf.folder, "masks")
        else:
            names = ", ".join(readable(file.name) for file in files)
            problem = f"several files could be the label map of this case: {names}"
            yield leaf.name, Source(leaf.folder, "masks", problem)


def _form(leaves: list[Leaf], answers: Path, labels: Labels | None) -> Form:
    """In which form the folders of the references are."""
    if _named(leaves, labels) or all(leaf.masks for leaf in leaves):
        return Form("masks")
    files = [(leaf, file) for leaf in leaves for file in leaf.files]
    roles: dict[str, Path] = {}
    for leaf, file in files:
        roles.setdefault(leaf.role(file), file)
    # A folder for each case names its files alike; looking into one of each kind is enough.
    alike = len(roles) < len(files) or len(leaves) == 1
    several = any(len(leaf.files) > 1 for leaf in leaves)
    images: set[str] = set()
    if several:
        images = {role for role, file in roles.items() if _is_image(role, file)} if alike else set()
        files = [(leaf, file) for leaf, file in files if leaf.role(file) not in images]
        several = max(Counter(leaf.name for leaf, _ in files).values(), default=0) > 1
    masks = Form("masks", images=frozenset(images))
    if not several:
        if all(has_segments(file) for _, file in files):
            return Form("case", segments=True)
        only = {leaf.role(file) for leaf, file in files}
        role = only.pop() if len(only) == 1 else None
        maps = labels is not None or any(_holds(file) == "several" for _, file in files)
        return Form("case", role) if maps or not _answered_alike(files, answers) else masks
    if labels is not None:
        return Form("site")
    looked = [roles[role] for role in {leaf.role(f) for leaf, f in files}] if alike else None
    kinds = [_holds(file) for file in looked or [file for _, file in files]]
    if alike and len(leaves) > 1:
        # Several label maps of one case, each with values of its own: read as masks, they are
        # refused case by case.
        return masks
    maps = kinds.count("several") > len(kinds) / 2 if alike else "several" in kinds
    return Form("site") if maps else masks


def _answered_alike(files: list[tuple[Leaf, Path]], answers: Path) -> bool:
    """Whether a prediction names its file as the reference does, as a class's mask would be."""
    wanted = {composed(stem_of(file)) for _, file in files}
    return any(
        composed(stem_of(file)) in wanted for leaf in _leaves(answers) for file in leaf.files
    )


def _named(leaves: list[Leaf], labels: Labels | None) -> bool:
    """Whether some file is named as a class."""
    sources = [Source(leaf.folder, "masks") for leaf in leaves]
    if not labels or not sources:
        return False
    wanted = {composed(label.file or name) for name, label in labels.items()}
    wanted |= {stem_of(Path(name)) for name in wanted}
    return any(composed(stem_of(file)) in wanted for leaf in leaves for file in leaf.files)


def _is_image(role: str, file: Path) -> bool:
    return _is_image_by_name(role) or _holds(file) == "grey values"


def _is_image_by_name(role: str) -> bool:
    return role in _IMAGE_NAMES or role.endswith("_0000") or role == "0000"


def _holds(file: Path) -> Literal["one", "several", "grey values", "unknown"]:
    """What a volume holds besides 0: one value, several, or the grey values of an image."""
    if has_segments(file):
        return "several"
    try:
        array = read_volume(file).array
    except BenchError:
        return "unknown"  # said again where it is scored
    flat = array.ravel(order="K")
    values = np.unique(flat[:: max(1, flat.size // _SAMPLE)])
    fractions = np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all()
    if fractions or (values.size > 2 and values.min() >= 0 and values.max() <= 1):
        return "unknown"  # a soft mask is no image: it is refused by name
    if values.size > _MOST_VALUES:
        return "grey values"
    # Every voxel is looked at before a file passes for a mask.
    present = np.unique(flat)
    return "several" if np.count_nonzero(present) > 1 else "one"


def _leaves(folder: Path, above: str = "", depth: int = 0) -> list[Leaf]:
    """The folders below one that hold volumes, sorted by name; nothing below them is looked at."""
    found: list[Leaf] = []
    try:
        for path in sorted(p for p in folder.iterdir() if not is_hidden(p.name) and p.is_dir()):
            name = above + readable(path.name)
            if masks := next((p for p in path.iterdir() if p.name.lower() == _MASK_FOLDER), None):
                inner = volumes_in(masks) if masks.is_dir() else []
                if inner:
                    found.append(Leaf(name, masks, tuple(inner), masks=True))
                    continue
            if files := volumes_in(path):
                found.append(Leaf(name, path, tuple(files)))
            elif depth < _DEEPEST:
                found += _leaves(path, f"{name}/", depth + 1)
    except PermissionError as error:
        raise BenchError("folder cannot be read", file=folder, found=error) from error
    return found


def _only(sources: list[Source]) -> Source:
    if len(sources) == 1:
        return sources[0]
    names = ", ".join(readable(source.path.name) for source in sources)
    return Source(sources[0].path, sources[0].layout, f"several files have this name: {names}")
