"""What an artefact is made from: digests, listings, hashes of files, and marks of forced jobs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydantic import BaseModel

from evaluation.files import identity
from evaluation.files.identity import (
    FileHashes,
    array_digest,
    ask_again,
    digest,
    file_digest,
    is_outdated,
    listing,
    made_again,
    named_paths,
    named_states,
)

arrays = hnp.arrays(
    st.sampled_from([np.uint8, np.int16, np.float32]),
    hnp.array_shapes(min_dims=3, max_dims=3, max_side=4),
    elements=st.integers(0, 100),
)


def move_time(path: Path, seconds: float) -> None:
    """Set the time of change of a file by so many seconds, content untouched."""
    state = path.stat()
    moved = state.st_mtime_ns + int(seconds * 1e9)
    os.utime(path, ns=(moved, moved))


class Setting(BaseModel):
    a: int = 1
    b: tuple[str, ...] = ("x",)


def test_a_digest_depends_on_values_not_on_their_order_of_keys():
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1})
    assert digest({"a": 1}, 2) != digest({"a": 1}, 3)
    assert digest([1, 2]) != digest([2, 1])
    assert digest(1, 2) != digest([1, 2])
    assert digest(Setting()) == digest(Setting().model_dump(mode="json"))
    assert digest([Setting()]) != digest([Setting(a=2)])


def test_a_digest_is_the_same_in_every_process():
    script = (
        "import numpy as np; from evaluation.files.identity import array_digest, digest;"
        "print(digest({'b': 1, 'a': ['ä', None, 1.5]}), array_digest([np.eye(3)], 'x'))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert found == {
        f"{digest({'b': 1, 'a': ['ä', None, 1.5]})} {array_digest([np.eye(3)], 'x')}\n"
    }


@settings(max_examples=60, deadline=None)
@given(arrays, arrays)
def test_an_array_digest_sees_content_alone(one, other):
    known = array_digest([one])
    for same in (np.asfortranarray(one), one[::-1][::-1], one.astype(one.dtype.newbyteorder())):
        assert array_digest([same]) == known
    equal = one.dtype == other.dtype and np.array_equal(one, other)
    assert (array_digest([other]) == known) == equal
    assert (array_digest([one, other]) == array_digest([other, one])) == equal
    assert array_digest([one], "value") != known
    if one.shape[0] != one.shape[1]:
        assert array_digest([one.swapaxes(0, 1)]) != known
        assert array_digest([one.reshape(one.shape[1], one.shape[0], -1)]) != known


def test_files_of_one_size_are_told_apart(tmp_path):
    path, hashes = tmp_path / "a.bin", FileHashes()
    path.write_bytes(b"0123")
    known = hashes(path), file_digest(path)
    path.write_bytes(b"0124")
    move_time(path, 1)
    assert FileHashes(hashes.used)(path) != known[0]
    assert file_digest(path) != known[1]
    path.write_bytes(b"0123")
    move_time(path, 2)
    assert (FileHashes(hashes.used)(path), file_digest(path)) == known


def test_few_files_are_read_again(tmp_path, monkeypatch):
    path, read = tmp_path / "a.bin", []
    path.write_bytes(b"0123")
    original = identity.sha256
    monkeypatch.setattr(identity, "sha256", lambda p: read.append(p) or original(p))
    first = FileHashes()
    first(path)
    again = FileHashes(first.used)
    assert again(path) == original(path)
    assert read == [path], "size and time are those of the last time"
    assert again.used == first.used
    move_time(path, 5)
    again(path)
    assert read == [path, path]
    # What a hand or another version wrote is read anew, not believed.
    assert FileHashes({str(path): ["x"]})(path) == original(path)


def test_a_listing_has_every_file_that_can_be_seen(tmp_path):
    root = tmp_path / "root"
    assert listing(root) == {}
    for name in ("b.txt", "a/c.txt", ".hidden", ".git/d", "a/.partial-1-e"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("text")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "f.txt").write_text("longer text")
    (root / "link").symlink_to(elsewhere)
    (root / "a" / "circle").symlink_to(root)
    (root / "nowhere").symlink_to(tmp_path / "missing")
    found = listing(root)
    assert set(found) == {"b.txt", "a/c.txt", "link/f.txt"}
    assert found["link/f.txt"][0] == len("longer text")
    move_time(root / "b.txt", 3)
    assert {name for name, state in listing(root).items() if state != found[name]} == {"b.txt"}


def test_paths_are_found_among_any_values(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("weights").mkdir()
    Path("weights/a.pt").write_text("1")
    Path("model.py").write_text("1")
    value = {
        "program": ["python", "model.py", "{input}", ""],
        "deep": [{"checkpoint": "weights/a.pt"}],
        "folder": str(tmp_path / "weights"),
        "word": "weights",
        "odd": ["x" * 5000, "nul\0", 3, None, 1.5],
    }
    assert [str(path) for path in named_paths(value)] == [
        "model.py",
        "weights/a.pt",
        str(tmp_path / "weights"),
    ]
    before = named_states(value)
    assert named_states(value) == before
    Path("weights/b.pt").write_text("2")
    changed = {name for name, state in named_states(value).items() if state != before[name]}
    assert changed == {str(tmp_path / "weights")}


@pytest.mark.parametrize("wait", [-10, 0])
def test_a_mark_outdates_what_is_older_until_the_step_is_complete(tmp_path, wait):
    output, kept = tmp_path / "new" / "0.csv", tmp_path / "kept.json"
    kept.write_text("{}")
    assert not is_outdated(kept, output), "nobody has asked"
    move_time(kept, wait)
    ask_again(output)
    assert is_outdated(kept, output)
    assert not output.exists()
    assert listing(output.parent) == {}, "a mark is no result"
    move_time(kept, 20)
    assert not is_outdated(kept, output), "made since then: it survives a kill"
    made_again(output)
    move_time(kept, -40)
    assert not is_outdated(kept, output)
    made_again(output)
