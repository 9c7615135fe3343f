"""A study's file is read as it was meant, or refused with what was found."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml

from evaluation.classes.vocabulary import vocabulary
from evaluation.config import RunConfig, load_frozen
from evaluation.datasets.registry import find_card
from evaluation.datasets.splits import planned_cases, split_file, split_rule
from evaluation.errors import BenchError
from evaluation.models.card import check_preset, find_model
from evaluation.published import published
from evaluation.studies.record import Study, find_study, study_ids
from evaluation.workflow.configuration import config_from

SMALL = {
    "id": "small",
    "title": "A small one",
    "document": {"id": "small-1", "citation": "Nobody"},
    "entries": ["acdc", "msd_spleen"],
}
RUN = {"name": "x", "data_kind": "real", "raw_root": "raw", "models": ["oracle"]}


def written(folder: Path, **changes: object) -> str:
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(SMALL | changes))
    return str(path)


@pytest.mark.parametrize("name", study_ids())
def test_a_built_in_study_has_all_that_it_names(name: str) -> None:
    study = find_study(name)
    for entry in map(find_card, study.entries):
        listed = planned_cases(entry, RunConfig(study=name, **RUN))
        assert listed or split_rule(entry, study).rule == "seeded", "a committed list, or counts"
    for model, printed in study.models.items():
        if printed.preset is not None:
            check_preset(find_model(model), printed.preset)
    for file in study.published.names:
        assert study.file(file).is_file()
    values = published(study)
    assert set(values["model"]) <= set(study.models)
    tables = {table.id for table in study.printed_tables}
    assert set(values["table"]) <= tables
    for table, scope in values[["table", "scope"]].drop_duplicates().itertuples(index=False):
        # A mean over some classes or entries is printed in the tables of others, too.
        abouts = {"average": ["dataset"], "aspect": ["aspect", "dataset", "ablation"]}
        named = [t.id for about in abouts.get(scope, [scope]) for t in study.tables_about(about)]
        assert table in named


def test_the_first_study_is_the_papers() -> None:
    study = find_study("sat")
    assert len(study.entries) == 32
    assert set(study.entries) <= {e for info in vocabulary("sat") for e in info.annotated_in}
    assert study.protocol.grid_title == "1\N{MULTIPLICATION SIGN}1\N{MULTIPLICATION SIGN}3 mm"
    assert study.head_of("region") == "Table 2"
    assert study.head_of("class") == "Table 3 and Table 4"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"entries": []}, "entries"),
        ({"entries": ["acdc", "acdc"]}, "the entry `acdc` is there twice"),
        ({"protocol": {"space": "resampled"}}, "spacing_mm does not say on which grid"),
        ({"protocol": {"spacing_mm": [1, 1, 0]}}, "greater than 0"),
        ({"protocol": {"spacing": [1, 1, 1]}}, "did you mean `spacing_mm`"),
        ({"printed_tables": [{"id": 1, "about": "region", "regions": ["chest"]}]}, "no region"),
        (
            {"printed_tables": [{"id": 1, "about": "region"}, {"id": "1", "about": "class"}]},
            "the table `1` is there twice",
        ),
    ],
)
def test_a_wrong_study_says_what_is_wrong(changes, words: str, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=words) as caught:
        find_study(written(tmp_path, **changes))
    assert "small.yaml" in str(caught.value)


def test_names_of_a_configuration_are_those_of_its_study(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="`study` is missing"):
        config_from(RUN, [])
    with pytest.raises(BenchError, match=r"no study `sta`(.|\n)*did you mean `sat`"):
        config_from(RUN | {"study": "sta"}, [])
    with pytest.raises(BenchError, match="no dataset card `adcd`"):
        config_from(RUN | {"study": written(tmp_path, entries=["adcd"])}, [])
    values = RUN | {"study": written(tmp_path), "space": ["native", "resampled"]}
    with pytest.raises(BenchError, match="`small` has no grid `resampled`"):
        config_from(values, [])
    assert config_from(values | {"space": ["native"]}, []).entries == "all"


def test_a_run_of_a_version_without_studies_is_refused_with_a_way_on(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        '{"name": "demo", "data_kind": "real", "raw_root": "raw", "models": ["oracle"]}'
    )
    with pytest.raises(BenchError, match=r"knew no studies(.|\n)*add `study: sat`"):
        load_frozen(tmp_path)


def test_a_study_divides_by_the_cards_rule_then_by_its_list_then_by_the_cards_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    card = find_card("msd_spleen")
    assert split_rule(card, find_study("sat")).rule == "published"
    study = find_study(written(tmp_path, splits="lists"))
    with pytest.raises(BenchError, match="no split in the study `small`") as caught:
        split_rule(card, study)
    assert "rules of sat" in str(caught.value)
    own = card.model_copy(update={"split": card.splits["sat"]})
    assert split_rule(own, study) == card.splits["sat"]
    (tmp_path / "lists").mkdir()
    lines = "case,patient,split\nspleen_2,spleen_2,test\nspleen_3,spleen_3,train\n"
    (tmp_path / "lists/msd_spleen.csv").write_text(lines)
    for divided in (card, own):
        rule = split_rule(divided, study)
        assert (rule.train, rule.test, rule.rule) == (1, 1, "listed")
    assert split_file("msd_spleen", study) == tmp_path / "lists/msd_spleen.csv"
    config = RunConfig(study=str(tmp_path / "small.yaml"), **RUN)
    assert [row.case for row in planned_cases(card, config) or ()] == ["spleen_2", "spleen_3"]


HEAD = "table,row,printed_row,scope,key,modality,model,metric,printed,note\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("table,row\n1,2\n", "not a file of published values"),
        (f"{HEAD}1,1,A,entry,acdc,mri,oracle,dsc,80,\n", "unknown scope"),
        (f"{HEAD}1,1,A,dataset,acdc,us,oracle,dsc,80,\n", "unknown modality"),
        (f"{HEAD}1,1,A,dataset,acdc,mri,oracle,dsc,n/a,\n", r"`printed` .*\(line 2\)"),
    ],
)
def test_wrong_published_values_are_named(text: str, words: str, tmp_path: Path) -> None:
    study = find_study(written(tmp_path, published={"values": "values.csv"}))
    with pytest.raises(BenchError, match="published values that are not there"):
        published(study)
    (tmp_path / "values.csv").write_text(text)
    with pytest.raises(BenchError, match=words):
        published(study)


def test_a_study_without_published_values_has_none(tmp_path: Path) -> None:
    frame = published(find_study(written(tmp_path)))
    assert isinstance(frame, pd.DataFrame)
    assert frame.empty


def test_a_record_is_what_its_file_says(tmp_path: Path) -> None:
    study = find_study(written(tmp_path, title="One"))
    assert study.model_dump() == Study.model_validate(SMALL | {"title": "One"}).model_dump()
    assert find_study(written(tmp_path, title="Another")).title == "Another", "read anew"
