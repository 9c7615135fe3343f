"""Features of all windows, computed once: in memory, or in a scratch file if they are large."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from math import prod
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from evaluation.training.native import scratch_is_full
from evaluation.training.settings import Inference, Triple
from evaluation.training.windows import Windows


class WindowFeatures(Windows):
    """Encodes every window of a volume once and gives the features back as often as wanted.

    Args:
        encode: images (B, 1, X, Y, Z) to a NamedTuple whose field `pixels` (B, C, X, Y, Z) is the
            large one; the others are small and stay where they are.
        volume: (X, Y, Z) float32, at least as large as the window.
        window: size of a window in voxels.
        inference: overlap, windows at once, and the memory beyond which `pixels` go to a scratch
            file, removed on leaving.
        device: where the windows go.
        on_window: called with the number of windows encoded and of all windows, first with none.

    The scratch file is read and written, never mapped: a mapping's pages count as memory of the
    process until somebody else needs them.
    """

    def __init__(
        self,
        encode: Callable[[Tensor], Any],
        volume: Tensor,
        window: Triple,
        inference: Inference,
        device: torch.device,
        on_window: Callable[[int, int], None] | None = None,
    ) -> None:
        super().__init__(volume, window, inference, device)
        self._encode, self._on_window = encode, on_window
        self._memory_bytes = inference.memory_mib << 20
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._pixels: Tensor | None = None
        self._shape: tuple[int, ...] = ()
        # For each batch of windows its features, with no pixels in place of all.
        self._others: list[Any] = []

    def __enter__(self) -> Self:
        if self._on_window is not None:
            self._on_window(0, len(self.corners))
        try:
            with torch.inference_mode():
                for numbers in self._batches():
                    self._keep(numbers, self._encode(self._images(numbers)))
                    if self._on_window is not None:
                        self._on_window(numbers[-1] + 1, len(self.corners))
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
        self._pixels = None
        self._others.clear()
        if self._folder is not None:
            self._folder.cleanup()

    def __iter__(self) -> Iterator[tuple[list[Triple], Any]]:
        """Corners of some windows and what `encode` made of them, on the device."""
        for numbers, others in zip(self._batches(), self._others, strict=True):
            place = slice(numbers[0], numbers[-1] + 1)
            pixels = self._from_file(numbers) if self._pixels is None else self._pixels[place]
            yield (
                [self.corners[n] for n in numbers],
                others._replace(pixels=pixels.to(others.pixels)),
            )

    @property
    def in_scratch_file(self) -> bool:
        """Whether the features were too large for the memory budget."""
        return self._folder is not None

    def _keep(self, numbers: Sequence[int], features: Any) -> None:
        pixels: Tensor = features.pixels
        if not self._others:
            self._allocate(pixels)
        if self._pixels is not None:
            self._pixels[numbers[0] : numbers[-1] + 1] = pixels
        else:
            values = pixels.float().cpu().contiguous().numpy()
            try:
                with self._file.open("ab") as stream:
                    values.tofile(stream)
            except OSError as error:
                raise scratch_is_full(error) from error
        self._others.append(features._replace(pixels=pixels.new_empty(0)))

    def _allocate(self, pixels: Tensor) -> None:
        count = len(self.corners)
        self._shape = tuple(pixels.shape[1:])
        if pixels[0].nbytes * count <= self._memory_bytes:
            self._pixels = pixels.new_empty((count, *self._shape))
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
        return torch.from_numpy(pixels).view(len(numbers), *self._shape)
