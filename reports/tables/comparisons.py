"""Models against each other, choices against each other, published numbers against ours."""

from __future__ import annotations

import numpy as np

from evaluation.metrics.catalogue import find_metric
from evaluation.protocol import Protocol
from reports.layout.report_table import ReportColumn, ReportTable
from reports.source.measures import Measure
from reports.source.run import RunSource
from reports.source.words import VIEW, caption, counts, grid_title, listed, units_of
from reports.tables.scores import marked

_SHOWN = "; shown are all overall ones and those in which it changes"


def pairs_table(source: RunSource, protocol: Protocol) -> ReportTable | None:
    """Paired comparisons over the whole run, with the corrected p-values."""
    frame = source.pick("pairs", protocol)
    if frame is None:
        return None
    frame = frame[frame["scope"] == "overall"]
    leaning = bool(frame["reason"].any())
    rows = [
        (
            m.title,
            source.model_title(str(r["model_a"])),
            source.model_title(str(r["model_b"])),
            m.printed(r["difference"]),
            marked(f"{m.scaled(r['low']):.2f} to {m.scaled(r['high']):.2f}", r["note"]),
            float(r["effect_size"]),
            float(r["win_share"]),
            str(r["note"]) or _p(r["p_holm"]),
            str(r["note"]) or _p(r["p_wilcoxon_holm"]),
            _p(r["p_false_order"]),
            m.printed(r["equivalent_within"]),
            m.printed(r["smallest_shown"]),
            float(r["n_needed"]),
            int(r["n_patients"]),
            int(r["n_scores"]),
            *([str(r["reason"])] if leaning else []),
        )
        for m in source.ranked
        for _, r in frame[frame["measure"] == m.key].iterrows()
    ]
    units = units_of(source.ranked, "points")
    units = f" {units}" if units.startswith("in ") else f" ({units})" * bool(units)
    lower = [m.words for m in source.ranked if m.better == "lower"]
    tests = counts(frame["n_family"]) if len(frame) else "0"
    return ReportTable(
        name=f"pairs{source.suffix(protocol)}",
        title="Paired comparisons",
        caption=caption(
            source,
            protocol,
            f"Difference of the macro means{units}, with a 95 % interval"
            + (f" (of {listed(lower)} B − A, so that A is better above 0)" if lower else "")
            + "; two-sided "
            "test by patient with the interval's error, Holm-corrected (tests in the family: "
            f"{tests}). False order: probability that the better one is the worse. Equal within: "
            "smallest margin within which two one-sided tests at 5 % call the two equivalent. "
            "Shown from: true difference that these patients show with a power of 80 %; patients "
            "needed: for the difference found. Effect size: mean of the patients' contributions "
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
            ReportColumn("metric", "Metric"),
            ReportColumn("model_a", "A"),
            ReportColumn("model_b", "B"),
            ReportColumn("difference", "A − B", digits=2, right=True),
            ReportColumn("interval", "95 % interval", right=True),
            ReportColumn("effect_size", "Effect size", digits=2, right=True),
            ReportColumn("win_share", "A better", digits=2, right=True),
            ReportColumn("p_holm", "p (Holm)", right=True),
            ReportColumn("p_wilcoxon_holm", "p Wilcoxon (Holm)", right=True),
            ReportColumn("p_false_order", "False order", right=True),
            ReportColumn("equivalent_within", "Equal within", digits=2, right=True),
            ReportColumn("smallest_shown", "Shown from", digits=2, right=True),
            ReportColumn("n_needed", "Patients needed", digits=0, right=True),
            ReportColumn("n_patients", "Patients", right=True),
            ReportColumn("n_scores", "Scores", right=True),
            *([ReportColumn("reason", "Why A better leans the other way")] if leaning else []),
        ),
        rows=tuple(rows),
    )


def differences_table(source: RunSource) -> ReportTable | None:
    """Published numbers and ours in the same protocol, where both exist."""
    frame, study = source.published, source.study.protocol
    if "ours" not in frame.columns:
        return None
    frame = frame[frame["ours"].notna()]
    if frame.empty:
        return None
    measures = {m: Measure(find_metric(m), study.tolerance_mm) for m in frame["metric"].unique()}
    rows = [
        (
            f"{r['source']}, table {r['table']}",
            str(r["printed_row"]),
            str(r["scope"]),
            measures[r["metric"]].title,
            source.model_title(str(r["model"])),
            measures[r["metric"]].printed(r["value"]),
            measures[r["metric"]].printed(r["ours"]),
            measures[r["metric"]].printed(r["difference"]),
            grid_title(source, str(r["space"])),
            int(r["n_cases"]),
            str(r["note"]),
        )
        for _, r in frame.iterrows()
    ]
    return ReportTable(
        name="published_differences",
        title="Published numbers and ours",
        caption=f"Ours on the {grid_title(source, study.space)} grid, or on the model's own where "
        f"its published numbers are from there and the run was measured there; policy "
        f"`{study.policy}`, all test cases; {units_of(measures.values())}. "
        f"{len(rows)} of {len(source.published)} published numbers have a counterpart in this run.",
        columns=(
            ReportColumn("source", "Source"),
            ReportColumn("row", "Row"),
            ReportColumn("scope", "Scope"),
            ReportColumn("metric", "Metric"),
            ReportColumn("model", "Model"),
            ReportColumn("published", "Published", digits=2, right=True),
            ReportColumn("ours", "Ours", digits=2, right=True),
            ReportColumn("difference", "Difference", digits=2, right=True),
            ReportColumn("space", "Grid of ours"),
            ReportColumn("n_cases", "Scans", right=True),
            ReportColumn("note", "Note"),
        ),
        rows=tuple(rows),
    )


def sensitivity_table(source: RunSource) -> ReportTable | None:
    """Where a choice of ours moves a rank: every overall comparison, and each flipped winner."""
    frame = source.table("sensitivity")
    if frame is None or frame.empty:
        return None
    moved = frame[frame["flips"] | (frame["scope"] == "overall")]
    # Without two complete models there is no overall comparison: then all rows are shown.
    moved, which = (frame, "") if moved.empty else (moved, _SHOWN)
    measures = {m.key: m for m in source.measures}
    rows = [
        (
            _choice(str(r["choice"]), str(r["alternative"]), str(r["baseline"])),
            str(r["space"]),
            float(r["tolerance_mm"]),
            source.dataset_title(str(r["key"])) if r["scope"] == "dataset" else str(r["key"]),
            m.title,
            _titles(source, str(r["winner_baseline"])),
            _titles(source, str(r["winner_alternative"])) if r["flips"] else "the same",
            float(r["kendall_tau"]),
            float(r["largest_rank_change"]),
            m.printed(r["largest_change"]),
            int(r["n_models"]),
        )
        for _, r in moved.iterrows()
        for m in (measures[r["measure"]],)
    ]
    return ReportTable(
        name="sensitivity",
        title="Sensitivity to choices",
        caption=f"One choice changed at a time. The winner changes in {int(frame['flips'].sum())} "
        f"of {len(frame)} comparisons (overall, by entry, by region; in each space, at each "
        f"tolerance){which}. Controls do not compete. Changes of score: "
        f"{units_of(source.ranked, 'points') or 'as measured'}.",
        columns=(
            ReportColumn("choice", "Choice"),
            ReportColumn("space", "Space"),
            ReportColumn("tolerance_mm", "Tolerance (mm)", right=True),
            ReportColumn("scope", "Scope"),
            ReportColumn("metric", "Metric"),
            ReportColumn("winner", "Winner"),
            ReportColumn("winner_then", "Winner then"),
            ReportColumn("kendall_tau", "Kendall's tau", digits=2, right=True),
            ReportColumn("largest_rank_change", "Largest change of rank", digits=1, right=True),
            ReportColumn("largest_change", "of score", digits=2, right=True),
            ReportColumn("n_models", "Models", right=True),
        ),
        rows=tuple(rows),
    )


def _titles(source: RunSource, models: str) -> str:
    """Printed names of a winner, or of several that share the first place."""
    return " = ".join(source.model_title(m) for m in models.split(" = "))


def _p(value: float) -> str:
    if not np.isfinite(value):
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _choice(choice: str, alternative: str, baseline: str) -> str:
    """What was changed, in the words of the captions."""
    words = VIEW if choice == "view" else {}
    return f"{choice}: {words.get(alternative, alternative)} for {words.get(baseline, baseline)}"
