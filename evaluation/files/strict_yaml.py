"""YAML as people write it, read safely, and with no key lost."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml

# Far above what a card or a preset needs; beyond it, the parser's recursion ends the process.
DEEPEST = 50
MOST_VALUES = 1_000_000


class _StrictLoader(yaml.CSafeLoader):
    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    line = key.start_mark.line + 1
                    raise yaml.YAMLError(f"the key `{key.value}` is there twice (line {line})")
                seen.add(key.value)
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep)
        return mapping


def load_yaml(text: str) -> Any:
    """Parse YAML; plain YAML would keep the last of two equal keys and say nothing.

    Raises:
        yaml.YAMLError: not YAML, a key that occurs twice in one mapping, or values nested or
            repeated by aliases beyond all measure.
    """
    _refuse_bombs(text)
    return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - it is a safe loader


def _refuse_bombs(text: str) -> None:
    """Walk over the events, which needs no recursion, and count values as aliases repeat them."""
    sizes: dict[str, int] = {}
    open_values: list[tuple[str | None, int]] = [(None, 0)]  # anchor, values so far
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        anchor, size = getattr(event, "anchor", None), 1
        if isinstance(event, yaml.CollectionStartEvent):
            open_values.append((anchor, 1))
            if len(open_values) > DEEPEST:
                raise yaml.YAMLError(f"values are nested more than {DEEPEST} deep")
            continue
        if isinstance(event, yaml.AliasEvent):
            if any(anchor == name for name, _ in open_values):
                raise yaml.YAMLError(f"`*{anchor}` contains itself")
            size = sizes.get(anchor or "", 1)
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, size = open_values.pop()
        elif not isinstance(event, yaml.ScalarEvent):
            continue
        if anchor is not None:
            sizes[anchor] = size
        outer, before = open_values.pop()
        open_values.append((outer, before + size))
        if before + size > MOST_VALUES:
            raise yaml.YAMLError(f"aliases repeat values more than {MOST_VALUES} times")
