"""A universal system as the benchmark sees it: the cards of all nine name `UniversalSystem`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from baselines.universal.config import ONE_FOR_EACH_ENTRY, load_preset, system_of
from baselines.universal.model import LabelModel, UniversalModel
from baselines.universal.systems import load_model
from evaluation.cases import ImageCase, Prediction
from evaluation.datasets.registry import find_card
from evaluation.errors import BenchError
from evaluation.files.identity import file_digest
from evaluation.models.protocol import ModelContext
from evaluation.training.checkpoints import FINAL_FILE
from evaluation.training.predict import axes_for, segment_labels, segment_masks
from evaluation.volumes.axes import AxisOrder
from evaluation.volumes.segmentation import ClassPlace, Part, Segmentation


class UniversalSystem:
    """Predicts with the checkpoint that the run trained, or with one named in the card.

    Options of the card: `system`, where the model's id is not a system's name, and `checkpoint`, a
    file; `answers_as` beside it says which entry's tasks answer for another (`{acdc: sunnybrook}`).
    Preset, tasks and labels come from the checkpoint.
    """

    def __init__(self, context: ModelContext) -> None:
        system = system_of(context.model, context.options)
        given = context.options.get("checkpoint")
        self._preset = load_preset(context.preset).of(system) if given is None else None
        self._file = None if given is None else Path(str(given))
        self._answers_as = self._preset.answers_as if self._preset else _answers_as(context)
        self._work, self._apart = context.work, system in ONE_FOR_EACH_ENTRY
        self._loaded: tuple[Path, UniversalModel] | None = None

    def answers_as(self, dataset: str) -> str:
        """The entry whose tasks answer for an entry: itself, unless preset or card name another."""
        return self._answers_as.get(dataset, dataset)

    def checkpoint(self, dataset: str) -> Path:
        """The file of the network that answers for an entry."""
        if self._file is not None:
            return self._file
        return (self._work / self.answers_as(dataset) if self._apart else self._work) / FINAL_FILE

    def model(self, dataset: str) -> UniversalModel:
        """The network that answers for an entry; on a GPU if it was trained on one there is."""
        path = self.checkpoint(dataset)
        if self._loaded is None or self._loaded[0] != path:
            model = load_model(path)
            on_gpu = model.preset.training.device == "cuda" and torch.cuda.is_available()
            self._loaded = path, model.to("cuda" if on_gpu else "cpu")
        return self._loaded[1]

    def classes(self, dataset: str) -> dict[str, str | None]:
        """None for each class that was trained for the entry, otherwise the reason."""
        path, trained, answering = self.checkpoint(dataset), None, self.answers_as(dataset)
        if path.is_file() or not self._apart:
            trained = self.model(dataset).known.of(answering)
        answer: dict[str, str | None] = {}
        for entry in find_card(dataset).classes:
            if trained is None:
                answer[entry.name] = f"the model was not trained on the entry `{answering}`"
            elif entry.name in trained.classes:
                answer[entry.name] = None
            elif entry.union_of:
                answer[entry.name] = "a union of predicted classes, not predicted by name"
            else:
                answer[entry.name] = "not in the training's classes"
        return answer

    def made_from(self, case: ImageCase, _classes: Sequence[str]) -> object:
        """The checkpoint, which holds the settings of prediction, too."""
        made = file_digest(self.checkpoint(case.dataset))
        other, axes = self.answers_as(case.dataset), self._axes(case)
        turned = [] if axes == case.grid_axes else [axes]
        return made if other == case.dataset else [made, other, *turned]

    def predict(self, case: ImageCase, classes: Sequence[str]) -> Prediction:
        """A mask for each class; of exclusive labels one layer, every class a union of them."""
        model, image = self.model(case.dataset), case.image()
        dataset, axes = self.answers_as(case.dataset), self._axes(case)
        prompts = model.prompts(model.rows_of(dataset), case.sequence)
        if isinstance(model, LabelModel):
            labels = model.tasks.labels[dataset]
            found = segment_labels(model, image, case.modality, prompts, axes=axes)
            places = {
                name: ClassPlace(kind="direct", parts=(Part(layer=0, values=labels.classes[name]),))
                for name in classes
            }
            return Prediction(Segmentation((found,), image.affine, places))
        entry = model.known.of(dataset)
        assert entry is not None
        numbers = [entry.classes.index(name) for name in classes]
        return segment_masks(
            model, image, case.modality, list(classes), prompts[numbers], axes=axes
        )

    def _axes(self, case: ImageCase) -> AxisOrder:
        own = self.answers_as(case.dataset) == case.dataset
        return axes_for(case, own, self.model(case.dataset).preset.grid)


def _answers_as(context: ModelContext) -> dict[str, str]:
    """The card's option of that name, beside `checkpoint`."""
    found = context.options.get("answers_as", {})
    if isinstance(found, dict) and all(isinstance(name, str) for name in found.values()):
        return found
    raise BenchError(
        f"the option `answers_as` in the card of `{context.model}` does not fit",
        found=repr(found),
        expected="entry -> entry that the checkpoint was trained on, as {acdc: sunnybrook}",
    )
