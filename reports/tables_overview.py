"""Tables around the scores: what was run, overall results, comparisons, published differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from evaluation.classes.regions import region_of
from evaluation.datasets.collection import published_collection
from reports.source import Protocol, RunSource
from reports.tables import METRICS, caption, counts, percent, region_title
from reports.tabular import NOT_AVAILABLE, NOT_RUN, Column, Table, Value

STATISTIC_WORDS = {
    "entries": "mean over entries of mean over classes",
    "classes": "mean over (modality, class)",
    "regions": "mean over regions and lesions",
    "scans": "every score counts once",
    "patients": "mean of patients' means",
}


def collection_table(source: RunSource) -> Table:
    """Table 1: the entries of the run: printed numbers, their cards', and what is there."""
    printed: Any = published_collection().set_index("dataset")
    counted: Any = source.collection("entries")
    columns = (
        Column("dataset", "Dataset"),
        Column("modality", "Modality"),
        Column("region", "Region"),
        Column("scans_printed", "Scans", "as printed", right=True),
        Column("classes_printed", "Classes", "as printed", right=True),
        Column("annotations_printed", "Annotations", "as printed", right=True),
        Column("scans", "Scans", "by its card", right=True),
        Column("patients", "Patients", "by its card", right=True),
        Column("classes", "Classes", "by its card", right=True),
        Column("split", "Train / test", "by its card", right=True),
        Column("anomaly", "Anomaly"),
        Column("licence", "Licence"),
        Column("state", "Scans", "in this run"),
        Column("annotations", "Annotations", "in this run", right=True),
    )
    rows: list[tuple[Value, ...]] = []
    for name, card in source.dataset_cards.items():
        known = [int(v) for v in printed.loc[name]] if name in printed.index else [None] * 3
        annotations: Value = NOT_AVAILABLE
        if counted is not None and name in counted.index:
            annotations = int(counted.loc[name]["annotations"])
        rows.append(
            (
                card.title,
                card.modality.upper().replace("MRI", "MR"),
                ", ".join(card.regions),
                *known,
                card.expected_cases,
                card.expected_patients,
                f"{len(card.annotated)} + {len(card.classes) - len(card.annotated)}",
                f"{card.split.train} / {card.split.test}",
                "yes" if card.has_anomaly else "no",
                card.licence.name,
                _state(source, name),
                NOT_RUN if name in source.not_run else annotations,
            )
        )
    total = sum(card.expected_cases for card in source.dataset_cards.values())
    slots = sum(len(card.classes) for card in source.dataset_cards.values())
    return Table(
        name="table1_datasets",
        title="Table 1: the datasets",
        caption=(
            f"{len(rows)} entries, {total:,} scans, {slots} class slots as their cards state them "
            "(a sequence or frame counts as a scan; classes annotated + generated)."
        ),
        columns=columns,
        rows=tuple(rows),
        notes=("The printed annotations of all 32 rows add up to 142,250, not to 142,254.",),
    )


def _state(source: RunSource, name: str) -> str:
    if name in source.not_run:
        return NOT_RUN
    path = source.paths.split(name)
    if not path.is_file():
        return NOT_AVAILABLE
    split = pd.read_csv(path, dtype=str)["split"].value_counts()
    return f"{split.get('train', 0)} train, {split.get('test', 0)} test"


def specialists_table(source: RunSource) -> Table:
    """Table 7, as far as cards say it: one row per specialist with classes and split."""
    columns = (
        Column("specialist", "Specialist"),
        Column("dataset", "Dataset"),
        Column("n_classes", "Classes", right=True),
        Column("n_train", "Train", right=True),
        Column("n_test", "Test", right=True),
        Column("state", "In this run"),
    )
    rows: list[tuple[Value, ...]] = []
    for name, card in source.dataset_cards.items():
        for specialist in card.specialists:
            classes = specialist.classes or tuple(c.name for c in card.annotated)
            scope = source.config.classes.get(name)
            wanted = [c for c in classes if scope is None or c in scope]
            state = f"{len(wanted)} of {len(classes)} classes" if wanted else NOT_RUN
            rows.append(
                (
                    specialist.id,
                    card.title,
                    len(classes),
                    card.split.train,
                    card.split.test,
                    NOT_RUN if name in source.not_run else state,
                )
            )
    return Table(
        name="table7_specialists",
        title="Table 7: the nnU-Net specialists",
        caption=f"{len(rows)} specialists of the run's entries. Specialists are trained on "
        "annotated classes; generated classes are unions of their predictions.",
        columns=columns,
        rows=tuple(rows),
    )


def vocabulary_table(source: RunSource) -> Table:
    """Table 8: the classes of the run's entries by (modality, name), with where they occur."""
    places: dict[tuple[str, str], list[str]] = {}
    kinds: dict[tuple[str, str], set[str]] = {}
    for card in source.dataset_cards.values():
        for entry in card.classes:
            key = (card.modality, entry.name)
            places.setdefault(key, []).append(card.title)
            kinds.setdefault(key, set()).add(entry.kind)
    rows = [
        (
            key[0].upper().replace("MRI", "MR"),
            key[1],
            region_title(region_of(*key)),
            " and ".join(sorted(kinds[key])),
            len(places[key]),
            ", ".join(places[key]),
        )
        for key in sorted(places)
    ]
    names = {name for _, name in places}
    return Table(
        name="table8_classes",
        title="Table 8: the classes",
        caption=f"{len(rows)} classes of the run's entries by (modality, name), "
        f"{len(names)} distinct names.",
        columns=(
            Column("modality", "Modality"),
            Column("class", "Class"),
            Column("region", "Region"),
            Column("kind", "Kind"),
            Column("n_entries", "Entries", right=True),
            Column("entries", "Found in"),
        ),
        rows=tuple(rows),
    )


def overall_table(source: RunSource, protocol: Protocol) -> Table | None:
    """One row per model: overall means with intervals, completeness, rank."""
    frame = source.pick("overall", protocol)
    if frame is None:
        return None
    ranks = source.entrant_ranks(protocol)
    rows: list[tuple[Value, ...]] = []
    unranked = set()
    frame = frame[frame["statistic"].isin(["entries", "classes", "regions"])]
    blocks: dict[int, str] = {}
    for statistic, group in frame.groupby("statistic", sort=False):
        blocks[len(rows)] = STATISTIC_WORDS[str(statistic)].capitalize()
        for model in source.models:
            for _, row in group[group["model"] == model].iterrows():
                rank = _rank_of(ranks, model) if statistic == "entries" else ""
                if source.is_control(model):
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
    number: int | float | str = value if isinstance(value, (int, float)) else str(value)
    return number


def _p(value: float) -> str:
    if pd.isna(value):
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _interval(row: pd.Series, metric: str) -> str:
    low, high = row[f"{metric}_low"], row[f"{metric}_high"]
    return "–" if pd.isna(low) or pd.isna(high) else f"{100 * low:.2f}–{100 * high:.2f}"


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
    return text if row["complete"] else f"{text}, incomplete"
