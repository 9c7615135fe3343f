"""SAT-Nano as the benchmark sees it: `sat.adapter:SatNano`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from evaluation.cases import ImageCase, Prediction
from evaluation.datasets.registry import find_card
from evaluation.errors import BenchError
from evaluation.files.identity import file_digest
from evaluation.models.protocol import ModelContext
from evaluation.training.checkpoints import FINAL_FILE
from evaluation.training.predict import axes_for
from evaluation.volumes.axes import AxisOrder
from sat.model import SatModel, load_model
from sat.predict import segment
from sat.prompts.book import Key, embed_new
from sat.prompts.choice import run_folder


class SatNano:
    """Predicts with the checkpoint that the run trained, or with one named in the card.

    Options of the card: `checkpoint` (a file, instead of the run's own), `device` (`cuda` or
    `cpu`; by default a GPU if the preset was trained on one and one is there) and `text_encoder`
    (a folder, for free words to a checkpoint whose encoder is the user's own).
    """

    def __init__(self, context: ModelContext) -> None:
        self._checkpoint = Path(str(context.options.get("checkpoint") or context.work / FINAL_FILE))
        self._device = context.options.get("device")
        self._text_encoder = context.options.get("text_encoder")
        self._work = context.work
        self._texts: dict[Key, Tensor] = {}

    @cached_property
    def model(self) -> SatModel:
        """The model, loaded on first use."""
        model = load_model(self._checkpoint)
        wanted = str(self._device or model.preset.training.device)
        if wanted == "cuda" and not torch.cuda.is_available():
            if self._device is not None:
                raise BenchError("the model's card asks for a GPU, and torch sees none")
            wanted = "cpu"
        return model.to(wanted)

    def classes(self, dataset: str) -> dict[str, str | None]:
        """None for each class whose (modality, name) was trained, otherwise the reason."""
        card = find_card(dataset)
        known = set(self.model.book.keys)
        return {
            name: None
            if (card.modality, name) in known
            else f"not among the {len(known)} trained classes"
            for name in card.class_names
        }

    def made_from(self, case: ImageCase, _classes: Sequence[str]) -> object:
        """The checkpoint; settings of prediction and the texts' embeddings are in it."""
        made, axes = file_digest(self._checkpoint), self._axes(case)
        return made if axes == case.grid_axes else [made, axes]

    def predict(self, case: ImageCase, classes: Sequence[str]) -> Prediction:
        """Segment one case; every class is prompted directly, generated ones too."""
        model = self.model
        rows = model.book.rows([(case.modality, name) for name in classes])
        embeddings = model.book.embeddings[rows]
        return segment(
            model, case.image(), case.modality, list(classes), embeddings, axes=self._axes(case)
        )

    def predict_texts(self, case: ImageCase, texts: Sequence[str]) -> Prediction:
        """Segment one case by free words, which go to the text encoder as they are."""
        model, settings = self.model, self.model.preset.prompts
        keys: list[Key] = [(case.modality, text) for text in texts]
        trained = dict(zip(model.book.keys, model.book.embeddings, strict=True))
        if new := [key for key in keys if key not in trained and key not in self._texts]:
            own = self._text_encoder
            folder = Path(str(own)) if own else run_folder(settings, self._work)
            vectors = embed_new(model.book, settings, new, folder)
            self._texts |= dict(zip(new, vectors, strict=True))
        embeddings = torch.stack([trained[k] if k in trained else self._texts[k] for k in keys])
        return segment(
            model, case.image(), case.modality, list(texts), embeddings, axes=self._axes(case)
        )

    def _axes(self, case: ImageCase) -> AxisOrder:
        return axes_for(case, case.dataset in self.model.trained, self.model.preset.grid)
