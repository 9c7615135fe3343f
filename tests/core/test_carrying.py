"""Cards, split lists and presets travel in the run that they made."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from evaluation.config import RunConfig
from evaluation.datasets.registry import find_card, load_cards
from evaluation.datasets.splits import committed_split, split_file
from evaluation.datasets.templates import write_dataset_card
from evaluation.errors import BenchError
from evaluation.files.card_places import cards_of, work_on
from evaluation.files.records import Record, read_preset
from evaluation.models.templates import write_model_card
from evaluation.paths import RunPaths
from evaluation.runs.carrying import carry_cards, edited_cards

CARDS = Path("config/datasets")
LIST = "case,patient,split\na,a,train\nb,b,test\n"


class Settings(Record):
    """A preset that names another file."""

    steps: int
    text: str = "quick"


def config(**changes: object) -> RunConfig:
    values = {
        "name": "mine",
        "study": "sat",
        "data_kind": "real",
        "raw_root": "raw",
        "entries": ["my_knee"],
    }
    return RunConfig.model_validate(
        values | {"models": ["my-net"], "presets": {"my-net": "own/fast.yaml"}} | changes
    )


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunPaths:
    """A run and the user's files that it uses."""
    monkeypatch.chdir(tmp_path)
    for name in ("my_knee", "my_hip", "my_foot"):
        write_dataset_card(name)
    (CARDS / "my_knee.csv").write_text(LIST)
    path = write_model_card("my-net")
    path.write_text(path.read_text().replace("trained_on: []", "trained_on: [my_hip]"))
    Path("own").mkdir()
    Path("own/base.yaml").write_text("{steps: 3, text: own/text.yaml}")
    Path("own/text.yaml").write_text("{steps: 1}")
    Path("own/fast.yaml").write_text("{extends: own/base.yaml, steps: 5}")
    paths = RunPaths(tmp_path / "results" / "mine")
    carry_cards(paths, config())
    return paths


def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paths: RunPaths) -> RunPaths:
    copy = tmp_path / "elsewhere" / "copy"
    shutil.copytree(paths.root, copy)
    monkeypatch.chdir(copy.parent)
    return RunPaths(copy)


def test_a_copy_of_the_run_has_all_that_it_uses(paths, tmp_path, monkeypatch) -> None:
    before = find_card("my_knee"), committed_split("my_knee", None)
    copy = elsewhere(tmp_path, monkeypatch, paths)
    with pytest.raises(BenchError, match="no dataset card"):
        find_card("my_knee")
    work_on(copy.root)
    check_all(before)
    with cards_of(copy.root):
        check_all(before)


def check_all(before: object) -> None:
    assert (find_card("my_knee"), committed_split("my_knee", None)) == before
    assert find_card("my_hip").title == "My_Hip", "a model was trained on it"
    assert "my_foot" not in load_cards()
    preset = read_preset("own/fast.yaml", Path("none"), Settings, "own")
    assert preset == Settings(steps=5, text="own/text.yaml")
    assert read_preset(preset.text, Path("none"), Settings, "own").steps == 1


def test_what_makes_results_takes_the_users_file_and_what_shows_them_the_runs(paths) -> None:
    card = CARDS / "my_knee.yaml"
    values = yaml.safe_load(card.read_text())
    card.write_text(yaml.safe_dump(values | {"title": "Edited"}))
    Path("own/fast.yaml").write_text("{steps: 9}")
    work_on(paths.root)
    assert find_card("my_knee").title == "Edited"
    assert read_preset("own/fast.yaml", Path("none"), Settings, "own").steps == 9
    with cards_of(paths.root):
        assert find_card("my_knee").title == "My_Knee"
        assert read_preset("own/fast.yaml", Path("none"), Settings, "own").steps == 5
    (line,) = edited_cards(paths)
    assert line.startswith(f"{card} was edited since")
    carry_cards(paths, config())
    assert edited_cards(paths) == []
    with cards_of(paths.root):
        assert find_card("my_knee").title == "Edited"


def test_a_list_that_was_deleted_is_not_taken_from_the_run(paths) -> None:
    (CARDS / "my_knee.csv").unlink()
    work_on(paths.root)
    assert split_file("my_knee", None) == CARDS / "my_knee.csv"
    assert committed_split("my_knee", None) is None
    with cards_of(paths.root):
        assert len(committed_split("my_knee", None) or ()) == 2
    carry_cards(paths, config())
    with cards_of(paths.root):
        assert committed_split("my_knee", None) is None


def test_copies_that_are_no_longer_used_go(paths) -> None:
    carry_cards(paths, config(models=["oracle"], entries=["acdc"], presets={}))
    assert not [path for path in paths.cards.rglob("*") if path.is_file()]
    with cards_of(paths.root):
        assert find_card("my_knee").id == "my_knee", "the user's own is there still"
