"""What people give the commands: bad, odd and hostile files, each with what is right for it.

Every test here carries the marker `faults`. A bad input is *refused*: one message that names what
is wrong, no traceback, nothing written. An odd one that can be understood has the right value.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from evaluation.cli import build
from evaluation.errors import BenchError
from evaluation.scoring.folder_pairs import Settings
from evaluation.scoring.folders import Outcome, evaluate

LONGEST = 20_000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.faults)


def blob(shift: int = 0, axis: int = 0) -> np.ndarray:
    """Two touching boxes, values 1 and 2, in 12 x 11 x 10 voxels."""
    labels = np.zeros((12, 11, 10), np.uint8)
    labels[2:6, 2:8, 2:7] = 1
    labels[6:9, 2:8, 2:7] = 2
    return np.roll(labels, shift, axis)


def save(path: Path, array: np.ndarray, affine: np.ndarray | None = None) -> Path:
    """A NIfTI by nibabel."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.eye(4) if affine is None else affine), path)
    return path


def nifti(
    array: np.ndarray,
    *,
    order: str = "<",
    spacing: tuple[float, ...] = (1, 1, 1),
    sform: np.ndarray | None = None,
    qform: np.ndarray | None = None,
    units: int = 2,
    version: int = 1,
    **fields: Any,
) -> bytes:
    """The bytes of a NIfTI whose header says exactly this."""
    kind = nib.Nifti1Header if version == 1 else nib.Nifti2Header
    header = kind(endianness=order)
    stored = array.astype(array.dtype.newbyteorder(order))
    header.set_data_dtype(stored.dtype)
    header.set_data_shape(array.shape)
    if qform is not None:
        header.set_qform(qform, 1)
    if sform is not None:
        header.set_sform(sform, 1)
    header["pixdim"][1 : len(spacing) + 1] = spacing
    header["xyzt_units"] = units
    header["vox_offset"] = 352 if version == 1 else 544
    if version == 1:
        header["magic"] = b"n+1\0"
    for name, value in fields.items():
        header[name] = value
    return header.binaryblock + bytes(4) + stored.tobytes(order="F")


def write(path: Path, content: bytes | str) -> Path:
    """A file, zipped if its name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data, mtime=0) if path.name.endswith(".gz") else data)
    return path


def refusal(call: Callable[..., Any], *arguments: Any, **named: Any) -> str:
    """The message of what is refused; anything but a refusal fails the test."""
    try:
        found = call(*arguments, **named)
    except BenchError as error:
        text = str(error)
        assert text.strip()
        assert len(text) < LONGEST, f"a message of {len(text)} characters"
        assert "\x1b" not in text
        return text
    raise AssertionError(f"accepted: {found!r:.500}")


def command(*arguments: object) -> str:
    """What a command prints; its refusals are raised, and exit code 3 is an answer, too."""
    result = CliRunner().invoke(build(), [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    if result.exit_code not in (0, 3):
        raise BenchError(result.output or "refused by the command line")
    return result.output


def scored(root: Path, labels: Path | None = None, **options: Any) -> Outcome:
    """Evaluate `root/ref` against `root/pred`."""
    settings = Settings(labels={}, answered=frozenset(), **options)
    return evaluate(root / "ref", root / "pred", root / "out.csv", settings, labels)


def means(outcome: Outcome) -> dict[str, float]:
    """DSC of each `case class`."""
    rows: pd.DataFrame = outcome.rows
    return {f"{r['case']} {r['class']}": round(float(r["dsc"]), 4) for _, r in rows.iterrows()}


class Tools:
    """The functions above, as one object that tests get."""

    blob = staticmethod(blob)
    save = staticmethod(save)
    nifti = staticmethod(nifti)
    write = staticmethod(write)
    refusal = staticmethod(refusal)
    command = staticmethod(command)
    scored = staticmethod(scored)
    means = staticmethod(means)


@pytest.fixture(scope="session")
def tools() -> type[Tools]:
    return Tools
