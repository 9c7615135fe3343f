"""YAML as people write it, read safely, and with no key lost."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml


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
        yaml.YAMLError: not YAML, or a key that occurs twice in one mapping.
    """
    return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - it is a safe loader
