"""One smoke run that several tests look at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory, new_clone: Callable[..., Any]) -> Any:
    """The smoke configuration, run from raw data to report."""
    clone = new_clone(tmp_path_factory.mktemp("smoke"))
    clone.run("--cores", "2", "--configfile", "config/smoke.yaml")
    return clone
