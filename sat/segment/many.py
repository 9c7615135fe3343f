"""`satbench segment FOLDER`: many scans in one call, each with an answer of its own.

A scan that cannot be segmented does not end the others, and what an earlier call has answered from
the same scan, checkpoint and words stays.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from evaluation.datasets.readers.dicom import series_files
from evaluation.errors import BenchError
from evaluation.files.progress import Progress as Shown
from evaluation.files.reading import mapping_of
from evaluation.files.writing import TEMPORARY_PREFIX, visible
from evaluation.volumes.image_files import has_volume_suffix, stem_of
from sat.model import SatModel
from sat.segment.answer import LABELS_FILE, Found
from sat.segment.segment import Progress, Request, load, made_from, require_prompts, segment_scan


@dataclass(frozen=True)
class Answered:
    """What became of one scan: its name, and what was found, or why nothing was."""

    name: str
    status: Literal["ok", "kept", "failed"]
    reason: str = ""
    found: tuple[Found, ...] = ()


def scans_in(folder: Path) -> dict[str, Path]:
    """The scans of a folder by name; empty if the folder is itself one DICOM series.

    Scans are the volume files in it (`a.nii.gz` is `a`), and what is in the folders inside it: a
    DICOM series (`b/`), or volume files (`b/ct`). A folder whose only content is one series in a
    folder of its own is one scan.

    Raises:
        BenchError: two scans would have the same name.
    """
    if not folder.is_dir():
        return {}
    found: dict[str, list[Path]] = {}
    inside = sorted(visible(folder))
    for path in _volumes(folder):
        found.setdefault(stem_of(path), []).append(path)
    series = []
    for inner in filter(Path.is_dir, inside):
        volumes = _volumes(inner)
        for path in volumes:
            found.setdefault(f"{inner.name}/{stem_of(path)}", []).append(path)
        if not volumes and _holds_dicom(inner):
            series.append(inner)
    if found or len(series) > 1:
        for inner in series:
            found.setdefault(inner.name, []).append(inner)
    for name, paths in found.items():
        if len(paths) > 1:
            raise BenchError(
                f"two scans would be answered as `{name}`",
                found=" and ".join(map(str, paths)),
                hint="rename one, or segment it by itself",
            )
    return {name: paths[0] for name, paths in found.items()}


def _volumes(folder: Path) -> list[Path]:
    return [path for path in sorted(visible(folder)) if has_volume_suffix(path) and path.is_file()]


def _holds_dicom(folder: Path) -> bool:
    from pydicom.misc import is_dicom

    return any(file.suffix.lower() == ".dcm" or is_dicom(file) for file in series_files(folder)[:1])


def segment_all(
    request: Request, scans: Mapping[str, Path], warn: Callable[[str], None]
) -> Iterator[Answered]:
    """Segment each scan into `<out>/<name>/`, as `segment_scan` does one.

    Args:
        request: what is asked of each; `out` is the folder of all answers.
        scans: by name.
        warn: called with a sentence about a scan.

    Raises:
        BenchError: no prompt, the checkpoint cannot be used, or the answers go to the scans' own
            folder: no scan could be segmented.
    """
    require_prompts(request)
    if request.out.resolve() == request.image.resolve():
        raise BenchError(
            "the answers would lie among the scans, and be scans of the next call",
            file=request.out, hint="name another folder in --out",
        )  # fmt: skip
    requests = {
        name: replace(request, image=path, out=request.out / name) for name, path in scans.items()
    }
    kept = [name for name, own in requests.items() if _is_kept(own)]
    yield from (Answered(name, "kept") for name in kept)
    todo = [name for name in requests if name not in kept]
    if not todo:
        return
    model = load(request)
    with Shown("segment", len(todo), kept=len(kept), unit="scan") as shown:
        for name in todo:
            start = time.perf_counter()
            said = Progress(partial(_warn, warn, name), _silent, _silent)
            try:
                answer = Answered(name, "ok", found=_segment_whole(requests[name], said, model))
            except BenchError as error:
                answer = Answered(name, "failed", error.one_line)
            except Exception as error:  # whatever one scan does to a library, the others go on
                answer = Answered(name, "failed", f"{type(error).__name__}: {error}")
            status = answer.status if answer.status == "failed" else ""
            shown.done(name, time.perf_counter() - start, status)
            yield answer


def _segment_whole(request: Request, said: Progress, model: SatModel) -> tuple[Found, ...]:
    """Segment one scan; a kill leaves nothing in the answer's folder that another call refuses."""
    if request.out.exists():
        return tuple(segment_scan(request, said, model))
    unfinished = request.out.with_name(TEMPORARY_PREFIX + request.out.name)
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        found = segment_scan(replace(request, out=unfinished), said, model)
        unfinished.rename(request.out)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return tuple(found)


def _warn(warn: Callable[[str], None], name: str, sentence: str) -> None:
    warn(f"{name}: {sentence}")


def _silent(*_: object) -> None:
    """Of many scans, one line each is enough."""


def _is_kept(request: Request) -> bool:
    """Whether the answer is there, whole, and made from the same scan, checkpoint and words."""
    try:
        record = mapping_of(request.out / LABELS_FILE)
        whole = all((request.out / str(c["file"])).is_file() for c in record["classes"])
        return whole and record.get("made_from") == made_from(request)
    except (OSError, KeyError, TypeError, BenchError):
        return False
