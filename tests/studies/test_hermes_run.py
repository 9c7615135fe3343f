"""A small run of the study `hermes`: raw layouts of seven of its entries to its five tables.

The scans are boxes in the files' own layouts and under the names of the study's lists, three of
each entry. The controls alone answer; what is looked at are the tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evaluation.config import RunConfig, freeze
from evaluation.datasets.registry import find_card
from evaluation.datasets.shards import standardise_shard
from evaluation.datasets.splits import split_list
from evaluation.datasets.splitting import write_split
from evaluation.models.running import predict_shard
from evaluation.paths import RunPaths
from evaluation.published import published
from evaluation.scoring.shards import measure_shard
from evaluation.studies.record import find_study
from evaluation.tables.run_tables import aggregate_run
from evaluation.volumes.image_files import Volume, write_volume
from reports.figures.scores import aspects_figures
from reports.layout.style import drawing
from reports.leaderboard.payload import board_payload
from reports.source.cases import load_case_rows
from reports.source.loading import load_source
from reports.source.run import RunSource
from reports.tables.catalogue import all_tables
from reports.tables.collection import collection_table

STUDY = find_study("hermes")
LAYOUTS = {
    "bcv": ("RawData/Training/img/{case}.nii.gz", "RawData/Training/label/label{number}.nii.gz"),
    "lits": ("{case}.nii", "segmentation-{number}.nii"),
    "kits19": ("data/{case}/imaging.nii.gz", "data/{case}/segmentation.nii.gz"),
    "amos_ct": ("amos22/imagesTr/{case}.nii.gz", "amos22/labelsTr/{case}.nii.gz"),
    "amos_mr": ("amos22/imagesTr/{case}.nii.gz", "amos22/labelsTr/{case}.nii.gz"),
    "structseg_head_neck": ("HaN_OAR/{case}/data.nii.gz", "HaN_OAR/{case}/label.nii.gz"),
    "autopet": ("{case}/study/SUV.nii.gz", "{case}/study/SEG.nii.gz"),
}
SHAPE = 40, 30, 24


def cases_of(entry: str) -> list[str]:
    """Two test cases of the study's list and one for training; of AutoPET, which has none, any."""
    listed = split_list(find_card(entry), STUDY)
    if not listed:
        return ["PETCT_0a", "PETCT_0b", "PETCT_0c"]
    by_side = {
        side: [row.case for row in listed if row.split == side] for side in ("train", "test")
    }
    return [*by_side["test"][:2], by_side["train"][0]]


def write_scans(raw: Path, entry: str) -> None:
    """A box for each raw value of the entry's labels, 2 x 6 x 6 voxels of 3 x 3 x 4 mm."""
    card = find_card(entry)
    values = sorted({value for c in card.annotated for value in c.values or ()})
    image_name, label_name = LAYOUTS[entry]
    for n, case in enumerate(cases_of(entry)):
        labels = np.zeros(SHAPE, dtype=np.uint8)
        for i, value in enumerate(values):
            x, y = 4 + n + 2 * (i % 12), 4 + 9 * (i // 12)
            labels[x : x + 2, y : y + 6, 8:14] = value
        noise = np.random.default_rng(n).normal(0, 5, SHAPE)
        image = (20.0 * labels + noise).astype(np.float32)
        names = {"case": case, "number": case.removeprefix("img").rpartition("-")[2]}
        for name, array in ((image_name, image), (label_name, labels)):
            path = raw / card.folder / name.format(**names)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_volume(path, Volume(array, np.diag([-3.0, -3.0, 4.0, 1.0])))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunPaths]:
    folder = tmp_path_factory.mktemp("hermes")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        paths = RunPaths(folder / "results/small")
        config = RunConfig(
            name="small", study="hermes", data_kind="real", raw_root=str(folder / "raw"),
            entries=list(LAYOUTS), models=["oracle", "shifted"], shard_size=5000,
            space=["native", "cropped"], metrics=["dsc"],
            aspects={
                "poor": {"below": {"model": "shifted", "value": 0.6}, "title": "Poor"},
                "brain": {"regions": ["brain"]},
            },
        )  # fmt: skip
        freeze(config, paths.config)
        for entry in LAYOUTS:
            write_scans(folder / "raw", entry)
            standardise_shard(paths.root, entry, 0)
            write_split(paths.root, entry)
            for model in config.models:
                predict_shard(paths.root, model, entry, 0)
                measure_shard(paths.root, model, entry, 0)
        aggregate_run(paths.root, n_draws=20)
        yield paths


@pytest.fixture(scope="module")
def source(run: RunPaths) -> RunSource:
    return load_source(run.root)


def of(paths: RunPaths, table: str, **chosen: str) -> pd.DataFrame:
    frame = pd.read_parquet(paths.table(table))
    usual = {"space": "cropped", "policy": "present-only", "view": "paper", "model": "shifted"}
    for column, value in (usual | chosen).items():
        if column in frame.columns:
            frame = frame[frame[column] == value]
    return frame[frame["aggregation"] == "macro"] if "aggregation" in frame.columns else frame


def test_aspects_are_means_of_their_classes(run: RunPaths) -> None:
    slots = of(run, "dataset_class")
    value = slots.set_index(["dataset", "class"])["value"]
    aspects = of(run, "aspect").set_index("aspect")
    tumours = [value["lits", "liver tumor"], value["kits19", "kidney tumor"]]
    lesion = value["autopet"].iloc[0]
    assert aspects.loc["lesion", "value"] == pytest.approx(np.mean([*tumours, lesion]))
    assert aspects.loc["pet", "value"] == pytest.approx(lesion)
    assert aspects.loc["all classes", "value"] == pytest.approx(value.mean())
    entries = value.groupby("dataset").mean()
    entries["lits"], entries["kits19"] = tumours
    assert aspects.loc["all", "value"] == pytest.approx(entries.mean())
    poor = value[value < 0.6]
    assert 0 < len(poor) < len(value)
    assert aspects.loc["poor", "value"] == pytest.approx(poor.mean())
    assert aspects.loc["poor", "n_classes"] == len(poor)
    assert aspects.loc["brain", "n_classes"] == (slots["region"] == "brain").sum()
    assert "difficult classes" not in aspects.index, "the ResUNet is not in this run"


def test_the_crop_is_the_studys(run: RunPaths) -> None:
    rows = pd.read_parquet(run.scores("shifted", "bcv"))
    assert set(rows[rows["space"] == "cropped"]["spacing_mm"]) == {"1.5x1.5x1.5"}
    # AutoPET keeps its own distance of slices.
    rows = pd.read_parquet(run.scores("shifted", "autopet"))
    assert set(rows[rows["space"] == "cropped"]["spacing_mm"]) == {"1.5x1.5x4"}
    liver = pd.read_parquet(run.scores("oracle", "lits")).query("`class` == 'liver'")
    native, cropped = (liver[liver["space"] == s] for s in ("native", "cropped"))
    assert (native["dsc"] == 1).all()
    assert (cropped["dsc"] < 1).all(), "the study counts the liver without its tumours"
    assert set(pd.read_parquet(run.table("ranks"))["space"]) <= {"native"}
    assert set(pd.read_parquet(run.table("pairs"))["space"]) <= {"native"}


def test_published_numbers_stand_beside_whole_entries_alone(run: RunPaths) -> None:
    table = pd.read_parquet(run.table("published"))
    assert set(table[table["scope"] == "dataset"]["key"]) == set(LAYOUTS) - {"lits", "kits19"}
    assert set(table[table["scope"] == "aspect"]["key"]) == {
        "pet", "lesion", "head and neck", "liver tumor", "kidney tumor",
    }  # fmt: skip
    assert not (table["scope"] == "average").any(), "four of its entries are not in this run"


def test_the_five_tables(source: RunSource) -> None:
    tables = {table.name: table for table in all_tables(source)[0]}
    printed = published(STUDY)
    two = tables["printed_2"]
    labels = printed[printed["table"] == "2"].drop_duplicates("row")["printed_row"].tolist()
    assert [column.label for column in two.columns][2:] == labels
    assert len(two.rows) == 7 + 2, "seven systems as printed, two controls of ours"
    ours = dict(zip(labels, two.rows[-1][2:], strict=True))
    assert ours["SS T"] == "not run"
    slots = of(RunPaths(source.paths.root), "dataset_class").set_index(["dataset", "class"])
    tumour = 100 * slots.loc[("lits", "liver tumor"), "value"]
    assert ours["LiTS T"] == pytest.approx(tumour)
    hermes = next(row for row in two.rows if row[0] == "Hermes-R")
    assert dict(zip(labels, hermes[2:], strict=True))["AMOS MR"] == 86.78
    assert "saw the crop alone" in two.caption
    assert "cropped round the reference" in two.caption
    assert len(tables["printed_3"].rows) == 7 + 2
    four = [column.label for column in tables["printed_4"].columns]
    assert four[2:] == ["The ablation's seven"], "four variants are rows of one column"
    costs = {row[0]: row for row in tables["costs_beside_published"].rows}
    assert costs["Hermes-M"][1:7:3] == (44.5, 11.62)
    sizes = {row[0]: row for row in collection_table(source).rows}
    assert sizes["LiTS"][3:5] == (131, 2)
    assert not any(column.ranked for column in two.columns), "nobody is ranked on a crop"


def test_aspects_in_a_figure_and_on_the_board(source: RunSource) -> None:
    found = {"Poor", "PET", "Tumour and lesion", "Head and neck", "LiTS T", "KiTS T"}
    with drawing():
        figure = aspects_figures(source, source.study_protocol)[0]
        labels = [text.get_text() for text in figure.figure.axes[0].get_xticklabels()]
        assert found <= {label.split("\n")[0] for label in labels}
        assert "hermes-r:published" in figure.data["dsc"]
    payload = board_payload(source, load_case_rows(source.paths))
    aspects = {aspect["title"]: aspect for aspect in payload["aspects"]}
    assert found <= set(aspects)
    assert len(aspects["Tumour and lesion"]["slots"]) == 3
    assert payload["unranked"] == ["cropped"]
