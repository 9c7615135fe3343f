"""The table `stress` of a run: means with intervals by patient, and a verdict for each kind.

Means are the benchmark's (scans, then classes, then entries, unweighted), intervals
theirs, by patient. A verdict goes by the means alone; the intervals say how sure they are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import pandas as pd

from evaluation.config import RunConfig
from evaluation.files.sums import discard
from evaluation.files.tables import read_table, write_table
from evaluation.paths import RunPaths
from evaluation.schema import STRESS
from evaluation.stress.kinds import KINDS, Kind
from evaluation.stress.running import StressedCase
from evaluation.tables.quantities import means_with_intervals
from evaluation.tables.views import Links

QUANTITIES = {
    **dict.fromkeys(("named", "dsc"), (0.0, 1.0)),
    "lost": (-1.0, 1.0),
    **dict.fromkeys(("meant", "unchanged", "alarm"), (0.0, 1.0)),
    "alarm_ml": (0.0, math.inf),
}
"""With the smallest and largest value of each."""
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
        numbers = means_with_intervals(_with_quantities(found, kind), QUANTITIES)
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
