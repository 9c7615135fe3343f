"""Files that may not be there yet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from evaluation.spent import SPENT_FILE, read_spent


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is no whole file."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def cpu_seconds(folder: Path) -> float | None:
    """Of the training in a folder, all resumes together; None where a part was not measured."""
    spent = read_spent(folder / SPENT_FILE)
    return None if spent is None else spent.cpu_seconds
