"""A preset that names a dataset which is not there is refused when its training is planned."""

from dataclasses import replace
from pathlib import Path

import pytest

from baselines.universal.config import PRESET_FOLDER as UNIVERSAL_PRESETS
from baselines.universal.config import SYSTEMS
from baselines.universal.config import Preset as UniversalPreset
from baselines.universal.config import load_preset as load_universal
from evaluation.config import RunConfig
from evaluation.datasets.registry import find_card
from evaluation.errors import BenchError
from evaluation.files.records import preset_names
from evaluation.models.card import find_model
from evaluation.models.presets import context_of
from evaluation.models.stages import stages_of
from evaluation.paths import RunPaths
from evaluation.training.known_entries import require_known_entries
from evaluation.training.settings import TrainingPreset
from sat.config import PRESET_FOLDER as SAT_PRESETS
from sat.config import Preset as SatPreset
from sat.config import load_preset


@pytest.mark.parametrize("name", preset_names(SAT_PRESETS))
def test_presets_of_sat_name_datasets_that_are_there(name: str) -> None:
    require_known_entries(load_preset(name))


@pytest.mark.parametrize("name", preset_names(UNIVERSAL_PRESETS))
def test_universal_presets_name_datasets_that_are_there(name: str) -> None:
    for system in SYSTEMS:
        require_known_entries(load_universal(name).of(system))


def _sampling(preset: TrainingPreset, **changes: object) -> TrainingPreset:
    values = preset.model_dump(mode="json")
    values["training"]["sampling"] |= changes
    return type(preset).model_validate(values)


@pytest.mark.parametrize(
    ("changes", "found", "meant"),
    [
        ({"entry_factors": {"structseg_head": 2.6}}, "entry_factors: `structseg_head`",
         "did you mean `structseg_head_neck`"),
        ({"curriculum": {"word": 0.5, "couinoud": 0.5}}, "curriculum: `couinoud`",
         "did you mean `couinaud`"),
        # Settings are looked up by the id alone: neither by a title nor by a part of an entry.
        ({"entry_factors": {"AMOS CT": 2}}, "`AMOS CT`", "write `amos_ct`"),
    ],
)  # fmt: skip
def test_unknown_ids_are_refused_with_what_is_meant(changes, found, meant) -> None:
    with pytest.raises(BenchError) as caught:
        require_known_entries(_sampling(load_preset("tiny"), **changes))
    assert found in str(caught.value)
    assert meant in str(caught.value)
    assert "preset `tiny`" in str(caught.value)


def test_a_specialist_has_no_setting_of_its_own() -> None:
    card = find_card("totalsegmentator")
    wrong = {"split_by_specialist": True, "entry_factors": {card.specialists[0].id: 2}}
    with pytest.raises(BenchError, match=f"write `{card.id}`"):
        require_known_entries(_sampling(load_preset("tiny"), **wrong))


@pytest.mark.parametrize(
    "changes",
    [
        {"shares": {"amos_mri": "amos_ct"}}, {"shares": {"amos_mr": "amos_mri"}},
        {"entries": ("acdc", "amos_mri")}, {"answers_as": {"amos_mri": "acdc"}},
        {"answers_as": {"segthor": "amos_mri"}},
    ],
)  # fmt: skip
def test_every_key_of_a_universal_preset_is_looked_at(changes) -> None:
    preset = load_universal("smoke").of("hermes-r")
    with pytest.raises(BenchError, match="did you mean `amos_mr`"):
        require_known_entries(preset.model_copy(update=changes))


@pytest.mark.parametrize("model", ["sat-nano", "hermes-r", "resunet"])
def test_planning_refuses_and_a_checkpoint_stays_readable(tmp_path: Path, model: str) -> None:
    config = RunConfig(
        name="x", study="sat", data_kind="real", raw_root="x", entries=["acdc"],
        models=[model],
    )  # fmt: skip
    load = load_preset if model == "sat-nano" else load_universal
    values = load("smoke").model_dump(mode="json")
    context = context_of(find_model(model), RunPaths(tmp_path), config, values, ("acdc",))
    assert [stage.name for stage in stages_of(context)][-1] == "train"
    values["training"]["sampling"]["entry_factors"] = {"my_data": 2.0}
    with pytest.raises(BenchError, match="entry_factors: `my_data`"):
        stages_of(replace(context, preset=values))
    # As a checkpoint's preset, and as a run's for prediction, it is read without a look at cards.
    kind = SatPreset if model == "sat-nano" else UniversalPreset
    loaded = load(values)
    own = loaded if model == "sat-nano" else loaded.of(model)
    assert kind.model_validate_json(own.model_dump_json()) == own


def test_an_atlas_of_the_users_has_entries_without_a_card() -> None:
    preset = _sampling(load_preset("tiny"), entry_factors={"atlas_ct": 2.0})
    with pytest.raises(BenchError, match="`atlas_ct`"):
        require_known_entries(preset)
    values = preset.model_dump(mode="json")
    values["atlas"] = {"steps": 1, "volumes": "my/atlas"}
    require_known_entries(SatPreset.model_validate(values))
