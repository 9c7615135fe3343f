"""nnU-Net's plan, and the one that is trained: Table 7's configuration, or a smaller one.

Only the configuration `3d_fullres` is kept: the paper's specialists are single 3D networks.
Functions here work on plans as plain JSON values, so they are tested without training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from baselines.nnunet.config import Network, NnunetPreset
from evaluation.errors import BenchError
from evaluation.published.specialists import PinnedPlan

CONFIGURATION = "3d_fullres"
PLANS_NAME = "SatbenchPlans"
# nnU-Net's limits for 3D networks: widest stage, and the shortest side of the bottleneck.
MAX_WIDTH = 320
MIN_BOTTLENECK = 4

Plan = dict[str, Any]


def plan_to_train(
    planned: Mapping[str, Any], preset: NnunetPreset, pinned: PinnedPlan | None
) -> Plan:
    """The plan that a specialist is preprocessed and trained with.

    Args:
        planned: nnU-Net's own plan of this dataset.
        preset: mode and changes.
        pinned: the specialist's row of Table 7, needed in mode `pinned`.

    Raises:
        BenchError: nnU-Net planned no 3D network, or there is no row to pin.
    """
    if CONFIGURATION not in planned["configurations"]:
        raise BenchError(f"nnU-Net made no {CONFIGURATION} plan: the scans are two-dimensional")
    plan = deepcopy(dict(planned))
    configuration = plan["configurations"][CONFIGURATION]
    if preset.mode == "pinned":
        if pinned is None:
            raise BenchError(
                "Table 7 has no plan for this specialist",
                hint="use a preset with `mode: planned`",
            )
        _pin(configuration, pinned)
    _change(configuration, preset.network)
    configuration["data_identifier"] = f"{PLANS_NAME}_{CONFIGURATION}"
    plan["plans_name"] = PLANS_NAME
    plan["configurations"] = {CONFIGURATION: configuration}
    return plan


def _pin(configuration: Plan, pinned: PinnedPlan) -> None:
    configuration.update(
        patch_size=list(pinned.patch_size),
        batch_size=pinned.batch_size,
        spacing=list(pinned.spacing_mm),
        normalization_schemes=[pinned.normalisation],
        use_mask_for_norm=configuration["use_mask_for_norm"][:1],
    )
    _set_stages(configuration, pinned.strides, pinned.kernel_sizes, pinned.width[0])


def _change(configuration: Plan, network: Network) -> None:
    kwargs = configuration["architecture"]["arch_kwargs"]
    width = network.width or kwargs["features_per_stage"][0]
    strides, kernels = kwargs["strides"], kwargs["kernel_sizes"]
    if network.patch_cap is not None:
        from nnunetv2.experiment_planning.experiment_planners.network_topology import (
            get_pool_and_conv_props,
        )

        capped = [min(int(n), network.patch_cap) for n in configuration["patch_size"]]
        _, strides, kernels, patch, _ = get_pool_and_conv_props(
            configuration["spacing"], capped, MIN_BOTTLENECK, 999999
        )
        configuration["patch_size"] = [int(n) for n in patch]
    if network.patch_size is not None:
        configuration["patch_size"] = list(network.patch_size)
    if network.batch_size is not None:
        configuration["batch_size"] = network.batch_size
    _set_stages(configuration, strides, kernels, width)
    _check_patch(configuration)


def _set_stages(
    configuration: Plan,
    strides: Sequence[Sequence[int]],
    kernel_sizes: Sequence[Sequence[int]],
    width: int,
) -> None:
    n = len(strides)
    configuration["architecture"]["arch_kwargs"].update(
        n_stages=n,
        features_per_stage=[min(MAX_WIDTH, width * 2**stage) for stage in range(n)],
        strides=[[int(s) for s in axes] for axes in strides],
        kernel_sizes=[[int(k) for k in axes] for axes in kernel_sizes],
        n_conv_per_stage=[2] * n,
        n_conv_per_stage_decoder=[2] * (n - 1),
    )


def _check_patch(configuration: Plan) -> None:
    patch = configuration["patch_size"]
    strides = configuration["architecture"]["arch_kwargs"]["strides"]
    for axis, side in enumerate(patch):
        factor = 1
        for stage in strides:
            factor *= stage[axis]
        if side % factor:
            raise BenchError(
                "the patch does not fit the network's strides",
                found=f"{side} voxels along axis {axis}",
                expected=f"a multiple of {factor}",
                hint="change network.patch_size in the preset",
            )


def describe(plan: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a plan that Table 7 prints, or that decide what a network sees."""
    configuration = plan["configurations"][CONFIGURATION]
    kwargs = configuration["architecture"]["arch_kwargs"]
    return {
        "patch_size": [int(n) for n in configuration["patch_size"]],
        "batch_size": configuration["batch_size"],
        "spacing_mm": [round(float(s), 5) for s in configuration["spacing"]],
        "normalisation": configuration["normalization_schemes"][0],
        "n_stages": kwargs["n_stages"],
        "width": [int(n) for n in kwargs["features_per_stage"]],
        "strides": [list(s) for s in kwargs["strides"]],
        "kernel_sizes": [list(k) for k in kwargs["kernel_sizes"]],
    }


def differences(planned: Mapping[str, Any], used: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Where the trained plan differs from nnU-Net's own: field -> planned, used."""
    ours, theirs = describe(used), describe(planned)
    return {
        field: {"planned": theirs[field], "used": ours[field]}
        for field in ours
        if ours[field] != theirs[field]
    }


def spacing_faults(
    plan: Mapping[str, Any], spacings_mm: Sequence[Sequence[float]], factor: float = 1.5
) -> list[str]:
    """One sentence for each axis whose target spacing lies far outside the scans'.

    Args:
        plan: the plan to train.
        spacings_mm: spacing of each training scan, axes as stored (before the transposition).
        factor: how far outside of the scans' range is still fine.
    """
    order = plan["transpose_forward"]
    found = []
    for axis, target in enumerate(plan["configurations"][CONFIGURATION]["spacing"]):
        values = [float(s[order[axis]]) for s in spacings_mm]
        if not min(values) / factor <= target <= max(values) * factor:
            found.append(
                f"axis {axis}: the plan resamples to {target:g} mm, the scans have "
                f"{min(values):g} to {max(values):g} mm"
            )
    return found
