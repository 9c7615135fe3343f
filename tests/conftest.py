"""What several test areas share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """The development data beside the clone (real scans, tables of the paper).

    Without it, tests of real scans cannot run: in CI that is a failure, elsewhere the test
    says what it left out.
    """
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        message = f"real scans and the paper's tables ({folder}) are not on this machine"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole workflows first: with several workers, the longest files must not come last."""
    items.sort(key=lambda item: "workflow" not in item.path.parts)
