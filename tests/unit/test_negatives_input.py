"""The judged pairs that negatives are looked for: read from files and folders, and put together by their queries."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pairscore.errors import DataFileError, EmptyInputError, InputFileError
from pairscore.training.negatives_input import (
    Judgement,
    PairFile,
    judgements_of_file,
    judgements_of_folder,
)
from pairscore.training.negatives_queries import QueryStore

QUERY = "berlin people live here"


def _positive(document_id: str | None, **changed: Any) -> Judgement:
    judgement = Judgement(
        name="q1", query=QUERY, document_id=document_id, document=None, is_positive=True
    )
    return replace(judgement, **changed)


def _file(folder: Path, *lines: str, **given: Any) -> list[Judgement]:
    path = folder / "pairs.csv"
    path.write_text("\n".join(lines), "utf-8")
    return list(judgements_of_file(PairFile(path=str(path), **given)))


def test_a_file_of_pairs_gives_what_is_judged_above_0(tmp_path: Path) -> None:
    """With ids where it has them; a query without one is called by its line."""
    found = _file(tmp_path, "query,document,label,docid", "a,b,1,d1", "a,c,0,d2", "d,e,1,")

    assert [(one.name, one.query, one.document, one.document_id) for one in found] == [
        ("line 2", "a", "b", "d1"),
        ("line 4", "d", "e", None),
    ]
    graded = _file(
        tmp_path, "qid,a,b,score", "q7,x,y,0.9", "q7,x,z,0.4", label="score", positive_from=0.8
    )
    assert [(one.name, one.is_positive) for one in graded] == [("q7", True), ("q7", False)]


def test_without_labels_each_pair_is_a_positive(tmp_path: Path) -> None:
    """As in files of questions and answers."""
    found = _file(tmp_path, "question,answer", "a,b", "c,d")

    assert [one.is_positive for one in found] == [True, True]


@pytest.mark.parametrize(
    ("lines", "given", "part"),
    [
        (("query,document,label", "a,b,2"), {}, "line 2: 'label' is 2; a label is 0 or 1"),
        (("query,document,label", "a,b,yes"), {}, "line 2: 'label' is not a finite number"),
        (("query,document,label", "a,b,nan"), {"positive_from": 1.0}, "not a finite number"),
        (("query,document", "a,b", " ,c"), {}, "line 3: 'query' is empty"),
        (("query,document", "a,bbbb"), {"max_chars": 3}, "line 2: 'document': too many characters"),
        (("query,document", "a"), {}, "line 2: 1 fields"),
        (("query,other", "a,b"), {}, "usual names of a pair"),
        (("query,document", "a,b"), {"label": "gold"}, "no column 'gold'"),
        (("query,document", "a,b"), {"document_id": "key"}, "no column 'key'"),
    ],
)
def test_a_broken_row_is_named_by_its_line(
    tmp_path: Path, lines: tuple[str, ...], given: dict[str, Any], part: str
) -> None:
    """With what is wrong, and without its texts."""
    with pytest.raises(DataFileError) as caught:
        _file(tmp_path, *lines, **given)

    assert part in str(caught.value)
    assert "bbbb" not in str(caught.value)


def test_rows_of_one_query_may_stand_anywhere(tmp_path: Path) -> None:
    """Spelled in any way; its file is gone at the end, and a query without a positive never was."""
    path = tmp_path / "kept"
    judgements = [
        _positive("a"),
        _positive("x", query="nothing for this", is_positive=False),
        _positive("b", query="else", name="q2"),
        _positive("c", query="BERLIN people  live here", name="q3"),
        _positive("a", name="q4"),
        _positive("h", is_positive=False),
        _positive("c", is_positive=False),
    ]
    with QueryStore(judgements, path=path) as store:
        first, second = store.read(0, 9)
        sha256 = store.sha256

    assert [one.id for one in first.positives] == ["a", "c"]
    assert ([one.id for one in first.others], first.name, first.text) == (["h"], "q1", QUERY)
    assert (second.name, second.others) == ("q2", ())
    assert not path.exists()
    with QueryStore(judgements[::-1], path=path) as store:
        assert store.sha256 != sha256
    with pytest.raises(EmptyInputError, match="no positive"):
        QueryStore([_positive("x", is_positive=False)], path=path)
    assert not path.exists()


def _beir(folder: Path, *parts: str) -> Path:
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text('{"_id": "answer", "text": "t"}\n', "utf-8")
    (folder / "queries.jsonl").write_text(
        '{"_id": "q1", "text": "one"}\n{"_id": "q2", "text": "two"}\n', "utf-8"
    )
    for part in parts:
        lines = "query-id\tcorpus-id\tscore\nq1\ta\t2\nq1\tb\t1\nq1\tc\t0\n"
        (folder / "qrels" / f"{part}.tsv").write_text(lines, "utf-8")
    return folder


def test_a_beir_folder_gives_its_training_part(tmp_path: Path) -> None:
    """With grades: what is above 0 and below the least one is half a positive."""
    folder = _beir(tmp_path / "beir", "train", "test")
    graded = list(judgements_of_folder(folder, positive_from=2))

    assert [(one.document_id, one.is_positive) for one in graded] == [("a", True), ("b", False)]
    assert [one.is_positive for one in judgements_of_folder(folder)] == [True, True]
    assert {(one.name, one.query, one.document) for one in graded} == {("q1", "one", None)}


def test_what_is_measured_on_is_not_taken_unasked(tmp_path: Path) -> None:
    """Only where it is named; a folder without parts has nothing to confuse."""
    folder = _beir(tmp_path / "beir", "test")
    with pytest.raises(InputFileError, match="no qrels of the part 'train'") as caught:
        list(judgements_of_folder(folder))

    assert "--split" in caught.value.__notes__[0]
    assert len(list(judgements_of_folder(folder, split="test"))) == 2
    (folder / "qrels" / "test.tsv").rename(folder / "qrels.tsv")
    assert len(list(judgements_of_folder(folder))) == 2
