"""What was written in a watched folder, and is lost, cut or altered, is found; nothing else is."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from evaluation.files.damage import find_damage
from evaluation.files.lines import sealed, whole_lines
from evaluation.files.sums import discard, remember_folder, watch
from evaluation.files.writing import write_text


@pytest.fixture
def watched(tmp_path: Path) -> Path:
    """A folder in which three files were written, and a fourth by somebody else."""
    watch(tmp_path)
    for name in ("a.txt", "below/b.txt", "below/c.txt"):
        write_text(tmp_path / name, f"content of {name}")
    (tmp_path / "other.txt").write_text("nobody noted this")
    assert find_damage(tmp_path) == []
    return tmp_path


def test_cut_altered_and_lost_files_are_named_once(watched):
    (watched / "a.txt").write_text("content")
    (watched / "below/c.txt").unlink()
    (watched / "other.txt").unlink()
    assert list(map(str, find_damage(watched))) == [
        "a.txt (not what was written)", "below/c.txt (lost)",
    ]  # fmt: skip
    assert find_damage(watched) == []


def test_same_size_and_time_do_not_hide_another_content(watched):
    path = watched / "a.txt"
    state = path.stat()
    path.write_text(path.read_text().replace("content", "CONTENT"))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert [str(d.file) for d in find_damage(watched)] == ["a.txt"]


def test_what_is_written_anew_touched_or_deleted_on_purpose_is_no_damage(watched):
    write_text(watched / "a.txt", "new content")
    os.utime(watched / "below/b.txt")
    discard(watched / "below/c.txt")
    assert find_damage(watched) == []
    discard(watched / "below")
    (watched / "copied").mkdir()
    (watched / "copied/d.txt").write_text("d")
    remember_folder(watched / "copied")
    assert find_damage(watched) == []
    (watched / "copied/d.txt").write_text("e")
    assert [str(d.file) for d in find_damage(watched)] == ["copied/d.txt"]


def test_a_note_that_leads_outside_is_not_followed(watched):
    note = json.dumps([1, "../../etc/passwd", "0", None])
    (watched / ".sums/foreign.jsonl").write_text(note + "\n[1, 2\n")
    assert find_damage(watched) == []


def test_lines_that_were_cut_or_altered_are_none(tmp_path):
    path = tmp_path / "lines.jsonl"
    lines = [sealed({"key": k, "rows": [0.5, float("nan")]}) for k in "abc"]
    path.write_text(lines[0] + lines[1].replace("0.5", "0.9") + lines[2][:-9])
    assert [line["key"] for line in whole_lines(path)] == ["a"]


WRITERS = {
    "text": "write_text(path, 'x' * 9999)",
    "array": "import numpy\nwith atomic_path(path) as t:\n numpy.save(t.open('wb'), numpy.ones(999))",  # noqa: E501
    "table": "import pandas as pd\nwith atomic_path(path) as t: pd.DataFrame({'x': range(9999)})"
    ".to_parquet(t)",
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_that_may_not_grow_is_said_by_its_number_and_stays_as_it_was(tmp_path, name):
    path = tmp_path / "file.bin"
    path.write_text("before")
    program = (
        "import sys, errno\nfrom pathlib import Path\n"
        "from evaluation.files.writing import atomic_path, write_text\n"
        f"path = Path({str(path)!r})\ntry:\n"
        + "\n".join(f"    {line}" for line in WRITERS[name].splitlines())
        + "\nexcept OSError as error:\n    sys.exit(9 if error.errno == errno.EFBIG else 8)\n"
    )
    limit = (2000, resource.RLIM_INFINITY)
    done = subprocess.run(
        [sys.executable, "-c", program], check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
    )  # fmt: skip
    assert done.returncode == 9
    assert path.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["file.bin"]
