"""A dataset of one's own: one card in config/datasets, nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from evaluation.cli import build
from evaluation.config import RunConfig, freeze
from evaluation.datasets.check import check_root, finding_lines
from evaluation.datasets.regions import class_regions
from evaluation.datasets.registry import CARD_FOLDER, entry_ids, find_card, load_cards
from evaluation.datasets.shards import read_rows, standardise_shard
from evaluation.datasets.splits import committed_split
from evaluation.datasets.splitting import write_split
from evaluation.errors import BenchError
from evaluation.models.running import predict_shard
from evaluation.paths import RunPaths
from evaluation.scoring.shards import measure_shard
from evaluation.tables.run_tables import aggregate_run
from evaluation.volumes.image_files import Volume, write_volume


@pytest.fixture
def clone(tmp_path: Path, monkeypatch):
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def invoke(*arguments: object):
    result = CliRunner().invoke(build(), [*map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def add_knee(clone: Path, **changes: object) -> Path:
    """The template of `satbench new dataset`, filled in as the guide says."""
    invoke("new", "dataset", "my_knee")
    path = clone / "config/datasets/my_knee.yaml"
    card = yaml.safe_load(path.read_text())
    scan = {"image": "scans/{case}_pd.nii.gz", "label": "truth/{case}_seg.nii.gz"}
    card |= {
        "title": "My Knee Study",
        "modality": "mri",
        "folder": "Knee Study/release",
        "reader_args": {"scans": [scan]},
        "classes": [
            {"name": "left hippocampus", "values": [1, 2]},
            {"name": "patellar cartilage", "values": [2]},
        ],
        "ignore_values": [255],
        "patient_pattern": "^(.*)_v[0-9]$",
        "split": {"train": 4, "test": 2, "rule": "seeded"},
        "expected_cases": 6,
        "expected_patients": 3,
    }
    path.write_text(yaml.safe_dump(card | changes))
    return path


def write_knees(raw_root: Path) -> None:
    generator = np.random.default_rng(0)
    for case in (f"P{patient} {visit}" for patient in range(3) for visit in ("a", "b")):
        name = case.replace(" a", "_v1").replace(" b", "_v2")
        truth = np.zeros((10, 9, 6), dtype=np.uint8)
        truth[2:7, 2:7, 1:5] = 1
        truth[4:7, 2:7, 1:5] = 2
        truth[0, 0, 0] = 255
        image = generator.normal(100, 20, truth.shape).astype(np.float32)
        affine = np.diag([-0.8, -0.8, 3.0, 1.0])
        folder = raw_root / "Knee Study/release"
        write_volume(folder / f"scans/{name}_pd.nii.gz", Volume(image, affine))
        write_volume(folder / f"truth/{name}_seg.nii.gz", Volume(truth, affine))
    (raw_root / "Knee Study/release/scans/._P0_v1_pd.nii.gz").write_bytes(b"junk")


def test_from_an_empty_card_to_the_tables(clone: Path) -> None:
    add_knee(clone)
    write_knees(clone / "raw")
    result = invoke("data", "check", "--raw-root", "raw", "--dataset", "my knee study")
    assert result.exit_code == 0, result.output
    config = RunConfig(
        name="knee",
        study="sat",
        data_kind="real",
        raw_root="raw",
        entries=["my_knee"],
        models=["oracle"],
    )
    run = clone / "results/knee"
    paths = RunPaths(run)
    freeze(config, paths.config)
    rows = read_rows(standardise_shard(run, "my_knee", 0))
    assert [row.status for row in rows] == ["ok"] * 6
    write_split(run, "my_knee")
    predict_shard(run, "oracle", "my_knee", 0)
    measure_shard(run, "oracle", "my_knee", 0)
    aggregate_run(run)
    classes = pd.read_parquet(paths.table("class")).set_index("class")
    # The card's only region; a class of the vocabulary keeps its own.
    assert set(classes.loc["patellar cartilage", "region"]) == {"abdomen"}
    assert set(classes.loc["left hippocampus", "region"]) == {"brain"}
    assert set(classes["value"]) == {1.0}
    regions = pd.read_parquet(paths.table("region"))
    assert set(regions["region"]) == {"abdomen", "brain"}
    # Nobody has published numbers of this dataset.
    for name in ("published", "claims"):
        assert pd.read_parquet(paths.table(name)).empty


def test_a_card_gives_its_classes_a_region(clone: Path) -> None:
    meniscus = {"name": "meniscus", "values": [1]}

    def regions(**changes: object) -> dict[str, str]:
        add_knee(clone, **changes)
        found = class_regions([find_card("my_knee")])
        (clone / "config/datasets/my_knee.yaml").unlink()
        return {name: region for (_, name), region in found.items()}

    assert regions(classes=[meniscus], regions=["Lower-Limb"]) == {"meniscus": "lower limb"}
    several = {"regions": ["lower limb", "pelvis"]}
    assert regions(classes=[meniscus], **several) == {}
    assert regions(classes=[meniscus], regions=["knee"]) == {}
    named = [{**meniscus, "region": "Lesion"}]
    assert regions(classes=named, **several) == {"meniscus": "lesion"}
    for wrong, words in (
        ([{**meniscus, "region": "knee"}], "no region `knee`"),
        ([{"name": "left hippocampus", "values": [1], "region": "spine"}], "its region is brain"),
    ):
        add_knee(clone, classes=wrong)
        with pytest.raises(BenchError, match=words):
            find_card("my_knee")
        (clone / "config/datasets/my_knee.yaml").unlink()


def test_cards_that_disagree_about_a_region(clone: Path) -> None:
    add_knee(clone, classes=[{"name": "meniscus", "values": [1]}], regions=["lower limb"])
    one = find_card("my_knee")
    two = one.model_copy(update={"id": "other", "regions": ("pelvis",)})
    assert class_regions([one, one.model_copy(update={"id": "third"})])
    assert class_regions([one, two]) == {}
    named = one.class_entry("meniscus").model_copy(update={"region": "lesion"})
    other = two.model_copy(update={"classes": (named,)})
    assert class_regions([one, other]) == {("mri", "meniscus"): "lesion"}
    spine = other.model_copy(
        update={"id": "spine", "classes": (named.model_copy(update={"region": "spine"}),)}
    )
    with pytest.raises(BenchError, match="different regions"):
        class_regions([one, other, spine])


def test_all_stays_the_benchmark_and_lists_of_ones_own_count(clone: Path) -> None:
    built_in = load_cards()
    assert "my_knee" not in built_in
    path = add_knee(clone)
    assert find_card("My knee study").id == "my_knee"
    assert len(load_cards()) == len(built_in) + 1
    config = RunConfig(name="x", study="sat", data_kind="real", raw_root="raw", models=["oracle"])
    assert len(entry_ids(config)) == 32
    assert entry_ids(config.model_copy(update={"entries": ["my_knee"]})) == ["my_knee"]
    path.with_suffix(".csv").write_text("case,patient,split\nP0_v1,P0,test\nP1_v1,P1,train\n")
    assert [row.split for row in committed_split("my_knee", None) or ()] == ["test", "train"]


def test_a_name_that_is_in_use_is_refused(clone: Path) -> None:
    folder = clone / "config/datasets"
    for changes, words in (
        ({"title": "MSD Spleen"}, "`MSD Spleen` belongs to another dataset"),
        ({"specialists": [{"id": "msd_liver"}]}, "`msd_liver` belongs to another dataset"),
    ):
        path = add_knee(clone, **changes)
        with pytest.raises(BenchError, match=words) as caught:
            find_card("my_knee")
        assert str(path.relative_to(clone)) in str(caught.value)
        path.unlink()
    path = add_knee(clone)
    own = folder / "msd_spleen.yaml"
    own.write_text(path.read_text().replace("my_knee", "msd_spleen"))
    assert find_card("msd_spleen").folder == find_card("MSD Spleen").folder != "Knee Study/release"
    assert "taken by a card of the benchmark" in str(load_cards().faults["msd_spleen"])
    own.unlink()
    path.write_text(path.read_text() + "modality: ct\n")
    with pytest.raises(BenchError, match="`modality` is there twice"):
        find_card("my_knee")
    path.rename(path.with_suffix(".yml"))
    with pytest.raises(BenchError, match=r"ends in \.yaml"):
        find_card("my_knee")


def test_a_bad_card_stops_only_who_asks_for_it(clone: Path, caplog) -> None:
    add_knee(clone)
    folder = clone / "config/datasets"
    (folder / "half.yaml").write_text("id: half\ntitle: [")
    (folder / "empty.yaml").touch()
    # It clashes with a good card behind it, which must not suffer.
    (folder / "a_clash.yaml").write_text(
        (folder / "my_knee.yaml").read_text().replace("my_knee", "a_clash")
        + "spellings: [MSD Spleen, Some Knee]\n"
    )
    (folder / "some_knee.yaml").write_text(
        (folder / "my_knee.yaml")
        .read_text()
        .replace("my_knee", "some_knee")
        .replace("My Knee Study", "Some Knee")
    )
    for name in (".#my_knee.yaml", "my_knee.yaml~", ".my_knee.yaml.swp", "#my_knee.yaml#"):
        (folder / name).write_text("no card")
    (folder / ".#link.yaml").symlink_to("user@host.123")
    (folder / "._my_knee.yaml").write_bytes(b"\x00\x05\x16\x07")
    assert len(load_cards()) == len(load_cards(CARD_FOLDER)) + 2
    assert find_card("Some Knee").id == "some_knee"
    warnings = [r.getMessage() for r in caplog.records if "left out" in r.getMessage()]
    assert len(warnings) == 3
    for stem, words in (("half", "YAML"), ("empty", "no mapping"), ("a_clash", "MSD Spleen")):
        assert sum(f"config/datasets/{stem}.yaml" in line for line in warnings) == 1
        with pytest.raises(BenchError, match=words):
            find_card(stem)


def test_new_dataset_wants_a_free_id(clone: Path) -> None:
    for name, words in (("My-Knee", "no dataset id"), ("msd_spleen", "already")):
        with pytest.raises(BenchError, match=words):
            invoke("new", "dataset", name)
    invoke("new", "dataset", "my_knee")
    with pytest.raises(BenchError, match="already"):
        invoke("new", "dataset", "my_knee")


def test_a_wrong_reader_shows_with_the_card(clone: Path) -> None:
    for changes, words in (
        ({"reader": "pairs"}, "did you mean `paired`"),
        ({"reader_args": {"scan": []}}, "did you mean `scans`"),
    ):
        path = add_knee(clone, **changes)
        with pytest.raises(BenchError, match=words):
            invoke("datasets", "my_knee")
        path.unlink()
    shown = invoke("datasets", "--readers").output
    assert "- missing: default 'error', or 'empty', 'not_annotated'" in shown
    assert "- scans.image: required" in shown


def test_a_wrong_card_does_not_flood_the_terminal(clone: Path) -> None:
    add_knee(clone, ignore_values=[])
    write_knees(clone / "raw")
    lines = list(finding_lines(list(check_root(clone / "raw", [find_card("my_knee")])), most=2))
    assert len(lines) == 3
    assert "found: [255]" in lines[0]
    assert lines[-1] == "fault: my_knee: 4 more like that (--json lists all)"


def test_patients_that_differ_in_case_only_are_named(clone: Path) -> None:
    add_knee(clone)
    write_knees(clone / "raw")
    folder = clone / "raw/Knee Study/release"
    (folder / "scans/P0_v1_pd.nii.gz").rename(folder / "scans/p0_v1_pd.nii.gz")
    cards = [find_card("my_knee")]
    findings = [f for f in check_root(clone / "raw", cards) if f.verdict != "ok"]
    assert len(findings) == 1
    assert "`P0` (case P0_v2) and `p0` (case p0_v1)" in findings[0].message


def test_values_that_only_a_studys_protocol_counts(clone: Path) -> None:
    """WMH's other pathology: background natively, part of the class on the paper's grid."""
    cartilage = {
        "name": "patellar cartilage",
        "values": [2],
        "study_values": {"sat": [1, 2], "other": [2, 255]},
    }
    add_knee(clone, classes=[cartilage], ignore_values=[1, 255])
    write_knees(clone / "raw")
    run = clone / "results/knee"
    config = RunConfig(
        name="knee",
        study="sat",
        data_kind="real",
        raw_root="raw",
        entries=["my_knee"],
        models=["oracle"],
        space=["native", "resampled"],
    )
    freeze(config, RunPaths(run).config)
    standardise_shard(run, "my_knee", 0)
    write_split(run, "my_knee")
    predict_shard(run, "oracle", "my_knee", 0)
    rows = pd.read_parquet(measure_shard(run, "oracle", "my_knee", 0))
    native = rows[rows["space"] == "native"]
    assert set(native["reference_voxels"]) == {3 * 5 * 4}
    assert set(native["dsc"]) == {1.0}
    paper = rows[rows["space"] == "resampled"]
    assert (paper["reference_voxels"] > 1.2 * paper["prediction_voxels"]).all()
    assert (paper["dsc"] < 1).all()
    assert paper["reason"].str.contains("values 1, 2, as the study `sat` counts them").all()
    for wrong, words in (
        ({**cartilage, "study_values": {"sat": [2, 9]}}, r"study_values \[9\] are neither"),
        (
            {"name": "disc", "file": "disc", "study_values": {"sat": [1]}},
            "study_values need values",
        ),
    ):
        (clone / "config/datasets/my_knee.yaml").unlink()
        add_knee(clone, classes=[wrong])
        with pytest.raises(BenchError, match=words):
            find_card("my_knee")


def test_wmh_counts_other_pathology_as_the_paper_does() -> None:
    assert find_card("wmh").class_entry("white matter hyperintensities").study_values == {
        "sat": (1, 2)
    }
