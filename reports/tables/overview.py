"""Tables around the scores: what was run, overall results, comparisons, published differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from reports.source import VIEW_WORDS, Protocol, RunSource
from reports.tables.parts import METRICS, caption, counts, percent
from reports.tables.tabular import NOT_AVAILABLE, NOT_MEASURED, Cell, Column, Table, Value

_SHOWN = "; shown are all overall ones and those in which it changes"
STATISTIC_WORDS = {
    "entries": "mean over entries of mean over classes",
    "classes": "mean over (modality, class)",
    "regions": "mean over regions and lesions",
    "scans": "every score counts once",
    "patients": "mean of patients' means",
}

_COSTS = {"seconds", "train_seconds", "predict_seconds_per_case", "peak_memory_mib"}


def overall_table(source: RunSource, protocol: Protocol) -> Table | None:
    """One row per model: overall means with intervals, completeness, rank."""
    frame = source.pick("overall", protocol)
    if frame is None:
        return None
    ranks = source.overall_ranks(protocol)
    rows: list[tuple[Value, ...]] = []
    unranked = set()
    frame = frame[frame["statistic"].isin(["entries", "classes", "regions"])]
    blocks: dict[int, str] = {}
    lacking = source.left_out_of_regions if (frame["statistic"] == "regions").any() else ""
    for statistic, group in frame.groupby("statistic", sort=False):
        blocks[len(rows)] = STATISTIC_WORDS[str(statistic)].capitalize()
        for model in source.models:
            for _, row in group[group["model"] == model].iterrows():
                control = source.is_control(model)
                rank = "" if statistic != "entries" else "–" if control else _rank_of(ranks, model)
                # A mean over fewer classes or scans is not comparable, so it is never the best.
                if control or not row["complete"]:
                    unranked.add(len(rows))
                rows.append(
                    (
                        source.model_title(model),
                        rank,
                        percent(row["dsc"]),
                        _interval(row, "dsc"),
                        percent(row["nsd"]),
                        _interval(row, "nsd"),
                        f"{row['n_entries']} of {row['n_entries_expected']}",
                        f"{row['n_classes']} of {row['n_classes_expected']}",
                        f"{row['n_cases']} of {row['n_cases_expected']}",
                        int(row["n_patients"]),
                        int(row["n_missing"]),
                    )
                )
    return Table(
        name=f"overall{source.suffix(protocol)}",
        title="Overall results",
        caption=caption(
            source,
            protocol,
            "Means with 95 % intervals over patients. A model that leaves out a class or lacks a "
            "prediction (which counts 0) is not ranked.",
        ),
        columns=(
            Column("model", "Model"),
            Column("rank", "Rank (DSC)", right=True),
            Column("dsc", "DSC", digits=2, ranked="dsc", right=True),
            Column("dsc_interval", "95 % interval", right=True),
            Column("nsd", "NSD", digits=2, ranked="nsd", right=True),
            Column("nsd_interval", "95 % interval", right=True),
            Column("entries", "Entries", right=True),
            Column("classes", "Classes", right=True),
            Column("cases", "Scans", right=True),
            Column("n_patients", "Patients", right=True),
            Column("n_missing", "Missing", right=True),
        ),
        rows=tuple(rows),
        blocks=blocks,
        notes=(lacking,) if lacking else (),
        downwards=True,
        unranked=frozenset(unranked),
    )


def pairs_table(source: RunSource, protocol: Protocol) -> Table | None:
    """Paired comparisons over the whole run, with the corrected p-values."""
    frame = source.pick("pairs", protocol)
    if frame is None:
        return None
    frame = frame[frame["scope"] == "overall"]
    leaning = bool(frame["reason"].any())
    rows = [
        (
            METRICS[str(r["metric"])],
            source.model_title(str(r["model_a"])),
            source.model_title(str(r["model_b"])),
            percent(r["difference"]),
            _marked(f"{100 * r['low']:.2f} to {100 * r['high']:.2f}", r),
            float(r["effect_size"]),
            float(r["win_share"]),
            str(r["note"]) or _p(r["p_holm"]),
            str(r["note"]) or _p(r["p_wilcoxon_holm"]),
            int(r["n_patients"]),
            int(r["n_scores"]),
            *([str(r["reason"])] if leaning else []),
        )
        for _, r in frame.iterrows()
    ]
    tests = counts(frame["n_family"]) if len(frame) else "0"
    return Table(
        name=f"pairs{source.suffix(protocol)}",
        title="Paired comparisons",
        caption=caption(
            source,
            protocol,
            "Difference of the macro means in points, with a 95 % interval; two-sided "
            f"sign-flip test by patient, Holm-corrected (tests in the family: {tests}), "
            "conservative where entries disagree. Effect size: mean of the patients' contributions "
            "to the difference over their standard deviation. A better: share of patients by their "
            "own means, which Wilcoxon's test compares"
            + (
                "; it weighs patients alike and may lean the other way than the difference, which "
                "weighs entries and classes alike: the row then says so."
                if leaning
                else "."
            ),
            ranked=False,
        ),
        columns=(
            Column("metric", "Metric"),
            Column("model_a", "A"),
            Column("model_b", "B"),
            Column("difference", "A − B", digits=2, right=True),
            Column("interval", "95 % interval", right=True),
            Column("effect_size", "Effect size", digits=2, right=True),
            Column("win_share", "A better", digits=2, right=True),
            Column("p_holm", "p (Holm)", right=True),
            Column("p_wilcoxon_holm", "p Wilcoxon (Holm)", right=True),
            Column("n_patients", "Patients", right=True),
            Column("n_scores", "Scores", right=True),
            *([Column("reason", "Why A better leans the other way")] if leaning else []),
        ),
        rows=tuple(rows),
    )


def differences_table(source: RunSource) -> Table | None:
    """Published numbers and ours in the same protocol, where both exist."""
    frame = source.published
    if "ours" not in frame.columns:
        return None
    frame = frame[frame["ours"].notna()]
    if frame.empty:
        return None
    rows = [
        (
            f"{r['source']}, table {r['table']}",
            str(r["printed_row"]),
            str(r["scope"]),
            METRICS[str(r["metric"])],
            source.model_title(str(r["model"])),
            percent(r["value"]),
            percent(r["ours"]),
            percent(r["difference"]),
            int(r["n_cases"]),
            str(r["note"]),
        )
        for _, r in frame.iterrows()
    ]
    return Table(
        name="published_differences",
        title="Published numbers and ours",
        caption="Ours on the 1×1×3 mm grid with the policy `paper`, all test cases; in percent. "
        f"{len(rows)} of {len(source.published)} published numbers have a counterpart in this run.",
        columns=(
            Column("source", "Source"),
            Column("row", "Row"),
            Column("scope", "Scope"),
            Column("metric", "Metric"),
            Column("model", "Model"),
            Column("published", "Published", digits=2, right=True),
            Column("ours", "Ours", digits=2, right=True),
            Column("difference", "Difference", digits=2, right=True),
            Column("n_cases", "Scans", right=True),
            Column("note", "Note"),
        ),
        rows=tuple(rows),
    )


def sensitivity_table(source: RunSource) -> Table | None:
    """Where a choice of ours moves a rank: every overall comparison, and each flipped winner."""
    frame = source.table("sensitivity")
    if frame is None or frame.empty:
        return None
    moved = frame[frame["flips"] | (frame["scope"] == "overall")]
    # Without two complete models there is no overall comparison: then all rows are shown.
    moved, which = (frame, "") if moved.empty else (moved, _SHOWN)
    rows = [
        (
            _choice(str(r["choice"]), str(r["alternative"]), str(r["baseline"])),
            str(r["space"]),
            float(r["tolerance_mm"]),
            source.dataset_title(str(r["key"])) if r["scope"] == "dataset" else str(r["key"]),
            METRICS[str(r["metric"])],
            _titles(source, str(r["winner_baseline"])),
            _titles(source, str(r["winner_alternative"])) if r["flips"] else "the same",
            float(r["kendall_tau"]),
            float(r["largest_rank_change"]),
            percent(r["largest_change"]),
            int(r["n_models"]),
        )
        for _, r in moved.iterrows()
    ]
    return Table(
        name="sensitivity",
        title="Sensitivity to choices",
        caption=f"One choice changed at a time. The winner changes in {int(frame['flips'].sum())} "
        f"of {len(frame)} comparisons (overall, by entry, by region; in each space, NSD at each "
        f"tolerance){which}. Controls do not compete.",
        columns=(
            Column("choice", "Choice"),
            Column("space", "Space"),
            Column("tolerance_mm", "Tolerance (mm)", right=True),
            Column("scope", "Scope"),
            Column("metric", "Metric"),
            Column("winner", "Winner"),
            Column("winner_then", "Winner then"),
            Column("kendall_tau", "Kendall's tau", digits=2, right=True),
            Column("largest_rank_change", "Largest change of rank", digits=1, right=True),
            Column("largest_change", "of score, points", digits=2, right=True),
            Column("n_models", "Models", right=True),
        ),
        rows=tuple(rows),
    )


def _choice(choice: str, alternative: str, baseline: str) -> str:
    """What was changed, in the words of the captions."""
    words = VIEW_WORDS if choice == "view" else {}
    return f"{choice}: {words.get(alternative, alternative)} for {words.get(baseline, baseline)}"


def plain_table(source: RunSource, name: str, title: str, text: str) -> Table | None:
    """A result table as it is, columns that never change left out (they are in the caption)."""
    frame = source.table(name)
    if frame is None or frame.empty:
        return None
    constant = [c for c in frame.columns if c == "data_kind"]
    frame = frame.drop(columns=constant)
    if "model" in frame.columns:
        frame = frame.assign(model=frame["model"].map(lambda m: source.model_title(str(m))))
    whole = [c for c in ("parameters",) if c in frame.columns]
    frame = frame.astype(dict.fromkeys(whole, "Int64"))
    columns = []
    for column in frame.columns:
        number = pd.api.types.is_float_dtype(frame[column])
        right = pd.api.types.is_numeric_dtype(frame[column])
        label = str(column).replace("_", " ")
        columns.append(Column(str(column), label, digits=3 if number else None, right=right))
    keys = [str(column) for column in frame.columns]
    rows = tuple(
        tuple(_measured(key, v) for key, v in zip(keys, row, strict=True))
        for row in frame.itertuples(index=False)
    )
    return Table(name, title, text, tuple(columns), rows)


def _titles(source: RunSource, models: str) -> str:
    """Printed names of a winner, or of several that share the first place."""
    return " = ".join(source.model_title(m) for m in models.split(" = "))


def _measured(column: str, value: Any) -> Value | Cell:
    """A cost that nobody measured says so."""
    return Cell(None, NOT_MEASURED) if column in _COSTS and pd.isna(value) else _plain(value)


def _plain(value: Any) -> Value:
    if type(value).__name__ in ("bool", "bool_"):
        return "yes" if value else "no"
    if value is pd.NA:
        return ""
    return value if isinstance(value, (int, float)) else str(value)


def _p(value: float) -> str:
    if not np.isfinite(value):
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _interval(row: pd.Series, metric: str) -> str:
    low, high = row[f"{metric}_low"], row[f"{metric}_high"]
    # Resampling one or two patients gives a width that means nothing.
    if row["n_patients"] < 3 or pd.isna(low) or pd.isna(high):
        return str(row["note"]) or "–"
    return _marked(f"{100 * low:.2f}–{100 * high:.2f}", row)


def _marked(text: str, row: pd.Series) -> str:
    """A number with the mark that it rests on too few patients, if it does."""
    return f"{text} ({row['note']})" if row["note"] else text


def _rank_of(ranks: pd.DataFrame | None, model: str) -> str:
    if ranks is None:
        return NOT_AVAILABLE
    found = ranks[
        (ranks["metric"] == "dsc")
        & (ranks["method"] == "mean-then-rank")
        & (ranks["model"] == model)
    ]
    if found.empty:
        return "–"
    row = found.iloc[0]
    text = f"{row['rank']:g} ({row['rank_low']:g}–{row['rank_high']:g})"
    return _marked(text, row) if row["complete"] else "incomplete"
