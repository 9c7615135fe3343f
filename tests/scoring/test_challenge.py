"""`satbench challenge` as a platform's container is called, without a container."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from evaluation.cli import build
from evaluation.errors import BenchError
from evaluation.volumes.image_files import Volume, write_volume
from tests.conftest import ROOT


def labels(shift: int = 0) -> np.ndarray:
    array = np.zeros((14, 12, 10), dtype=np.uint8)
    array[2:7, 2:9, 2:8] = 1
    array[7:11, 2:9, 2:8] = 2
    return np.roll(array, shift, axis=1)


def job(pk: str, case: str, key: str, *outputs: str) -> dict[str, Any]:
    """A job of the list; `key` is what the platform calls a socket."""
    path = "images/organs"
    return {
        "pk": pk,
        "status": "Succeeded" if outputs else "Failed",
        "inputs": [{key: {"slug": "ct", "relative_path": "images/ct"}, "image": {"name": case}}],
        "outputs": [
            {key: {"slug": slug, "relative_path": path}, "image": {"name": "x"}} for slug in outputs
        ],
    }


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """References of three cases, of which two are answered by jobs in another order."""
    for case in ("a", "b", "c"):
        write_volume(tmp_path / f"references/{case}.mha", Volume(labels(), np.eye(4)))
    for pk, shift in (("77", 1), ("78", 0)):
        answer = tmp_path / f"input/{pk}/output/images/organs/answer.mha"
        write_volume(answer, Volume(labels(shift), np.eye(4)))
    jobs = [
        job("78", "b.mha", "socket", "organs"),
        job("77", "a.mha", "interface", "organs"),
        job("79", "c.mha", "socket"),
    ]
    (tmp_path / "input/predictions.json").write_text(json.dumps(jobs))
    (tmp_path / "labels.yaml").write_text("left kidney: 1\nliver: 2\n")
    return tmp_path


def image_command(place: Path) -> list[str]:
    """What the image runs, with the folders of this machine."""
    text = (ROOT / "challenge" / "Dockerfile").read_text()
    found = re.search(r"^CMD (\[.*\])$", text, re.MULTILINE)
    assert found
    command, *arguments = json.loads(found[1])
    assert command == "satbench"
    moved = [a.replace("/opt/challenge", str(place)) for a in arguments]
    return [*moved, "--input", str(place / "input"), "--output", str(place / "output")]


def run(arguments: list[str]) -> Any:
    return CliRunner().invoke(build(), arguments, catch_exceptions=False)


def test_the_command_of_the_image_scores_all_jobs(place: Path) -> None:
    done = run(image_command(place))
    assert done.exit_code == 0, done.output
    found = json.loads((place / "output/metrics.json").read_text())
    overlap = 2 * 5 * 6 * 6 / (2 * 5 * 7 * 6)  # one of seven rows is moved
    cases = {result["case"]: result for result in found["results"]}
    assert cases["a"]["dsc"] == {
        "left_kidney": pytest.approx(overlap),
        "liver": pytest.approx(overlap),
    }
    assert cases["b"]["dsc"] == {"left_kidney": 1, "liver": 1}
    assert cases["c"]["dsc"] == {"left_kidney": 0, "liver": 0}  # a failed job is no smaller n
    assert found["aggregates"]["dsc"]["mean"] == pytest.approx((overlap + 1 + 0) / 3)
    assert set(found["aggregates"]) == {"dsc", "nsd_1mm", "hd95"}
    assert cases["c"]["hd95"]["liver"] is None
    assert found["missing"].keys() == {"c"}
    assert (place / "output/scores.csv").is_file()
    assert "NaN" not in (place / "output/metrics.json").read_text()


def test_a_folder_of_predictions_without_a_list(place: Path) -> None:
    shutil.rmtree(place / "input")
    for case in ("a", "b", "c"):
        write_volume(place / f"input/{case}.nii.gz", Volume(labels(), np.eye(4)))
    assert run(image_command(place)).exit_code == 0
    found = json.loads((place / "output/metrics.json").read_text())
    assert found["aggregates"]["nsd_1mm"] == {"mean": 1, "left_kidney": 1, "liver": 1}


def test_what_is_not_clear_is_refused_and_writes_no_metrics(place: Path) -> None:
    listed = place / "input/predictions.json"
    listed.write_text(json.dumps([job("77", "a.mha", "socket", "organs", "tumour")]))
    with pytest.raises(BenchError, match="not clear which image"):
        run(image_command(place))
    assert run([*image_command(place), "--answer", "organs"]).exit_code == 0
    (place / "output/metrics.json").unlink()
    jobs = json.loads(listed.read_text())
    jobs[0]["pk"] = "../../elsewhere"
    listed.write_text(json.dumps(jobs))
    with pytest.raises(BenchError, match="below the input"):
        run([*image_command(place), "--answer", "organs"])
    (place / "references/a.mha").write_bytes(b"broken")
    jobs[0]["pk"] = "77"
    listed.write_text(json.dumps(jobs))
    with pytest.raises(BenchError, match="reference of `a` cannot be used"):
        run([*image_command(place), "--answer", "organs"])
    assert not (place / "output/metrics.json").exists()


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"inputs": 5}, "lists of inputs"),
        ({"outputs": "abc"}, "lists of inputs"),
        ({"pk": "7\0"}, "below the input"),
        ({"inputs": [{"image": {"name": None}}]}, "name of each job's input image"),
        ({"inputs": [{"image": {"name": "a\0.mha"}}]}, "name of each job's input image"),
        ({"inputs": [{"image": {"name": "a" * 300 + ".mha"}}]}, "name of each job's input image"),
    ],
)
def test_strange_jobs_are_refused_in_words(
    place: Path, change: dict[str, Any], refusal: str
) -> None:
    jobs = [job("77", "a.mha", "socket", "organs") | change]
    (place / "input/predictions.json").write_text(json.dumps(jobs))
    with pytest.raises(BenchError, match=refusal):
        run(image_command(place))


def test_a_link_to_a_reference_is_no_answer(place: Path) -> None:
    answer = place / "input/77/output/images/organs/answer.mha"
    answer.unlink()
    answer.symlink_to(place / "references/a.mha")
    with pytest.raises(BenchError, match="out of the input"):
        run(image_command(place))
    (place / "input/predictions.json").unlink()
    (place / "input/b.mha").symlink_to(place / "references/b.mha")
    with pytest.raises(BenchError, match="out of the input"):
        run(image_command(place))
    assert not (place / "output").exists()


def test_an_answer_to_no_reference_is_named_and_a_file_is_no_output(place: Path) -> None:
    jobs = [job("77", "other.mha", "socket", "organs"), job("78", "b.mha", "socket", "organs")]
    (place / "input/predictions.json").write_text(json.dumps(jobs))
    assert "1 predictions have no reference: other" in run(image_command(place)).output
    shutil.rmtree(place / "output")
    (place / "output").touch()
    with pytest.raises(BenchError, match="the output is no folder"):
        run(image_command(place))
