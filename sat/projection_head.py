"""Find a two-layer projection head in a state dict whose names are not known for certain."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from evaluation.errors import BenchError

# `mlp_embed.0.weight`: the name of the head, the layer's number, the part.
_LAYER = re.compile(r"^(?:(?P<head>.*)\.)?(?P<number>\d+)\.(?P<part>weight|bias)$")
_SHOWN = 12


def find_projection(
    state: Mapping[str, Tensor], width_in: int, width_out: int, wanted: str | None, file: Path
) -> tuple[str, dict[str, str]]:
    """A head Linear - GELU - Linear, numbered layers with weight and bias under one name.

    The first release calls it `mlp_embed`: `mlp_embed.0.weight` and so on.

    Args:
        state: tensors by name, without those of the encoder.
        width_in: length of the encoder's output.
        width_out: length of a query.
        wanted: the head's name, to choose one of several.
        file: where the tensors come from, for errors.

    Returns:
        The head's name, and `0.weight`, `0.bias`, `2.weight`, `2.bias` -> its key in `state`.

    Raises:
        BenchError: there is no such head, or more than one; what was found is listed.
    """
    heads: dict[str, dict[int, dict[str, str]]] = {}
    for key in state:
        if match := _LAYER.match(key):
            layers = heads.setdefault(match["head"] or "", {})
            layers.setdefault(int(match["number"]), {})[match["part"]] = key
    fitting = {name: parts for name in heads if (parts := _two_layers(heads[name], state))}
    right = {
        name: parts
        for name, parts in fitting.items()
        if state[parts["0.weight"]].shape[1] == width_in
        and state[parts["2.weight"]].shape[0] == width_out
    }
    if wanted is not None:
        right = {name: parts for name, parts in right.items() if name == wanted}
    if len(right) == 1:
        return next(iter(right.items()))
    shapes = [f"{key} {tuple(value.shape)}" for key, value in state.items()]
    listed = "\n            ".join([*shapes[:_SHOWN], *(["..."] if len(shapes) > _SHOWN else [])])
    raise BenchError(
        "several projection heads in the text tower"
        if right
        else f"no projection head{f' `{wanted}`' if wanted else ''} in the text tower",
        file=file,
        found=", ".join(right) if right else listed or "nothing beside the text encoder",
        expected=f"NAME.0.weight ({width_in}, {width_in}), NAME.0.bias, NAME.2.weight "
        f"({width_out}, {width_in}), NAME.2.bias",
        hint="choose one with --projection NAME" if right else None,
    )


def _two_layers(
    layers: Mapping[int, Mapping[str, str]], state: Mapping[str, Tensor]
) -> dict[str, str]:
    """Keys of two linear layers that fit each other; empty if these are something else."""
    if len(layers) != 2 or any(set(parts) != {"weight", "bias"} for parts in layers.values()):
        return {}
    first, second = (layers[number] for number in sorted(layers))
    shapes = [state[layer["weight"]].shape for layer in (first, second)]
    biases = [state[layer["bias"]].shape for layer in (first, second)]
    matrices = all(len(shape) == 2 for shape in shapes)
    if not matrices or [(shape[0],) for shape in shapes] != [tuple(b) for b in biases]:
        return {}
    # `PromptProjection` keeps the query's width in between.
    if shapes[0][0] != shapes[1][1] or shapes[0][0] != shapes[1][0]:
        return {}
    return {
        "0.weight": first["weight"], "0.bias": first["bias"],
        "2.weight": second["weight"], "2.bias": second["bias"],
    }  # fmt: skip
