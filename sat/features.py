"""Features of all windows, computed once: in memory, or in a scratch file if they are large."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from torch import Tensor

from evaluation.io import Array
from sat.config import Triple
from sat.network import Features, SatNetwork
from sat.windows import window_corners


class WindowFeatures:
    """Encodes every window of a volume once and gives the features back as often as wanted.

    Args:
        network: whose `encode` is called, in evaluation mode.
        volume: (X, Y, Z) float32, at least as large as the window.
        window: size of a window in voxels.
        overlap: part of a window that the next one covers again.
        batch: windows encoded at once.
        memory_bytes: features beyond it go to a scratch file, removed on leaving.

    Use it as a context manager.
    """

    def __init__(
        self,
        network: SatNetwork,
        volume: Tensor,
        window: Triple,
        overlap: float,
        batch: int,
        memory_bytes: int,
    ) -> None:
        self.corners = window_corners(_triple(volume.shape), window, overlap)
        self._network, self._volume, self._window = network, volume, window
        self._batch, self._memory_bytes = batch, memory_bytes
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._pixels: Tensor | Array | None = None
        self._tokens: Tensor | None = None
        self._positions = torch.empty(0)

    def __enter__(self) -> WindowFeatures:
        with torch.inference_mode():
            for numbers in self._batches():
                self._keep(numbers, self._network.encode(self._images(numbers)))
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
        assert self._pixels is not None
        assert self._tokens is not None
        device = self._tokens.device
        for numbers in self._batches():
            pixels = self._pixels[numbers[0] : numbers[-1] + 1]
            if not isinstance(pixels, Tensor):
                # A copy, because torch wants writable memory and the scratch file is shared.
                pixels = torch.from_numpy(np.array(pixels))
            tokens = self._tokens[numbers[0] : numbers[-1] + 1]
            features = Features(pixels.to(device), tokens, self._positions)
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
        if self._pixels is None:
            self._allocate(features)
        assert self._pixels is not None
        assert self._tokens is not None
        place = slice(numbers[0], numbers[-1] + 1)
        if isinstance(self._pixels, Tensor):
            self._pixels[place] = features.pixels
        else:
            self._pixels[place] = features.pixels.cpu().numpy()
        self._tokens[place] = features.tokens
        self._positions = features.positions

    def _allocate(self, features: Features) -> None:
        count = len(self.corners)
        shape = (count, *features.pixels.shape[1:])
        tokens = features.tokens
        self._tokens = tokens.new_empty((count, *tokens.shape[1:]))
        if features.pixels[0].nbytes * count <= self._memory_bytes:
            self._pixels = features.pixels.new_empty(shape)
            return
        self._folder = tempfile.TemporaryDirectory(prefix="satbench-features-")
        data_type = features.pixels[:0].cpu().numpy().dtype
        path = Path(self._folder.name) / "features"
        self._pixels = np.memmap(path, dtype=data_type, mode="w+", shape=shape)


def _triple(shape: Sequence[int]) -> Triple:
    x, y, z = shape
    return x, y, z
