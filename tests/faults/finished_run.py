"""A finished smoke run, of which one file is cut, deleted or altered at a time."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

BIN = Path(sys.executable).parent
CONFIG = ("--cores", "2", "--configfile", "config/smoke.yaml")
OF_TIME = {"runtime", "cost"}
RUN = Path("results/smoke")
KINDS = ("cut", "deleted", "altered")


def damage(path: Path, kind: str) -> None:
    """Cut a file in half, delete it, or turn the bits of its middle byte."""
    content = bytearray(path.read_bytes())
    if kind == "deleted":
        path.unlink()
    elif kind == "cut":
        path.write_bytes(content[: len(content) // 2])
    else:
        middle = len(content) // 2
        content[middle : middle + 1] = bytes(b ^ 0xFF for b in content[middle : middle + 1]) or b"x"
        path.write_bytes(content)


def tables_of(run: Path) -> dict[str, pd.DataFrame]:
    """All tables and joined score rows but for those of times."""
    paths = [*run.glob("tables/*.parquet"), *run.glob("scores/*/*.parquet")]
    return {
        str(path.relative_to(run)): pd.read_parquet(path)
        for path in sorted(paths)
        if path.stem not in OF_TIME
    }


@dataclass
class FinishedRun:
    """A clone with the run, a copy of it as it was, and its tables."""

    clone: Any
    kept: Path
    tables: Mapping[str, pd.DataFrame]

    @property
    def folder(self) -> Path:
        return self.clone.folder

    @property
    def run(self) -> Path:
        return self.folder / RUN

    def restore(self) -> None:
        """Everything as it was, with the times of the files."""
        for name in ("results", "reports", ".snakemake"):
            shutil.rmtree(self.folder / name)
            shutil.copytree(self.kept / name, self.folder / name, symlinks=True)

    def again(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command that made the run."""
        return self.clone.snakemake(*arguments, *CONFIG, timeout=2000)

    def differing(self) -> list[str]:
        """Tables that are not as they were."""
        now = tables_of(self.run)
        names = self.tables.keys() | now.keys()
        return sorted(
            n for n in names if n not in now or n not in self.tables
            or not self.tables[n].equals(now[n])
        )  # fmt: skip

    def limited(self, bytes_of_a_file: int, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A `satbench` command none of whose files may become larger."""

        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_of_a_file, resource.RLIM_INFINITY))

        return subprocess.run(
            [str(BIN / "satbench"), *arguments], cwd=self.folder, env=self.clone.environment,
            capture_output=True, text=True, timeout=500, check=False, preexec_fn=limit,
        )  # fmt: skip


def make_finished_run(folder: Path, new_clone: Any) -> FinishedRun:
    """Make the smoke run once, and keep a copy of it."""
    folder.mkdir()
    clone = new_clone(folder)
    clone.run(*CONFIG, timeout=2700)
    kept = folder.with_name(f"{folder.name}-kept")
    shutil.copytree(folder, kept, symlinks=True)
    return FinishedRun(clone, kept, tables_of(clone.folder / RUN))
