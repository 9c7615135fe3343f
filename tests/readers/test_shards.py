"""A shard of cases: every wanted case has a row, bad ones stop nobody, killed jobs resume."""

from __future__ import annotations

import errno
import gzip
import json
import os
import signal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from evaluation.cases import read_case_record, read_reference
from evaluation.cli import build
from evaluation.config import RunConfig, freeze
from evaluation.datasets import shards
from evaluation.datasets.check import check_root
from evaluation.datasets.registry import find_card
from evaluation.datasets.shards import read_rows, standardise_shard
from evaluation.errors import BenchError
from evaluation.files.identity import ask_again


@pytest.fixture
def run(tmp_path: Path, phantom, raw_files) -> Path:
    """A run over six cases of ACDC (two frames of three patients), one of them broken."""
    folder = tmp_path / "raw" / "ACDC" / "training"
    for number in (1, 2, 3):
        patient = f"patient{number:03d}"
        for frame in ("01", "12"):
            scan = phantom("LPS", (1, 2, 3))
            scan.image += 10 * number + int(frame)
            stem = folder / patient / f"{patient}_frame{frame}"
            raw_files.image(Path(f"{stem}.nii.gz"), scan.image, scan.affine)
            raw_files.image(Path(f"{stem}_gt.nii.gz"), scan.labels, scan.affine)
    broken = folder / "patient002/patient002_frame12_gt.nii.gz"
    broken.write_bytes(broken.read_bytes()[:100])
    config = RunConfig(
        name="test", study="sat", data_kind="real", raw_root=str(tmp_path / "raw"), models=["empty"]
    )
    freeze(config, tmp_path / "results/test/config.json")
    return tmp_path / "results/test"


WANTED = [f"patient{n:03d}_frame{f}" for n in (1, 2, 3, 4) for f in ("01", "12")]


@pytest.mark.parametrize("jobs", [1, 2])
def test_one_row_for_each_wanted_case(jobs: int, run: Path) -> None:
    table = standardise_shard(run, "acdc", 0, WANTED, jobs=jobs)
    assert table == run / "cases/acdc/shards/0.csv"
    rows = {row.case: row for row in read_rows(table)}
    assert list(rows) == WANTED
    assert {row.patient for row in rows.values()} == {f"patient00{n}" for n in (1, 2, 3, 4)}
    failed = {case: row.reason for case, row in rows.items() if row.status == "failed"}
    assert set(failed) == {"patient002_frame12", "patient004_frame01", "patient004_frame12"}
    assert "truncated" in failed["patient002_frame12"]
    assert "patient002_frame12_gt.nii.gz" in failed["patient002_frame12"]
    assert "not found under" in failed["patient004_frame01"]
    written = {p.name for p in (run / "cases/acdc").iterdir()}
    assert written == {"shards", *(c for c in WANTED if c not in failed)}
    assert rows["patient001_frame12"].sequence == "frame12"
    record, reference = read_reference(run / "cases/acdc/patient001_frame01")
    assert record.patient == "patient001"
    assert {p.kind for p in record.classes.values()} == {"annotated", "generated"}
    generated = next(c for c in find_card("acdc").classes if c.kind == "generated")
    parts = sum(int(reference.mask(name).sum()) for name in generated.union_of)
    assert reference.mask(generated.name).sum() == parts


def test_an_id_in_other_letters_is_named(run: Path) -> None:
    (row,) = read_rows(standardise_shard(run, "acdc", 0, ["PATIENT001_frame01"]))
    assert row.status == "failed"
    assert "`patient001_frame01` differs in upper and lower case" in row.reason


def test_resumes_and_cleans_up_after_a_killed_job(run: Path) -> None:
    standardise_shard(run, "acdc", 0, WANTED[:4])
    whole = run / "cases/acdc/patient001_frame01"
    before = {p: p.stat().st_mtime_ns for p in whole.iterdir()}
    half = run / "cases/acdc/patient001_frame12"
    (half / "case.json").unlink()
    leftover = run / "cases/acdc/.partial-99999999-patient002_frame01"
    leftover.mkdir()
    standardise_shard(run, "acdc", 0, WANTED[:4])
    assert {p: p.stat().st_mtime_ns for p in whole.iterdir()} == before
    assert (half / "case.json").is_file()
    assert not leftover.exists()


def test_excluded_case_and_restricted_classes(run: Path, monkeypatch) -> None:
    card = find_card("acdc").model_copy(update={"exclude": {"patient001_frame01": "blurred"}})
    monkeypatch.setattr(shards, "find_card", lambda _: card)
    config = RunConfig.model_validate_json((run / "config.json").read_text())
    keep = card.annotated[0].name
    freeze(config.model_copy(update={"classes": {"acdc": [keep]}}), run / "config.json")
    rows = read_rows(standardise_shard(run, "acdc", 0, WANTED[:2]))
    assert [(r.status, r.reason) for r in rows] == [("excluded", "blurred"), ("ok", "")]
    record = read_case_record(run / "cases/acdc/patient001_frame12")
    assert list(record.classes) == [keep]


def test_a_killed_worker_fails_its_own_case_only(run: Path, monkeypatch) -> None:
    real = shards.standardise_case

    def killed(card, reader, raw, *rest):
        if raw.case == "patient001_frame12":
            os.kill(os.getpid(), signal.SIGKILL)
        return real(card, reader, raw, *rest)

    monkeypatch.setattr(shards, "standardise_case", killed)
    rows = read_rows(standardise_shard(run, "acdc", 0, WANTED[:3], jobs=2))
    assert [row.status for row in rows] == ["ok", "failed", "ok"]
    assert "memory" in rows[1].reason


def test_full_disk_stops_with_one_message(run: Path, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shards, "standardise_case", full)
    with pytest.raises(BenchError, match="disk is full"):
        standardise_shard(run, "acdc", 0, WANTED)
    assert not (run / "cases/acdc/shards/0.csv").exists()


def test_commands(run: Path, monkeypatch) -> None:
    cli = CliRunner()
    arguments = ["--run", str(run), "--dataset", "acdc", "--shard", "0"]
    result = cli.invoke(build(), ["standardise", *arguments])
    assert result.exit_code == 0, result.output
    assert "patient002_frame12: volume cannot be read" in result.output
    rows = read_rows(run / "cases/acdc/shards/0.csv")
    assert sum(row.status == "ok" for row in rows) > 0

    root = str(run.parent.parent / "raw")
    result = cli.invoke(build(), ["data", "check", "--raw-root", root])
    assert result.exit_code == 3, result.output
    assert "fault: acdc patient002_frame12" in result.output
    result = cli.invoke(build(), ["data", "check", "--raw-root", root, "--json"])
    findings = json.loads(result.stdout)
    assert sum(f["verdict"] == "ok" for f in findings) == 5
    assert findings[0]["spacing_mm"] == "0.8 1.1 3"


def test_check_names_duplicates(run: Path) -> None:
    raw = run.parent.parent / "raw"
    folder = raw / "ACDC/training"
    twin = folder / "patient009"
    twin.mkdir()
    for suffix in ("", "_gt"):
        source = folder / f"patient001/patient001_frame01{suffix}.nii.gz"
        (twin / f"patient009_frame01{suffix}.nii.gz").write_bytes(source.read_bytes())
    findings = {f.case: f for f in check_root(raw, [find_card("acdc")])}
    assert findings["patient009_frame01"].verdict == "fault"
    assert "same voxels as `patient001_frame01`" in findings["patient009_frame01"].message
    assert findings["patient001_frame01"].verdict == "ok"


def test_check_passes_the_real_scans(shared: Path) -> None:
    cards = [find_card(name) for name in ("isles2022", "msd_spleen")]
    assert {f.verdict for f in check_root(shared / "data", cards)} == {"ok"}


def test_a_case_belongs_to_the_content_of_its_files_and_its_card(run: Path, monkeypatch) -> None:
    """What changes, and the cases that are then made again; every time once."""
    wanted = WANTED[:3]
    first, second, _ = wanted
    raw = run.parent.parent / "raw/ACDC/training/patient001"
    image, label = raw / f"{first}.nii.gz", raw / f"{first}_gt.nii.gz"
    everything, nothing = set(wanted), set[str]()
    card = [find_card("acdc")]
    monkeypatch.setattr(shards, "find_card", lambda _: card[0])

    def made() -> dict[str, tuple[int, str]]:
        records = (run / "cases/acdc").glob("*/case.json")
        return {p.parent.name: (p.stat().st_mtime_ns, p.read_text()) for p in records}

    def made_anew() -> set[str]:
        before = made()
        standardise_shard(run, "acdc", 0, wanted)
        return {case for case, state in made().items() if before.get(case) != state}

    def of_the_same_size() -> None:
        """The last voxel gets another value, with a file as long as before."""
        plain = gzip.decompress(label.read_bytes())
        label.write_bytes(gzip.compress(plain, 0, mtime=0))
        standardise_shard(run, "acdc", 0, wanted)
        size = label.stat().st_size
        label.write_bytes(gzip.compress(plain[:-1] + b"\x02", 0, mtime=0))
        assert label.stat().st_size == size

    def edited(**values) -> None:
        card[0] = card[0].model_copy(update=values)

    def classes(names: list[str]) -> None:
        config = RunConfig.model_validate_json((run / "config.json").read_text())
        freeze(config.model_copy(update={"classes": {"acdc": names}}), run / "config.json")

    def swapped() -> None:
        values = {"left ventricle cavity": (1,), "right ventricle cavity": (3,)}
        edited(
            classes=tuple(
                entry.model_copy(update={"values": values.get(entry.name, entry.values)})
                for entry in card[0].classes
            )
        )

    changes = {
        "the first time": (lambda: None, everything),
        "nothing": (lambda: None, nothing),
        "touched": (image.touch, nothing),
        "labels": (of_the_same_size, {first}),
        "image": (lambda: image.write_bytes((raw / f"{second}.nii.gz").read_bytes()), {first}),
        "prose of the card": (lambda: edited(title="x", citation="y"), nothing),
        "values of the card": (swapped, everything),
        "classes": (lambda: classes(["myocardium"]), everything),
        "a lost record": (lambda: (run / f"cases/acdc/{second}/case.json").unlink(), {second}),
        "a lost cache": (lambda: (run / f"cases/acdc/{second}/sources.json").unlink(), nothing),
        "forced": (lambda: ask_again(run / "cases/acdc/shards/0.csv"), everything),
    }
    for name, (change, expected) in changes.items():
        change()
        assert made_anew() == expected, name
        assert made_anew() == nothing, f"{name}, again"
