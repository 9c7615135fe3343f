"""What nnU-Net reads back: whole files only, and none that runs code.

Its checkpoints and what it keeps beside preprocessed cases are pickles, and these run whatever
they name.
"""

from __future__ import annotations

import pickle
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

# What an unpickler raises of a file that is cut or altered.
_BROKEN = (pickle.UnpicklingError, EOFError, ValueError, LookupError, AttributeError, TypeError)


def drop_damaged(folder: Path) -> None:
    """Delete checkpoints that are cut off or altered: nnU-Net goes on from the next best one.

    In its order these are the final one, the latest and the best; without any it starts anew.
    """
    for path in sorted(folder.glob("checkpoint_*.pth")):
        try:
            with zipfile.ZipFile(path) as archive:
                part = archive.testzip()
        except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError) as error:
            part = str(error)
        if part is not None:
            said = f"{path} is damaged ({part}) and deleted; the training goes on without it"
            sys.stdout.write(f"{said}\n")
            path.unlink()


def load_only_weights() -> None:
    """Make `torch.load` refuse whatever is more than tensors and plain values.

    nnU-Net unpickles its checkpoints, which would run any code that a file from elsewhere holds.
    Of numpy, its log has scalars.
    """
    import numpy as np
    import torch

    plain: Callable[..., Any] = torch.load
    kinds: list[Any] = [np.dtype, *(type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8", "?"))]
    scalar: Any = np.float64(0).__reduce__()[0]
    torch.serialization.add_safe_globals([scalar, *kinds])

    def load(*args: Any, **kwargs: Any) -> Any:
        return plain(*args, **(kwargs | {"weights_only": True}))

    torch.load = load


class _PlainValues(pickle.Unpickler):
    """Makes numbers, texts, their collections and numpy's arrays, and nothing else."""

    _KNOWN = frozenset(
        [("numpy", "ndarray"), ("numpy", "dtype")]
        + [
            (f"numpy.{core}.{module}", name)
            for core in ("core", "_core")
            for module, name in (
                ("multiarray", "_reconstruct"), ("multiarray", "scalar"), ("numeric", "_frombuffer")
            )
        ]
    )  # fmt: skip

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._KNOWN:
            raise pickle.UnpicklingError(f"it holds {module}.{name}, which may be code")
        return super().find_class(module, name)


def load_only_values() -> None:
    """Make nnU-Net read what it wrote beside a preprocessed case without running any code in it."""
    from nnunetv2.training.dataloading import nnunet_dataset

    def load(path: str, _mode: str = "rb") -> Any:
        with Path(path).open("rb") as stream:
            try:
                return _PlainValues(stream).load()
            except _BROKEN as error:
                sys.exit(f"{path} is damaged or from elsewhere ({error}): delete the preparation")

    nnunet_dataset.load_pickle = load
