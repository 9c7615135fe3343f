"""The run record: enough to say what made a number, and to make it again."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import psutil

from evaluation import __version__
from evaluation.config import load_frozen
from evaluation.datasets.registry import entry_ids, load_cards
from evaluation.files.card_places import shows_run
from evaluation.files.reading import text_of
from evaluation.files.writing import sha256, visible, write_json
from evaluation.models.added import read_added
from evaluation.models.presets import frozen_preset
from evaluation.models.running import join_status
from evaluation.paths import RunPaths
from evaluation.runs.measured import measured_cost, measured_works, runtime_table
from evaluation.schema import COST, RUNTIME, write_table

# Steps whose jobs are of a model; so is every stage of a training.
OF_A_MODEL = ("predict", "measure")

PACKAGES = (
    "torch",
    "nnunetv2",
    "monai",
    "transformers",
    "surface-distance",
    "numba",
    "numpy",
    "scipy",
    "pandas",
    "nibabel",
    "SimpleITK",
    "snakemake",
)


def code_version() -> str:
    """Version of the package, with the commit where the code runs from a clone."""
    try:
        commit = _git("describe", "--always")
        # Not `describe --dirty`, which writes into the clone and can leave a lock there.
        changed = _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return __version__
    return f"{__version__}+{commit}{'-dirty' if changed else ''}"


def _git(*arguments: str) -> str:
    """What git says of the clone that the code runs from; nothing is written there."""
    answer = subprocess.run(
        ["git", "--no-optional-locks", *arguments],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        encoding="utf-8",
        check=True,
        timeout=10,
    )
    return answer.stdout.strip()


def package_versions() -> dict[str, str]:
    """Versions of the packages that numbers depend on; absent ones are left out."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, Any]:
    """Processor, cores and memory of this machine."""
    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = [
            x
            for x in cpuinfo.read_text(encoding="utf-8").splitlines()
            if x.startswith("model name")
        ]
        model = lines[0].partition(":")[2].strip() if lines else model
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
    }


def job_measurements(run: Path) -> list[dict[str, Any]]:
    """Seconds, CPU seconds, peak memory and GPUs of every job when it last ran.

    From the workflow's benchmarks. A job may have resumed, or found its work done: what the work
    took in all is in the tables `runtime` and `cost`. Jobs of models and entries that the run does
    not declare are left out, and so are those whose benchmark is not whole, since Snakemake writes
    it in place.
    """
    folder = run / "benchmarks"
    config = load_frozen(run)
    others = set(load_cards()) - set(entry_ids(config))
    jobs = []
    for path in visible(folder, "**/*.tsv"):
        unit = path.relative_to(folder).with_suffix("").parts
        step, job = step_and_job(unit, RunPaths(run))
        rest = job.split("/") if job else []
        model = rest.pop(0) if step in OF_A_MODEL or step != unit[0] else None
        if (model and model not in config.models) or (rest and _dataset(rest[0]) in others):
            continue
        try:
            measured = pd.read_csv(path, sep="\t", na_values=["-", "NA"]).iloc[0]
            jobs.append(
                {
                    "stage": step,
                    "job": job,
                    "seconds": round(float(measured["s"]), 2),
                    "cpu_seconds": round(float(measured["cpu_time"]), 2),
                    "peak_memory_mib": round(float(measured["max_rss"]), 1),
                    "gpus": asked_gpus(str(measured.get("resources", ""))),
                }
            )
        except (ValueError, LookupError, TypeError):
            continue
    return jobs


def _dataset(unit: str) -> str:
    """`totalsegmentator-organs`, `acdc-0`: what stands before the sign, if it is an entry."""
    return unit.partition("-")[0]


def step_and_job(unit: Sequence[str], paths: RunPaths) -> tuple[str, str]:
    """What the path of a log or a benchmark says: `predict`, `oracle/acdc-0`.

    A stage of a training lies under its output; its name and model stand beside the digest of its
    settings: `train`, `sat-nano`.
    """
    step, job = unit[0], "/".join(unit[1:])
    settings = paths.settings(step, job)
    words = text_of(settings).split() if settings.is_file() else []
    if len(words) < 2:
        return step, job
    model, name, *rest = words[1].split("/")
    return name, "/".join([model, *rest])


def asked_gpus(resources: str) -> int:
    """GPUs among the resources of a benchmark file, `{'mem_mb': 4000, 'gpu': 1}`."""
    found = re.search(r"'gpu': (\d+)", resources)
    return int(found[1]) if found else 0


@shows_run
def write_record(run: Path) -> Path:
    """Write `run.json`, the tables `runtime` and `cost`, and each model's joined `status.csv`."""
    paths = RunPaths(run)
    config = load_frozen(run)
    entries = entry_ids(config)
    for model, dataset in product(config.models, entries):
        if paths.prediction_shard(model, dataset, 0).parent.is_dir():
            join_status(run, model, dataset)
    works = measured_works(run)
    write_table(paths.table("runtime"), runtime_table(run, works), RUNTIME)
    write_table(paths.table("cost"), measured_cost(run, works), COST)
    record = {
        "run": config.name,
        "data_kind": config.data_kind,
        "code": code_version(),
        "configuration": config.model_dump(mode="json"),
        "presets": {
            model: frozen.model_dump(mode="json")
            for model in config.models
            if (frozen := frozen_preset(paths, model))
        },
        "added_models": read_added(run),
        "packages": package_versions(),
        "hardware": hardware(),
        "inputs_sha256": {
            path.relative_to(run).as_posix(): sha256(path)
            for path in map(paths.split, sorted(entries))
            if path.is_file()
        },
        "jobs": job_measurements(run),
    }
    target = run / "run.json"
    write_json(target, record)
    return target
