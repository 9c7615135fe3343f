"""All finished runs of an ablation as CSV, JSON and one Markdown table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pandas as pd

from evaluation.classes.synonyms import SETS
from evaluation.files.reading import mapping_of
from evaluation.files.spreadsheets import write_sheet
from evaluation.files.writing import visible, write_json, write_text
from sat.ablation.running import RESULT_FILE, RESULT_VERSION
from sat.ablation.variants import VARIANTS

TABLE_FILE, JSON_FILE, CSV_FILE = "ablation.md", "ablation.json", "ablation.csv"
NOT_POSSIBLE = "not possible"
RECALLS = (("R@1", "recall_at_1"), ("R@5", "recall_at_5"), ("R@10", "recall_at_10"))
READING = (
    "Sides and classes: counts over all seeds. `in another class`: predictions that lie mostly in "
    "the reference of another annotated class of their entry; empty ones are not counted. "
    "`neighbours confused` needs numbered rows (ribs, vertebrae, discs); `no row` means that the "
    "run has none. No synonym was a prompt, nor does it occur in a text of stage 1."
)


def collect(folder: Path) -> list[dict[str, Any]]:
    """Results of all finished runs of an ablation's folder, variant by variant."""
    found = [mapping_of(path) for path in visible(folder, f"*/{RESULT_FILE}")]
    order = list(VARIANTS)
    return sorted(
        (r for r in found if r.get("variant") in VARIANTS and r.get("version") == RESULT_VERSION),
        key=lambda r: (order.index(r["variant"]), r["seed"]),
    )


def row_of(result: Mapping[str, Any]) -> dict[str, Any]:
    """One line of the CSV: what a run reached and what it cost."""
    row: dict[str, Any] = {
        key: result[key]
        for key in ("variant", "seed", "steps", "atlas_steps", "cpu_seconds", "atlas_cpu_seconds")
    }
    row["dsc"] = result["dsc"]
    row |= {f"dsc_{entry}": value for entry, value in result["entries"].items()}
    row |= _confusions(result, "")
    for name in SETS:
        asked = result["synonyms"].get(name)
        row[f"dsc_{name}"] = asked["dsc"] if asked else None
        row |= _confusions(asked, f"_{name}") if asked else {}
    after = (result.get("retrieval") or {}).get("after", {})
    for key in (*(key for _, key in RECALLS), "side_confusion"):
        row[f"atlas_{key}"] = after.get(key)
    return row


def _confusions(result: Mapping[str, Any], suffix: str) -> dict[str, Any]:
    sides, classes, rows = result["sides"], result["classes"], result["neighbours"]
    return {
        f"side_pairs{suffix}": sides["n_cases"],
        f"sides_swapped{suffix}": sides["n_confused"],
        f"sides_empty{suffix}": sides["n_empty"],
        f"classes_found{suffix}": classes["n_cases"],
        f"classes_confused{suffix}": classes["n_confused"],
        f"classes_empty{suffix}": classes["n_empty"],
        f"in_rows{suffix}": rows["n_cases"],
        f"neighbours_confused{suffix}": rows["n_confused"],
    }


def write_report(run: Path, text_cost: Mapping[str, Any]) -> Path:
    """Write `ablation/ablation.{csv,json,md}` of a run from what is finished.

    Args:
        run: folder of the run that lent its data.
        text_cost: what stage 1 cost; empty if no variant used it.
    """
    folder = run / "ablation"
    results = collect(folder)
    rows = [row_of(result) for result in results]
    write_sheet(folder / CSV_FILE, pd.DataFrame(rows))
    write_json(folder / JSON_FILE, {"stage_1": dict(text_cost), "runs": results})
    write_text(folder / TABLE_FILE, "\n".join(markdown(results, text_cost)) + "\n")
    return folder / TABLE_FILE


def markdown(results: Sequence[Mapping[str, Any]], text_cost: Mapping[str, Any]) -> list[str]:
    """The table and what must be known to read it."""
    rows = [row_of(result) for result in results]
    entries = list(dict.fromkeys(e for result in results for e in result["entries"]))
    heads = [
        "variant", "seeds", "DSC", *entries, "sides swapped", "in another class",
        "neighbours confused", *(f"DSC, {name}s" for name in SETS), "CPU s",
    ]  # fmt: skip
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for variant in VARIANTS.values():
        own = [row for row in rows if row["variant"] == variant.name]
        if not own:
            continue
        asked = [
            NOT_POSSIBLE if variant.encoder == "class-id" else _spread(own, f"dsc_{name}")
            for name in SETS
        ]
        cells = [
            variant.title, str(len(own)), f"**{_spread(own, 'dsc')}**",
            *(_mean(own, f"dsc_{entry}") for entry in entries),
            _part(own, "sides_swapped", "side_pairs"),
            _part(own, "classes_confused", "classes_found"),
            _part(own, "neighbours_confused", "in_rows"),
            *asked, _cost(own),
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return [*lines, "", *_notes(results, rows, text_cost)]


def _notes(
    results: Sequence[Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
    text_cost: Mapping[str, Any],
) -> list[str]:
    if not results:
        return ["No run is finished."]
    steps = sorted({row["steps"] for row in rows})
    atlas = sorted({row["atlas_steps"] for row in rows} - {0})
    lines = [
        f"DSC: mean over entries of the mean over classes, test cases, native grid "
        f"({results[0]['data_kind']} data); mean over seeds ± standard deviation over seeds. "
        f"Segmentation: {_listed(steps)} steps"
        + (f"; stage 2: {_listed(atlas)} steps before it. " if atlas else ". ")
        + "CPU s: one training, stage 2 included, mean over seeds.",
        "",
        READING,
    ]
    if text_cost:
        lines += ["", f"Stage 1, once for all seeds: {_stage_1(text_cost)}."]
    pairs = _differences(rows)
    if pairs:
        lines += ["", "Difference to untuned text with the same seed: " + "; ".join(pairs) + "."]
    found = _retrieval(results)
    return [*lines, *(["", found] if found else [])]


def _stage_1(cost: Mapping[str, Any]) -> str:
    known = cost["cpu_seconds"] is not None
    spent = f"{cost['cpu_seconds']:.0f} CPU s" if known else "CPU s not measured"
    return f"preset `{cost['preset']}`, {cost['steps']} steps of {cost['batch']} rows, {spent}"


def _differences(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    base = {row["seed"]: row["dsc"] for row in rows if row["variant"] == "untuned"}
    found = []
    for variant in VARIANTS.values():
        own = {row["seed"]: row["dsc"] for row in rows if row["variant"] == variant.name}
        shared = sorted(base.keys() & own.keys())
        if variant.name != "untuned" and shared:
            values = ", ".join(f"{own[seed] - base[seed]:+.3f}" for seed in shared)
            found.append(f"{variant.title} {values}")
    return found


def _retrieval(results: Sequence[Mapping[str, Any]]) -> str:
    parts = []
    for variant in VARIANTS.values():
        own = [
            r["retrieval"]
            for r in results
            if r["variant"] == variant.name
            and (r.get("retrieval") or {}).get("after", {}).get("regions")
        ]
        if own:
            told = [
                f"{title} {mean(r['before'][key] for r in own):.2f} before, "
                f"{mean(r['after'][key] for r in own):.2f} after"
                for title, key in RECALLS
            ]
            sides = [r["after"]["side_confusion"] for r in own]
            if all(value is not None for value in sides):
                told.append(f"wrong side {mean(sides):.2f} after")
            parts.append(f"{variant.title}: {', '.join(told)} ({own[0]['after']['texts']} texts)")
    if not parts:
        return ""
    return "Regions of held-out training patients to class texts: " + "; ".join(parts) + "."


def _spread(rows: Sequence[Mapping[str, Any]], key: str) -> str:
    values = [row[key] for row in rows if row.get(key) is not None]
    if not values:
        return "not run"
    return f"{mean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")


def _mean(rows: Sequence[Mapping[str, Any]], key: str) -> str:
    values = [row[key] for row in rows if row.get(key) is not None]
    return f"{mean(values):.2f}" if values else "not run"


def _part(rows: Sequence[Mapping[str, Any]], part: str, whole: str) -> str:
    total = sum(row[whole] for row in rows)
    return f"{sum(row[part] for row in rows)} of {total}" if total else "no row"


def _cost(rows: Sequence[Mapping[str, Any]]) -> str:
    stages = [(row["cpu_seconds"], row["atlas_cpu_seconds"]) for row in rows]
    if any(None in seconds for seconds in stages):
        return "not measured"
    return f"{mean(map(sum, stages)):.0f}"


def _listed(values: Sequence[int]) -> str:
    return " and ".join(map(str, values))
