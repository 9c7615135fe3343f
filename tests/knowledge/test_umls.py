"""A made-up UMLS folder in the real wire format: names, languages, directions, bad bytes."""

from collections import Counter

import pytest

from evaluation.errors import BenchError
from sat.knowledge.records import Pair, Triplet
from sat.knowledge.umls import read_umls

# CUI LAT TS LUI STT SUI ISPREF AUI SAUI SCUI SDUI SAB TTY CODE STR SRL SUPPRESS CVF
NAMES = """\
C0000001|ENG|S|L1|PF|S1|Y|A11||||SRC|SY|1|Renal organ|0|N||
C0000001|ENG|P|L1|PF|S2|Y|A12||||SRC|PT|1|Kidney|0|N||
C0000001|GER|P|L1|PF|S3|Y|A13||||SRCGER|PT|1|Niere|0|N||
C0000002|ENG|P|L2|PF|S4|Y|A21||||SRC|PT|2|Left kidney|0|N||
C0000003|ENG|P|L3|VO|S5|N|A31||||SRC|PT|3|Organ of the abdomen|0|N||
C0000003|ENG|P|L3|PF|S6|Y|A32||||SRC|PT|3|Old organ name|0|O||
C0000004|GER|P|L4|PF|S7|Y|A41||||SRCGER|PT|4|Nur deutsch|0|N||
C0000005|ENG|P|L5|PF|S8|Y|A51||||SRC|PT|5|Renal cyst|0|N||
C0000006|ENG|P|L6|PF|S9|Y|A61||||SRC|PT|6|Aspirin|0|N||
"""
# CUI AUI ATUI SATUI SAB DEF SUPPRESS CVF
DEFINITIONS = """\
C0000001|A12|AT1||SRC|<p>Filters the <b>blood</b> &amp; makes urine; &lt; 200 g.</p>|N||
C0000001|A13|AT2||SRCGER|Filtert das Blut.|N||
C0000002|A21|AT3||SRC|"The kidney" on the left, where p < 0.05 and q > 3.|N||
C0000003|A31|AT4||SRC|Withdrawn text.|Y||
C0000004|A41|AT5||SRCGER|Eine Beschreibung.|N||
C0000005|A51|AT6||SRC|A pocket of fluid\u2028in the kidney.|N||
C0000006|A61|AT7||SRC|A drug.|N||
"""
# CUI1 AUI1 STYPE1 REL CUI2 AUI2 STYPE2 RELA RUI SRUI SAB SL RG DIR SUPPRESS CVF
RELATIONS = """\
C0000001|A12|AUI|CHD|C0000002|A21|AUI|isa|R1||SRC|SRC||Y|N||
C0000002|A21|AUI|PAR|C0000001|A12|AUI|inverse_isa|R2||SRC|SRC||N|N||
C0000005|A51|AUI|RO|C0000001|A12|AUI|finding_site_of|R3||SRC|SRC|||N||
C0000001|A12|AUI|RO|C0000005|A51|AUI|has_finding_site|R4||SRC|SRC|||N||
C0000001|A12|AUI|PAR|C0000003|A31|AUI||R5||SRC|SRC|||N||
C0000003|A31|AUI|CHD|C0000001|A12|AUI||R6||SRC|SRC|||N||
C0000001|A12|AUI|CHD|C0000001|A11|AUI|isa|R7||SRC|SRC||Y|N||
C0000001|A12|AUI|SY|C0000002|A21|AUI|same_as|R8||SRC|SRC|||N||
C0000001|A12|AUI|CHD|C0000005|A51|AUI|isa|R9||SRC|SRC||Y|O||
C0000001|A12|AUI|CHD|C0000004|A41|AUI|isa|R10||SRC|SRC||Y|N||
C0000006|A61|AUI|RO|C0000001|A12|AUI|receives_drainage_from|R11||SRC|SRC|||N||
C0000001|A12|AUI|RO|C0000006|A61|AUI|drains_into|R12||SRC|SRC|||N||
C0000003|A31|AUI|RB|C0000005|A51|AUI|part_of|R13||SRC|SRC|||N||
"""
# CUI TUI STN STY ATUI CVF
TYPES = """\
C0000001|T023|A1.2.3.1|Body Part, Organ, or Organ Component|AT11|256|
C0000002|T023|A1.2.3.1|Body Part, Organ, or Organ Component|AT12|256|
C0000003|T023|A1.2.3.1|Body Part, Organ, or Organ Component|AT13||
C0000005|T047|B2.2.1.2.1|Disease or Syndrome|AT14||
C0000006|T121|A1.4.1.1.1|Pharmacologic Substance|AT15||
"""
DOC = """\
RELA|drains_into|rela_inverse|receives_drainage_from|
RELA|receives_drainage_from|rela_inverse|drains_into|
"""
FILES = {
    "MRCONSO.RRF": NAMES, "MRDEF.RRF": DEFINITIONS, "MRREL.RRF": RELATIONS, "MRSTY.RRF": TYPES,
}  # fmt: skip


@pytest.fixture
def meta(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).write_bytes(text.encode())
    return tmp_path


def test_definitions_are_english_unsuppressed_and_without_tags(meta):
    assert read_umls(meta).pairs == (
        Pair("C0000001", "Kidney", "Filters the blood & makes urine; < 200 g."),
        Pair("C0000002", "Left kidney", '"The kidney" on the left, where p < 0.05 and q > 3.'),
        Pair("C0000005", "Renal cyst", "A pocket of fluid in the kidney."),
        Pair("C0000006", "Aspirin", "A drug."),
    )


def test_relations_read_from_the_second_concept_to_the_first_and_count_once(meta):
    found = read_umls(meta).triplets
    assert Counter(found) == Counter(
        [
            Triplet("Left kidney", "is a", "Kidney"),
            Triplet("Kidney", "finding site of", "Renal cyst"),
            Triplet("Kidney", "child of", "Organ of the abdomen"),
            Triplet("Renal cyst", "part of", "Organ of the abdomen"),
            # Without MRDOC nobody says that these two are one.
            Triplet("Kidney", "receives drainage from", "Aspirin"),
            Triplet("Aspirin", "drains into", "Kidney"),
        ]
    )
    (meta / "MRDOC.RRF").write_text(DOC)
    known = read_umls(meta).triplets
    assert len(known) == 5
    assert Triplet("Aspirin", "drains into", "Kidney") in known


def test_the_order_of_the_rows_decides_nothing(meta):
    for seed in (0, 1):
        forward = read_umls(meta, seed=seed).triplets
        lines = RELATIONS.splitlines(keepends=True)
        (meta / "MRREL.RRF").write_text("".join(reversed(lines)))
        assert read_umls(meta, seed=seed).triplets == forward
        (meta / "MRREL.RRF").write_text(RELATIONS)


def test_one_direction_alone_is_enough(meta):
    (meta / "MRREL.RRF").write_text(
        "C0000002|A21|AUI|PAR|C0000001|A12|AUI|inverse_isa|R2||SRC|SRC||N|N||\n"
    )
    assert read_umls(meta).triplets == (Triplet("Kidney", "inverse isa", "Left kidney"),)


def test_semantic_types_choose_concepts(meta):
    anatomy = read_umls(meta, semantic_types=("T023",))
    assert {pair.name for pair in anatomy.pairs} == {"Kidney", "Left kidney"}
    assert set(anatomy.triplets) == {
        Triplet("Left kidney", "is a", "Kidney"),
        Triplet("Kidney", "child of", "Organ of the abdomen"),
    }
    with pytest.raises(BenchError, match="semantic types") as caught:
        read_umls(meta, semantic_types=("T023", "T999"))
    assert "T999" in str(caught.value)


def test_a_draw_of_the_triplets_is_seeded_uniform_and_nested(meta):
    everything = read_umls(meta, max_triplets=None).triplets
    counts = Counter(
        triplet
        for seed in range(300)
        for triplet in read_umls(meta, max_triplets=2, seed=seed).triplets
    )
    assert set(counts) == set(everything)
    # 300 draws of 2 of 6: 100 each, deviation 8.2.
    assert all(65 < count < 135 for count in counts.values()), counts
    assert read_umls(meta, max_triplets=3, seed=4).triplets[:2] == (
        read_umls(meta, max_triplets=2, seed=4).triplets
    )


def test_columns_come_from_mrfiles_where_it_is(meta):
    (meta / "MRFILES.RRF").write_text(
        "MRDEF.RRF|Definitions|CUI,DEF,AUI,SUPPRESS|4|1|1|\n"
        "MRCONSO.RRF|Names|CUI,LAT,TS,LUI,STT,SUI,ISPREF,AUI,SAUI,SCUI,SDUI,SAB,TTY,CODE,STR,SRL,"
        "SUPPRESS,CVF|18|9|9|\n"
    )
    (meta / "MRDEF.RRF").write_text("C0000001|Makes urine.|A12|N|\n")
    assert read_umls(meta).pairs == (Pair("C0000001", "Kidney", "Makes urine."),)
    (meta / "MRFILES.RRF").write_text("MRDEF.RRF|Definitions|CUI,DEF,AUI|3|1|1|\n")
    with pytest.raises(BenchError, match="lists no column SUPPRESS"):
        read_umls(meta)


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_line_ends_of_either_kind(meta, ending):
    for name, text in FILES.items():
        (meta / name).write_bytes(text.replace("\n", ending).encode())
    assert len(read_umls(meta).pairs) == 4


def test_bad_folders_are_refused_with_file_and_line(meta, tmp_path):
    with pytest.raises(BenchError, match="no UMLS folder") as caught:
        read_umls(tmp_path / "nowhere")
    assert "no such folder" in str(caught.value)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BenchError, match="no file that ends in"):
        read_umls(tmp_path / "empty")
    (meta / "MRSTY.RRF").unlink()
    assert read_umls(meta).pairs
    with pytest.raises(BenchError, match="parts of it are missing"):
        read_umls(meta, semantic_types=("T023",))
    for name, line, message in (
        ("MRDEF.RRF", b"C0000001|A12|AT1||SRC|too few|N|\n", "does not fit its columns"),
        ("MRDEF.RRF", b"C0000001|A12|AT1||SRC|no last bar|N|x\n", "does not fit"),
        ("MRDEF.RRF", "C0000001|A12|AT1||SRC|Gr\u00f6\u00dfe|N||\n".encode("latin-1"), "not UTF-8"),
        ("MRDEF.RRF", b"X1|A12|AT1||SRC|text|N||\n", "not a concept identifier"),
    ):
        good = (meta / name).read_bytes()
        (meta / name).write_bytes(good + line)
        with pytest.raises(BenchError, match=message) as caught:
            read_umls(meta)
        assert name in str(caught.value)
        if "identifier" not in message:
            assert "line 8" in str(caught.value)
        (meta / name).write_bytes(good)
    for name in ("MRDEF.RRF", "MRREL.RRF"):
        (meta / name).write_bytes(b"")
    with pytest.raises(BenchError, match="nothing of this UMLS folder"):
        read_umls(meta)
