"""Weights of the public releases of the universal systems, by their names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from baselines.universal.networks.hermes import Hermes, hermes_r
from baselines.universal.networks.hermes_m import hermes_m
from baselines.universal.networks.medformer import MedFormer
from baselines.universal.networks.priors import PriorSizes
from baselines.universal.networks.resunet import ResUNet
from baselines.universal.released_medformer import BODY_RENAMES, TABLES
from evaluation.errors import BenchError

# The averaged weights are the ones that the authors evaluate.
WRAPPERS = ("ema_model_state_dict", "model_state_dict")

Renames = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Release:
    """How the public code of a system names what ours has.

    Attributes:
        build: our network, of the sizes that the tensors of a release ask for.
        renames: a part of our name and what it is called there, replaced in this order.
    """

    build: Callable[[Mapping[str, Tensor]], nn.Module]
    renames: Renames


def unet_renames(inside: str = "") -> Renames:
    """The residual U-Net's, whose encoder and decoder lie inside something or not."""
    return (
        (f"{inside}encoder.stem.0.", "inc.conv1."),
        (f"{inside}encoder.stem.1.", "inc.conv2."),
        *((f"{inside}encoder.stages.{i}.", f"down{i + 1}.conv.") for i in range(4)),
        *((f"{inside}decoder.stages.{i}.blocks.", f"up{i + 1}.conv.") for i in range(4)),
    )


def hermes_renames(levels: Sequence[str], mask_head: str) -> Renames:
    """The tables' and heads', given where the tables of the five levels lie."""
    return (
        *((f"priors.{i}.tasks", f"{level}.task_prior") for i, level in enumerate(levels)),
        *((f"priors.{i}.modalities", f"{level}.modality_prior") for i, level in enumerate(levels)),
        ("auxiliary_head.mlps.", "aux_classifier.classifier_pred."),
        ("auxiliary_head.", "aux_classifier."),
        ("modality_head.mlp.", "mod_out.classifier."),
        ("modality_head.", "mod_out."),
        # Last, as the names here are parts of names above.
        ("mask_head.mlps.", f"{mask_head}.classifier_pred."),
        ("mask_head.", f"{mask_head}."),
    )


_FUSIONS = (
    "prior_init_fuse_2",
    "prior_init_fuse_3",
    "prior_init_fuse_4",
    "prior_fuse_5",
    "prior_fuse_6",
)
_FUSION_RENAMES: Renames = (
    *((f"body.fusions.{i}.", f"{level}.attn_layers.") for i, level in enumerate(_FUSIONS)),
    (".tokens_query_feature.", ".prior_aggregate_block."),
    (".feature_queries_tokens.", ".feat_aggregate_block."),
    (".norm_query.", ".norm1."),
    (".norm_context.", ".norm2."),
    (".query.", ".fn.to_q."),
    (".key_value.", ".fn.to_kv."),
    (".out.", ".fn.to_out."),
    (".tokens_mlp.mlp.", ".prior_ffn.fn."),
    (".tokens_mlp.", ".prior_ffn."),
    (".feature_mlp.mlp.", ".feat_ffn.fn."),
    (".feature_mlp.", ".feat_ffn."),
)


def _resunet(tensors: Mapping[str, Tensor]) -> nn.Module:
    return ResUNet(_outputs(tensors))


def _medformer(tensors: Mapping[str, Tensor]) -> nn.Module:
    auxiliary = any(key.startswith("aux_out.") for key in tensors)
    return MedFormer(_outputs(tensors), auxiliary=auxiliary)


def _outputs(tensors: Mapping[str, Tensor]) -> int:
    bias = tensors.get("outc.bias")
    return 1 if bias is None else bias.numel()


def _hermes_r(tensors: Mapping[str, Tensor]) -> nn.Module:
    return with_its_heads(hermes_r(prior_sizes(tensors, _FUSIONS[0])), tensors)


def _hermes_m(tensors: Mapping[str, Tensor]) -> nn.Module:
    return with_its_heads(hermes_m(prior_sizes(tensors, TABLES[0])), tensors)


def prior_sizes(tensors: Mapping[str, Tensor], level: str) -> PriorSizes:
    """Rows of the token tables of a release; the published ones where it has none."""
    tasks, modalities = (tensors.get(f"{level}.{kind}_prior") for kind in ("task", "modality"))
    published = PriorSizes()
    return PriorSizes(
        published.tasks if tasks is None else len(tasks),
        *(
            (published.modalities, published.length)
            if modalities is None or modalities.dim() != 3
            else modalities.shape[:2]
        ),
    )


def with_its_heads(network: Hermes, tensors: Mapping[str, Tensor]) -> Hermes:
    """Without the heads of the training that a release leaves out."""
    if not any(key.startswith("mod_out.") for key in tensors):
        network.modality_head = None
    if not any(key.startswith("aux_classifier.") for key in tensors):
        network.auxiliary_head = None
    return network


RELEASES: dict[str, Release] = {
    "resunet": Release(_resunet, (*unet_renames(), ("head.", "outc."))),
    "medformer": Release(
        _medformer, (("auxiliary_head.", "aux_out."), ("head.", "outc."), *BODY_RENAMES)
    ),
    "hermes_r": Release(
        _hermes_r,
        (*unet_renames("body."), *hermes_renames(_FUSIONS, "out"), *_FUSION_RENAMES),
    ),
    "hermes_m": Release(_hermes_m, (*hermes_renames(TABLES, "out_classifier"), *BODY_RENAMES)),
}


def released_name(system: str, name: str) -> str:
    """What the public code calls a tensor of our network."""
    for ours, theirs in RELEASES[system].renames:
        name = name.replace(ours, theirs, 1)
    return name


def as_ours(value: Tensor, ours: Tensor) -> Tensor:
    """The released tensor; what is a 1x1x1 convolution there and a linear layer here, as one."""
    return value.flatten(1) if ours.dim() == 2 and value.shape[2:] == (1, 1, 1) else value


def unwrapped(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """The state dict of a released file, bare or wrapped; the averaged weights if there are two."""
    for wrapper in WRAPPERS:
        inner = content.get(wrapper)
        if isinstance(inner, Mapping):
            return inner
    return content


def load_released(system: str, state_dict: object) -> nn.Module:
    """The network of a system with the weights of its public release.

    Args:
        system: one of `RELEASES`.
        state_dict: the released names, with or without the prefix `module.`, bare or wrapped as
            `model_state_dict` or `ema_model_state_dict`. Each head that only a training needs may
            be missing as a whole. The tensors are used as they are, without a change of precision.

    Returns:
        The network in evaluation mode. `resunet`, `medformer`: `network(image)`; `hermes_r`,
        `hermes_m`: `network(image, tasks, modalities)`. Logits.

    Raises:
        BenchError: an unknown system, or no state dict; or every key that is missing, unknown,
            there twice (with and without `module.`), of a wrong shape, or no tensor of
            floating-point numbers, by its released name.
    """
    if system not in RELEASES:
        raise BenchError(
            "no public release is known of this system",
            found=system,
            expected=f"one of {', '.join(RELEASES)}",
        )
    if not isinstance(state_dict, Mapping):
        raise BenchError(
            f"this is no state dict of {system}",
            found=type(state_dict).__name__,
            expected="names and tensors, bare or wrapped as " + " or ".join(WRAPPERS),
        )
    content = unwrapped(state_dict)
    counts = Counter(str(key).removeprefix("module.") for key in content)
    given = {str(key).removeprefix("module."): value for key, value in content.items()}
    tensors = {key: value for key, value in given.items() if isinstance(value, Tensor)}
    with torch.device("meta"):
        network = RELEASES[system].build(tensors)
    ours = network.state_dict()
    names = {released_name(system, name): name for name in ours}
    faults = [f"{key}: missing" for key in names if key not in given]
    faults += [f"{key}: twice, with and without `module.`" for key, n in counts.items() if n > 1]
    for key, value in given.items():
        if key not in names:
            faults.append(f"{key}: unknown")
        elif not isinstance(value, Tensor) or not value.is_floating_point():
            faults.append(f"{key}: no tensor of floating-point numbers")
        elif as_ours(value, ours[names[key]]).shape != ours[names[key]].shape:
            expected = tuple(ours[names[key]].shape)
            faults.append(f"{key}: shape {tuple(value.shape)} instead of {expected}")
    precisions = sorted({str(value.dtype) for value in tensors.values()})
    if not faults and len(precisions) > 1:
        faults.append(f"mixed precisions {precisions}")
    if faults:
        raise BenchError(
            f"these are not the released weights of {system}",
            found=f"{len(faults)} faults:\n            " + "\n            ".join(faults),
            expected=f"{len(ours)} tensors, {sum(v.numel() for v in ours.values()):,} values",
        )
    weights = {names[k]: as_ours(value, ours[names[k]]) for k, value in tensors.items()}
    network.load_state_dict(weights, strict=True, assign=True)
    return network.eval()
