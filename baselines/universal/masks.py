"""The systems of masks that may overlap: Hermes-R and -M, DoDNet, CLIP-driven, MultiTalent."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from baselines.universal.entries import Entry
from baselines.universal.losses import (
    clip_driven_loss,
    dodnet_loss,
    hermes_loss,
    mean_of,
    multitalent_loss,
)
from baselines.universal.model import MaskModel, step_loss
from baselines.universal.networks.clip_driven import ClipDriven
from baselines.universal.networks.dodnet import DoDNet
from baselines.universal.networks.dynamic import CHANNELS, ImageFeatures
from baselines.universal.networks.hermes import FusedResUNet, Hermes
from baselines.universal.networks.hermes_m import hermes_m
from baselines.universal.networks.multitalent import MultiTalent
from baselines.universal.networks.priors import NULL, PriorSizes, likeness, plain_weights
from evaluation.training.crops import Batch
from evaluation.training.features import WindowFeatures
from evaluation.training.losses import LossParts, StepLoss
from evaluation.training.settings import Triple
from evaluation.training.windows import Windows

MODALITY_WEIGHT = 0.01
# A generated head holds its channels three times: a layer's input, its product, and the sum.
HEAD_MAPS = 3 * CHANNELS


class HermesModel(MaskModel):
    """Hermes on the residual U-Net: all tasks of an image meet it together with its modality."""

    network: Hermes

    def build(self) -> Hermes:
        """The network with tables for the known tasks and modalities."""
        sizes = self.preset.network
        return Hermes(FusedResUNet(sizes.widths, sizes.fusion_blocks), self.prior_sizes)

    @property
    def prior_sizes(self) -> PriorSizes:
        """Rows of the tables; the last is the null token, and the unknown modality."""
        known, sizes = self.known, self.preset.network
        tasks, modalities = known.n_tokens + sizes.spare_tasks, len(known.modalities) + 1
        return PriorSizes(tasks, modalities, sizes.prior_length, sizes.prior_scale)

    def weights(self) -> dict[str, Tensor]:
        """Task tables whole, also where a part of them is frozen (`upstream.py`)."""
        return plain_weights(self.network)

    def places_of_rows(self) -> list[int]:
        """The task tokens, which entries may share."""
        return [entry.tokens[entry.classes.index(name)] for entry, name, _ in self.known.rows()]

    def loss(self, batch: Batch) -> StepLoss:
        """Masks, auxiliary masks at half weight each (Hermes-M), and the modality.

        Lists are filled with null tokens to the longest one and one more, as published.
        """
        entries = [self.known.of(dataset) for dataset in batch.datasets]
        lengths = [len(entry.classes) for entry in entries if entry]
        count = batch.prompts.shape[1]
        filling = torch.arange(count) >= torch.tensor(lengths)[:, None]
        tasks = self.places[batch.prompts].masked_fill(filling.to(self.device), NULL)
        own = [
            entry.modality_of(sequence)
            for entry, sequence in zip(entries, batch.sequences, strict=True)
            if entry
        ]
        modalities = torch.tensor(own, device=self.device)
        answer = self.network.answer(batch.image, with_null(tasks), modalities)
        loss = self.loss_of(answer.logits[:, :count], batch)
        if answer.auxiliary is not None:
            loss = mean_of(loss, self.loss_of(answer.auxiliary[:, :count], batch))
        modality = loss.total.new_zeros(())
        if answer.modality is not None and (modalities >= 0).any():
            # -1 is the unknown modality.
            modality = functional.cross_entropy(
                answer.modality.float(), modalities, ignore_index=-1
            )
        whole = loss._replace(total=loss.total + MODALITY_WEIGHT * modality)
        return step_loss(whole, answer.logits[:, :count], modality=modality)

    def loss_of(self, logits: Tensor, batch: Batch) -> LossParts:
        """Means over the annotated (image, task) pairs."""
        return hermes_loss(logits, batch.targets, batch.valid)

    def entry_answers(self, image: Tensor, entry: Entry, rows: Tensor, modality: int) -> Tensor:
        """All tasks of the entry meet the image; logits are made of the asked ones only."""
        tasks = torch.tensor([entry.tokens], device=image.device).expand(len(image), -1)
        modalities = torch.full((len(image),), modality, device=image.device)
        prototypes, feature = self.network.prototypes(image, with_null(tasks), modalities)
        first = self.tasks.rows[entry.dataset][entry.classes[0]]
        return likeness(prototypes[:, rows - first], feature).float().sigmoid()


class HermesMModel(HermesModel):
    """Hermes on MedFormer."""

    def build(self) -> Hermes:
        """The network, with the auxiliary head that only the training needs."""
        return hermes_m(self.prior_sizes, self.preset.network)


class ImageFirstModel(MaskModel):
    """Systems whose body sees the image only: it passes each window once, whatever is asked.

    Not so Hermes, whose body meets the tokens of the entry.
    """

    network: DoDNet | ClipDriven | MultiTalent

    def windows(
        self,
        volume: Tensor,
        window: Triple,
        on_window: Callable[[int, int], None] | None = None,
        *,
        walks: int = 1,
    ) -> Windows:
        """The features of every window, where they are walked over more than once."""
        if walks == 1:
            return super().windows(volume, window, on_window)
        settings = self.preset.inference
        return WindowFeatures(self.network.encode, volume, window, settings, self.device, on_window)

    def entry_answers(
        self,
        image: Tensor | ImageFeatures,
        entry: Entry,  # noqa: ARG002
        rows: Tensor,
        modality: int,  # noqa: ARG002
    ) -> Tensor:
        """A sigmoid for each row, of images or of the features of `windows`."""
        features = self.network.encode(image) if isinstance(image, Tensor) else image
        return self.network.decode(features, self.places[rows]).float().sigmoid()


class DoDNetModel(ImageFirstModel):
    """A head generated from the image and a one-hot task."""

    network: DoDNet
    maps_per_prompt = HEAD_MAPS

    def build(self) -> DoDNet:
        """The network; tasks are those of the tokens."""
        return DoDNet(self.known.n_tokens - 1, widths=self.preset.network.widths)

    def places_of_rows(self) -> list[int]:
        """The tasks, which entries may share."""
        return [entry.tokens[entry.classes.index(name)] for entry, name, _ in self.known.rows()]

    def loss_of(self, logits: Tensor, batch: Batch) -> LossParts:
        """Mean over the images that have a class annotated, then over the classes."""
        places = self.places[batch.prompts]
        return dodnet_loss(*by_task(logits, batch.targets, batch.valid, places))


class ClipDrivenModel(ImageFirstModel):
    """A head generated from the image and the text of a class in its modality."""

    network: ClipDriven
    maps_per_prompt = HEAD_MAPS

    def build(self) -> ClipDriven:
        """The network; vectors of text are filled in by `text.set_vectors`, or restored."""
        count, width = len(self.known.prompts), self.known.text_width
        text = count if width is None else torch.zeros(count, width)
        return ClipDriven(text, self.preset.network.widths)

    def places_of_rows(self) -> list[int]:
        """The vectors: same-named classes of one modality share theirs."""
        numbers = {pair: number for number, pair in enumerate(self.known.prompts)}
        return [numbers[entry.kind, name] for entry, name, _ in self.known.rows()]

    def loss_of(self, logits: Tensor, batch: Batch) -> LossParts:
        """Mean over the annotated (image, class) pairs."""
        return clip_driven_loss(logits, batch.targets, batch.valid)


class MultiTalentModel(ImageFirstModel):
    """A sigmoid channel for every class of every entry."""

    network: MultiTalent

    def build(self) -> MultiTalent:
        """The network."""
        return MultiTalent(self.n_tasks, self.preset.network.widths)

    def loss_of(self, logits: Tensor, batch: Batch) -> LossParts:
        """Sums over classes, whose Dice counts are pooled over the batch."""
        pooled = by_task(logits, batch.targets, batch.valid, self.places[batch.prompts])
        return multitalent_loss([pooled.logits], [pooled.targets], pooled.valid)


def with_null(tasks: Tensor) -> Tensor:
    """Task lists (B, n) with one null token behind each, which takes part in the attention."""
    return functional.pad(tasks, (0, 1), value=NULL)


class ByTask(NamedTuple):
    """A batch with one column for each task that occurs: (B, P, X, Y, Z), the same, (B, P)."""

    logits: Tensor
    targets: Tensor
    valid: Tensor


def by_task(logits: Tensor, targets: Tensor, valid: Tensor, places: Tensor) -> ByTask:
    """Bring tasks (B, P), which differ from image to image, into common columns."""
    found, columns = places.unique(return_inverse=True)
    images = torch.arange(len(logits), device=logits.device)[:, None].expand_as(places)
    # Places that only fill a list up may name a task that the image has: they stay out.
    at = images[valid], columns[valid]
    shape = len(logits), len(found)
    sorted_logits = logits.new_zeros(*shape, *logits.shape[2:]).index_put(at, logits[valid])
    sorted_targets = targets.new_zeros(*shape, *targets.shape[2:]).index_put(at, targets[valid])
    sorted_valid = valid.new_zeros(shape).index_put(at, valid[valid])
    return ByTask(sorted_logits, sorted_targets, sorted_valid)
