"""Prepare and train one specialist of a run; both can be killed and started again.

Folder of a specialist: `raw/`, `preprocessed/` and `trained/` are nnU-Net's, `prepared.json` and
`model.json` are written last and say that a step is complete.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tqdm import tqdm

from baselines.config import NnunetPreset, load_preset
from baselines.export import check_disk, dataset_name, dataset_number, estimated_bytes, export_cases
from baselines.leaves import places_of
from baselines.plans import CONFIGURATION, PLANS_NAME
from baselines.process import SETTINGS, environment, message_of, run_child
from baselines.specialists import SpecialistPlan, find_specialist
from evaluation.cases import read_case_record
from evaluation.config import RunConfig, load_frozen
from evaluation.datasets.card import DatasetCard
from evaluation.errors import BenchError
from evaluation.files import write_json
from evaluation.paths import RunPaths
from evaluation.workflow import read_split

MODEL = "nnunet"
LOCK_WAIT_S = 60.0
STOCK_TRAINER = "nnUNetTrainer"
SCHEDULED_TRAINER = "ScheduledTrainer"
_EPOCH = re.compile(r"^[\d :.-]*Epoch (\d+)\s*$")


@dataclass(frozen=True)
class Job:
    """A specialist of a run and where it lives."""

    paths: RunPaths
    config: RunConfig
    card: DatasetCard
    plan: SpecialistPlan
    preset: NnunetPreset
    folder: Path

    @property
    def unit_spacing(self) -> bool:
        """Whether nnU-Net's copies of the scans get a spacing of 1 mm."""
        pinned = self.plan.pinned
        return self.preset.mode == "pinned" and pinned is not None and pinned.unit_spacing

    @property
    def trainer(self) -> str:
        """Name of the trainer class."""
        return STOCK_TRAINER if self.preset.schedule is None else SCHEDULED_TRAINER

    @property
    def model_folder(self) -> Path:
        """nnU-Net's folder of the trained model."""
        name = f"{self.trainer}__{PLANS_NAME}__{CONFIGURATION}"
        return self.folder / "trained" / dataset_name(self.plan) / name

    def checkpoint(self, fold: int | str) -> Path:
        """Final checkpoint of a fold; it exists only after the last epoch."""
        return self.model_folder / f"fold_{fold}" / "checkpoint_final.pth"


def find_job(run: Path, specialist: str) -> Job:
    """A specialist of a run.

    Raises:
        BenchError: no such run, specialist or preset.
    """
    config = load_frozen(run)
    paths = RunPaths(run)
    card, plan = find_specialist(specialist, config)
    preset = load_preset(config.presets.get(MODEL))
    return Job(paths, config, card, plan, preset, paths.model_run(MODEL) / specialist)


def prepare_specialist(run: Path, specialist: str) -> Path:
    """Export, plan and preprocess; returns `prepared.json`, written last.

    Raises:
        BenchError: no training case, no disk space, or nnU-Net failed.
    """
    job, start = find_job(run, specialist), time.perf_counter()
    done = job.folder / "prepared.json"
    done.unlink(missing_ok=True)
    rows = [row for row in read_split(job.paths, job.card.id) if row.split == "train"]
    cases = [job.paths.case(job.card.id, row.case) for row in rows]
    records = [read_case_record(case) for case in cases]
    pinned = job.plan.pinned if job.preset.mode == "pinned" else None
    spacing_mm = pinned.spacing_mm if pinned and not job.unit_spacing else None
    needed = estimated_bytes(records, spacing_mm)
    check_disk(job.folder, needed)
    exported = export_cases(cases, job.plan, job.folder / "raw", unit_spacing=job.unit_spacing)
    shutil.rmtree(job.folder / "preprocessed", ignore_errors=True)
    request = {
        "specialist": specialist,
        "number": dataset_number(job.plan),
        "dataset_name": exported.dataset_name,
        "n_cases": exported.n_cases,
        "preset": job.preset.model_dump(mode="json"),
        "preprocessed": str((job.folder / "preprocessed").resolve()),
        "lock": str(job.folder / ".lock"),
        "lock_wait_s": LOCK_WAIT_S,
    }
    variables = environment(job.folder, threads=job.preset.threads, workers=job.preset.workers)
    answers = _ask(job, "prepare", request, variables)
    record = {
        "specialist": specialist,
        "dataset": job.card.id,
        "preset": job.config.presets.get(MODEL),
        "mode": job.preset.mode,
        "dataset_name": exported.dataset_name,
        "cases": [row.case for row in rows],
        "leaves": [
            {"value": leaf.value, "owner": leaf.owner, "classes": sorted(leaf.classes), "voxels": n}
            for leaf, n in zip(job.plan.leaves, exported.leaf_voxels, strict=True)
        ],
        "classes": places_of(job.plan.leaves, job.plan.classes),
        "overlap_voxels_resolved": exported.resolved_voxels,
        "unit_spacing": job.unit_spacing,
        "estimated_bytes": needed,
        **answers[-1],
        "digest": _digest(job, cases, answers[-1]["plan"]),
        "seconds": round(time.perf_counter() - start, 2),
        "versions": _versions(),
    }
    write_json(done, record)
    return done


def train_specialist(
    run: Path, specialist: str, *, threads: int | None = None, device: str = "auto"
) -> Path:
    """Train all folds of the preset; returns `model.json`, written last.

    A training that was killed continues at its last resume point. A training of other data or
    settings is thrown away. A complete one is not touched.

    Raises:
        BenchError: not prepared; a GPU is asked for and torch sees none; nnU-Net failed.
    """
    job = find_job(run, specialist)
    chosen = choose_device(job.preset, device)
    prepared = _read_prepared(job)
    settings = training_settings(job)
    digest = hashlib.sha256(
        json.dumps([prepared["digest"], settings, job.trainer], sort_keys=True).encode()
    ).hexdigest()
    started = job.folder / "started.json"
    if not started.is_file() or json.loads(started.read_text())["digest"] != digest:
        (job.folder / "model.json").unlink(missing_ok=True)
        shutil.rmtree(job.folder / "trained", ignore_errors=True)
        write_json(started, {"digest": digest})
    write_json(job.folder / "settings.json", settings)
    on_gpu = chosen == "cuda"
    threads = threads or job.preset.threads
    workers = job.preset.augmentation_workers
    variables = environment(
        job.folder,
        threads=1 if on_gpu else threads,
        workers=job.preset.workers,
        augmentation_workers=workers if on_gpu or workers is not None else 0,
    )
    variables[SETTINGS] = str((job.folder / "settings.json").resolve())
    request = {
        "dataset_name": prepared["dataset_name"],
        "trainer": job.trainer,
        "folds": list(job.preset.folds),
        "device": chosen,
        "threads": 1 if on_gpu else threads,
        "lock": str(job.folder / ".lock"),
        "lock_wait_s": LOCK_WAIT_S,
    }
    answers = _ask(job, "train", request, variables, epochs=settings.get("epochs", 1000))
    record = {
        "specialist": specialist,
        "dataset": job.card.id,
        "classes": prepared["classes"],
        "folder": str(job.model_folder.relative_to(job.folder)),
        "folds": list(job.preset.folds),
        "checkpoints": [
            str(job.checkpoint(fold).relative_to(job.folder)) for fold in job.preset.folds
        ],
        "trainer": job.trainer,
        "unit_spacing": job.unit_spacing,
        "test_time_mirroring": job.preset.test_time_mirroring,
        "device": chosen,
        "threads": threads,
        "plan": prepared["plan"],
        "parameters": answers[-1]["parameters"],
        "settings": settings,
        "training": answers,
        "seconds": round(sum(a["seconds"] for a in answers), 2),
        "digest": digest,
        "versions": _versions(),
    }
    write_json(job.folder / "model.json", record)
    return job.folder / "model.json"


def training_settings(job: Job) -> dict[str, Any]:
    """What the scheduled trainer reads; empty for nnU-Net's own trainer."""
    schedule = job.preset.schedule
    if schedule is None:
        return {}
    settings = schedule.model_dump(mode="json", exclude={"base", "per_class", "at_least"})
    return settings | {"epochs": schedule.epochs(len(job.plan.leaves)), "seed": job.config.seed}


def choose_device(preset: NnunetPreset, asked: str) -> str:
    """`cpu` or `cuda`; a GPU that is not there is an error at once, not after hours in a queue.

    Raises:
        BenchError: CUDA is asked for, by the preset or by the command, and torch sees none.
    """
    wanted = preset.device if asked == "auto" else asked
    if wanted == "cpu":
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if wanted == "cuda":
        raise BenchError(
            "this training needs a GPU, and torch sees no CUDA device",
            found=f"torch {torch.__version__}",
            hint="ask the scheduler for a GPU, install a CUDA build of torch "
            "(`make setup TORCH=...`), or use a CPU preset such as `demo`",
        )
    return "cpu"


def _ask(
    job: Job, command: str, request: dict[str, Any], variables: dict[str, str], epochs: int = 0
) -> list[dict[str, Any]]:
    answers = []
    title = f"{command} {job.plan.id}"
    total = epochs * len(job.preset.folds) or None
    with tqdm(desc=title, total=total, unit="epoch", disable=None if total else True) as bar:
        for line in run_child(command, request, job.folder / f"{command}.log", variables):
            if (message := message_of(line)) is not None:
                answers.append(message)
            elif total and (match := _EPOCH.match(line)):
                bar.update(int(match.group(1)) % epochs - bar.n % epochs)
    return answers


def _read_prepared(job: Job) -> dict[str, Any]:
    path = job.folder / "prepared.json"
    if not path.is_file():
        raise BenchError(
            f"specialist `{job.plan.id}` is not prepared",
            file=path,
            hint=f"run `satbench nnunet prepare --run {job.paths.root} --specialist {job.plan.id}`",
        )
    prepared: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return prepared


def _digest(job: Job, cases: list[Path], plan: dict[str, Any]) -> str:
    """Changes when the training data or the plan do, so that a stale training is noticed."""
    files = []
    for case in cases:
        record = read_case_record(case)
        sources = record.source_sha256 or {
            p.name: str(p.stat().st_size) for p in sorted(case.glob("*.nii.gz"))
        }
        files.append([record.case, sorted(sources.items())])
    leaves = [{**asdict(leaf), "classes": sorted(leaf.classes)} for leaf in job.plan.leaves]
    content = json.dumps([files, leaves, plan, job.unit_spacing], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("nnunetv2", "torch", "numpy")}
