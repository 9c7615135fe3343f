"""The open set, relations from definitions, what is held out, and the draws of a step."""

import csv
from collections import Counter

import numpy as np
import pytest

from evaluation.classes import vocabulary
from evaluation.errors import BenchError
from sat.knowledge.open_set import DATA, class_definitions, class_names, open_set
from sat.knowledge.records import Knowledge, Pair, Triplet, plain
from sat.knowledge.relations import question, read_definitions, read_relations
from sat.knowledge.sampling import divide, text_batch
from sat.knowledge.settings import PAPER_TRIPLETS, Sources, load_settings
from sat.knowledge.sources import gather, held_out


def test_the_open_set_covers_every_class():
    found = open_set()
    assert (len(found.pairs), len(found.triplets)) == (5558, 14906)
    assert set(class_names()) == {info.name for info in vocabulary("sat")}
    assert len(class_names()) == 341
    assert class_definitions().keys() == set(class_names())
    assert all(class_definitions().values())
    assert class_definitions()["liver"][0].startswith("large and complicated reddish-brown")
    # A name that two concepts share: the definitions are those of the class.
    assert "gland" not in class_definitions()["rib"][0]
    related = {plain(name) for t in found.triplets for name in (t.head, t.tail)}
    assert {plain(name) for name in class_names()} <= related


def test_every_row_has_a_licence_that_the_notice_explains():
    notice = (DATA / "LICENSES.md").read_text(encoding="utf-8")
    for name in ("definitions.csv", "triplets.csv"):
        with (DATA / name).open(encoding="utf-8", newline="") as stream:
            sources = Counter((row["source"], row["licence"]) for row in csv.DictReader(stream))
        for (source, licence), count in sources.items():
            assert f"| {source} |" in notice
            assert licence.split(" licence")[0] in notice
            assert f"{count:,}" in notice
    assert "WordNet 3.0 Copyright 2006 by Princeton University" in notice


def test_held_out_concepts_are_never_trained_on():
    knowledge, kept = open_set(), held_out(0.15)
    names = {plain(name) for name in class_names()}
    texts = {plain(text) for found in kept.values() for text in found}
    assert len(kept) == 678
    for name, found in kept.items():
        assert plain(name) not in names
        assert not any(plain(name) in plain(text) for text in found)
    division = divide(knowledge, kept)
    hidden = {plain(name) for name in kept}
    for name, found in division.concepts:
        assert plain(name) not in hidden
        assert not texts & {plain(text) for text in found}
    for triplet in division.triplets:
        assert not {plain(triplet.head), plain(triplet.tail)} & hidden
    assert names <= {plain(name) for name, _ in division.concepts}
    # Another source cannot bring them back under another spelling.
    name, found = next(iter(kept.items()))
    other = Knowledge(
        (Pair("X", name.upper(), "anything"), Pair("Y", "something", f"  {found[0]} ")),
        (Triplet("liver", "near", name.title()),),
    )
    assert divide(other, kept) == divide(Knowledge(), kept)


def test_held_out_parts_are_nested():
    assert held_out(0.0) == {}
    assert held_out(0.05).keys() < held_out(0.15).keys()


def test_a_step_draws_pairs_and_both_forms_of_triplets():
    division = divide(open_set(), held_out(0.15))
    definitions = {plain(name): found for name, found in division.concepts}
    first_form = {(f"{t.head} {t.relation}", t.tail) for t in division.triplets}
    second_form = {(t.head, f"{t.relation} {t.tail}") for t in division.triplets}
    forms = Counter()
    for step in range(20):
        batch = text_batch(division, 64, 0.5, np.random.default_rng([7, step]))
        assert len(batch.left) == len(batch.right) == 64
        assert len({plain(name) for name in batch.left[:32]}) == 32
        for name, text in zip(batch.left[:32], batch.right[:32], strict=True):
            assert text in definitions[plain(name)]
        for left, right in zip(batch.left[32:], batch.right[32:], strict=True):
            first = (left, right) in first_form
            assert first or (left, right) in second_form
            forms[first] += 1
        for left, right, mine, other in zip(
            batch.left, batch.right, batch.groups_left, batch.groups_right, strict=True
        ):
            assert (plain(left) == plain(right)) == (mine == other)
        both = (*batch.left, *batch.right)
        groups = (*batch.groups_left, *batch.groups_right)
        assert len(set(groups)) == len({plain(text) for text in both})
        assert max(groups) == len(set(groups)) - 1
    assert forms[True] == pytest.approx(320, abs=60)
    again = text_batch(division, 64, 0.5, np.random.default_rng([7, 19]))
    assert again == batch


def test_one_kind_of_knowledge_fills_the_batch():
    pairs = Knowledge(tuple(Pair(str(i), f"name {i}", f"text {i}") for i in range(9)))
    batch = text_batch(divide(pairs, {}), 8, 0.5, np.random.default_rng(0))
    assert all(text.startswith("text") for text in batch.right)
    triplets = Knowledge((), tuple(Triplet(f"a{i}", "near", f"b{i}") for i in range(9)))
    assert len(text_batch(divide(triplets, {}), 8, 0.5, np.random.default_rng(0)).left) == 8


def test_relations_of_a_language_model_are_read_strictly(tmp_path):
    path = tmp_path / "relations.csv"
    path.write_bytes(
        "\ufeffhead,relation,tail\nliver,below,diaphragm\n"
        '"lobe, left",part of,liver\nLiver,below, Diaphragm\n'.encode()
    )
    found = gather(Sources(open_set=False, relations=str(path)))
    assert found.triplets == (
        Triplet("liver", "below", "diaphragm"), Triplet("lobe, left", "part of", "liver"),
    )  # fmt: skip
    joined = gather(Sources(relations=str(path)))
    assert len(joined.triplets) == 14908
    assert joined.digest != open_set().digest


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "columns"),
        (b"head,relation,tail\n", "no rows"),
        (b"head,relation\nliver,below\n", "columns"),
        (b"head,relation,tail,head\na,b,c,d\n", "columns"),
        (b"head,relation,tial\na,b,c\n", "columns"),
        (b"head,relation,tail\na,b,c\na,b\n", "line 3: 2 cells, not 3"),
        (b"head,relation,tail\na,b,c\nlobe, left,part of,liver\n", "line 3: 4 cells"),
        (b"head,relation,tail\na, ,c\n", "line 2: no relation"),
        (b"head,relation,tail\nLiver,is a,liver\n", "line 2: `Liver` is a itself"),
        (b'head,relation,tail\na,"b,c\n', "line 2"),
        ("head,relation,tail\nGr\u00f6\u00dfe,b,c\n".encode("latin-1"), "byte 0xf6 in line 2"),
    ],
)
def test_bad_relations_are_refused(tmp_path, content, message):
    path = tmp_path / "relations.csv"
    path.write_bytes(content)
    with pytest.raises(BenchError) as caught:
        read_relations(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    with pytest.raises(BenchError, match="no such table"):
        read_relations(tmp_path / "other.csv")


def test_the_question_holds_one_definition(tmp_path):
    text = question("left {kidney}", "The kidney\n on the {left}; it has a {name}.")
    assert text.endswith(
        "Concept: left {kidney}\nDefinition: The kidney on the {left}; it has a {name}.\n"
    )
    assert "head,relation,tail" in text
    with pytest.raises(BenchError, match="needs a concept"):
        question("liver", "  ")
    path = tmp_path / "definitions.csv"
    path.write_text("concept,definition\nliver,A gland.\nspleen,An organ.\n", encoding="utf-8")
    assert [p.name for p in read_definitions(path)] == ["liver", "spleen"]
    assert len(read_definitions(DATA / "definitions.csv")) == 5558


def test_presets_say_what_the_paper_says(tmp_path):
    paper = load_settings("paper")
    assert (paper.temperature, paper.max_tokens) == (0.07, 256)
    assert paper.sources.max_triplets == PAPER_TRIPLETS == 2**20 - 1
    assert load_settings().name == "quick"
    own = tmp_path / "own.yaml"
    own.write_text("name: own\ndescription: x\nbatches: 2\n")
    with pytest.raises(BenchError, match="not a valid KnowledgeSettings"):
        load_settings(str(own))
    with pytest.raises(BenchError, match="no knowledge preset"):
        load_settings("quickly")


def test_answers_in_brackets_and_definitions_of_ones_own_are_read(tmp_path):
    answers = tmp_path / "answers.txt"
    answers.write_text(
        "1. (Left kidney, part of, abdomen)\n- [renal vein, drains, 'left kidney']\n\n"
        "(left kidney, part of, abdomen)\n"
    )
    found = read_relations(answers)
    assert found.triplets == (
        Triplet("Left kidney", "part of", "abdomen"),
        Triplet("renal vein", "drains", "left kidney"),
    )
    answers.write_text("Here are the relations:\n(a, b)\n(kidney, is a, Kidney)\n")
    with pytest.raises(BenchError) as caught:
        read_relations(answers)
    assert "3 faulty lines" in str(caught.value)
    own = tmp_path / "own.csv"
    own.write_text('concept,definition\nodd gland,"A gland, found nowhere."\n')
    joined = gather(Sources(open_set=False, definitions=str(own)))
    assert joined.pairs == (Pair("line 2", "odd gland", "A gland, found nowhere."),)
    template = tmp_path / "mine.txt"
    template.write_text("What does {name} mean? {definition} Answer (a, b, c).")
    assert question("x", "y {z}", template) == "What does x mean? y {z} Answer (a, b, c)."
    template.write_text("nothing")
    with pytest.raises(BenchError, match="no places for the concept"):
        question("x", "y", template)
