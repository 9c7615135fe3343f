"""Statistics of the collection: a run's annotations by entry, class and region.

They are counted from the cases of the run's splits (`evaluation.datasets.annotations`), of whole
entries: training, validation and test.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from evaluation.classes import Regions, region_of
from evaluation.config import load_frozen
from evaluation.datasets.annotations import Progress, collect, kept_annotations, silent
from evaluation.datasets.card import DatasetCard
from evaluation.datasets.regions import class_regions
from evaluation.datasets.registry import entry_ids, load_cards
from evaluation.datasets.sharding import read_split
from evaluation.files.identity import made_again
from evaluation.files.reading import frame_of
from evaluation.files.spreadsheets import write_sheet
from evaluation.files.writing import visible
from evaluation.paths import RunPaths
from evaluation.studies.record import Study, find_study

if TYPE_CHECKING:
    import pandas as pd


def published_collection(study: Study) -> pd.DataFrame:
    """The collection as a study's document prints it: dataset, scans, classes, annotations.

    No row where it prints none.
    """
    import pandas as pd

    name = study.published.collection
    columns = ["dataset", "scans", "classes", "annotations"]
    return pd.DataFrame(columns=columns) if name is None else frame_of(study.file(name))


def case_folders(run: Path) -> Iterator[Path]:
    """Folders of the run's standardised cases, by entry and id."""
    for record in visible(run / "cases", "*/*/case.json"):
        yield record.parent


def with_regions(annotations: pd.DataFrame, own: Regions | None = None) -> pd.DataFrame:
    """The rows with the region of each class.

    Args:
        annotations: rows of `collect`.
        own: of classes outside the vocabulary.
    """
    keys = zip(annotations["modality"], annotations["class"], strict=True)
    return annotations.assign(region=[region_of(*key, own=own) for key in keys])


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


def write_collection(run: Path, seen: Progress = silent) -> Path:
    """Write `collection/{entries,classes,regions}.csv` below the run folder.

    Of a run with a configuration they hold the cases of the splits of its entries; what was
    counted of each is kept in `collection/cases/<entry>.csv`. Of other folders all cases count.

    Returns:
        The folder written.

    Raises:
        BenchError: a case is incomplete or corrupt.
    """
    import pandas as pd

    paths = RunPaths(run)
    entries = paths.collection("entries")
    cards: Mapping[str, DatasetCard] = load_cards()
    printed = None
    if paths.config.is_file():
        config = load_frozen(run)
        cards = {name: cards[name] for name in entry_ids(config) if name in cards}
        printed = published_collection(find_study(config.study))
        split = [name for name in cards if paths.split(name).is_file()]
        parts = [
            kept_annotations(
                paths.annotations(name),
                [paths.case(name, row.case) for row in read_split(paths, name)],
                entries,
                seen,
            )
            for name in split
        ]
        counted = pd.concat(parts, ignore_index=True) if parts else collect([])
    else:
        counted = collect(case_folders(run), seen)
    annotations = with_regions(counted, class_regions(cards.values()))
    for name, table in (
        ("classes", by_class(annotations)),
        ("regions", by_region(annotations)),
        ("entries", by_entry(annotations, cards, printed)),
    ):
        write_sheet(paths.collection(name), table, "%.6g")
    made_again(entries)
    return entries.parent
