"""Prepare and train one specialist of a run; both can be killed and started again.

Folder of a specialist: `raw/`, `preprocessed/` and `trained/` are nnU-Net's, `prepared.json` and
`model.json` are written last and say that a step is complete. The last two folders keep a copy of
them: a step that would do the same again writes the copy.
"""

from __future__ import annotations

import re
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from tqdm import tqdm

from baselines.nnunet.export import (
    check_disk,
    dataset_name,
    dataset_number,
    estimated_bytes,
    export_cases,
)
from baselines.nnunet.jobs import (
    MODEL,
    Job,
    choose_device,
    find_job,
    prepared_from,
    training_digest,
    training_settings,
    versions,
)
from baselines.nnunet.process import SETTINGS, environment, message_of, run_child
from evaluation.cases import read_case_record
from evaluation.classes.leaves import places_of
from evaluation.datasets.sharding import read_split
from evaluation.errors import BenchError
from evaluation.files.identity import digest, is_outdated, made_again
from evaluation.files.reading import json_of, mapping_of
from evaluation.files.sums import discard, remember_folder
from evaluation.files.writing import visible, write_json
from evaluation.paths import RunPaths
from evaluation.spent import peak_memory_mib

KEPT_FILE = "satbench.json"
LOCK_WAIT_S = 60.0
_EPOCH = re.compile(r"^[\d :.-]*Epoch (\d+)\s*$")


def prepare_specialist(run: Path, specialist: str) -> Path:
    """Export, plan and preprocess; returns `prepared.json`, written last.

    Prepared data of the same cases, labels and planning are kept, and a preparation of them that
    was killed goes on with the next case.

    Raises:
        BenchError: no training case, no disk space, or nnU-Net failed.
    """
    job, start = find_job(run, specialist), time.perf_counter()
    done, copy = job.folder / "prepared.json", job.folder / "preprocessed" / KEPT_FILE
    rows = [row for row in read_split(job.paths, job.card.id) if row.split == "train"]
    cases = [job.paths.case(job.card.id, row.case) for row in rows]
    records = [read_case_record(case) for case in cases]
    made_from = prepared_from(job, records)
    kept = mapping_of(copy)
    if kept.get("made_from") == made_from and not is_outdated(copy, done):
        if mapping_of(done) != kept:
            write_json(done, kept)
        return done
    done.unlink(missing_ok=True)
    pinned = job.plan.pinned if job.preset.mode == "pinned" else None
    spacing_mm = pinned.spacing_mm if pinned and not job.unit_spacing else None
    needed = estimated_bytes(records, spacing_mm)
    begun = job.folder / "preparing.json"
    goes_on = mapping_of(begun).get("made_from") == made_from and not is_outdated(begun, done)
    if not goes_on:
        check_disk(job.folder, needed)
    try:
        with FileLock(job.folder / ".lock", timeout=LOCK_WAIT_S):
            if not goes_on:
                for name in ("raw", "preprocessed"):
                    discard(job.folder / name)
                write_json(begun, {"made_from": made_from})
            exported = export_cases(
                cases, job.plan, job.folder / "raw", unit_spacing=job.unit_spacing
            )
    except Timeout as error:
        raise BenchError(
            "another process is working on this specialist",
            file=job.folder,
            hint="wait until it has ended; if it hangs, stop it and start again",
        ) from error
    request = {
        "specialist": specialist,
        "pinned": asdict(job.plan.pinned) if job.plan.pinned else None,
        "number": dataset_number(job.plan),
        "dataset_name": exported.dataset_name,
        "n_cases": exported.n_cases,
        "preset": job.preset.model_dump(mode="json"),
        "preprocessed": str((job.folder / "preprocessed").resolve()),
        "raw": str((job.folder / "raw").resolve()),
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
        "made_from": made_from,
        "digest": digest(made_from, answers[-1]["plan"]),
        # Of a preparation that was killed, the first part was not measured.
        "seconds": None if goes_on else round(time.perf_counter() - start, 2),
        "peak_memory_mib": round(peak_memory_mib(), 1),
        "versions": versions(),
    }
    remember_folder(job.folder / "preprocessed")
    write_json(copy, record)
    write_json(done, record)
    made_again(done)
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
    made_from = training_digest(job, prepared)
    target, copy = job.folder / "model.json", job.folder / "trained" / KEPT_FILE
    started = job.folder / "started.json"
    begun = mapping_of(started) or mapping_of(copy)
    if begun.get("digest") != made_from or is_outdated(started, target):
        target.unlink(missing_ok=True)
        discard(job.folder / "trained")
        write_json(started, {"digest": made_from})
    elif (kept := mapping_of(copy)) and kept["folds"] == list(job.preset.folds):
        if mapping_of(target) != kept:
            write_json(target, kept)
        return target
    write_json(job.folder / "settings.json", settings)
    on_gpu = chosen == "cuda"
    threads = threads or job.preset.threads
    variables = environment(
        job.folder,
        threads=1 if on_gpu else threads,
        workers=job.preset.workers,
        augmentation_workers=None if on_gpu else 0,
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
    begun = mapping_of(started) or {"digest": made_from}
    # Not in the record: what is made again from the same training reads the same.
    if sum(answer.pop("epochs_now") for answer in answers):
        begun["peak_memory_mib"] = max(peak_memory_mib(), begun.get("peak_memory_mib", 0.0))
        write_json(started, begun)
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
        # The trainer's log has every epoch once, also those before a kill.
        "seconds": round(sum(a["seconds"] for a in answers), 2),
        "peak_memory_mib": begun.get("peak_memory_mib"),
        "digest": made_from,
        "versions": versions(),
    }
    remember_folder(job.folder / "trained")
    write_json(copy, record)
    write_json(target, record)
    made_again(target)
    return target


def plan_report(run: Path) -> list[dict[str, Any]]:
    """Where the plans of a run's prepared specialists differ from nnU-Net's own plans.

    One row for each specialist and field: specialist, field, planned, used; spacings far from
    the scans' are rows with the field `note`.
    """
    rows: list[dict[str, Any]] = []
    for path in visible(RunPaths(run).model_run(MODEL), "*/prepared.json"):
        record = json_of(path)
        for field, pair in record["differences"].items():
            rows.append({"specialist": record["specialist"], "field": field, **pair})
        rows += [
            {"specialist": record["specialist"], "field": "note", "planned": "", "used": note}
            for note in record["notes"]
        ]
    return rows


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
                bar.update(epochs * len(answers) - bar.n)
            elif match := _EPOCH.match(line):
                bar.update(epochs * len(answers) + int(match.group(1)) - bar.n)
    return answers


def _read_prepared(job: Job) -> dict[str, Any]:
    path = job.folder / "prepared.json"
    if not path.is_file():
        raise BenchError(
            f"specialist `{job.plan.id}` is not prepared",
            file=path,
            hint=f"run `satbench train --run {job.paths.root} --model {MODEL}`",
        )
    # What nnU-Net writes lies under this name, whatever the record says.
    prepared: dict[str, Any] = {**json_of(path), "dataset_name": dataset_name(job.plan)}
    return prepared
