"""What stage 2 is made of: prepared crops of chosen patients, texts, and an identity."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from evaluation.errors import BenchError
from evaluation.training.crops import Batch, CropDataset, read_ahead
from evaluation.training.draws import Group, training_groups
from evaluation.training.processes import check_device
from evaluation.training.settings import Augmentation, Training, Validation
from evaluation.training.store import read_index
from evaluation.training.validation import held_out_cases
from sat.atlas.model import AtlasModel
from sat.atlas.regions import Concepts, concepts_of
from sat.atlas.sampling import label_balanced, region_groups
from sat.config import ATLAS_FOLDER, CROP_SETTINGS, AtlasTraining, Preset
from sat.prompts.book import Key, PromptBook, write_prompt_book
from sat.prompts.choice import run_folder


@dataclass(frozen=True)
class AtlasRun:
    """What stage 2 is made of, once everything is checked.

    Attributes:
        folder: of its files, `atlas` in the model's folder.
        preset: network, prompts and the segmentation's training.
        settings: the preset's `atlas`.
        book: prompts with their frozen embeddings.
        concepts: the same, each text once.
        training: crops of the patients trained on.
        validation: crops of those kept out, the same for every state of the model; None without.
        identity: hash of everything that the result depends on.
        seed: of weights and samples.
    """

    folder: Path
    preset: Preset
    settings: AtlasTraining
    book: PromptBook
    concepts: Concepts
    training: CropDataset
    validation: CropDataset | None
    identity: str
    seed: int

    def new_model(self) -> AtlasModel:
        """The model before the first step; the same for the same seed."""
        torch.manual_seed(self.seed)
        model = AtlasModel(self.preset, self.settings, self.book.embeddings)
        return model.to(check_device(self.preset.training))

    def batches(self, first: int, last: int) -> Iterator[list[Batch]]:
        """Crops of the steps from `first` to before `last`, as many batches as each step takes."""
        of_step = self.settings.batches_per_step
        return read_ahead(
            self.training, range(first * of_step, last * of_step), self.preset.training
        )

    def validation_batches(self) -> Iterator[Batch]:
        """Crops to measure retrieval on."""
        if self.validation is not None:
            numbers = range(self.settings.validation_batches)
            for batches in read_ahead(self.validation, numbers, self.preset.training):
                yield from batches


def prepare_atlas(
    work: Path, store: Path, preset: Preset, seed: int, book: PromptBook | None = None
) -> AtlasRun:
    """Check everything that stage 2 needs.

    Args:
        work: the model's folder in the run.
        store: prepared store of the preset's grid.
        preset: with the section `atlas`.
        seed: of the run.
        book: prompts with their embeddings, if they are at hand; otherwise the preset's text
            encoder embeds the classes of the store.

    Raises:
        BenchError: the preset has no such stage, no GPU where one is wanted, no prepared data, or
            no class is large enough.
    """
    if preset.atlas is None:
        raise BenchError(
            "this preset has no text-atlas stage",
            found=preset.name,
            hint="add the section `atlas:` to a preset of your own",
        )
    check_device(preset.training)
    settings = preset.atlas
    index = read_index(store, preset.grid)
    # A scan that shows no class has no region.
    groups = training_groups(store, index, preset.training, empty_scans=False)
    keys: list[Key] = sorted({(group.modality, name) for group in groups for name in group.classes})
    book = book or write_prompt_book(preset.prompts, keys, run_folder(preset.prompts, work))
    book.rows(keys)
    part = settings.validation_part
    held_out = held_out_cases(index, Validation(part=part, every=1) if part else None)
    hidden = {dataset: set(cases) for dataset, cases in held_out.items()}
    cases = {entry.dataset: set(entry.cases) for entry in index.entries}
    kept = {name: found - hidden.get(name, set()) for name, found in cases.items()}
    tasks = book.tasks(preset.training.sampling)

    scheduled = preset.model_copy(update={"training": _schedule(preset, settings)})
    crops_of_step = settings.batches_per_step * preset.training.batch
    # To measure on: crops as they are, and of all entries from the first one on.
    unchanged = scheduled.training.model_copy(update={"augmentation": Augmentation()})
    plain = preset.model_copy(update={"training": unchanged})
    from_the_start = [replace(group, joins=0.0) for group in groups]

    def crops(
        chosen: Mapping[str, set[str]], key: int, used: Preset, of: Sequence[Group]
    ) -> CropDataset:
        usable = _balanced(region_groups(of, chosen, settings.minimum_voxels), settings)
        return CropDataset(store, usable, tasks, used, key, crops_of_step)

    embeddings = hashlib.sha256(book.embeddings.numpy().tobytes()).hexdigest()
    crops_from = preset.training.model_dump_json(include=CROP_SETTINGS)
    parts = (
        seed, preset.network.model_dump_json(), preset.prompts.model_dump_json(),
        settings.model_dump_json(), crops_from, embeddings,
        sorted((name, *sorted(found)) for name, found in kept.items()),
        index.model_dump_json(),
    )  # fmt: skip
    return AtlasRun(
        folder=work / ATLAS_FOLDER,
        preset=preset,
        settings=settings,
        book=book,
        concepts=concepts_of(preset.prompts, book),
        training=crops(kept, seed, scheduled, groups),
        validation=crops(hidden, seed + 1, plain, from_the_start) if any(hidden.values()) else None,
        identity=hashlib.sha256(repr(parts).encode()).hexdigest(),
        seed=seed,
    )


def _schedule(preset: Preset, settings: AtlasTraining) -> Training:
    chosen = settings.model_dump(include={"steps", "learning_rate", "warm_up"})
    return preset.training.model_copy(update=chosen)


def _balanced(groups: Sequence[Group], settings: AtlasTraining) -> list[Group]:
    if settings.sampling == "label":
        return label_balanced(groups, settings.minimum_voxels)
    return list(groups)
