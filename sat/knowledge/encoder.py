"""The text encoder while it learns: token windows in, features out, some of it trainable."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from evaluation.errors import BenchError
from sat.knowledge.settings import Pooling, Trainable
from sat.text import TextEncoder, pooled
from sat.text_head import HEAD_FILE, load_head

Tokens = tuple[int, ...]
# Texts of like length go through the encoder together: little of the work is padding.
_CHUNK = 32


class Tokenizer:
    """Texts to token windows.

    Args:
        tokenizer: of the encoder's folder.
        max_tokens: of a window, the special tokens included.
    """

    def __init__(self, tokenizer: Any, max_tokens: int) -> None:
        self._tokenizer = tokenizer
        plain, whole = self._ids(["a"], special=False)[0], self._ids(["a"], special=True)[0]
        at = next(i for i in range(len(whole)) if whole[i : i + len(plain)] == plain)
        self._before, self._after = whole[:at], whole[at + len(plain) :]
        self._room = max_tokens - len(self._before) - len(self._after)
        self.padding = int(tokenizer.pad_token_id)

    def _ids(self, texts: Sequence[str], *, special: bool) -> list[list[int]]:
        found: list[list[int]] = self._tokenizer(
            list(texts), add_special_tokens=special, truncation=False, verbose=False
        )["input_ids"]
        return found

    def windows(self, texts: Sequence[str], random: np.random.Generator) -> list[Tokens]:
        """Token ids of each text with the special tokens around them.

        A text that is too long gives a window at a random place (paper, section 5: "random
        truncation"), every place alike, so that the end of a long definition is seen as often as
        its beginning.
        """
        windows = []
        for ids in self._ids(texts, special=False):
            spare = len(ids) - self._room
            first = int(random.integers(spare + 1)) if spare > 0 else 0
            windows.append((*self._before, *ids[first : first + self._room], *self._after))
        return windows


class LearningEncoder(nn.Module):
    """A BERT-like encoder of which a part is trainable.

    Args:
        folder: where it starts, in Hugging Face form.
        pooling: of the tokens to one vector.
        trainable: the last so many layers; `all`; or `head`, a linear map after the pooling that
            starts as the identity (or as the map that the folder has already).
        max_tokens: of a window.

    Raises:
        BenchError: the folder holds no encoder, or one with fewer layers or positions.
    """

    def __init__(
        self,
        folder: Path,
        pooling: Pooling,
        trainable: Trainable,
        max_tokens: int,
    ) -> None:
        super().__init__()
        tokenizer, self.bert = TextEncoder(folder, pooling).parts
        self._tokenizer, self._pooling, self._trainable = tokenizer, pooling, trainable
        positions = getattr(self.bert.config, "max_position_embeddings", max_tokens)
        if max_tokens > positions:
            raise BenchError(
                "the text encoder has too few positions",
                file=folder, found=positions, expected=f"max_tokens = {max_tokens} or more",
            )  # fmt: skip
        self.tokenizer = Tokenizer(tokenizer, max_tokens)
        width = int(self.bert.config.hidden_size)
        head = load_head(folder, width)
        self.head: nn.Linear | None = None
        if head is not None or trainable == "head":
            self.head = nn.Linear(width, width, bias=False)
            with torch.no_grad():
                self.head.weight.copy_(torch.eye(width) if head is None else head)
        self.bert.requires_grad_(trainable == "all")
        self._learning: list[nn.Module] = [self.bert] if trainable == "all" else []
        if isinstance(trainable, int):
            layers = _layers(self.bert, folder)
            if trainable > len(layers):
                raise BenchError(
                    "the text encoder has too few layers",
                    file=folder, found=len(layers), expected=f"trainable = {trainable} or more",
                )  # fmt: skip
            self._learning = list(layers)[-trainable:]
            if pooling == "pooler":
                self._learning.append(self.bert.pooler)
            for module in self._learning:
                module.requires_grad_(True)

    def train(self, mode: bool = True) -> LearningEncoder:
        """Dropout in the layers that learn, and nowhere else."""
        super().train(False)
        for module in self._learning if mode else ():
            module.train(True)
        return self

    def learned(self) -> dict[str, Tensor]:
        """The trainable weights by name; everything else is as it was in the first folder."""
        return {n: p.detach() for n, p in self.named_parameters() if p.requires_grad}

    def restore(self, learned: dict[str, Tensor]) -> None:
        """Set the trainable weights, as `learned` gave them."""
        own = {n: p for n, p in self.named_parameters() if p.requires_grad}
        if own.keys() != learned.keys():
            raise BenchError("a checkpoint of other layers", found=sorted(learned)[:3])
        with torch.no_grad():
            for name, parameter in own.items():
                parameter.copy_(learned[name])

    def features(self, windows: Sequence[Tokens]) -> Tensor:
        """What the encoder makes of token windows, (N, E), before the linear map."""
        device = next(self.parameters()).device
        order = sorted(range(len(windows)), key=lambda i: len(windows[i]))
        parts = []
        for start in range(0, len(order), _CHUNK):
            chunk = [windows[i] for i in order[start : start + _CHUNK]]
            ids = torch.full((len(chunk), len(chunk[-1])), self.tokenizer.padding)
            mask = torch.zeros_like(ids)
            for row, window in enumerate(chunk):
                ids[row, : len(window)] = torch.tensor(window)
                mask[row, : len(window)] = 1
            ids, mask = ids.to(device), mask.to(device)
            output = self.bert(input_ids=ids, attention_mask=mask)
            parts.append(pooled(output, mask, self._pooling))
        back = torch.empty(len(order), dtype=torch.long)
        back[torch.tensor(order)] = torch.arange(len(order))
        return torch.cat(parts)[back.to(device)]

    def mapped(self, features: Tensor) -> Tensor:
        """Features through the linear map, if there is one."""
        if self.head is None:
            return features
        embeddings: Tensor = self.head(features)
        return embeddings

    def forward(self, windows: Sequence[Tokens]) -> Tensor:
        """Embeddings (N, E) of token windows, not of unit length."""
        return self.mapped(self.features(windows))

    def save(self, folder: Path) -> None:
        """Write config, tokenizer, weights and the linear map; each file is whole or not there."""
        temporary = folder / ".saving"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        try:
            self.bert.save_pretrained(temporary)
            self._tokenizer.save_pretrained(temporary)
            if self.head is None:
                (folder / HEAD_FILE).unlink(missing_ok=True)
            else:
                weight = self.head.weight.detach().cpu().contiguous()
                save_file({"weight": weight}, temporary / HEAD_FILE)
            for path in sorted(temporary.iterdir()):
                path.replace(folder / path.name)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _layers(bert: Any, folder: Path) -> nn.ModuleList:
    """The transformer layers of a BERT-like model, whatever its library calls them."""
    number = bert.config.num_hidden_layers
    for module in bert.modules():
        if isinstance(module, nn.ModuleList) and len(module) == number:
            return module
    raise BenchError(
        "the layers of this text encoder are not found", file=folder,
        expected=f"a list of {number} layers", hint="set trainable to `all` or `head`",
    )  # fmt: skip
