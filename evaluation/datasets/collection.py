"""Statistics of the collection from standardised cases.

One pass over the layers of a run's cases counts the voxels of every class; the tables by entry,
class and region follow from those counts. An annotation is a mask with at least one voxel,
generated classes included, which is how the study `sat` counts, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from evaluation.cases import CaseRecord, read_case_record, read_layers
from evaluation.classes import Regions, region_of
from evaluation.config import load_frozen
from evaluation.datasets.card import DatasetCard
from evaluation.datasets.regions import class_regions
from evaluation.datasets.registry import entry_ids, load_cards
from evaluation.files.writing import atomic_path, visible
from evaluation.paths import RunPaths
from evaluation.studies.record import Study, find_study

if TYPE_CHECKING:
    import pandas as pd

CASE_COLUMNS = (
    "dataset", "case", "patient", "modality", "class", "kind", "region", "voxels", "volume_ml",
)  # fmt: skip
Progress = Callable[[str], None]


def _silent(_case: str) -> None:
    return None


def published_collection(study: Study) -> pd.DataFrame:
    """The collection as a study's document prints it: dataset, scans, classes, annotations.

    No row where it prints none.
    """
    import pandas as pd

    name = study.published.collection
    columns = ["dataset", "scans", "classes", "annotations"]
    return pd.DataFrame(columns=columns) if name is None else pd.read_csv(study.file(name))


def case_annotations(folder: Path, regions: Regions | None = None) -> list[dict[str, object]]:
    """One row for each class that a case annotates, an empty mask with 0 voxels.

    Args:
        folder: a standardised case.
        regions: of classes outside the vocabulary.

    Returns:
        Rows with `CASE_COLUMNS`; volumes in millilitres.

    Raises:
        BenchError: the case is incomplete or corrupt.
    """
    record = read_case_record(folder)
    segmentation = read_layers(folder, record.n_layers, record.classes)
    counts = [np.bincount(layer.ravel(), minlength=1) for layer in segmentation.layers]
    voxel_ml = float(np.prod(record.spacing_mm)) / 1000.0
    rows: list[dict[str, object]] = []
    for name, place in record.classes.items():
        voxels = sum(
            int(counts[part.layer][value])
            for part in place.parts
            for value in part.values
            if value < len(counts[part.layer])
        )
        # Layers are disjoint maps, but a class may lie in two of them and overlap with itself.
        if len(place.parts) > 1:
            voxels = int(segmentation.mask(name).sum())
        region = region_of(record.modality, name, own=regions)
        rows.append(_row(record, name, place.kind, region, voxels, voxels * voxel_ml))
    return rows


def _row(
    record: CaseRecord, name: str, kind: str, region: str, voxels: int, volume_ml: float
) -> dict[str, object]:
    return {
        "dataset": record.dataset,
        "case": record.case,
        "patient": record.patient,
        "modality": record.modality,
        "class": name,
        "kind": kind,
        "region": region,
        "voxels": voxels,
        "volume_ml": round(volume_ml, 6),
    }


def case_folders(run: Path) -> Iterator[Path]:
    """Folders of the run's standardised cases, by entry and id."""
    for record in visible(run / "cases", "*/*/case.json"):
        yield record.parent


def collect(
    folders: Iterable[Path], seen: Progress = _silent, regions: Regions | None = None
) -> pd.DataFrame:
    """Rows of all cases; `seen` is called with each case folder's name when it is done."""
    import pandas as pd

    rows: list[dict[str, object]] = []
    for folder in folders:
        rows += case_annotations(folder, regions)
        seen(folder.name)
    return pd.DataFrame(rows, columns=list(CASE_COLUMNS))


def by_entry(
    annotations: pd.DataFrame,
    cards: Mapping[str, DatasetCard] | None = None,
    printed: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Scans, patients, classes and annotations of each entry beside its printed numbers.

    Entries without a case have zeros; `scans_expected` is the number in the card. For a dataset
    without printed numbers their columns are missing values.

    Args:
        annotations: rows of `collect`.
        cards: entries to list (default: all that there are cards of).
        printed: as from `published_collection` (default: none).
    """
    import pandas as pd

    present = annotations[annotations["voxels"] > 0]
    found = pd.DataFrame(
        {
            "scans": annotations.groupby("dataset")["case"].nunique(),
            "patients": annotations.groupby("dataset")["patient"].nunique(),
            "classes": present.groupby("dataset")["class"].nunique(),
            "annotations": present.groupby("dataset").size(),
            "volume_litres": present.groupby("dataset")["volume_ml"].sum() / 1000.0,
        }
    )
    cards = load_cards() if cards is None else cards
    names = [*cards, *(name for name in found.index if name not in cards)]
    table = found.reindex(names).fillna(0)
    table.index.name = "dataset"
    counts = ["scans", "patients", "classes", "annotations"]
    table[counts] = table[counts].astype(int)
    table["scans_expected"] = [
        cards[name].expected_cases if name in cards else table.loc[name, "scans"] for name in names
    ]
    if printed is None:
        printed = pd.DataFrame(columns=["dataset", "scans", "classes", "annotations"])
    return table.join(printed.set_index("dataset").add_suffix("_published")).reset_index()


def by_class(annotations: pd.DataFrame) -> pd.DataFrame:
    """For each (modality, class): entries, annotations, and volumes in ml (median, 5 %, 95 %)."""
    present = annotations[annotations["voxels"] > 0]
    groups = present.groupby(["modality", "class", "region"], sort=True)
    return groups.agg(
        entries=("dataset", "nunique"),
        annotations=("case", "size"),
        patients=("patient", "nunique"),
        volume_ml_median=("volume_ml", "median"),
        volume_ml_low=("volume_ml", lambda v: v.quantile(0.05)),
        volume_ml_high=("volume_ml", lambda v: v.quantile(0.95)),
    ).reset_index()


def by_region(annotations: pd.DataFrame) -> pd.DataFrame:
    """For each modality and region: classes, scans and annotations."""
    present = annotations[annotations["voxels"] > 0].assign(
        scan=lambda frame: frame["dataset"] + "/" + frame["case"]
    )
    groups = present.groupby(["modality", "region"], sort=True)
    return groups.agg(
        classes=("class", "nunique"), scans=("scan", "nunique"), annotations=("case", "size")
    ).reset_index()


def write_collection(run: Path, seen: Progress = _silent) -> Path:
    """Write `collection/{cases,entries,classes,regions}.csv` below the run folder.

    Returns:
        The folder written.
    """
    cards, printed = _asked_by(run)
    annotations = collect(case_folders(run), seen, class_regions(cards.values()))
    folder = run / "collection"
    for name, table in (
        ("cases", annotations),
        ("entries", by_entry(annotations, cards, printed)),
        ("classes", by_class(annotations)),
        ("regions", by_region(annotations)),
    ):
        with atomic_path(folder / f"{name}.csv") as temporary:
            table.to_csv(temporary, index=False, float_format="%.6g")
    return folder


def _asked_by(run: Path) -> tuple[Mapping[str, DatasetCard], pd.DataFrame | None]:
    """Cards of a run's entries and its study's printed numbers; all cards without a run."""
    cards = load_cards()
    if not RunPaths(run).config.is_file():
        return cards, None
    config = load_frozen(run)
    asked = {name: cards[name] for name in entry_ids(config) if name in cards}
    return asked, published_collection(find_study(config.study))
