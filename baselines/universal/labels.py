"""The systems of exclusive labels: ResUNet, MedFormer, Multi-decoder, UniSeg."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from baselines.universal.entries import Entry
from baselines.universal.losses import mean_of, resunet_loss, uniseg_loss
from baselines.universal.model import LabelModel, step_loss
from baselines.universal.networks.medformer import MedFormer
from baselines.universal.networks.multi_decoder import MultiDecoder
from baselines.universal.networks.resunet import ResUNet
from baselines.universal.networks.uniseg import UniSeg
from evaluation.errors import BenchError
from evaluation.training.crops import Batch
from evaluation.training.losses import LossParts, StepLoss

# Of the voxelwise cross-entropy, as the authors of MedFormer train it and the ResUNet.
BACKGROUND_WEIGHT, ORGAN_WEIGHT, LESION_WEIGHT = 0.5, 1.0, 3.0


class ResUNetModel(LabelModel):
    """The traditional way: the plain network of one entry."""

    def build(self) -> nn.Module:
        """The network, with a channel for each label."""
        (outputs,) = self.outputs.values()
        return ResUNet(outputs, self.preset.network.widths)

    def logits(self, image: Tensor, dataset: str) -> Tensor:  # noqa: ARG002
        """Logits (B, labels, X, Y, Z)."""
        found: Tensor = self.network(image)
        return found

    def loss_of(self, logits: Tensor, labels: Tensor, valid: Tensor, entry: Entry) -> LossParts:
        """Of logits (B, C, X, Y, Z), labels (B, X, Y, Z) and valid (B, C) of one entry."""
        weights = [LESION_WEIGHT if x.lesion else ORGAN_WEIGHT for x in entry.labels]
        of_labels = torch.tensor([BACKGROUND_WEIGHT, *weights], device=logits.device)
        return resunet_loss(logits, labels, of_labels, valid)

    def loss(self, batch: Batch) -> StepLoss:
        """Every crop is of the one entry."""
        (entry,) = self.known.entries
        logits = self.network(batch.image)
        return step_loss(self.loss_of(logits, batch.targets[:, 0], batch.valid, entry), logits)


class MedFormerModel(ResUNetModel):
    """The same with MedFormer, whose second head counts half in the training."""

    network: MedFormer

    def build(self) -> MedFormer:
        """The network, with the auxiliary head that only the training needs."""
        (outputs,) = self.outputs.values()
        return MedFormer(outputs, self.preset.network)

    def loss(self, batch: Batch) -> StepLoss:
        """Every crop is of the one entry."""
        (entry,) = self.known.entries
        answer, labels = self.network.answer(batch.image), batch.targets[:, 0]
        loss = self.loss_of(answer.logits, labels, batch.valid, entry)
        if answer.auxiliary is not None:
            loss = mean_of(loss, self.loss_of(answer.auxiliary, labels, batch.valid, entry))
        return step_loss(loss, answer.logits)


class MultiDecoderModel(ResUNetModel):
    """One encoder for all entries; an image passes the decoder of its own entry only.

    What loss it had is not printed: it has the ResUNet's, for the images of each entry.
    """

    network: MultiDecoder
    skips_parameters = True

    def build(self) -> MultiDecoder:
        """The network, with a branch for each entry."""
        return MultiDecoder(self.outputs, self.preset.network.widths)

    def logits(self, image: Tensor, dataset: str) -> Tensor:
        """Logits (B, labels, X, Y, Z) of the entry's own branch."""
        found: Tensor = self.network(image, [dataset] * len(image))[dataset][1]
        return found

    def loss(self, batch: Batch) -> StepLoss:
        """The mean over the entries of the batch, each as heavy as its crops are many."""
        parts, logits = [], batch.image
        for dataset, (rows, logits) in self.network(batch.image, batch.datasets).items():
            entry = self.known.of(dataset)
            assert entry is not None
            valid = batch.valid[rows, : logits.shape[1]]  # behind: what fills up shorter lists
            found = self.loss_of(logits, batch.targets[rows, 0], valid, entry)
            parts.append(torch.stack(found) * (len(rows) / len(batch.datasets)))
        return step_loss(LossParts(*torch.stack(parts).sum(0)), logits)


class UniSegModel(LabelModel):
    """A prompt of the size of the training's patch tells the decoder the task, an entry."""

    network: UniSeg

    def build(self) -> UniSeg:
        """The network, tied to the patch."""
        counts, sizes = list(self.outputs.values()), self.preset.network
        resolutions = sizes.prompt_level.bit_length()  # 1x, 2x, ... up to the prompt's
        return UniSeg(counts, self.preset.training.patch, sizes.widths[:resolutions])

    def logits(self, image: Tensor, dataset: str) -> Tensor:
        """Logits (B, labels, X, Y, Z) of one task."""
        found: Tensor = self.network(image, list(self.outputs).index(dataset))
        return found

    def loss(self, batch: Batch) -> StepLoss:
        """Of a batch of one task.

        Raises:
            BenchError: the batch has crops of several entries.
        """
        datasets = sorted(set(batch.datasets))
        if len(datasets) > 1:
            raise BenchError(
                "a batch of UniSeg has one task", found=", ".join(datasets),
                hint="set sampling.crops_per_group to a multiple of training.batch",
            )  # fmt: skip
        logits = self.logits(batch.image, datasets[0])
        return step_loss(uniseg_loss(logits, batch.targets[:, 0], batch.valid), logits)
