"""Segmenting by text, which another package of the distribution does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import entry_points
from os import PathLike
from pathlib import Path
from typing import Any, get_args

import pandas as pd

from evaluation.classes.modality import Modality
from evaluation.errors import BenchError, one_of

FUNCTIONS = "satbench.functions"


def segment(
    image: str | PathLike[str],
    prompts: Sequence[str],
    *,
    modality: str,
    checkpoint: str | PathLike[str],
    out: str | PathLike[str],
    flat: bool = False,
    overwrite: bool = False,
    text_encoder: str | PathLike[str] | None = None,
    device: str = "auto",
) -> pd.DataFrame:
    """Segment what is named in one scan with a trained SAT-Nano; needs `satbench[sat]`.

    Args:
        image: volume file (NIfTI, NRRD, MetaImage) or folder of one DICOM series.
        prompts: names of structures.
        modality: of the scan.
        checkpoint: a trained SAT-Nano.
        out: folder of the answer: a mask for each name on the scan's own grid, a picture, and
            `labels.json`.
        flat: one label map instead of one file for each name.
        overwrite: replace an answer that is there.
        text_encoder: folder of a text encoder, for checkpoints that need one of yours.
        device: `auto`, `cpu` or `cuda`.

    Returns:
        One row for each structure: `name`, `file`, `value` there, `voxels`, `volume_ml`, and how
        the prompt was understood.

    Raises:
        BenchError: the extra is not installed, or something of the request cannot be used.

    >>> import satbench
    >>> found = satbench.segment(
    ...     "ct.nii.gz", ["liver", "left kidney"], modality="ct", checkpoint="checkpoint.pt",
    ...     out="out/", device="cpu",
    ... )
    >>> found[["name", "file", "value"]]
              name                file  value
    0        liver        liver.nii.gz      1
    1  left kidney  left_kidney.nii.gz      1
    """
    one_of("modality", modality, get_args(Modality))
    _function("segment")(
        image=Path(image),
        prompts=(prompts,) if isinstance(prompts, str) else tuple(prompts),
        modality=modality,
        checkpoint=Path(checkpoint),
        out=Path(out),
        flat=flat,
        overwrite=overwrite,
        text_encoder=None if text_encoder is None else Path(text_encoder),
        device=device,
    )
    answer = json.loads((Path(out) / "labels.json").read_text(encoding="utf-8"))
    return pd.DataFrame(answer["classes"])


def _function(name: str) -> Any:
    """What another package offers here under the entry-point group `satbench.functions`."""
    try:
        (found,) = entry_points(group=FUNCTIONS, name=name)
        return found.load()
    except (ImportError, ValueError) as error:
        raise BenchError(
            f"`satbench.{name}` is not installed with all that it needs",
            found=error,
            hint="pip install 'satbench[sat]'",
        ) from error
