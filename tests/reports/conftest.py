"""A small run with two entrants and a control, made through the real schema and aggregation."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evaluation.cases import CaseRecord, ImageCase, Prediction, write_case, write_prediction
from evaluation.config import RunConfig, freeze
from evaluation.datasets.collection import write_collection
from evaluation.datasets.registry import load_cards
from evaluation.paths import RunPaths
from evaluation.published import claims_for, published_beside_ours, published_for
from evaluation.schema import scores_table, write_table
from evaluation.studies.record import find_study
from evaluation.tables.run_tables import aggregate_run
from evaluation.volumes.image_files import Volume
from evaluation.volumes.segmentation import Segmentation, pack_masks
from reports.source.loading import load_source
from reports.source.run import RunSource
from tests.bench.score_rows import SyntheticScores, synthetic_scores

ENTRIES = {"msd_spleen": 12, "promise12": 10, "chaos_ct": 12, "msd_liver": 14, "word": 5}
MODELS = {"sat-nano": 0.0, "nnunet": 0.03, "oracle": 0.2}


def shape_of(entries: Mapping[str, int]) -> dict[str, tuple[str, int, dict[str, bool]]]:
    """Entry -> modality, test scans, class -> annotated, from the real cards."""
    cards = load_cards()
    return {
        name: (
            cards[name].modality,
            scans,
            {c.name: c.kind == "annotated" for c in cards[name].classes},
        )
        for name, scans in entries.items()
    }


def write_run(
    root: Path,
    scores: SyntheticScores,
    entries: list[str],
    spaces: tuple[str, ...] = ("native",),
    **settings: object,
) -> RunPaths:
    """Configuration, splits, score files and aggregated tables of a run."""
    paths = RunPaths(root)
    config = RunConfig.model_validate(
        {
            "name": root.name,
            "study": "sat",
            "data_kind": "synthetic",
            "raw_root": "raw",
            "entries": [*entries, "sliver07"],
            "models": list(scores.expected.models),
            "space": list(spaces),
            "cohort": {},
            **settings,
        }
    )
    freeze(config, paths.config)
    paths.not_run.write_text("dataset,reason\nsliver07,no data at raw/SLIVER07\n")
    rows = pd.concat(
        [scores.rows.assign(space=pd.Categorical([space] * len(scores.rows))) for space in spaces]
    )
    for (model, dataset), part in rows.groupby(["model", "dataset"], observed=True):
        table = scores_table(config.metrics)
        write_table(paths.scores(str(model), str(dataset)), part.astype({"model": str}), table)
    for dataset, split in scores.expected.splits.items():
        paths.split(dataset).parent.mkdir(parents=True, exist_ok=True)
        split.to_csv(paths.split(dataset), index=False)
    aggregate_run(root, n_draws=100)
    return paths


def write_volumes(paths: RunPaths, dataset: str, rows: pd.DataFrame, models: list[str]) -> None:
    """Images, references and predictions of every case of an entry: shifted ellipsoids."""
    card = load_cards()[dataset]
    spacing = (1.5, 1.5, 4.0)
    affine = np.diag([*spacing, 1.0])
    grid = np.indices((40, 36, 12)).astype(float)
    for number, case in enumerate(sorted(rows["case"].astype(str).unique())):
        masks = {}
        for place, entry in enumerate(c for c in card.classes if c.kind == "annotated"):
            centre = (12.0 + 2 * place, 18.0, 6.0)
            radii = (7.0, 6.0 + number % 3, 3.0)
            inside = sum(
                ((axis - c) / r) ** 2 for axis, c, r in zip(grid, centre, radii, strict=True)
            )
            masks[entry.name] = np.asarray(inside < 1)
        image = (100 * next(iter(masks.values())) + 10 * np.sin(grid[0])).astype(np.int16)
        segmentation = pack_masks(masks, affine, "annotated")
        record = CaseRecord(
            dataset=dataset, case=case, patient=case, modality=card.modality,
            shape=(40, 36, 12), spacing_mm=spacing, source_orientation="RAS",
            n_layers=len(segmentation.layers), classes=dict(segmentation.classes),
        )  # fmt: skip
        write_case(paths.case(dataset, case), Volume(image, affine), segmentation, record)
        for model in models:
            moved = {name: np.roll(mask, 2, axis=0) for name, mask in masks.items()}
            packed = pack_masks(moved, affine, "direct")
            answer = Segmentation(packed.layers, affine, packed.classes)
            folder = paths.case(dataset, case)
            asked = ImageCase(dataset, case, case, card.modality, folder, spacing, (40, 36, 12))
            write_prediction(
                paths.prediction(model, dataset, case), model, asked, Prediction(answer)
            )


def small_scores(lost: bool = True) -> SyntheticScores:
    """Scores of the small run: structures of different sizes, SAT-Nano lacks a case of WORD."""
    scores = synthetic_scores(MODELS, shape_of(ENTRIES), seed=1)
    rows = scores.rows.copy()
    for metric in ("dsc", "nsd"):
        rows[metric] = rows[metric].clip(0, 1)
    size = 10 ** (2 + 4 * pd.util.hash_array(rows["class"].astype(str).to_numpy()) / 2.0**64)
    rows["reference_voxels"] = (rows["reference_voxels"].gt(0) * size).astype(int)
    gone = lost & (
        (rows["model"] == "sat-nano") & (rows["dataset"] == "word") & (rows["case"] == "case-00001")
    )
    rows["status"] = (
        rows["status"].astype(str).where(~gone, "prediction_missing").astype("category")
    )
    rows.loc[gone, ["dsc", "nsd"]] = np.nan
    return replace(scores, rows=rows)


FOUR_METRICS = ["dsc", "nsd", "volume_difference", "relative_volume_error"]


def four_metrics(scores: SyntheticScores) -> SyntheticScores:
    """The same scores at two tolerances, and predictions of another size than their references.

    A model's volumes are wrong by a share that grows with how bad it is; SAT-Nano's are too small.
    """
    rows = scores.rows
    share = {"sat-nano": -0.2, "nnunet": 0.1, "oracle": 0.0}
    wrong = rows["model"].astype(str).map(share) * (1 + 0.1 * (pd.factorize(rows["case"])[0] % 3))
    scored = rows["status"] == "scored"
    reference = rows["reference_voxels"]
    predicted = (reference * (1 + wrong)).round().astype(int)
    predicted = predicted.where(scored, rows["prediction_voxels"])
    rows = rows.assign(
        prediction_voxels=predicted,
        volume_difference=(0.003 * (predicted - reference)).where(scored),
        relative_volume_error=((predicted - reference).abs() / reference).where(scored),
    )
    wider = rows.assign(tolerance_mm=2.0, nsd=(rows["nsd"] + 0.03).clip(0, 1))
    return replace(scores, rows=pd.concat([rows, wider], ignore_index=True))


def as_paper(source: RunSource, entries: list[str] | str = "all") -> RunSource:
    """The same tables as those of a run on real patients: the paper's, or some of its entries."""
    config = source.config.model_dump() | {"data_kind": "real", "cohort": None, "entries": entries}
    real = RunConfig.model_validate(config)
    tables = {k: f.assign(data_kind="real") if "data_kind" in f else f
              for k, f in source.tables.items()}  # fmt: skip
    numbers = published_beside_ours(find_study(real.study), published_for(real), tables)
    tables["claims"] = claims_for(real)
    return RunSource(source.paths, real, tables, numbers, source.not_run)


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunPaths:
    """The small run, scored in both spaces, with volumes of one entry."""
    scores = small_scores()
    root = tmp_path_factory.mktemp("results") / "tiny"
    paths = write_run(root, scores, list(ENTRIES), ("native", "resampled"))
    spleen = scores.rows[scores.rows["dataset"] == "msd_spleen"]
    write_volumes(paths, "msd_spleen", spleen, ["sat-nano", "nnunet"])
    # The other entries have scores and no cases: what is there is counted as a folder's.
    folder = tmp_path_factory.mktemp("cases")
    (folder / "cases").symlink_to(root / "cases")
    shutil.copytree(write_collection(folder), root / "collection")
    return paths


@pytest.fixture(scope="session")
def four(tmp_path_factory: pytest.TempPathFactory) -> RunPaths:
    """The small run with four metrics and two tolerances; no prediction is missing."""
    root = tmp_path_factory.mktemp("results") / "four"
    settings = {"metrics": FOUR_METRICS, "tolerance_mm": [1.0, 2.0]}
    return write_run(root, four_metrics(small_scores(lost=False)), list(ENTRIES), **settings)


@pytest.fixture(scope="session")
def paper(run: RunPaths) -> RunSource:
    """The small run's tables, as if they were the paper's comparison on real patients."""
    return as_paper(load_source(run.root))


@pytest.fixture(scope="session")
def some_rows(run: RunPaths) -> RunSource:
    """The small run's tables, as if its entries were real ones."""
    return as_paper(load_source(run.root), [*ENTRIES, "sliver07"])
