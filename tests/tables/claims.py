"""What the documents say about their numbers, recomputed from those numbers.

The package holds the result as tables (`evaluation/published/<study>/claims.csv`); this is where
they come from.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache

import pandas as pd

from evaluation.classes.vocabulary import vocabulary
from evaluation.datasets.collection import published_collection
from evaluation.published.numbers import published, read_values
from evaluation.published.specialists import pinned_plans
from evaluation.schema import CLAIMS
from evaluation.studies.record import STUDY_FOLDER, find_study

SAT = find_study("sat")
PUBLISHED = STUDY_FOLDER.parent / "published"
ROUNDING = 0.0051
"""Two numbers rounded to 0.01 percent agree within this."""
PRINTED_SCANS = 11_462
PRINTED_ANNOTATIONS = 142_254
PRINTED_CLASSES = 362
PRINTED_SPECIALISTS = 31
PRINTED_SIZE_MILLIONS = 1000


@dataclass(frozen=True)
class Claim:
    """A row of the table `claims`; fields as its columns."""

    source: str
    where: str
    claim: str
    printed: str
    recomputed: str
    holds: bool
    note: str = ""


def recomputed_claims() -> pd.DataFrame:
    """The table `claims`: claims and relations, the printed and the recomputed value."""
    found = [*_paper_counts(), *_paper_relations(), *_collection(), *_second_paper()]
    return pd.DataFrame([asdict(claim) for claim in found], columns=CLAIMS.names)


@lru_cache
def _side_by_side(scope: str, metric: str) -> pd.DataFrame:
    """Percent of both models, one row each, in print order."""
    frame = published(SAT, scope)
    frame = frame[frame["metric"] == metric].assign(percent=lambda f: f["printed"].astype(float))
    index = ["table", "row", "key", "modality"]
    wide = frame.pivot(index=index, columns="model", values="percent")
    return wide.reset_index().sort_values(["table", "row"], ignore_index=True)


def _percent(scope: str, key: str, modality: str, model: str, metric: str) -> float:
    frame = _side_by_side(scope, metric)
    row = frame[(frame["key"] == key) & (frame["modality"] == modality)]
    return float(row[model].iloc[0])


def _paper_counts() -> Iterator[Claim]:
    claimed = ["head and neck", "lower limb", "pelvis", "upper limb"]
    for metric in ("dsc", "nsd"):
        frame = _side_by_side("region", metric)
        frame = frame[frame["key"] != "lesion"]
        better = sorted(frame.loc[frame["sat-nano"] > frame["nnunet"], "key"])
        yield Claim(
            "sat-v1",
            f"Sec. 7 and Fig. 6, from Table 2 ({metric.upper()})",
            "SAT-Nano is better in 4 of 8 regions",
            ", ".join(claimed),
            ", ".join(better),
            better == claimed,
            "" if better == claimed else "better in thorax as well",
        )
    for metric, count in (("dsc", 6), ("nsd", 11)):
        frame = _side_by_side("dataset", metric)
        wins = frame.loc[frame["sat-nano"] >= frame["nnunet"], "key"].tolist()
        yield Claim(
            "sat-v1",
            f"Sec. 7, from Table 5 ({metric.upper()})",
            "SAT-Nano is comparable or better on 12 datasets",
            "12",
            f"{len(wins)} of {len(frame)} at least equal: {', '.join(wins)}",
            len(wins) == 12,
            f"{count} of 32; the list in the text includes clear losses and omits NSCLC",
        )
    frame = _side_by_side("dataset", "dsc")
    yield Claim(
        "sat-v1",
        "title of Table 5",
        "31 datasets",
        "31",
        f"{len(frame)} rows",
        len(frame) == 31,
        "CHAOS is two rows: 31 sources, 32 entries",
    )
    pelvis = [
        "bladder", "gluteus maximus", "gluteus medius", "gluteus minimus", "hip", "iliopectos",
        "rectum", "urinary bladder", "prostate",
    ]  # fmt: skip
    rows = _side_by_side("class", "dsc")
    rows = rows[(rows["table"] == "3") & rows["key"].isin(pelvis)]
    worse = int((rows["sat-nano"] < rows["nnunet"]).sum())
    yield Claim(
        "sat-v1",
        "Table 2 against Table 3 (DSC)",
        "SAT-Nano is better in pelvis",
        "91.41 against 89.94",
        f"worse on {worse} of {len(rows)} printed pelvis rows",
        worse * 2 < len(rows),
        "the classes behind the region's mean are not published",
    )


def _paper_relations() -> Iterator[Claim]:
    for metric, ours, theirs in (("dsc", 79.82, 74.55), ("nsd", 71.91, 66.08)):
        frame = _side_by_side("dataset", metric)
        specialist, universal = frame["nnunet"].mean(), frame["sat-nano"].mean()
        yield Claim(
            "sat-v1",
            f"Table 5 ({metric.upper()})",
            "unweighted mean over 32 entries, nnU-Net against SAT-Nano (not printed)",
            f"{ours:.2f} against {theirs:.2f}",
            f"{specialist:.2f} against {universal:.2f}",
            _equal(specialist, ours) and _equal(universal, theirs),
        )
    knee = ["femur bone", "femur cartilage", "tibia bone", "tibia cartilage"]
    sums = {
        "ski10": [("class", name, "mri") for name in knee],
        "nsclc": [("class", "thoracic cavity", "ct"), ("lesion", "lung effusion", "ct")],
        "promise12": [("class", "prostate", "mri")],
        "msd_colon": [("lesion", "colon cancer", "ct")],
        "msd_lung": [("lesion", "lung tumor", "ct")],
        "challenge_4c2021": [("lesion", "laryngeal cancer or hypopharyngeal cancer", "ct")],
        "isles2022": [("lesion", "stroke", "mri")],
    }
    for entry, parts in sums.items():
        pairs = []
        for metric in ("dsc", "nsd"):
            for model in ("nnunet", "sat-nano"):
                values = [_percent(*part, model, metric) for part in parts]
                modality = parts[0][2]
                printed = _percent("dataset", entry, modality, model, metric)
                pairs.append((printed, sum(values) / len(values)))
        yield Claim(
            "sat-v1",
            f"Table 5, {entry}",
            f"equals the mean of its {len(parts)} printed classes",
            " / ".join(f"{printed:.2f}" for printed, _ in pairs),
            " / ".join(f"{mean:.2f}" for _, mean in pairs),
            all(_equal(printed, mean) for printed, mean in pairs),
            "nnU-Net DSC, SAT-Nano DSC, nnU-Net NSD, SAT-Nano NSD",
        )
    yield _generated_classes_count()
    lesions = _side_by_side("lesion", "dsc")
    ten = (lesions["nnunet"].mean(), lesions["sat-nano"].mean())
    row = tuple(_percent("region", "lesion", "any", m, "dsc") for m in ("nnunet", "sat-nano"))
    yield Claim(
        "sat-v1",
        "Table 2, lesion row (DSC)",
        "mean of the ten lesions of Table 6",
        f"{row[0]:.2f} against {row[1]:.2f}",
        f"{ten[0]:.2f} against {ten[1]:.2f}",
        all(_equal(a, b) for a, b in zip(row, ten, strict=True)),
        "it fits 14 classes: four brain and kidney lesions more",
    )


def _generated_classes_count() -> Claim:
    """CHAOS MR tells whether a dataset's mean includes classes generated as unions."""
    means = []
    for model in ("nnunet", "sat-nano"):
        total = _percent("dataset", "chaos_mr", "mri", model, "dsc")
        kidney, liver, spleen = (
            _percent("class", name, "mri", model, "dsc") for name in ("kidney", "liver", "spleen")
        )
        sided = (5 * total - kidney - liver - spleen) / 2
        means.append((kidney, sided))
    return Claim(
        "sat-v1",
        "Table 5, chaos_mr against Table 3",
        "dataset means include generated classes (then left and right kidney average to kidney)",
        " / ".join(f"{kidney:.2f}" for kidney, _ in means),
        " / ".join(f"{sided:.2f}" for _, sided in means),
        all(abs(kidney - sided) < 0.25 for kidney, sided in means),
        "kidney of Table 3 against the sided kidneys implied by five classes; nnU-Net, SAT-Nano",
    )


def _collection() -> Iterator[Claim]:
    """The collection and the specialists: sums over the rows of Tables 1, 7 and 8."""
    rows = published_collection(SAT)
    for column, printed in (("scans", PRINTED_SCANS), ("annotations", PRINTED_ANNOTATIONS)):
        total = int(rows[column].sum())
        yield Claim(
            "sat-v1",
            "Table 1",
            f"its summary row is the sum of its {column}",
            f"{printed:,}",
            f"{total:,}",
            total == printed,
            "" if total == printed else f"{abs(printed - total)} apart",
        )
    keys = {info.key for info in vocabulary("sat")}
    names = {name for _, name in keys}
    yield Claim(
        "sat-v1",
        "abstract, from Table 8",
        "362 classes",
        f"{PRINTED_CLASSES}",
        f"{len(keys)} by (modality, name), {len(names)} names",
        len(keys) == PRINTED_CLASSES,
        f"{len(keys) - len(names)} names stand for a class in CT and one in MR",
    )
    plans = pinned_plans(SAT).values()
    yield Claim(
        "sat-v1",
        "title of Table 5, from Table 7",
        "31 specialists",
        f"{PRINTED_SPECIALISTS}",
        f"{len(plans)} rows",
        len(plans) == PRINTED_SPECIALISTS,
        "36 everywhere else in the text",
    )
    printed_size = sum(plan.printed_size_millions for plan in plans)
    counted = sum(plan.parameters for plan in plans) / 1e6
    yield Claim(
        "sat-v1",
        "Sec. 7, from Table 7",
        "the specialists together have around 1000 M weights",
        f"around {PRINTED_SIZE_MILLIONS:,} M",
        f"{printed_size:,} M as printed, {counted:,.1f} M by our count",
        abs(printed_size - PRINTED_SIZE_MILLIONS) < 100,
    )
    parts = [plan.n_classes for plan in plans if plan.entry == "totalsegmentator"]
    yield Claim(
        "sat-v1",
        "Table 7, TotalSegmentator",
        "its subsets are its 103 annotated classes",
        "103",
        f"{sum(parts)} in {len(parts)} subsets",
        sum(parts) == 103,
    )


def _second_paper() -> Iterator[Claim]:
    frame = read_values(PUBLISHED / "hermes/values.csv").assign(
        percent=lambda f: f["printed"].astype(float)
    )
    # Of LiTS and KiTS19 the document scores the tumour alone.
    tumours = {"liver tumor": "lits", "kidney tumor": "kits19"}
    columns = frame[(frame["table"] == "2") & (frame["scope"] != "average")].replace(
        {"key": tumours}
    )
    data = columns.pivot(index="model", columns="key", values="percent")
    average = frame[frame["scope"] == "average"].set_index("model")["percent"]
    aspect = frame[frame["table"] == "3"].pivot(index="model", columns="key", values="percent")
    mean = data.mean(axis=1)
    data, aspect, mean = data.loc[average.index], aspect.loc[average.index], mean[average.index]
    tumor = data[["lits", "kits19", "autopet"]].mean(axis=1)
    for where, claim, printed, computed, tolerance, note in (
        ("Table 2", "AVG is the mean of the eleven columns", average, mean, 0.01, ""),
        ("Table 3", "All Datasets is Table 2's AVG", aspect["all"], average, ROUNDING, ""),
        ("Table 3", "Modality PET is AutoPET", aspect["pet"], data["autopet"], ROUNDING, ""),
        ("Table 3", "Head&Neck is SS H", aspect["head and neck"], data["structseg_head_neck"],
         ROUNDING, "two rows differ by 0.01"),
        ("Table 3", "Tumor&Lesion is the mean of LiTS T, KiTS T, AutoPET", aspect["lesion"], tumor,
         ROUNDING, "CLIP-driven differs by 0.02"),
    ):  # fmt: skip
        agree = [_equal(a, b, tolerance) for a, b in zip(printed, computed, strict=True)]
        yield Claim(
            "hermes",
            where,
            claim,
            " / ".join(f"{value:.2f}" for value in printed),
            f"{sum(agree)} of {len(agree)} agree",
            all(agree),
            note,
        )
    baseline = data.loc["resunet"]
    below = [
        f"{model} on {key}"
        for model in data.index
        for key in data.columns
        if data.loc[model, key] < baseline[key]
    ]
    yield Claim(
        "hermes",
        "text beside Table 2",
        "every universal method is better than ResUNet",
        "all",
        f"below it: {', '.join(below)}",
        not below,
        "true of the average",
    )
    best = data.idxmax().eq("hermes-r")
    yield Claim(
        "hermes",
        "Table 2",
        "Hermes-R is best in every column",
        "11 of 11",
        f"{int(best.sum())} of {len(best)}",
        bool(best.all()),
    )


def _equal(a: float, b: float, tolerance: float = ROUNDING) -> bool:
    return abs(a - b) <= tolerance + 1e-9
