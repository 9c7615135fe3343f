"""The report of a dataset that is nobody's but the user's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from evaluation.config import RunConfig, freeze
from evaluation.datasets.templates import write_dataset_card
from evaluation.paths import RunPaths
from evaluation.protocol import Protocol
from evaluation.schema import SCORES, TABLES, read_table, write_table
from evaluation.tables.run_tables import aggregate_run
from reports.figures.scores import class_figures, regions_figures
from reports.layout.report_table import to_html, to_markdown
from reports.layout.style import drawing
from reports.leaderboard.payload import board_payload
from reports.rendering import render_report
from reports.source.cases import load_case_rows
from reports.source.loading import load_source
from reports.source.run import RunSource
from reports.source.words import left_out_of_regions
from reports.tables.catalogue import all_tables
from reports.tables.classes import classes_table
from reports.tables.overall import overall_table
from reports.tables.regions import regions_table
from tests.bench.score_rows import synthetic_scores

CLASSES = [
    "tibia bone", "femur bone", "meniscus", "patella", "cruciate ligament", "cyst", "plica", "fat",
]  # fmt: skip
OTHERS_WORDS = (
    "ublished", "Table 2", "Table 4", "Table 7", "paper's", "as printed", "paper split", "SAT-Nano",
    "pecialist",
)  # fmt: skip


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def own_run(
    clone: Path, models: dict[str, float], regions: list[str], lesions: tuple[str, ...] = ()
) -> RunSource:
    """A measured run of one user's dataset: two classes of the vocabulary, six of its own."""
    path = write_dataset_card("my_knee")
    classes = [
        {"name": name, "values": [value]} | ({"region": "lesion"} if name in lesions else {})
        for value, name in enumerate(CLASSES, 1)
    ]
    card = yaml.safe_load(path.read_text())
    card |= {"title": "My Knee", "modality": "mri", "regions": regions, "classes": classes}
    path.write_text(yaml.safe_dump(card))
    scores = synthetic_scores(models, {"my_knee": ("mri", 12, dict.fromkeys(CLASSES, True))})
    rows = scores.rows.assign(dsc=scores.rows["dsc"].clip(0, 1), nsd=scores.rows["nsd"].clip(0, 1))
    paths = RunPaths(clone / "results" / "knee")
    config = RunConfig(
        name="knee",
        study="sat",
        data_kind="real",
        raw_root="raw",
        entries=["my_knee"],
        models=list(models),
    )
    freeze(config, paths.config)
    for model, part in rows.groupby("model", observed=True):
        write_table(paths.scores(str(model), "my_knee"), part.astype({"model": str}), SCORES)
    paths.split("my_knee").parent.mkdir(parents=True)
    scores.expected.splits["my_knee"].to_csv(paths.split("my_knee"), index=False)
    aggregate_run(paths.root, n_draws=50)
    return load_source(paths.root)


def test_every_class_is_in_the_class_table(clone: Path) -> None:
    source = own_run(clone, {"mine": 0.0, "yours": 0.05}, ["lower limb"], ("cyst",))
    table = classes_table(source, Protocol())
    assert table is not None
    assert sorted(row[1] for row in table.rows) == sorted(CLASSES)
    assert list(table.blocks.values()) == ["Lower limb", "Lesion"]
    regions = regions_table(source, Protocol())
    assert regions is not None
    assert [c.label for c in regions.columns[2:]] == ["LL", "Lesion"]
    assert [str(size).split(" / ")[0] for size in regions.rows[0][2:]] == ["7", "1"]
    assert not left_out_of_regions(source)


def test_classes_without_a_region_are_shown_and_counted(clone: Path) -> None:
    source = own_run(clone, {"mine": 0.0, "yours": 0.05}, ["lower limb", "pelvis"])
    table = classes_table(source, Protocol())
    assert table is not None
    assert sorted(row[1] for row in table.rows) == sorted(CLASSES)
    assert list(table.blocks.values()) == ["Lower limb", "No region"]
    words = "Means over regions leave out 6 of 8 classes, which have no region."
    for made in (regions_table(source, Protocol()), overall_table(source, Protocol())):
        assert made is not None
        assert words in to_markdown(made)
        assert words in to_html(made)
    frame = read_table(source.paths.table("overall"), TABLES["overall"])
    numbers = frame[frame["statistic"] == "regions"][["n_classes", "n_classes_expected"]]
    assert set(numbers.itertuples(index=False, name=None)) == {(2, 8)}
    with drawing():
        (bars,) = regions_figures(source, Protocol())
        (dots,) = class_figures(source, Protocol())
    assert words in bars.caption
    assert {name for name, _, _ in dots.data["dsc"]} == set(CLASSES)
    payload = board_payload(source, load_case_rows(source.paths))
    assert [region["title"] for region in payload["regions"]] == ["Lower limb", "No region"]
    assert words in payload["meta"]["notes"]


@pytest.mark.parametrize(
    ("models", "regions"),
    [
        ({"mine": 0.0, "yours": 0.05}, ["lower limb"]),
        pytest.param({"mine": 0.0}, ["whole body"], marks=pytest.mark.long),
        ({"oracle": 0.0}, ["lower limb"]),
    ],
)
def test_the_report_has_no_word_of_other_data(
    clone: Path, models: dict[str, float], regions: list[str]
) -> None:
    source = own_run(clone, models, regions)
    made, missing = all_tables(source)
    pages = [to_markdown(table) for table in made]
    out = render_report(source.paths.root, clone / "out", ("figures", "leaderboard")).parent
    pages += [path.read_text() for path in (out / "README.md", out / "figures/captions.json")]
    for text in pages:
        for words in OTHERS_WORDS:
            assert words not in text, (words, text[:300])
    payload = board_payload(source, load_case_rows(source.paths))
    assert payload["published"] == []
    titles = [table.title for table in made]
    assert len(set(titles)) == len(titles)
    alone = len(source.entrants) < 2
    assert ("fewer than two models compete" in str(missing)) == alone
    assert "lesions (native, present-only)" not in missing
    overall = overall_table(source, Protocol())
    assert overall is not None
    ranks = [row[1] for row in overall.rows if row[1]]
    assert ranks == ["–"] if "oracle" in models else len(ranks) == len(models)
    assert not np.isnan([float(str(row[2])) for row in overall.rows]).any()
