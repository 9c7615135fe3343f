from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from evaluation.audit import store
from evaluation.audit.findings import COPIED, DECLARED, REJECTED, SAME
from evaluation.audit.fingerprint import Fingerprint, fingerprint_of
from evaluation.audit.running import Outcome, audit
from evaluation.audit.scans import scans_of_raw, scans_of_run
from evaluation.commands import register
from evaluation.datasets.registry import load_cards
from evaluation.errors import BenchError
from evaluation.schema import AUDIT, read_table
from evaluation.tables.views import find_links
from evaluation.volumes.image_files import Volume
from tests.bench import reuses

Draw = Callable[..., Volume]

SMALL = (40, 38, 30)


def command_line() -> typer.Typer:
    app = typer.Typer()
    register(app)
    return app


def run_audit(run: Path, jobs: int = 1) -> Outcome:
    cards = list(load_cards().values())
    return audit(
        scans_of_run(run), cards, run / "fingerprints", run / "tables" / "audit.parquet", jobs
    )


def pairs_of(table: pd.DataFrame) -> dict[tuple[str, str], str]:
    return {(row.case, row.other_case): row.verdict for row in table.itertuples() if row.accepted}


def test_the_clean_view_leaves_out_what_the_audit_links(small_run: Any, tissue: Draw) -> None:
    rng = np.random.default_rng(0)
    trained, tested = tissue(1), tissue(2)
    small_run.add("msd_spleen", "spleen_1", "spleen_1", "train", trained)
    small_run.add("msd_spleen", "spleen_2", "spleen_2", "test", tested)
    small_run.add("msd_spleen", "spleen_3", "spleen_3", "test", tissue(3))
    small_run.add("abdomenct1k", "Case_1", "Case_1", "test", reuses.turned(trained, rng))
    resampled = reuses.chain(reuses.resampled(1.4), reuses.eight_bits)(tested, rng)
    small_run.add("abdomenct1k", "Case_2", "Case_2", "train", resampled)
    small_run.add("abdomenct1k", "Case_3", "Case_3", "test", tissue(4))
    # Frames of one heart: wanted data, not a leak, and not even a row.
    for frame in (1, 9):
        small_run.add("acdc", f"patient001_frame{frame:02d}", "patient001", "train", tissue(5))
    # One scan under two patients of one side: a link, but nothing to leave out.
    small_run.add("acdc", "patient002_frame01", "patient002", "train", tissue(5))
    small_run.add("acdc", "patient003_frame01", "patient003", "test", tissue(6))
    # A confirmed overlap by the cards alone: equal ids, other content.
    small_run.add("couinaud", "hv_7", "hepaticvessel_007", "test", tissue(7, SMALL))
    small_run.add(
        "msd_hepaticvessel", "hepaticvessel_007", "hepaticvessel_007", "train", tissue(8, SMALL)
    )
    outcome = run_audit(small_run.root)
    table = read_table(small_run.root / "tables" / "audit.parquet", AUDIT)
    assert pairs_of(table) == {
        ("Case_1", "spleen_1"): COPIED,
        ("Case_2", "spleen_2"): SAME,
        ("patient001_frame01", "patient002_frame01"): COPIED,
        ("patient001_frame09", "patient002_frame01"): COPIED,
        ("hv_7", "hepaticvessel_007"): DECLARED,
    }
    assert set(table["verdict"]) <= {COPIED, SAME, DECLARED, REJECTED}
    assert table.set_index("case").loc["Case_1", "declared"]
    assert outcome.undeclared_leaks == 0
    assert outcome.summary["declared_overlaps"]["abdomenct1k - msd_spleen"]["found"] == 2
    splits = {
        path.stem: pd.read_csv(path, dtype=str) for path in (small_run.root / "splits").glob("*")
    }
    links = find_links(splits, table)
    assert links.leaked == {
        ("abdomenct1k", "Case_1"),
        ("msd_spleen", "spleen_2"),
        ("couinaud", "hv_7"),
    }
    assert links.name("abdomenct1k", "Case_1") == links.name("msd_spleen", "spleen_1")
    assert links.name("acdc", "patient003") == "acdc/patient003"


def test_strict_fails_on_an_undeclared_leak_only(small_run: Any, tissue: Draw) -> None:
    small_run.add("acdc", "patient001_frame01", "patient001", "train", tissue(1, SMALL))
    small_run.add("word", "word_1", "word_1", "test", tissue(2, SMALL))
    command = ["data", "audit", "--run", str(small_run.root), "--strict"]
    result = CliRunner().invoke(command_line(), command)
    assert result.exit_code == 0, result.output
    small_run.add("word", "word_2", "word_2", "test", tissue(1, SMALL))
    result = CliRunner().invoke(command_line(), command)
    assert result.exit_code == 3
    assert "1 links between training and test, 1 of them undeclared" in result.output
    named = "acdc/patient001_frame01 (train) - word/word_2 (test): copied voxels"
    assert named in result.output


def test_a_stopped_audit_goes_on_and_unchanged_scans_are_not_read_again(
    small_run: Any, monkeypatch: pytest.MonkeyPatch, tissue: Draw
) -> None:
    for index in range(5):
        small_run.add("word", f"word_{index}", f"word_{index}", "train", tissue(index, SMALL))
    monkeypatch.setattr(store, "PART", 2)
    read: list[int] = []

    def counted(volume: Volume) -> Fingerprint:
        if len(read) == 3:
            raise KeyboardInterrupt
        read.append(volume.array.size)
        return fingerprint_of(volume)

    monkeypatch.setattr(store, "fingerprint_of", counted)
    with pytest.raises(KeyboardInterrupt):
        run_audit(small_run.root)
    folder = small_run.root / "fingerprints"
    assert [p.name for p in folder.iterdir()] == ["word.part-00001.parquet"]
    made: list[int] = []
    monkeypatch.setattr(
        store, "fingerprint_of", lambda v: made.append(v.array.size) or fingerprint_of(v)
    )
    run_audit(small_run.root)
    assert len(made) == 3
    assert sorted(p.name for p in folder.iterdir()) == ["summary.json", "word.parquet"]
    run_audit(small_run.root)
    assert len(made) == 3
    small_run.add("word", "word_5", "word_5", "test", tissue(3, SMALL))
    (folder / "word.part-00001.parquet").write_bytes(b"left by a killed process")
    table = run_audit(small_run.root).table
    assert len(made) == 4
    assert pairs_of(table) == {("word_3", "word_5"): COPIED}


def test_a_scan_that_cannot_be_read_is_named_and_the_others_are_compared(
    small_run: Any, tissue: Draw
) -> None:
    for index in range(3):
        small_run.add("word", f"word_{index}", f"word_{index}", "train", tissue(index // 2, SMALL))
    image = small_run.root / "cases" / "word" / "word_2" / "image.nii.gz"
    image.write_bytes(image.read_bytes()[:500])
    outcome = run_audit(small_run.root, jobs=2)
    assert pairs_of(outcome.table) == {("word_0", "word_1"): COPIED}
    assert "truncated" in outcome.summary["not_read"]["word/word_2"]
    written = json.loads((small_run.root / "fingerprints" / "summary.json").read_text())
    assert written["scans"] == 3


def test_no_findings_make_a_valid_empty_table(small_run: Any, tissue: Draw) -> None:
    small_run.add("word", "word_0", "word_0", "train", tissue(0, SMALL))
    flat = Volume(np.zeros(SMALL, dtype=np.int16), np.eye(4))
    small_run.add("word", "word_1", "word_1", "test", flat)
    outcome = run_audit(small_run.root)
    assert outcome.table.empty
    assert list(outcome.summary["hard_to_find"]) == ["word/word_1"]
    assert read_table(small_run.root / "tables" / "audit.parquet", AUDIT).empty


def test_a_run_without_splits_says_what_comes_first(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="no splits"):
        scans_of_run(tmp_path)


def test_raw_folders_can_be_audited_without_a_run(shared: Path, tmp_path: Path) -> None:
    cards = [load_cards()[name] for name in ("msd_spleen", "totalsegmentator")]
    scans = scans_of_raw(shared / "data", cards, [].append)
    assert [scan.case for scan in scans] == ["spleen_2", "s0000"]
    command = ["data", "audit", "--raw-root", str(shared / "data"), "--out", str(tmp_path)]
    entries = ["--dataset", "msd_spleen", "--dataset", "totalsegmentator"]
    result = CliRunner().invoke(command_line(), [*command, *entries])
    assert result.exit_code == 0, result.output
    assert read_table(tmp_path / "audit.parquet", AUDIT)["accepted"].sum() == 0


@pytest.mark.parametrize(
    "options", [[], ["--raw-root", "x"], ["--run", "r", "--dataset", "acdc"]], ids=str
)
def test_options_that_do_not_go_together_are_refused(options: list[str]) -> None:
    result = CliRunner().invoke(command_line(), ["data", "audit", *options])
    assert isinstance(result.exception, BenchError)
