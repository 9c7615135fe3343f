"""The multi-decoder as the benchmark sees it: the card names `MultiDecoder`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch

from baselines.universal.multi_decoder.model import MultiDecoderModel, load_model
from evaluation.cases import ImageCase, Prediction
from evaluation.datasets.registry import find_card
from evaluation.files.identity import file_digest
from evaluation.models.protocol import ModelContext
from evaluation.training.checkpoints import FINAL_FILE
from evaluation.training.predict import segment_labels
from evaluation.volumes.segmentation import ClassPlace, Part, Segmentation


class MultiDecoder:
    """Predicts with the checkpoint that the run trained, or with one named in the card.

    Option of the card: `checkpoint`, a file. Preset and labels come from the checkpoint.
    """

    def __init__(self, context: ModelContext) -> None:
        self._checkpoint = Path(str(context.options.get("checkpoint") or context.work / FINAL_FILE))

    @cached_property
    def model(self) -> MultiDecoderModel:
        """The model, loaded on first use; on a GPU if it was trained on one and one is there."""
        model = load_model(self._checkpoint)
        on_gpu = model.preset.training.device == "cuda" and torch.cuda.is_available()
        return model.to("cuda" if on_gpu else "cpu")

    def classes(self, dataset: str) -> dict[str, str | None]:
        """None for each class that the entry's decoder was trained on, otherwise the reason."""
        trained = self.model.tasks.labels.get(dataset)
        answer: dict[str, str | None] = {}
        for entry in find_card(dataset).classes:
            if trained is None:
                answer[entry.name] = "there is no decoder for this entry"
            elif entry.name in trained.classes:
                answer[entry.name] = None
            elif entry.union_of:
                answer[entry.name] = "a union of predicted classes, not predicted by name"
            else:
                answer[entry.name] = "not in the training's classes"
        return answer

    def made_from(self, _case: ImageCase, _classes: Sequence[str]) -> object:
        """The checkpoint, which holds the settings of prediction, too."""
        return file_digest(self._checkpoint)

    def predict(self, case: ImageCase, classes: Sequence[str]) -> Prediction:
        """One layer of leaf labels; every class is a union of them."""
        image, labels = case.image(), self.model.tasks.labels[case.dataset]
        found = segment_labels(self.model, image, case.modality, labels.rows)
        places = {
            name: ClassPlace(kind="direct", parts=(Part(layer=0, values=labels.classes[name]),))
            for name in classes
        }
        return Prediction(Segmentation((found,), image.affine, places))
