"""The table `stress` of a run: means with intervals by patient, and a verdict for each kind.

Means are the benchmark's (scans, then classes, then entries, unweighted), intervals
theirs, by patient. A verdict goes by the means alone; the intervals say how sure they are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd

from evaluation.config import RunConfig
from evaluation.files.sums import discard
from evaluation.files.tables import read_table, write_table
from evaluation.paths import RunPaths
from evaluation.schema import STRESS
from evaluation.stress.kinds import KINDS, Kind
from evaluation.stress.running import StressedCase
from evaluation.tables.intervals import spread
from evaluation.tables.samples import EntrySample, Sample, reduce_entry
from evaluation.tables.targets import Universe, overall_targets
from evaluation.tables.views import Links

QUANTITIES = ("named", "dsc", "lost", "meant", "unchanged", "alarm", "alarm_ml")
MOST_LOST = 0.1
"""DSC that other words for the same may cost; a class that is found worse is not judged by them."""
MOST_UNCHANGED = 0.5
"""DSC of the masks before and after, above which a text that means something else was ignored."""
MOST_ALARMS = 0.1
"""Share of prompts that mean nothing in the scan which may find something."""
IGNORED = "ignores the text"
GOOD = ("kept", "follows the text", "silent")


def stress_table(
    model: str, cases: Sequence[StressedCase], config: RunConfig, links: Links
) -> pd.DataFrame:
    """Rows of the table `stress` for one model, kind by kind; linked patients count once."""
    answers = pd.DataFrame(
        {
            **_about(case),
            "person": links.name(case.dataset, case.patient),
            **asdict(answer),
        }
        for case in cases
        for answer in case.answers
    )
    failed = sum(bool(case.reason) for case in cases)
    rows = []
    for kind in KINDS.values():
        found = answers[answers["kind"] == kind.id]
        if found.empty:
            continue
        numbers = _intervals(_with_quantities(found, kind))
        about = {
            "data_kind": config.data_kind,
            "model": model,
            "kind": kind.id,
            "wanted": kind.wanted,
            "n_prompts": len(found),
            "n_refused": int(found["refused"].sum()),
            "n_cases": len(found.drop_duplicates(["dataset", "case"])),
            "n_failed": failed,
            "n_patients": found["person"].nunique(),
            "n_classes": len(found.drop_duplicates(["dataset", "classes"])),
            "verdict": verdict(kind, {name: value[0] for name, value in numbers.items()}),
        }
        for name, (value, low, high) in numbers.items():
            ends = {"value": value, "value_low": low, "value_high": high}
            rows.append({**about, "quantity": name, **ends})
    return pd.DataFrame(rows, columns=STRESS.names)


def write_stress(paths: RunPaths, own: pd.DataFrame) -> None:
    """Put a model's rows into the run's table, in place of its former ones."""
    path = paths.table(STRESS.name)
    frames = [own]
    if path.is_file():
        others = read_table(path, STRESS)
        frames.insert(0, others[~others["model"].isin(own["model"])])
    write_table(path, pd.concat(frames, ignore_index=True), STRESS)


def rename_in_stress(paths: RunPaths, old: str, new: str | None) -> None:
    """Give a model's rows in the run's table another id; None: take them out."""
    path = paths.table(STRESS.name)
    if not path.is_file():
        return
    rows = read_table(path, STRESS)
    own = rows["model"].eq(old)
    if not own.any():
        return
    kept = rows[~own] if new is None else rows.assign(model=rows["model"].mask(own, new))
    if kept.empty:
        discard(path)
    else:
        write_table(path, kept.reset_index(drop=True), STRESS)


def verdict(kind: Kind, means: Mapping[str, float]) -> str:
    """What the means say of a kind: one of `GOOD`, or what is wrong."""
    unchanged = means["unchanged"]
    if kind.wanted == "same":
        if means["named"] < MOST_LOST:
            return "not judged: hardly found by its name"
        return "kept" if means["lost"] <= MOST_LOST else "loses the structure"
    if unchanged > MOST_UNCHANGED:
        return IGNORED
    if kind.wanted == "other":
        if math.isnan(unchanged):
            return "not judged: nothing found by its name"
        return "follows the text"
    return "silent" if means["alarm"] <= MOST_ALARMS else "false alarms"


def _about(case: StressedCase) -> dict[str, str]:
    return {
        "dataset": case.dataset,
        "case": case.case,
        "patient": case.patient,
        "modality": case.modality,
    }


def _with_quantities(found: pd.DataFrame, kind: Kind) -> pd.DataFrame:
    """The answers of a kind with its quantities as columns; NaN where there is nothing to say."""
    alarms = found["volume_ml"] if kind.wanted == "none" else found["volume_ml"] * math.nan
    return found.assign(
        named=found["dsc_named"],
        lost=found["dsc_named"] - found["dsc"],
        meant=found["dsc_meant"].astype(float),
        unchanged=found["unchanged"].astype(float),
        alarm=(alarms > 0).astype(float).where(alarms.notna()),
        alarm_ml=alarms,
    )


def _intervals(found: pd.DataFrame) -> dict[str, tuple[float, float, float]]:
    """Mean and the ends of its interval for each quantity."""
    slots = found[["dataset", "modality", "classes"]].drop_duplicates().sort_values("dataset")
    people = sorted(found["person"].unique())
    entries: list[EntrySample] = []
    start, first = {}, 0
    for entry, part in found.groupby("dataset"):
        names = slots.loc[slots["dataset"] == entry, "classes"].tolist()
        known = np.flatnonzero(np.isin(people, part["person"].unique()))
        cases = part[["case", "person"]].drop_duplicates().reset_index(drop=True)
        means = part.groupby(["case", "classes"])[list(QUANTITIES)].mean()
        grid = pd.MultiIndex.from_product([cases["case"], names])
        values = means.reindex(grid).to_numpy(dtype=np.float64)
        shape = (len(cases), len(names), len(QUANTITIES))
        order = {people[number]: i for i, number in enumerate(known.tolist())}
        person = cases["person"].map(order).to_numpy(dtype=np.int64)
        missing = np.zeros(shape[1:], dtype=np.int64)
        entries.append(reduce_entry(str(entry), known, person, values.reshape(shape), missing))
        start[str(entry)] = first
        first += len(names)
    sample = Sample(QUANTITIES, len(people), tuple(entries))
    yes = np.ones(len(slots), dtype=bool)
    dataset, modality, name = (
        slots[column].to_numpy(dtype=str) for column in ("dataset", "modality", "classes")
    )
    universe = Universe(dataset, modality, name, leaf=yes, preferred=yes, start=start)
    targets = overall_targets(universe)[0]
    slot_means = sample.slot_means(universe)
    low, high = spread(sample, universe, targets).interval()
    numbers = {}
    for position, quantity in enumerate(QUANTITIES):
        own = targets.weights(np.isfinite(slot_means[:, position]))[0]
        value = float(own @ np.nan_to_num(slot_means[:, position])) if own.any() else math.nan
        numbers[quantity] = (value, float(low[0, position]), float(high[0, position]))
    return numbers
