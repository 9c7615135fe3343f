"""Files that may not be there yet."""

from __future__ import annotations

from pathlib import Path

from evaluation.spent import SPENT_FILE, read_spent


def cpu_seconds(folder: Path) -> float | None:
    """Of the training in a folder, all resumes together; None where a part was not measured."""
    spent = read_spent(folder / SPENT_FILE)
    return None if spent is None else spent.cpu_seconds
