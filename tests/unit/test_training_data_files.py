"""Reading training data: formats, columns by their usual names, and refusals that name the line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from pairscore.errors import DataFileError, EmptyInputError, InputFileError, SettingError
from pairscore.training.data import LabelledPair, RankedList, Triplet, row_labels
from pairscore.training.data_files import read_training


def text_file(folder: Path, *lines: str, name: str = "x.csv") -> Path:
    """A file of these lines."""
    path = folder / name
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def json_lines(folder: Path, *rows: Mapping[str, Any]) -> Path:
    """A file of these objects, one a line."""
    return text_file(folder, *map(json.dumps, rows), name="x.jsonl")


def labels_of(path: Path, **options: Any) -> list[tuple[float, ...]]:
    """The labels of each row."""
    return [row_labels(row) for row in read_training(path, **options).rows]


def test_pairs_are_read_with_their_places(tmp_path: Path) -> None:
    """Quotes are taken off, blank lines are no rows, and lines count from 1 with the header."""
    path = text_file(tmp_path, "query,document,label", 'a,"b, c",1', "", "d,e,0")

    data = read_training(path)

    assert (data.name, data.kind, data.labels, data.max_label) == ("x.csv", "pairs", "binary", 1.0)
    assert data.rows == (
        LabelledPair(query="a", document="b, c", label=1.0, place=f"{path}, line 2"),
        LabelledPair(query="d", document="e", label=0.0, place=f"{path}, line 4"),
    )


def test_every_format_gives_the_same_rows_and_hash(tmp_path: Path) -> None:
    """Only the places differ: Parquet has rows, the others lines."""
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow as pa

    rows = [
        {"question1": "a", "question2": "b", "is_duplicate": 1},
        {"question1": "c", "question2": "d", "is_duplicate": 0},
    ]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "x.parquet")
    lines = ["question1;question2;is_duplicate", "a;b;1", "c;d;0"]
    paths = [
        tmp_path / "x.parquet",
        json_lines(tmp_path, *rows),
        text_file(tmp_path, *(line.replace(";", ",") for line in lines)),
        text_file(tmp_path, *(line.replace(";", "\t") for line in lines), name="x.tsv"),
    ]

    found = [read_training(path) for path in paths]

    assert len({data.sha256 for data in found}) == 1
    assert [data.rows[1].place.partition(", ")[2] for data in found] == [
        "row 2",
        "line 2",
        "line 3",
        "line 3",
    ]


def test_grades_are_graded_and_the_scale_that_is_assumed_is_told(tmp_path: Path) -> None:
    """An end of the scale that is said is checked against."""
    path = text_file(
        tmp_path, "sentence1\tsentence2\tscore", "a\tb\t4.8", "c\td\t0.2", name="x.tsv"
    )

    data = read_training(path)

    assert (data.labels, data.max_label) == ("graded", 5.0)
    assert "0 to 5" in data.notes[0]
    said = read_training(path, max_label=10.0)
    assert (said.max_label, said.notes) == (10.0, ())
    with pytest.raises(DataFileError, match=r"line 2: the label 4.8 is out of the range 0 to 4"):
        read_training(path, max_label=4.0)


def test_truths_of_a_longer_scale_are_grades(tmp_path: Path) -> None:
    """Where the scale is said to go on, 0 and 1 are its first grades."""
    path = text_file(tmp_path, "query,document,grade", "a,b,1", "c,d,0")

    data = read_training(path, max_label=3.0)

    assert (data.labels, data.max_label) == ("graded", 3.0)


def test_quotes_that_quote_nothing_are_part_of_the_texts_of_a_tsv_file(tmp_path: Path) -> None:
    """As in the files of STS Benchmark."""
    lines = ["score\tsentence1\tsentence2", '5\t"Hello, he said\tHello', '1\tx "y" z\t"quoted"']
    path = text_file(tmp_path, *lines, '2\tends"\tand', name="x.tsv")

    data = read_training(path)

    assert [row.query for row in data.rows] == ['"Hello, he said', 'x "y" z', 'ends"']
    assert data.rows[2].place == f"{path}, line 4"


def test_quotes_that_quote_are_taken_off_in_a_tsv_file(tmp_path: Path) -> None:
    """As spreadsheets write them: with tabs, quotes and line breaks inside."""
    path = text_file(
        tmp_path, "query\tdocument\tlabel", '"a\tb"\t"c ""d"""\t1', '"e\nf"\tg\t0', name="x.tsv"
    )

    data = read_training(path)

    assert [row.query for row in data.rows] == ["a\tb", "e\nf"]
    assert data.rows[0].document == 'c "d"'  # type: ignore[union-attr]
    even = text_file(tmp_path, "query\tdocument\tlabel", '"a"\t"b"\t1', "c\td\t0", name="x.tsv")
    assert read_training(even).rows[0].query == "a"


def test_a_tsv_file_whose_lines_differ_is_refused_by_its_line(tmp_path: Path) -> None:
    """Neither way of reading quotes fits it."""
    path = text_file(tmp_path, "query\tdocument\tlabel", '"a\tb\t1', "c\td", name="x.tsv")

    with pytest.raises(DataFileError, match=r"x.tsv, line 2: not readable"):
        read_training(path)


def test_columns_may_have_any_name_that_is_said(tmp_path: Path) -> None:
    """A name that is not there is refused with a near one."""
    path = text_file(tmp_path, "frage,antwort,gut", "a,b,1", "c,d,0")

    data = read_training(path, query_column="frage", document_column="antwort", label_column="gut")

    assert data.rows[0].query == "a"
    with pytest.raises(DataFileError, match="usual names of a pair"):
        read_training(path)
    with pytest.raises(DataFileError, match=r"no column 'gute' .did you mean 'gut'.*label_column"):
        read_training(path, query_column="frage", document_column="antwort", label_column="gute")


def test_pairs_without_a_label_are_positives(tmp_path: Path) -> None:
    """A note says so; where labels were asked for they are missed."""
    path = text_file(tmp_path, "anchor,positive", "a,b", "c,d")

    data = read_training(path)

    assert (data.kind, data.labels, data.max_label) == ("pairs", "none", None)
    assert "taken for a positive" in data.notes[0]
    with pytest.raises(DataFileError, match="name it as label_column"):
        read_training(path, labels="binary")


def test_a_column_that_names_a_teacher_holds_logits(tmp_path: Path) -> None:
    """Which may be below 0 and have no scale."""
    path = text_file(tmp_path, "query,document,teacher_score", "a,b,-4.5", "c,d,8")

    data = read_training(path)

    assert (data.labels, data.max_label) == ("teacher", None)
    assert labels_of(path) == [(-4.5,), (8.0,)]


def test_beside_peoples_labels_a_teachers_are_read_only_if_asked_for(tmp_path: Path) -> None:
    """A note tells of the column that was not read."""
    path = text_file(tmp_path, "query,document,label,logit", "a,b,1,-4.5", "c,d,0,8")

    assert labels_of(path) == [(1.0,), (0.0,)]
    assert "'logit' is there too" in read_training(path).notes[0]
    assert labels_of(path, labels="teacher") == [(-4.5,), (8.0,)]
    assert labels_of(path, label_column="logit") == [(-4.5,), (8.0,)]
    unlabelled = read_training(path, labels="none")
    assert unlabelled.labels == "none"
    assert unlabelled.notes == ("'label' is not read: each pair is taken for a positive",)


def test_numbers_beside_a_premise_and_a_hypothesis_are_classes(tmp_path: Path) -> None:
    """Entailment is not more than neutral; names may be declared."""
    path = text_file(tmp_path, "premise,hypothesis,label", "a,b,2", "c,d,0")

    data = read_training(path)

    assert (data.labels, data.label_names) == ("classes", ("0", "1", "2"))
    assert "label_names" in data.notes[0]
    named = read_training(path, label_names=("entailment", "neutral", "contradiction"))
    assert (named.label_names[2], named.notes) == ("contradiction", ())


def test_names_of_nli_become_classes_and_undecided_rows_are_left_out(tmp_path: Path) -> None:
    """And counted in a note."""
    path = text_file(
        tmp_path,
        "premise,hypothesis,gold_label",
        "a,b,entailment",
        "c,d,-",
        "e,f,not_entailment",
    )

    data = read_training(path)

    assert (data.labels, data.label_names) == ("classes", ("entailment", "not_entailment"))
    assert labels_of(path) == [(0.0,), (1.0,)]
    assert data.notes == ("1 rows whose label says that there is none ('-' or -1): left out",)


@pytest.mark.parametrize(
    ("row", "margin"),
    [
        ({}, None),
        ({"margin": -0.5}, -0.5),
        ({"label": 3}, 3.0),
        ({"label": [9.0, 4.0]}, 5.0),
        ({"positive_score": 9.0, "negative_score": "4.0"}, 5.0),
        ({"positive_logit": 9.0, "negative_logit": 4.0, "margin": 5.5}, 5.5),
    ],
)
def test_triplets_have_the_margin_that_a_teacher_gave(
    tmp_path: Path, row: Mapping[str, Any], margin: float | None
) -> None:
    """As a margin or as two scores; or none, which may be asked for."""
    path = json_lines(tmp_path, {"query": "q", "positive": "p", "negative": "n", **row})

    data = read_training(path)

    assert (data.kind, data.labels) == ("triplets", "none" if margin is None else "teacher")
    assert data.rows == (
        Triplet(query="q", positive="p", negative="n", margin=margin, place=f"{path}, line 1"),
    )
    assert row_labels(read_training(path, labels="none").rows[0]) == ()


@pytest.mark.parametrize(
    "row",
    [
        {"query": "q", "documents": ["a", "b", "c"], "labels": [1, 0, 0]},
        {"query": "q", "pos": ["a"], "neg": ["b", "c"]},
        {"query": "q", "positive": "a", "negatives": ["b", "c"]},
        {"anchor": "q", "positive": "a", "negative_1": "b", "negative_2": "c"},
        {"anchor": "q", "positive": "a", "negative_10": "c", "negative_2": "b", "negative_11": ""},
    ],
)
def test_lists_are_read_in_every_usual_shape(tmp_path: Path, row: Mapping[str, Any]) -> None:
    """Documents with labels, or positives and negatives in lists or numbered columns."""
    path = json_lines(tmp_path, row)

    data = read_training(path)

    assert (data.kind, data.labels) == ("lists", "binary")
    assert data.rows == (
        RankedList(
            query="q",
            documents=("a", "b", "c"),
            labels=(1.0, 0.0, 0.0),
            place=f"{path}, line 1",
        ),
    )


def test_pairs_are_gathered_to_lists_and_lists_taken_apart(tmp_path: Path) -> None:
    """Where the other kind is asked for."""
    path = text_file(tmp_path, "query,document,grade", "a,b,3", "a,c,0")

    assert labels_of(path, kind="lists") == [(3.0, 0.0)]
    lists = json_lines(tmp_path, {"query": "q", "documents": ["a", "b"], "labels": [1, 0]})
    assert labels_of(lists, kind="pairs") == [(1.0,), (0.0,)]


def test_a_folder_of_parts_is_read_by_its_part(tmp_path: Path) -> None:
    """``train`` where none is named; a file has no parts."""
    text_file(tmp_path, "query,document,label", "a,b,1", "c,d,0", name="train.csv")
    text_file(tmp_path, "query\tdocument\tlabel", "e\tf\t1", "g\th\t0", name="dev.tsv")

    assert read_training(tmp_path).rows[0].query == "a"
    assert read_training(tmp_path, split="dev").rows[0].query == "e"
    with pytest.raises(InputFileError, match="no part 'test'"):
        read_training(tmp_path, split="test")
    with pytest.raises(InputFileError, match="is no folder of parts"):
        read_training(tmp_path / "train.csv", split="train")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("a,b,1", " ,c,0"), "line 3: 'query' is empty"),
        (("a,b,1", "c,,0"), "line 3: 'document' is empty"),
        (("a,b,1", "c,d"), "line 3: 2 fields where the header has 3"),
        (("a,b,1", "c,d,"), "line 3: 'label' is empty"),
        (("a,b,1", "c,d,NaN"), "line 3: 'label' is 'NaN'"),
        (("a,b,1", "c,d,-2"), "line 3: 'label' is '-2'"),
        (("a,b,1", "c,d,maybe"), "line 3: 'label' is 'maybe'"),
        (("a,b,1", "c,d,1"), "line 2 to .*line 3: all 2 pairs have the label 1.*negatives"),
        (("a,b,0", "c,d,0"), "all 2 pairs have the label 0.*column of labels"),
        (("a,b,neutral", "c,d,neutral"), "all 2 pairs have the label 'neutral'"),
    ],
)
def test_a_broken_row_is_refused_with_its_line(
    tmp_path: Path, lines: Sequence[str], message: str
) -> None:
    """Empty texts, labels that are none or out of range, and data of one class."""
    with pytest.raises(DataFileError, match=message):
        read_training(text_file(tmp_path, "query,document,label", *lines))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"query": "q", "document": 3, "label": 1}, "'document' is of the type int"),
        ({"query": None, "document": "d", "label": 1}, r"'query' is empty \(null\)"),
        ({"query": "q", "document": "d"}, "has no 'label'"),
    ],
)
def test_a_broken_json_row_is_refused(tmp_path: Path, row: Mapping[str, Any], message: str) -> None:
    """Each row brings its own columns, so each may lack one."""
    good = {"query": "a", "document": "b", "label": 0}

    with pytest.raises(DataFileError, match=f"x.jsonl, line 2: {message}"):
        read_training(json_lines(tmp_path, good, row))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"documents": ["a"], "labels": [1, 0]}, "line 1: 'labels' holds 2 labels for 1 documents"),
        ({"documents": ["a", "b"], "labels": 1}, "line 1: 'labels' holds no list for 2 documents"),
        ({"documents": ["a", " "], "labels": [1, 0]}, "line 1: 'documents' is empty"),
        ({"documents": ["a", "b"], "labels": [1, 1]}, "in each of the 1 lists all documents"),
        ({"documents": ["a", "b"]}, "no column of their labels"),
        ({"documents": [], "labels": []}, "line 1: 'documents' is an empty list"),
        ({"pos": ["a"], "neg": []}, "line 1: 'neg' is an empty list"),
        ({"pos": ["a"], "neg": ["b", "a"]}, "line 1: a text is among the positives and the neg"),
        ({"positive": "a", "negative": "a"}, "line 1: 'positive' and 'negative' are the same text"),
        ({"positive": "a", "negative": "b", "margin": [1, 2, 3]}, "line 1: 3 scores"),
        ({"positive": "a", "negative": "b", "margin": "x"}, "line 1: 'margin' is 'x'"),
    ],
)
def test_a_broken_list_or_triplet_is_refused(
    tmp_path: Path, row: Mapping[str, Any], message: str
) -> None:
    """With its line and the column."""
    with pytest.raises(DataFileError, match=message):
        read_training(json_lines(tmp_path, {"query": "q", **row}))


def test_labels_that_the_columns_cannot_hold_are_refused(tmp_path: Path) -> None:
    """Triplets have no grades, and lists no classes."""
    path = json_lines(tmp_path, {"query": "q", "positive": "p", "negative": "n"})

    with pytest.raises(DataFileError, match="triplets whose labels are none, not graded"):
        read_training(path, labels="graded")
    lists = json_lines(tmp_path, {"query": "q", "documents": ["a", "b"], "labels": [2, 0]})
    for labels in ("classes", "none"):
        with pytest.raises(DataFileError, match=f"lists with {labels} labels; lists have binary"):
            read_training(lists, labels=labels)


@pytest.mark.parametrize(("name", "lines"), [("x.csv", ("query,document,label",)), ("x.jsonl", ())])
def test_a_file_without_a_row_is_refused(tmp_path: Path, name: str, lines: Sequence[str]) -> None:
    """A header alone is none."""
    with pytest.raises(EmptyInputError, match="no row of training data"):
        read_training(text_file(tmp_path, *lines, name=name))


def test_a_file_that_is_not_there_or_of_no_known_format_is_refused(tmp_path: Path) -> None:
    """As are options that contradict each other."""
    with pytest.raises(InputFileError, match="there is no file"):
        read_training(tmp_path / "x.tsv")
    with pytest.raises(InputFileError, match=r"ending of .*x\.txt"):
        read_training(tmp_path / "x.txt")
    with pytest.raises(SettingError, match="label_names are for classes"):
        read_training(
            text_file(tmp_path, "query,document,label", "a,b,1"),
            labels="binary",
            label_names=("a", "b"),
        )
