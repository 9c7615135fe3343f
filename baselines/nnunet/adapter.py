"""The specialists of a run as one model of the benchmark.

For an entry, each of its specialists labels the image; their label maps become independent
layers of one prediction (TotalSegmentator has five), and every class is a look-up of leaf values.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from baselines.nnunet.config import load_preset
from baselines.nnunet.export import slice_order, slices_last
from baselines.nnunet.jobs import choose_device
from baselines.nnunet.process import environment, message_of, run_child
from baselines.nnunet.specialists import specialists_of
from evaluation.cases import ImageCase, Prediction
from evaluation.datasets.registry import find_card
from evaluation.datasets.scope import classes_in_scope
from evaluation.errors import BenchError
from evaluation.files.identity import file_digest
from evaluation.files.reading import json_of
from evaluation.models.protocol import ModelContext
from evaluation.volumes.axes import AS_STORED, array_turned_back
from evaluation.volumes.image_files import Affine, read_volume, write_volume
from evaluation.volumes.segmentation import ClassPlace, Part, Segmentation

Answer = tuple[ImageCase, Prediction | Exception, float]


class NnunetSpecialists:
    """A `BatchModel`: one process predicts a whole shard with all specialists of its entry."""

    def __init__(self, context: ModelContext) -> None:
        self.context = context
        self.preset = load_preset(context.preset)

    def classes(self, dataset: str) -> dict[str, str | None]:
        """Annotated classes that a specialist of the run covers; unions follow from them."""
        card = find_card(dataset)
        covered = {c for plan in specialists_of(card, self.context.config) for c in plan.classes}
        in_scope = {c.name for c in classes_in_scope(card, self.context.config)}
        answer: dict[str, str | None] = {}
        for entry in card.classes:
            if entry.name in covered:
                answer[entry.name] = None
            elif entry.name not in in_scope:
                answer[entry.name] = "not in this run's classes"
            elif entry.union_of:
                answer[entry.name] = "a union of predicted classes, not predicted by name"
            else:
                answer[entry.name] = "no specialist of Table 7 covers it"
        return answer

    def made_from(self, case: ImageCase, classes: Sequence[str]) -> object:
        """Checkpoints, plans and label values of the specialists, and mirroring."""
        return [self.preset.test_time_mirroring, *self._weights(case.dataset, tuple(classes))]

    @lru_cache  # noqa: B019 - one model lives as long as its process
    def _weights(self, dataset: str, classes: tuple[str, ...]) -> list[object]:
        found: list[object] = []
        for model in self._models(dataset, classes):
            folder = Path(model["folder"])
            hashes = [
                file_digest(folder / f"fold_{fold}" / "checkpoint_final.pth")
                for fold in model["folds"]
            ]
            plans = file_digest(folder / "plans.json")
            found.append([hashes, plans, model["classes"], model["unit_spacing"]])
        return found

    def predict_all(self, cases: Sequence[ImageCase], classes: Sequence[str]) -> Iterator[Answer]:
        """Predict cases of one entry; a case is yielded as soon as all specialists are done.

        If the process itself dies in a case (out of memory, say), that case has failed and a new
        process goes on with the others.

        Raises:
            BenchError: a specialist is not trained, the preset's GPU is not there, or nnU-Net
                failed before the first case.
        """
        if not cases:
            return
        models = self._models(cases[0].dataset, classes)
        device = choose_device(self.preset, "auto")
        todo = list(cases)
        while todo:
            current: ImageCase | None = None
            try:
                for case, answer, seconds in self._one_process(device, models, todo, classes):
                    current = case
                    if answer is not None:
                        todo.remove(case)
                        current = None
                        yield case, answer, seconds
            except BenchError as error:
                if current is None:
                    raise
                todo.remove(current)
                yield current, error, 0.0

    def _models(self, dataset: str, classes: Sequence[str]) -> list[dict[str, Any]]:
        """`model.json` of each specialist that is needed, with its folder made absolute.

        Raises:
            BenchError: a specialist is not trained.
        """
        models = []
        for plan in specialists_of(find_card(dataset), self.context.config):
            if not set(plan.classes) & set(classes):
                continue
            path = self.context.work / plan.id / "model.json"
            if not path.is_file():
                raise BenchError(
                    f"specialist `{plan.id}` is not trained",
                    file=path,
                    hint="train it first; the workflow's target does so",
                )
            model: dict[str, Any] = json_of(path)
            folder = (path.parent / model["folder"]).resolve()
            if not folder.is_relative_to(path.parent.resolve()):
                raise BenchError(
                    f"the record of specialist `{plan.id}` names a folder that is not its own",
                    file=path, found=model["folder"],
                    hint="delete the record and run snakemake again, which writes it",
                )  # fmt: skip
            models.append(model | {"folder": str(folder)})
        return models

    def _one_process(
        self,
        device: str,
        models: Sequence[dict[str, Any]],
        cases: Sequence[ImageCase],
        classes: Sequence[str],
    ) -> Iterator[tuple[ImageCase, Prediction | Exception | None, float]]:
        """Yield (case, None) when a case begins and (case, answer) when it ends."""
        threads = self.preset.threads
        by_name = {case.case: case for case in cases}
        dataset = cases[0].dataset
        with tempfile.TemporaryDirectory(prefix="satbench-nnunet-") as scratch:
            outputs = {name: Path(scratch, f"{k}") for k, name in enumerate(by_name)}
            images: dict[str, Path] = {}
            for name, folder in outputs.items():
                folder.mkdir()
                images[name] = _image_for(by_name[name], folder)
            request = {
                "device": device,
                "threads": threads,
                "models": [
                    {
                        "folder": model["folder"],
                        "folds": model["folds"],
                        "mirroring": self.preset.test_time_mirroring,
                        "unit_spacing": model["unit_spacing"],
                    }
                    for model in models
                ],
                "cases": [
                    {
                        "case": name,
                        "image": str(images[name]),
                        "output": str(outputs[name]),
                    }
                    for name in by_name
                ],
            }
            # One log for each first case: shards of an entry may be predicted side by side.
            log = self.context.work / "predict" / f"{dataset}-{cases[0].case}.log"
            log.unlink(missing_ok=True)
            variables = environment(Path(scratch), threads=threads, augmentation_workers=0)
            for line in run_child("predict", request, log, variables):
                message = message_of(line)
                if message is None:
                    continue
                if "started" in message:
                    yield by_name[message["started"]], None, 0.0
                    continue
                case = by_name[message["case"]]
                seconds = float(message.get("seconds", 0.0))
                yield case, _read(case, message, models, outputs[case.case], classes), seconds


def _image_for(case: ImageCase, folder: Path) -> Path:
    """The image that nnU-Net reads: the case's own, or a copy in the axis order of its training."""
    image, order = (case.folder / "image.nii.gz").resolve(), slice_order(case)
    if order == AS_STORED:
        return image
    copy = folder / "image.nii.gz"
    write_volume(copy, slices_last(read_volume(image), order))
    return copy


def _read(
    case: ImageCase,
    message: dict[str, Any],
    models: Sequence[dict[str, Any]],
    folder: Path,
    classes: Sequence[str],
) -> Prediction | Exception:
    if "error" in message:
        return BenchError("nnU-Net could not predict this case", found=message["error"])
    try:
        order = slice_order(case)
        layers = tuple(
            array_turned_back(np.load(folder / f"{k}.npy"), order) for k in range(len(models))
        )
        for path in folder.iterdir():
            path.unlink()
        return join_layers(
            layers, read_volume(case.folder / "image.nii.gz").affine, models, classes
        )
    except (BenchError, OSError, ValueError) as error:
        return error


def join_layers(
    layers: Sequence[np.ndarray],
    affine: Affine,
    models: Sequence[dict[str, Any]],
    classes: Sequence[str],
) -> Prediction:
    """Label maps (x, y, z) of several specialists as independent layers of one prediction."""
    places = {
        name: ClassPlace(kind="direct", parts=(Part(layer=k, values=tuple(values)),))
        for k, model in enumerate(models)
        for name, values in model["classes"].items()
        if name in classes
    }
    return Prediction(Segmentation(tuple(layers), affine, places))
