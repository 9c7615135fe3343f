"""A throw-away clone of the workflow's files, and one smoke run that several tests look at."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Clone:
    """The files that `snakemake` reads, in an empty folder."""

    folder: Path

    def command(self, *arguments: str) -> list[str]:
        return [str(Path(sys.executable).parent / "snakemake"), *arguments]

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "OMP_NUM_THREADS": "1",
            # The clone's folders, without modules, would stand before the packages of that name.
            "PYTHONPATH": str(ROOT),
        }

    def snakemake(self, *arguments: str, timeout: float = 500) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def run(self, *arguments: str) -> str:
        """Run to the end and return everything that was printed; fail the test otherwise."""
        done = self.snakemake(*arguments)
        output = done.stdout + done.stderr
        assert done.returncode == 0, output[-6000:]
        return output


def make_clone(folder: Path) -> Clone:
    shutil.copy(ROOT / "Snakefile", folder)
    for package in ("evaluation", "sat", "baselines", "reports"):
        (folder / package).mkdir()
        shutil.copy(ROOT / package / "rules.smk", folder / package)
    for name in ("config", "profiles", "slurm"):
        shutil.copytree(ROOT / name, folder / name)
    return Clone(folder)


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return make_clone(tmp_path)


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """The smoke configuration, run from raw data to report."""
    clone = make_clone(tmp_path_factory.mktemp("smoke"))
    clone.run("--cores", "2", "--configfile", "config/smoke.yaml")
    return clone
