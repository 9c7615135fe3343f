"""Tables around the scores: what was run, overall results, comparisons, published differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from reports.source import Protocol, RunSource
from reports.tables import METRICS, caption, counts, percent
from reports.tables_collection import collection_table, specialists_table, vocabulary_table
from reports.tabular import NOT_AVAILABLE, Column, Table, Value

STATISTIC_WORDS = {
    "entries": "mean over entries of mean over classes",
    "classes": "mean over (modality, class)",
    "regions": "mean over regions and lesions",
    "scans": "every score counts once",
    "patients": "mean of patients' means",
}


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
    for statistic, group in frame.groupby("statistic", sort=False):
        blocks[len(rows)] = STATISTIC_WORDS[str(statistic)].capitalize()
        for model in source.models:
            for _, row in group[group["model"] == model].iterrows():
                rank = _rank_of(ranks, model) if statistic == "entries" else ""
                # A mean over fewer classes is not comparable, so it is never the best.
                if source.is_control(model) or row["n_classes"] < group["n_classes"].max():
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
    suffix = "" if protocol == source.protocols[0] else f"_{protocol.space}"
    return Table(
        name=f"overall{suffix}",
        title="Overall results",
        caption=caption(source, protocol, "Means with 95 % intervals over patients."),
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
        downwards=True,
        unranked=frozenset(unranked),
    )


def pairs_table(source: RunSource, protocol: Protocol) -> Table | None:
    """Paired comparisons over the whole run, with the corrected p-values."""
    frame = source.pick("pairs", protocol)
    if frame is None:
        return None
    frame = frame[frame["scope"] == "overall"]
    rows = [
        (
            METRICS[str(r["metric"])],
            source.model_title(str(r["model_a"])),
            source.model_title(str(r["model_b"])),
            percent(r["difference"]),
            f"{100 * r['low']:.2f} to {100 * r['high']:.2f}",
            float(r["effect_size"]),
            float(r["win_share"]),
            str(r["note"]) or _p(r["p_holm"]),
            str(r["note"]) or _p(r["p_wilcoxon_holm"]),
            int(r["n_patients"]),
            int(r["n_scores"]),
        )
        for _, r in frame.iterrows()
    ]
    suffix = "" if protocol == source.protocols[0] else f"_{protocol.space}"
    tests = counts(frame["n_family"]) if len(frame) else "0"
    return Table(
        name=f"pairs{suffix}",
        title="Paired comparisons",
        caption=caption(
            source,
            protocol,
            "Difference of the macro means in points, with a 95 % interval; two-sided "
            f"sign-flip test by patient, Holm-corrected (tests in the family: {tests}).",
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
        caption="Ours on the 1×1×3 mm grid with the `paper` policy and split; in percent. "
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


def plain_table(source: RunSource, name: str, title: str, text: str) -> Table | None:
    """A result table as it is, columns that never change left out (they are in the caption)."""
    frame = source.table(name)
    if frame is None or frame.empty:
        return None
    constant = [c for c in frame.columns if c == "data_kind"]
    frame = frame.drop(columns=constant)
    columns = []
    for column in frame.columns:
        number = pd.api.types.is_float_dtype(frame[column])
        right = pd.api.types.is_numeric_dtype(frame[column])
        label = str(column).replace("_", " ")
        columns.append(Column(str(column), label, digits=3 if number else None, right=right))
    rows = tuple(tuple(_plain(v) for v in row) for row in frame.itertuples(index=False))
    return Table(name, title, text, tuple(columns), rows)


def overview_tables(source: RunSource) -> tuple[list[Table], dict[str, str]]:
    """All tables of this module, and what could not be made."""
    made: list[Table] = [
        collection_table(source),
        specialists_table(source),
        vocabulary_table(source),
    ]
    missing: dict[str, str] = {}
    makers: Sequence[tuple[str, Callable[[RunSource, Protocol], Table | None]]] = (
        ("overall results", overall_table),
        ("paired comparisons", pairs_table),
    )
    for protocol in source.protocols:
        for what, maker in makers:
            _keep(maker(source, protocol), f"{what} ({protocol.short})", made, missing)
    _keep(differences_table(source), "published numbers beside ours", made, missing)
    for name, title, text in (
        ("completeness", "Completeness", "What is there of each model and entry."),
        ("cost", "Cost", "Training and prediction; parameters without a frozen text encoder."),
        ("runtime", "Run time", "Seconds by step, model and entry."),
        ("sensitivity", "Sensitivity", "One choice changed at a time: does the winner change?"),
        ("claims", "Claims checked", "Claims of published documents against their own numbers."),
        ("audit", "Leakage audit", "Links between scans of the run."),
    ):
        _keep(plain_table(source, name, title, text), title.lower(), made, missing)
    return made, missing


def _keep(table: Table | None, what: str, made: list[Table], missing: dict[str, str]) -> None:
    if table is None or not table.rows:
        missing[what] = NOT_AVAILABLE
    else:
        made.append(table)


def _plain(value: Any) -> Value:
    if type(value).__name__ in ("bool", "bool_"):
        return "yes" if value else "no"
    return value if isinstance(value, (int, float)) else str(value)


def _p(value: float) -> str:
    if not np.isfinite(value):
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _interval(row: pd.Series, metric: str) -> str:
    low, high = row[f"{metric}_low"], row[f"{metric}_high"]
    # Resampling one or two patients gives a width that means nothing.
    few = row["n_patients"] < 3
    return "–" if few or pd.isna(low) or pd.isna(high) else f"{100 * low:.2f}–{100 * high:.2f}"


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
    return text if row["complete"] else "incomplete"
