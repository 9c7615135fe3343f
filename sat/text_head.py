"""The linear map after a text encoder's pooling, where knowledge was put in nothing else."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from evaluation.errors import BenchError

HEAD_FILE = "text_head.safetensors"


def load_head(folder: Path, width: int) -> Tensor | None:
    """The map (E, E) of an encoder's folder, to be applied as `embeddings @ map.T`; None without.

    Raises:
        BenchError: the file is damaged, or of another width.
    """
    path = folder / HEAD_FILE
    if not path.is_file():
        return None
    try:
        weight = load_file(path)["weight"]
    except (OSError, KeyError, SafetensorError) as error:
        raise BenchError("the map of a text encoder is damaged", file=path, found=error) from error
    if weight.shape != (width, width):
        raise BenchError(
            "the map of a text encoder does not fit it",
            file=path,
            found=tuple(weight.shape),
            expected=(width, width),
        )
    return weight
