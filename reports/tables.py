"""The paper's Tables 2 to 6 in its form, with ours and the published columns side by side.

Every group of columns names its space and policy. Published numbers come from another protocol
(1x1x3 mm grid, the authors' policy) unless the run was scored in it, and never compete for bold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from reports.source import Protocol, RunSource
from reports.tabular import NOT_RUN, Cell, Column, Table, Value

METRICS = {"dsc": "DSC", "nsd": "NSD"}
REGION_ORDER = (
    "abdomen",
    "brain",
    "head and neck",
    "lower limb",
    "pelvis",
    "spine",
    "thorax",
    "upper limb",
    "lesion",
)
SHORT_REGION = {"head and neck": "H&N", "lower limb": "LL", "upper limb": "UL"}
TABLE_OF_REGION = {"abdomen": 3, "brain": 3, "pelvis": 3}
PUBLISHED_SOURCE = "sat-v1"
PUBLISHED_MODELS = {"nnunet": "nnU-Net", "sat-nano": "SAT-Nano"}
PUBLISHED_GROUP = "published, 1×1×3 mm, paper"

Lookup = Mapping[tuple[str, ...], float]


def region_key(name: str) -> str:
    """A region's name in one spelling: `Head_and-Neck` → `head and neck`."""
    return " ".join(name.replace("_", " ").replace("-", " ").lower().split())


def region_title(name: str, short: bool = False) -> str:
    """A region as printed."""
    key = region_key(name)
    return SHORT_REGION.get(key, key.capitalize()) if short else key.capitalize()


def percent(value: Any) -> float | None:
    """0..1 → percent; NaN and None stay nothing."""
    return None if value is None or pd.isna(value) else 100.0 * float(value)


def counts(values: Iterable[Any]) -> str:
    """One count if all models agree, otherwise the range."""
    found = sorted({int(v) for v in values})
    if not found:
        return "0"
    return f"{found[0]}" if len(found) == 1 else f"{found[0]}–{found[-1]}"


def of_expected(frame: pd.DataFrame, what: str) -> str:
    """`k of n` of `n_<what>` over the models."""
    return f"{counts(frame[f'n_{what}'])} of {counts(frame[f'n_{what}_expected'])}"


def published_lookup(source: RunSource, scope: str) -> Lookup:
    """(key, modality, model, metric) → published value in 0..1, of the first paper."""
    frame = source.published
    rows = frame[(frame["scope"] == scope) & (frame["source"] == PUBLISHED_SOURCE)]
    names = rows[["key", "modality", "model", "metric"]].astype(str)
    keys = names.itertuples(index=False, name=None)
    values = rows["value"].to_numpy(dtype=float)
    return {key: float(v) for key, v in zip(keys, values, strict=True) if not np.isnan(v)}


def score_columns(source: RunSource, protocol: Protocol, beside: bool) -> list[Column]:
    """Columns of both metrics: our models, then the published ones if any stand beside."""
    columns = []
    for metric, name in METRICS.items():
        columns += [
            Column(
                key=f"{metric}:{model}",
                label=source.model_title(model),
                group=f"{name}, {protocol.short}",
                digits=2,
                ranked="" if source.is_control(model) else metric,
                right=True,
            )
            for model in source.shown
        ]
        if beside:
            columns += [
                Column(
                    key=f"{metric}:{model}:published",
                    label=title,
                    group=f"{name}, {PUBLISHED_GROUP}",
                    digits=2,
                    right=True,
                )
                for model, title in PUBLISHED_MODELS.items()
            ]
    return columns


def score_values(
    source: RunSource, rows: pd.DataFrame, printed: Lookup, key: tuple[str, str], beside: bool
) -> list[Value | Cell]:
    """The values of `score_columns` for the rows (one per model) of one key (key, modality)."""
    by_model = {str(r["model"]): r for _, r in rows.iterrows()}
    values: list[Value | Cell] = []
    for metric in METRICS:
        for model in source.shown:
            row = by_model.get(model)
            if row is None:
                values.append(NOT_RUN)
            else:
                missing = int(row["n_missing"])
                note = f"{missing} missing" if missing else ""
                number = percent(row[metric])
                values.append(Cell(number, note) if note else number)
        if beside:
            values += [percent(printed.get((*key, m, metric))) for m in PUBLISHED_MODELS]
    return values


def caption(source: RunSource, protocol: Protocol, what: str) -> str:
    """What the numbers are, how they were made, by which code, and how much of the run is in."""
    kind = "Virtual patients (phantoms), not real scans. " if _synthetic(source) else ""
    entries = len(source.dataset_cards)
    run = entries - len(source.not_run)
    return (
        f"{what} In percent. {kind}{protocol.words} {source.presets}"
        f"{run} of {entries} entries of the run {source.config.name} have data. "
        f"Measured by {source.implementation}. "
        "Bold: best of the measured entrants. Published numbers are never ranked."
    )


def _synthetic(source: RunSource) -> bool:
    return source.config.data_kind == "synthetic"


def protocol_suffix(source: RunSource, protocol: Protocol) -> str:
    """File-name suffix: nothing for the first protocol, its name for the others."""
    if protocol == source.protocols[0]:
        return ""
    return f"_{protocol.space}_{protocol.policy.replace('-', '_')}"


def regions_table(source: RunSource, protocol: Protocol) -> Table | None:
    """Table 2: region-wise means; a block per metric, a row per model, a column per region."""
    frame = source.pick("region", protocol)
    if frame is None:
        return None
    frame = frame[(frame["scheme"] == "anatomical") & (frame["composition"] == "all")]
    printed = {(region_key(k[0]), *k[1:]): v for k, v in published_lookup(source, "region").items()}
    keys = {region_key(r): r for r in frame["region"].unique()}
    size = {
        key: frame[frame["region"] == original][["n_classes", "n_patients"]].max()
        for key, original in keys.items()
    }
    columns = [Column("model", "Model"), Column("protocol", "Protocol")]
    columns += [
        Column(key, region_title(key, short=True), digits=2, ranked="down", right=True)
        for key in REGION_ORDER
    ]
    texts = [
        f"{int(size[k]['n_classes'])} / {int(size[k]['n_patients'])}" if k in size else NOT_RUN
        for k in REGION_ORDER
    ]
    rows: list[tuple[Value | Cell, ...]] = [("classes / patients", "", *texts)]
    unranked, blocks = {0}, {0: "Size"}
    by_key: Any = frame.set_index(["model", "region"])
    for metric, name in METRICS.items():
        blocks[len(rows)] = name
        for model in source.shown:
            values = [
                percent(by_key.loc[(model, keys[k])][metric])
                if k in keys and (model, keys[k]) in by_key.index
                else NOT_RUN
                for k in REGION_ORDER
            ]
            if source.is_control(model):
                unranked.add(len(rows))
            rows.append((source.model_title(model), protocol.short, *values))
        for model, title in PUBLISHED_MODELS.items():
            found = [of_any_modality(printed, k, model, metric) for k in REGION_ORDER]
            if any(v is not None for v in found):
                unranked.add(len(rows))
                rows.append((f"{title} (published)", PUBLISHED_GROUP, *found))
    return Table(
        name=f"table2_regions{protocol_suffix(source, protocol)}",
        title="Table 2: region-wise results",
        caption=caption(
            source,
            protocol,
            "Unweighted mean over (modality, class) of a region, classes assigned by anatomy.",
        ),
        columns=tuple(columns),
        rows=tuple(rows),
        blocks=blocks,
        notes=(
            "H&N: head and neck; LL, UL: lower and upper limb.",
            "The paper does not say which classes form its region means: another composition.",
        ),
        downwards=True,
        unranked=frozenset(unranked),
    )


def classes_table(source: RunSource, protocol: Protocol, number: int) -> Table | None:
    """Tables 3 and 4: class-wise means over entries, a block per region."""
    frame = source.pick("class", protocol)
    if frame is None:
        return None
    frame = frame[frame["modality"] != "any"]
    region = frame["region"].map(region_key)
    frame = frame[[TABLE_OF_REGION.get(r, 4) == number and r != "lesion" for r in region]]
    printed = published_lookup(source, "class")
    head = [
        Column("modality", "Modality"),
        Column("class", "Target"),
        Column("n_cases", "Scans", right=True),
        Column("n_patients", "Patients", right=True),
        Column("entries", "Entries", right=True),
    ]
    columns = [*head, *score_columns(source, protocol, beside=True)]
    rows: list[tuple[Value | Cell, ...]] = []
    blocks: dict[int, str] = {}
    for name in REGION_ORDER:
        part = frame[frame["region"].map(region_key) == name]
        if part.empty:
            continue
        blocks[len(rows)] = region_title(name)
        for (modality, class_name), group in part.groupby(["modality", "class"], sort=True):
            key = (str(class_name), str(modality))
            first = (
                str(modality).upper().replace("MRI", "MR"),
                str(class_name),
                counts(group["n_cases"]),
                counts(group["n_patients"]),
                of_expected(group, "entries"),
            )
            rows.append((*first, *score_values(source, group, printed, key, beside=True)))
    names = [r for r in REGION_ORDER if TABLE_OF_REGION.get(r, 4) == number and r != "lesion"]
    words = ", ".join(names)
    return Table(
        name=f"table{number}_classes{protocol_suffix(source, protocol)}",
        title=f"Table {number}: class-wise results ({words})",
        caption=caption(
            source,
            protocol,
            "Mean over scans of an entry, then over the entries that have the class.",
        ),
        columns=tuple(columns),
        rows=tuple(rows),
        blocks=blocks,
        notes=(
            (
                "Entries: those in the mean of those that the run asks for. Generated classes are "
                "taken as predicted directly where a model does so, otherwise as unions of parts."
            ),
        ),
    )


def datasets_table(source: RunSource, protocol: Protocol) -> Table | None:
    """Table 5: dataset-wise means; entries without data are rows that say so."""
    frame = source.pick("dataset", protocol)
    if frame is None:
        return None
    printed = published_lookup(source, "dataset")
    head = [
        Column("dataset", "Dataset"),
        Column("modality", "Modality"),
        Column("n_cases", "Scans", right=True),
        Column("n_patients", "Patients", right=True),
        Column("classes", "Classes", right=True),
    ]
    columns = [*head, *score_columns(source, protocol, beside=True)]
    rows: list[tuple[Value | Cell, ...]] = []
    extra = sorted(set(frame["dataset"]) - set(source.dataset_cards))
    cards = sorted(source.dataset_cards, key=lambda d: source.dataset_title(d).lower())
    for dataset in [*cards, *extra]:
        group = frame[frame["dataset"] == dataset]
        card = source.dataset_cards.get(dataset)
        modality = card.modality if card else str(group["modality"].iloc[0])
        sizes = [of_expected(group, "cases"), counts(group["n_patients"])]
        sizes = [*sizes, of_expected(group, "classes")] if len(group) else [NOT_RUN] * 3
        first = (source.dataset_title(dataset), modality.upper().replace("MRI", "MR"), *sizes)
        key = (dataset, _modality_of(printed, dataset, modality))
        rows.append((*first, *score_values(source, group, printed, key, beside=True)))
    return Table(
        name=f"table5_datasets{protocol_suffix(source, protocol)}",
        title="Table 5: dataset-wise results",
        caption=caption(source, protocol, "Mean over scans, then over the classes of an entry."),
        columns=tuple(columns),
        rows=tuple(rows),
        notes=tuple(
            f"Not run: {source.dataset_title(d)} ({reason})."
            for d, reason in source.not_run.items()
        ),
    )


def of_any_modality(
    printed: Lookup, key: str, model: str, metric: str, modality: str = "any"
) -> float | None:
    """A published value in percent under the wanted modality, else under any other."""
    for candidate in (modality, "any", "ct", "mri"):
        if (key, candidate, model, metric) in printed:
            return percent(printed[key, candidate, model, metric])
    return None


def _modality_of(printed: Lookup, key: str, fallback: str) -> str:
    return next((k[1] for k in printed if k[0] == key), fallback)
