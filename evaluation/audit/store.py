"""Fingerprints are made once: kept in a folder by entry, made anew only if the scan changed.

`<folder>/<entry>.parquet` holds them; while they are being made, parts of some scans each lie
beside it (`<entry>.part-*.parquet`), so a stopped audit loses a part at most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from evaluation.audit.fingerprint import Fingerprint, fingerprint_of
from evaluation.audit.keypoints import CODE_BYTES, Keypoints
from evaluation.audit.scans import Scan
from evaluation.errors import BenchError
from evaluation.files.writing import atomic_path, visible

PART = 32
"""Scans in a part."""

_SCHEMA = pa.schema(
    [
        ("case", pa.string()),
        ("key", pa.string()),
        ("sides_mm", pa.list_(pa.float64(), 3)),
        ("sketch", pa.binary()),
        ("position_mm", pa.binary()),
        ("octave", pa.binary()),
        ("symmetry", pa.binary()),
        ("ambiguous", pa.binary()),
        ("code", pa.binary()),
    ]
)

Made = tuple[Scan, Fingerprint | str]
"""A scan and its fingerprint, or the reason why there is none."""


def fingerprints(
    scans: Sequence[Scan],
    folder: Path,
    jobs: int = 1,
    seen: Callable[[Scan], object] = lambda _scan: None,
) -> tuple[dict[str, Fingerprint], dict[str, str]]:
    """Fingerprints of all scans, from the store where the scan is unchanged.

    Args:
        scans: scans to compare.
        folder: the store.
        jobs: scans at once; each needs about 6 bytes of memory for every voxel.
        seen: called when a scan's fingerprint is there or cannot be made.

    Returns:
        By `Scan.name`: the fingerprints, and the reasons of the scans that have none.
    """
    made: dict[str, Fingerprint] = {}
    failed: dict[str, str] = {}
    for dataset in dict.fromkeys(scan.dataset for scan in scans):
        here = [scan for scan in scans if scan.dataset == dataset]
        kept = _read(folder, dataset, {scan.case: scan.key for scan in here})
        missing = [scan for scan in here if scan.case not in kept]
        for scan in here:
            if scan.case in kept:
                made[scan.name] = kept[scan.case]
                seen(scan)
        batch: dict[str, tuple[str, Fingerprint]] = {}
        for scan, result in _make(missing, jobs):
            if isinstance(result, str):
                failed[scan.name] = result
            else:
                made[scan.name] = result
                batch[scan.case] = (scan.key, result)
            seen(scan)
            if len(batch) == PART:
                _write(_free_part(folder, dataset), batch)
                batch = {}
        parts = _parts(folder, dataset)
        if batch or parts:
            keys = {scan.case: scan.key for scan in here}
            whole = {
                case: (key, made[f"{dataset}/{case}"])
                for case, key in keys.items()
                if f"{dataset}/{case}" in made
            }
            _write(folder / f"{dataset}.parquet", whole)
            for part in parts:
                part.unlink()
    return made, failed


def _make(scans: Sequence[Scan], jobs: int) -> Iterator[Made]:
    if jobs == 1 or len(scans) < 2:
        yield from map(_made, scans)
        return
    alone: list[Scan] = []
    context = get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(scans)), mp_context=context) as pool:
        waiting: dict[Future[Made], Scan] = {pool.submit(_made, scan): scan for scan in scans}
        for future in as_completed(waiting):
            try:
                yield future.result()
            except BrokenProcessPool:
                alone.append(waiting[future])
    # A killed worker takes all that waited with it: each gets a process of its own.
    for scan in alone:
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            try:
                yield pool.submit(_made, scan).result()
            except BrokenProcessPool:
                yield scan, "its process was killed; it may need more memory than there is"


def _made(scan: Scan) -> Made:
    try:
        return scan, fingerprint_of(scan.load())
    except BenchError as error:
        return scan, error.one_line
    except Exception as error:
        return scan, f"{type(error).__name__}: {error}"


def _parts(folder: Path, dataset: str) -> list[Path]:
    return visible(folder, f"{dataset}.part-*.parquet")


def _free_part(folder: Path, dataset: str) -> Path:
    numbers = [int(p.name.split(".part-")[1].split(".")[0]) for p in _parts(folder, dataset)]
    return folder / f"{dataset}.part-{max(numbers, default=0) + 1:05d}.parquet"


def _write(path: Path, made: dict[str, tuple[str, Fingerprint]]) -> None:
    rows = [
        {
            "case": case,
            "key": key,
            "sides_mm": list(print_.sides_mm),
            "sketch": print_.sketch.tobytes(),
            "position_mm": print_.keypoints.position_mm.tobytes(),
            "octave": print_.keypoints.octave.tobytes(),
            "symmetry": print_.keypoints.symmetry.tobytes(),
            "ambiguous": print_.keypoints.ambiguous.tobytes(),
            "code": print_.keypoints.code.tobytes(),
        }
        for case, (key, print_) in made.items()
    ]
    with atomic_path(path) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA), temporary)


def _read(folder: Path, dataset: str, keys: dict[str, str]) -> dict[str, Fingerprint]:
    """Stored fingerprints whose key is the scan's; an unreadable file counts as absent."""
    found: dict[str, Fingerprint] = {}
    whole = folder / f"{dataset}.parquet"
    for path in [*([whole] if whole.is_file() else []), *_parts(folder, dataset)]:
        try:
            file = pq.ParquetFile(path)
            batches = list(file.iter_batches(batch_size=PART))
        except (OSError, pa.ArrowException):
            continue
        for batch in batches:
            if batch.schema.names != _SCHEMA.names:
                continue
            for row in batch.to_pylist():
                if row["key"] and keys.get(row["case"]) == row["key"]:
                    found[row["case"]] = _fingerprint(row)
    return found


def _fingerprint(row: dict[str, Any]) -> Fingerprint:
    x, y, z = row["sides_mm"]
    return Fingerprint(
        np.frombuffer(row["sketch"], dtype=np.uint64),
        Keypoints(
            np.frombuffer(row["position_mm"], dtype=np.float32).reshape(-1, 3),
            np.frombuffer(row["octave"], dtype=np.uint8),
            np.frombuffer(row["symmetry"], dtype=np.uint8),
            np.frombuffer(row["ambiguous"], dtype=np.uint8),
            np.frombuffer(row["code"], dtype=np.uint8).reshape(-1, CODE_BYTES),
        ),
        (x, y, z),
    )
