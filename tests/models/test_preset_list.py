"""`satbench presets`: every preset is listed, and one in full is the same preset."""

from pathlib import Path

import pytest

from evaluation.commands.presets import presets
from evaluation.errors import BenchError
from evaluation.files.records import preset_names
from evaluation.models.card import built_in_ids, find_model, function_of, preset_of
from evaluation.models.preset_list import preset_facts, preset_groups, preset_text
from evaluation.models.presets import named_preset


def test_every_preset_of_every_trained_model_is_listed(capsys) -> None:
    trained = {name for name in built_in_ids() if find_model(name).trains}
    groups = list(preset_groups())
    assert {model for models, _ in groups for model in models} == trained
    for models, found in groups:
        folder = function_of(find_model(models[0]), "config", "PRESET_FOLDER")
        assert list(found) == preset_names(folder)
    presets(None, None)
    lines = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if line.startswith("  paper-umls ")]
    assert "8 GPUs" in line
    assert "patch 288x288x96, 200000 steps; needs knowledge/umls" in line


@pytest.mark.parametrize(
    ("model", "name"),
    [("sat-nano", "small"), ("sat-nano", "paper"), ("nnunet", "demo"), ("uniseg", "released")],
)
def test_a_printed_preset_is_the_same_preset(model, name, tmp_path: Path) -> None:
    card = find_model(model)
    facts = preset_facts(card, name)
    file = tmp_path / "written-out.yaml"
    file.write_text(preset_text(facts, name), encoding="utf-8")
    again = preset_facts(card, str(file))
    assert again == facts
    assert "extends" not in file.read_text()
    if model == "uniseg":  # written out for its system alone
        assert preset_of(card, str(file)).of(model) == preset_of(card, name).of(model)
    else:
        assert named_preset(card, str(file)).values == named_preset(card, name).values


def test_a_model_and_a_preset_that_are_not_there_are_refused() -> None:
    with pytest.raises(BenchError, match="small"):
        preset_facts(find_model("sat-nano"), "smal")
    with pytest.raises(BenchError, match="`oracle` has no presets"):
        preset_facts(find_model("oracle"), "small")
