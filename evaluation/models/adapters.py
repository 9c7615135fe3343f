"""From a model card to a model: Python objects, commands, and folders of predictions."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from evaluation.cases import ImageCase, Prediction
from evaluation.config import RunConfig
from evaluation.datasets.registry import find_card
from evaluation.errors import BenchError
from evaluation.files.identity import file_digest
from evaluation.files.writing import visible, write_json
from evaluation.models.answers import Labels, answer_files, mask_file, read_answer
from evaluation.models.card import Command, ModelCard, PredictionFolder, find_model, load_object
from evaluation.models.gate import checked_model
from evaluation.models.guarding import Guard, guarded
from evaluation.models.presets import context_of, preset_in_use
from evaluation.models.protocol import BatchModel, Model
from evaluation.paths import RunPaths
from evaluation.volumes.image_files import write_volume
from evaluation.volumes.segmentation import Segmentation


def build_model(model_id: str, paths: RunPaths, config: RunConfig) -> Model | BatchModel:
    """The model of a card, ready to predict."""
    card = find_model(model_id)
    adapter = card.adapter
    if isinstance(adapter, PredictionFolder):
        return FolderModel(card, adapter, references=(Path(config.raw_root), paths.root / "cases"))
    if isinstance(adapter, Command):
        return (TextCommandModel if adapter.texts else CommandModel)(card, adapter)
    factory = load_object(adapter.object, f"model card `{card.id}`, adapter.object")
    context = context_of(card, paths, config, preset_in_use(paths, config, card.id))
    return checked_model(factory(context), f"`{adapter.object}` of model card `{card.id}`")


def _supported(dataset: str, labels: Mapping[str, Labels], folder: Path) -> dict[str, str | None]:
    """Classes of a dataset that label maps or mask files can answer for."""
    names = find_card(dataset).class_names
    if dataset in labels:
        unknown = set(labels[dataset]) - set(names)
        if unknown:
            raise BenchError(
                f"the model card's labels for `{dataset}` name classes that the entry has not",
                found=sorted(unknown),
                expected=sorted(names),
            )
        return {n: None if n in labels[dataset] else "not among the card's labels" for n in names}
    found = {file.name for file in visible(folder, "*/*.nii.gz")}
    return {n: None if mask_file(n) in found else "no mask file of that name" for n in names}


class FolderModel:
    """Predictions made elsewhere, read from `<folder>/<dataset>/`."""

    def __init__(
        self, card: ModelCard, adapter: PredictionFolder, references: Sequence[Path] = ()
    ) -> None:
        self.folder, self.labels, self.references = Path(adapter.folder), adapter.labels, references
        if not self.folder.is_dir():
            raise BenchError(
                f"model card `{card.id}`, adapter.folder: no such folder",
                file=self.folder.resolve(),
                hint="put the predictions there as <dataset>/<case>.nii.gz",
            )

    def classes(self, dataset: str) -> dict[str, str | None]:
        """Classes named by the card's labels, or found as mask files."""
        folder = self.folder / dataset
        if not folder.is_dir():
            return dict.fromkeys(find_card(dataset).class_names, f"no folder {folder}")
        return _supported(dataset, self.labels, folder)

    def made_from(self, case: ImageCase, classes: Sequence[str]) -> object:
        """Hashes of the files with the answer to a case."""
        labels = self.labels.get(case.dataset)
        files = answer_files(self.folder / case.dataset, case, labels, classes)
        return [file_digest(path) if path.is_file() else None for path in files]

    def predict(self, case: ImageCase, classes: Sequence[str]) -> Prediction:
        """Read the prediction of one case."""
        labels = self.labels.get(case.dataset)
        for path in answer_files(self.folder / case.dataset, case, labels, classes):
            self._require_no_reference(path)
        return read_answer(self.folder / case.dataset, case, labels, classes)

    def _require_no_reference(self, path: Path) -> None:
        """Refuse a link to what the prediction is scored against; other links are the user's."""
        target, own = path.resolve(), self.folder.resolve()
        looked = [folder.resolve() for folder in self.references]
        if not target.is_relative_to(own) and any(map(target.is_relative_to, looked)):
            raise BenchError(
                "the prediction is a link into the references", file=path, found=target,
                expected="what a model answered",
            )  # fmt: skip


class CommandModel:
    """A program that reads a folder of images and writes a folder of answers."""

    def __init__(self, card: ModelCard, adapter: Command) -> None:
        self.adapter = adapter
        if not any("{output}" in part for part in adapter.command):
            raise BenchError(
                f"model card `{card.id}`, adapter.command: it is not told where to answer",
                found=adapter.command,
                expected='"{output}" among its words, and "{input}" for the folder of images',
            )

    def classes(self, dataset: str) -> dict[str, str | None]:
        """Classes named by the card's labels; without labels, all of the entry's."""
        if dataset in self.adapter.labels:
            return _supported(dataset, self.adapter.labels, Path())
        return dict.fromkeys(find_card(dataset).class_names, None)

    def predict_all(
        self, cases: Sequence[ImageCase], classes: Sequence[str]
    ) -> Iterator[tuple[ImageCase, Prediction | Exception, float]]:
        """Run the command once for the whole shard; each case is then read by itself."""
        with guarded() as guard:
            start = time.perf_counter()
            outputs, failure = self._answered(guard, cases, {"classes": list(classes)})
            seconds = (time.perf_counter() - start) / len(cases)
            labels = self.adapter.labels.get(cases[0].dataset)
            for case in cases:
                try:
                    _require_own_files(outputs, answer_files(outputs, case, labels, classes))
                    yield case, read_answer(outputs, case, labels, classes), seconds
                except BenchError as error:
                    # A failed command explains a missing answer better than the missing file.
                    yield case, failure or error, seconds

    def _answered(
        self, guard: Guard, cases: Sequence[ImageCase], asked: Mapping[str, object]
    ) -> tuple[Path, BenchError | None]:
        """Run the command once; its folder of answers, and why it failed, if it did."""
        inputs, outputs = guard.folder / "input", guard.folder / "output"
        inputs.mkdir()
        outputs.mkdir()
        for case in cases:
            write_volume(inputs / f"{case.case}.nii.gz", case.image())
        request = {
            "dataset": cases[0].dataset,
            **asked,
            "cases": {c.case: {"modality": c.modality} for c in cases},
        }
        write_json(inputs / "request.json", request)
        # Not `str.format`: the braces of an awk program or of JSON stay as they are.
        command = [
            part.replace("{input}", str(inputs)).replace("{output}", str(outputs))
            for part in self.adapter.command
        ]
        return outputs, guard.run(command, self.adapter.timeout_s)


class TextCommandModel(CommandModel):
    """A program that can be asked in free words, too."""

    def predict_texts(self, case: ImageCase, texts: Sequence[str]) -> Prediction:
        """Run the command for one case; masks that it leaves out are texts that it refuses.

        Raises:
            BenchError: it failed, or a mask cannot be read.
        """
        stems = {f"text-{number:03d}": text for number, text in enumerate(texts)}
        with guarded() as guard:
            outputs, failure = self._answered(guard, [case], {"texts": stems})
            if failure:
                raise failure
            files = {stem: answer_files(outputs, case, None, [stem])[0] for stem in stems}
            _require_own_files(outputs, list(files.values()))
            answered = [stem for stem, file in files.items() if file.is_file()]
            found = read_answer(outputs, case, None, answered).segmentation
        places = {stems[stem]: place for stem, place in found.classes.items()}
        return Prediction(Segmentation(found.layers, found.affine, places))


def _require_own_files(outputs: Path, files: Sequence[Path]) -> None:
    """Refuse an answer that a program has laid elsewhere: a link may lead to the references."""
    for path in {outputs, *files, *(file.parent for file in files)}:
        if path.is_symlink() or (path.exists() and not (path.is_file() or path.is_dir())):
            raise BenchError(
                "the model's command answered with a link or a device, which is not followed",
                file=path,
                expected="files of its own in the folder that it was given",
            )
