"""`satbench doctor`: is this machine ready for a run?"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import psutil

from evaluation.config import RunConfig
from evaluation.datasets.registry import entry_ids, load_cards
from evaluation.datasets.status import present_entries
from evaluation.errors import BenchError
from evaluation.models.card import model_faults
from evaluation.workflow.configuration import load_config, unused_names

EXTRAS = {
    "train": ("torch", "monai"),
    "sat": ("torch", "transformers", "monai"),
    "universal": ("torch", "transformers", "monai"),
    "nnunet": ("torch", "nnunetv2"),
}
EXTRAS |= {"workflow": ("snakemake",), "report": ("matplotlib", "seaborn")}
LOW_DISK_GIB = 50.0


@dataclass(frozen=True)
class Finding:
    """One line of the examination; `level` is `ok`, `note` or `fault`."""

    level: str
    topic: str
    message: str


def examine(config_path: Path, raw_root: Path | None = None) -> list[Finding]:
    """Everything that commonly stops a run, found before it starts."""
    findings = [*_packages(), *_torch(), *_machine(), *_slurm(), *_cards()]
    try:
        config = load_config(config_path)
    except BenchError as error:
        return [*findings, Finding("fault", "configuration", error.one_line)]
    findings.append(Finding("ok", "configuration", f"{config_path} is valid"))
    findings += [Finding("note", "configuration", note) for note in unused_names(config)]
    return [*findings, *_raw_data(config, raw_root)]


def _packages() -> list[Finding]:
    findings = []
    for extra, names in EXTRAS.items():
        missing = [name for name in names if find_spec(name) is None]
        if missing:
            text = f"not installed: {', '.join(missing)} (pip install satbench[{extra}])"
            findings.append(Finding("note", f"extra {extra}", text))
        else:
            text = ", ".join(f"{name} {version(name)}" for name in names)
            findings.append(Finding("ok", f"extra {extra}", text))
    return findings


def _torch() -> list[Finding]:
    if find_spec("torch") is None:
        return []
    import importlib

    # Loaded by name: this package must be importable without torch.
    torch = importlib.import_module("torch")
    findings = []
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        findings.append(Finding("ok", "CUDA", ", ".join(names)))
    else:
        text = "torch sees no GPU: presets `nano` and `paper` will not start here; CPU presets will"
        findings.append(Finding("note", "CUDA", text))
    try:
        torchvision = version("torchvision")
    except PackageNotFoundError:
        return findings
    if "+cpu" in torch.__version__:
        text = (
            f"{torchvision} beside a CPU torch cannot be imported and breaks transformers: "
            "pip uninstall torchvision"
        )
        findings.append(Finding("fault", "torchvision", text))
    return findings


def _machine() -> list[Finding]:
    free_gib = shutil.disk_usage(Path.cwd()).free / 2**30
    memory_gib = psutil.virtual_memory().total / 2**30
    level = "ok" if free_gib >= LOW_DISK_GIB else "note"
    return [
        Finding("ok", "machine", f"{os.cpu_count()} cores, {memory_gib:.0f} GiB memory"),
        Finding(level, "disk", f"{free_gib:.0f} GiB free in {Path.cwd()}"),
    ]


def _slurm() -> list[Finding]:
    if shutil.which("sinfo") is None:
        return [Finding("note", "Slurm", "not here; `snakemake --cores N` runs on this machine")]
    command = ["sinfo", "--noheader", "--format=%P %a %D nodes %c cores %G"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        text = f"sinfo is here but reaches no cluster ({error.__class__.__name__})"
        return [Finding("note", "Slurm", text)]
    return [Finding("ok", "Slurm", " ".join(x.split())) for x in answer.stdout.splitlines()]


def _cards() -> list[Finding]:
    """Files of the user's that are no cards; a run that names one of them does not start."""
    faults = [*load_cards().faults.values(), *model_faults()]
    return [Finding("note", "card", fault.one_line) for fault in faults]


def _raw_data(config: RunConfig, raw_root: Path | None) -> list[Finding]:
    if config.data_kind == "synthetic":
        return [Finding("ok", "raw data", "the run makes its own virtual patients")]
    root = raw_root or Path(config.raw_root)
    names = entry_ids(config)
    present = present_entries(root)
    here = [name for name in names if present.get(name)]
    level = "ok" if len(here) == len(names) else "note"
    text = f"{len(here)} of {len(names)} entries under {root.resolve()}"
    return [
        Finding(level, "raw data", f"{text}; `satbench data status --raw-root {root}` has more")
    ]
