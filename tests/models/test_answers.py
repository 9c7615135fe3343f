"""What a model's files may hold: nothing is wrapped, cut or taken for empty without a word."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evaluation.cases import read_reference
from evaluation.errors import BenchError
from evaluation.models.running import predict_shard
from evaluation.paths import RunPaths
from evaluation.scoring.shards import measure_shard
from evaluation.volumes.image_files import Volume, write_volume

DATASET = "msd_hippocampus"
ANTERIOR, POSTERIOR = "anterior hippocampus", "posterior hippocampus"
FIRST, SECOND = "hippocampus_001", "hippocampus_003"
PREDICTIONS = Path("predictions/mine") / DATASET
MASKS = "  kind: prediction-folder\n  folder: predictions/mine\n"


def truth(run: Path, case: str, name: str) -> np.ndarray:
    return read_reference(RunPaths(run).case(DATASET, case))[1].mask(name)


def write_masks(run: Path, value: float = 1, kind: str = "uint8") -> None:
    """Perfect masks of both parts in both cases."""
    for case in (FIRST, SECOND):
        for name in (ANTERIOR, POSTERIOR):
            mask = (truth(run, case, name) * value).astype(kind)
            write_mask(case, name, mask)


def write_mask(case: str, name: str, mask: np.ndarray) -> None:
    path = PREDICTIONS / case / f"{name.replace(' ', '_')}.nii.gz"
    write_volume(path, Volume(mask, np.eye(4)))


def reasons(run: Path) -> dict[str, str]:
    """Why cases failed; the others are not in it."""
    with suppress(BenchError):  # where all of them failed
        predict_shard(run, "mine", DATASET, 0)
    table = RunPaths(run).prediction_shard("mine", DATASET, 0)
    status = pd.read_csv(table).query("status != 'ok'")
    return dict(zip(status["case"], status["reason"], strict=True))


def scores(run: Path) -> pd.DataFrame:
    rows = pd.read_parquet(measure_shard(run, "mine", DATASET, 0))
    return rows.query("space == 'native'").set_index(["case", "class"])


@pytest.mark.parametrize(
    ("value", "kind"),
    [(1, "uint8"), (255, "uint8"), (1000, "int32"), (1, "float64"), (0.9999, "float32")],
)
def test_a_mask_is_zero_and_one_other_value(run, write_card, value, kind):
    write_card(MASKS)
    write_masks(run, value, kind)
    assert reasons(run) == {}
    assert (scores(run)["dsc"] == 1).all()


@pytest.mark.parametrize(
    ("values", "kind", "found", "expected"),
    [
        ((0.2, 0.7), "float32", "for example 0.2", "probability map"),
        ((51, 178), "uint8", "found: 51, 178", "expected: 0 and one other value"),
        ((-1, -1), "int16", "found: -1", "expected: 0 to 65535"),
        ((1, 70_000), "int32", "found: 0 to 70000", "expected: 0 to 65535"),
        ((1, np.nan), "float32", "NaN", "expected: whole numbers"),
    ],
)
def test_what_is_no_mask_is_refused(run, write_card, values, kind, found, expected):
    write_card(MASKS)
    write_masks(run)
    mask = np.zeros((12, 14, 10), kind)
    mask[2], mask[3] = values
    write_mask(SECOND, POSTERIOR, mask)
    (case, reason), *others = reasons(run).items()
    assert (case, others) == (SECOND, [])
    assert "posterior_hippocampus.nii.gz" in reason
    assert found in reason
    assert expected in reason


def test_a_missing_mask_is_named_and_not_taken_for_empty(run, write_card):
    write_card(MASKS)
    write_masks(run)
    forgotten = PREDICTIONS / SECOND / "posterior_hippocampus.nii.gz"
    forgotten.unlink()
    (reason,) = reasons(run).values()
    assert "needs an empty one" in reason
    assert f"{PREDICTIONS / SECOND}; found: all but posterior_hippocampus.nii.gz" in reason
    assert set(scores(run).loc[SECOND, "status"]) == {"prediction_missing"}

    write_mask(SECOND, POSTERIOR, np.zeros((12, 14, 10), np.uint8))
    assert reasons(run) == {}, "the case that failed is read again"
    found = scores(run).loc[SECOND]
    assert found.loc[ANTERIOR, "dsc"] == 1
    assert found.loc[POSTERIOR, ["status", "dsc"]].tolist() == ["prediction_empty", 0]


def test_a_case_without_any_mask_says_what_it_needs(run, write_card):
    write_card(MASKS)
    write_masks(run)
    for path in (PREDICTIONS / FIRST).iterdir():
        path.unlink()
    (reason,) = reasons(run).values()
    assert "no mask of this case" in reason
    assert "anterior_hippocampus.nii.gz, posterior_hippocampus.nii.gz" in reason


def label_card(values: dict[str, int]) -> str:
    return f"{MASKS}  labels: {{{DATASET}: {json.dumps(values)}}}\n"


@pytest.mark.parametrize(
    ("value", "kind"), [(1, "float64"), (300, "int16"), (40_000, "uint32"), (65_535, "float32")]
)
def test_label_values_of_16_bits_are_kept_in_any_type(run, write_card, value, kind):
    write_card(label_card({ANTERIOR: value}))
    for case in (FIRST, SECOND):
        labels = truth(run, case, ANTERIOR).astype(kind) * value
        write_volume(PREDICTIONS / f"{case}.nii.gz", Volume(labels.astype(kind), np.eye(4)))
    assert reasons(run) == {}
    assert (scores(run).xs(ANTERIOR, level="class")["dsc"] == 1).all()


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        (65_537, "int32", "found: 0 to 65537"),
        (65_537, "float32", "found: 0 to 65537"),
        (-1, "int16", "found: -1"),
        (-65_535, "int32", "found: -65535 to 0"),
        (1.5, "float32", "for example 1.5"),
        (np.inf, "float32", "NaN or infinite"),
    ],
)
def test_other_label_values_are_refused_not_wrapped(run, write_card, value, kind, message):
    write_card(label_card({ANTERIOR: 1}))
    for case in (FIRST, SECOND):
        labels = np.where(truth(run, case, ANTERIOR), value, 0).astype(kind)
        write_volume(PREDICTIONS / f"{case}.nii.gz", Volume(labels, np.eye(4)))
    found = reasons(run)
    assert set(found) == {FIRST, SECOND}
    for case, reason in found.items():
        assert message in reason
        assert f"{case}.nii.gz" in reason
        assert "expected:" in reason


def test_braces_of_a_command_stay_as_they_are(run, write_card):
    program = (
        "import json, pathlib, shutil, sys; settings = json.loads(sys.argv[1]); "
        "folders = dict(word.split('=') for word in sys.argv[2:]); "
        "assert settings == {'cut': {'at': 100}}, f'{settings}'; "
        "[shutil.copy(path, folders['--to']) for path in "
        "pathlib.Path(folders['--from']).glob('*.nii.gz')]"
    )
    settings = '{"cut": {"at": 100}}'
    command = [sys.executable, "-c", program, settings, "--from={input}", "--to={output}"]
    values = json.dumps({DATASET: {ANTERIOR: 100, POSTERIOR: 200}})
    write_card(f"  kind: command\n  command: {json.dumps(command)}\n  labels: {values}\n")
    assert reasons(run) == {}
    assert (scores(run)["dsc"] == 1).all()


def test_only_the_masks_that_a_user_sees_are_read(run, write_card):
    """Half-copied and hidden files neither answer for a class nor make one expected."""
    write_card(MASKS)
    write_masks(run)
    for case in (FIRST, SECOND):
        folder = PREDICTIONS / case
        mask = folder / "anterior_hippocampus.nii.gz"
        for name in (
            "._hippocampus.nii.gz",
            ".partial-7-hippocampus.nii.gz",
            "~hippocampus.nii.gz",
        ):
            (folder / name).write_bytes(mask.read_bytes())
        (folder / ".DS_Store").touch()
    hidden = PREDICTIONS / ".Trash" / "hippocampus.nii.gz"
    hidden.parent.mkdir()
    hidden.write_bytes(mask.read_bytes())
    assert reasons(run) == {}
    assert (scores(run)["dsc"] == 1).loc[FIRST, ANTERIOR]
