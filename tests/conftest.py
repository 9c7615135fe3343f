"""What several test areas share: the development data, and clones that run the workflow."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from evaluation.files.card_places import work_on

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent


@dataclass
class Clone:
    """The files that `snakemake` reads, in an empty folder; and what was started there."""

    folder: Path
    environment: dict[str, str]
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def command(self, *arguments: str) -> list[str]:
        return [str(BIN / "snakemake"), *arguments]

    def snakemake(self, *arguments: str, timeout: float = 500) -> subprocess.CompletedProcess[str]:
        return self._call(self.command(*arguments), timeout)

    def run(self, *arguments: str, timeout: float = 500) -> str:
        """Run to the end and return everything that was printed; fail the test otherwise."""
        done = self.snakemake(*arguments, timeout=timeout)
        output = done.stdout + done.stderr
        assert done.returncode == 0, output[-6000:]
        return output

    def satbench(self, *arguments: str) -> str:
        """What a `satbench` command prints on stdout; fail the test if it fails."""
        done = self._call([str(BIN / "satbench"), *arguments], 500)
        assert done.returncode == 0, done.stderr[-6000:]
        return done.stdout

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start Snakemake in a session of its own; its output goes to `snakemake-N.log`."""
        with self._log(len(self.started)).open("wb") as stream:
            process = subprocess.Popen(
                self.command(*arguments),
                cwd=self.folder,
                env=self.environment,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    @property
    def said(self) -> str:
        """What the last started Snakemake has printed."""
        return self._log(len(self.started) - 1).read_text(errors="replace")

    def until(self, reached: Callable[[], object], seconds: float = 600) -> None:
        """Wait for something to happen while the last started Snakemake runs."""
        deadline = time.monotonic() + seconds
        while not reached():
            assert self.started[-1].poll() is None, f"ended before:\n{self.said[-4000:]}"
            assert time.monotonic() < deadline, f"did not happen:\n{self.said[-4000:]}"
            time.sleep(0.2)

    def finish(self, timeout: float = 800) -> None:
        """Wait for the last started Snakemake, which succeeds."""
        assert self.started[-1].wait(timeout) == 0, self.said[-6000:]

    def stop(self) -> None:
        """Kill what is still running."""
        for process in self.started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def edit_profile(self, **changes: Any) -> None:
        """What an administrator does: edit `slurm/config.yaml` (`set_resources` are merged)."""
        path = self.folder / "slurm" / "config.yaml"
        values = yaml.safe_load(path.read_text())
        for rule, resources in changes.pop("set_resources", {}).items():
            values["set-resources"].setdefault(rule, {}).update(resources)
        values |= {key.replace("_", "-"): value for key, value in changes.items()}
        path.write_text(yaml.safe_dump(values))

    def edit_stages(self, config: str, **resources: dict[str, Any]) -> None:
        """Write what single stages ask for into a configuration."""
        path = self.folder / config
        values = yaml.safe_load(path.read_text()) | {"stages": resources}
        path.write_text(yaml.safe_dump(values, sort_keys=False))

    def _log(self, number: int) -> Path:
        return self.folder / f"snakemake-{number}.log"

    def _call(self, command: list[str], timeout: float) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )


def make_clone(folder: Path, **variables: str) -> Clone:
    """A clone whose processes have these environment variables besides."""
    shutil.copy(ROOT / "Snakefile", folder)
    for package in ("evaluation", "reports"):
        (folder / package).mkdir()
        shutil.copy(ROOT / package / "rules.smk", folder / package)
    for name in ("config", "profiles", "slurm"):
        shutil.copytree(ROOT / name, folder / name)
    environment = {
        **os.environ,
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
        # The clone's folders, without modules, would stand before the packages of that name.
        "PYTHONPATH": str(ROOT),
        **variables,
    }
    return Clone(folder, environment)


@pytest.fixture(autouse=True)
def no_run_at_work() -> Iterator[None]:
    """A process works on one run; a test on another one finds no cards of the last."""
    yield
    work_on(None)


@pytest.fixture(scope="session")
def new_clone() -> Callable[..., Clone]:
    """`new_clone(folder, **variables)` makes a clone in an empty folder."""
    return make_clone


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    """A clone in an empty folder."""
    return make_clone(tmp_path)


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


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT with random weights, whose words are the open set's most frequent ones."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer
    from transformers.utils import logging

    from sat.knowledge.open_set import open_set

    logging.disable_progress_bar()
    folder = tmp_path_factory.mktemp("tiny-bert")
    texts = [f"{p.name} {p.definition}" for p in open_set().pairs]
    texts += [" ".join(t) for t in open_set().triplets]
    counts = Counter(word for text in texts for word in re.findall(r"\w+|[^\w\s]", text.lower()))
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words += [word for word, _ in counts.most_common(3000)]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    BertTokenizer.from_pretrained(folder).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=256,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole workflows first: with several workers, the longest files must not come last."""
    items.sort(key=lambda item: "workflow" not in item.path.parts)
