"""Features of all windows, computed once: in memory, or in a scratch file if they are large."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from math import prod
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from torch import Tensor

from sat.architecture.network import Features, SatNetwork
from sat.config import Triple
from sat.grid import triple
from sat.inference.native import scratch_is_full
from sat.inference.windows import window_corners


class WindowFeatures:
    """Encodes every window of a volume once and gives the features back as often as wanted.

    Args:
        network: whose `encode` is called, in evaluation mode.
        volume: (X, Y, Z) float32, at least as large as the window.
        window: size of a window in voxels.
        overlap: part of a window that the next one covers again.
        batch: windows encoded at once.
        memory_bytes: features beyond it go to a scratch file, removed on leaving.
        on_encoded: called with the number of windows done and of all windows, first with none.

    The scratch file is read and written, never mapped: a mapping's pages count as memory of the
    process until somebody else needs them. Use it as a context manager.
    """

    def __init__(
        self,
        network: SatNetwork,
        volume: Tensor,
        window: Triple,
        overlap: float,
        batch: int,
        memory_bytes: int,
        on_encoded: Callable[[int, int], None] | None = None,
    ) -> None:
        self.corners = window_corners(triple(volume.shape), window, overlap)
        self._network, self._volume, self._window = network, volume, window
        self._batch, self._memory_bytes = batch, memory_bytes
        self._on_encoded = on_encoded
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._pixels: Tensor | None = None
        self._shape: tuple[int, ...] = ()
        self._tokens: Tensor | None = None
        self._positions = torch.empty(0)

    def __enter__(self) -> WindowFeatures:
        if self._on_encoded is not None:
            self._on_encoded(0, len(self.corners))
        try:
            with torch.inference_mode():
                for numbers in self._batches():
                    self._keep(numbers, self._network.encode(self._images(numbers)))
                    if self._on_encoded is not None:
                        self._on_encoded(numbers[-1] + 1, len(self.corners))
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pixels = self._tokens = None
        if self._folder is not None:
            self._folder.cleanup()

    def __iter__(self) -> Iterator[tuple[list[Triple], Features]]:
        """Corners of some windows and their features, on the network's device."""
        assert self._tokens is not None
        device = self._tokens.device
        for numbers in self._batches():
            place = slice(numbers[0], numbers[-1] + 1)
            pixels = self._from_file(numbers) if self._pixels is None else self._pixels[place]
            features = Features(pixels.to(device), self._tokens[place], self._positions)
            yield [self.corners[n] for n in numbers], features

    @property
    def in_scratch_file(self) -> bool:
        """Whether the features were too large for the memory budget."""
        return self._folder is not None

    def _batches(self) -> Iterator[Sequence[int]]:
        for start in range(0, len(self.corners), self._batch):
            yield range(start, min(start + self._batch, len(self.corners)))

    def _images(self, numbers: Sequence[int]) -> Tensor:
        device = next(self._network.parameters()).device
        x, y, z = self._window
        windows = [
            self._volume[a : a + x, b : b + y, c : c + z]
            for a, b, c in (self.corners[n] for n in numbers)
        ]
        return torch.stack(windows)[:, None].to(device)

    def _keep(self, numbers: Sequence[int], features: Features) -> None:
        if self._tokens is None:
            self._allocate(features)
        assert self._tokens is not None
        place = slice(numbers[0], numbers[-1] + 1)
        if self._pixels is not None:
            self._pixels[place] = features.pixels
        else:
            values = features.pixels.float().cpu().contiguous().numpy()
            try:
                with self._file.open("ab") as stream:
                    values.tofile(stream)
            except OSError as error:
                raise scratch_is_full(error) from error
        self._tokens[place] = features.tokens
        self._positions = features.positions

    def _allocate(self, features: Features) -> None:
        count = len(self.corners)
        self._shape = tuple(features.pixels.shape[1:])
        self._tokens = features.tokens.new_empty((count, *features.tokens.shape[1:]))
        if features.pixels[0].nbytes * count <= self._memory_bytes:
            self._pixels = features.pixels.new_empty((count, *self._shape))
        else:
            self._folder = tempfile.TemporaryDirectory(prefix="satbench-features-")

    @property
    def _file(self) -> Path:
        assert self._folder is not None
        return Path(self._folder.name) / "features"

    def _from_file(self, numbers: Sequence[int]) -> Tensor:
        size = prod(self._shape)
        offset = numbers[0] * size * np.dtype(np.float32).itemsize
        pixels = np.fromfile(self._file, np.float32, size * len(numbers), offset=offset)
        assert self._tokens is not None
        return torch.from_numpy(pixels).view(len(numbers), *self._shape).to(self._tokens.dtype)
