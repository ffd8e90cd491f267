"""From a row to its texts: what is taken, and why something is not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import pytest

from pairscore.batch.checksum import MODULUS, row_checksum, total
from pairscore.batch.columns import AddedColumns
from pairscore.batch.rows import Item, RowCheck, RowRules
from pairscore.errors import DataFileError, SettingError
from pairscore.files.base import Broken, Row


def _rules(task: Literal["score", "rank"] = "rank", **given: Any) -> RowRules:
    options = {"added": AddedColumns(ranked=task == "rank"), "max_chars": 10, "keeps_keys": True}
    return RowRules(task=task, **{**options, **given})


def _checked(values: Mapping[str, Any], rules: RowRules) -> Item | Broken:
    columns = ("query", "documents" if rules.task == "rank" else "document")
    check = RowCheck(rules, name="it", declared=(), first=columns)
    return check.check(Row(7, values))


def test_a_row_of_a_query_and_its_documents_is_taken() -> None:
    """All documents, in their order."""
    item = _checked({"query": "q", "documents": ["a", "b"], "id": 1}, _rules())

    assert isinstance(item, Item)
    assert (item.query, item.documents) == ("q", ("a", "b"))


@pytest.mark.parametrize(
    ("documents", "reason"),
    [
        (None, "no documents in 'documents' (null)"),
        ([], "an empty list"),
        ("a", "of the type str, not a list of texts"),
        (["a", None], "no text in 'documents'[1]"),
        (["a", 1], "'documents'[1] is of the type int"),
        (["a" * 11], "'documents'[0]: too many characters"),
    ],
)
def test_a_list_that_cannot_be_ranked_is_broken(documents: Any, reason: str) -> None:
    """With the place in the list."""
    broken = _checked({"query": "q", "documents": documents}, _rules())

    assert isinstance(broken, Broken)
    assert broken.number == 7
    assert reason in broken.reason


def test_a_row_without_its_texts_is_broken() -> None:
    """Whichever of the two is missing."""
    rules = _rules("score")

    for values in ({"query": "q"}, {"document": "d"}, {"query": None, "document": "d"}):
        assert isinstance(_checked(values, rules), Broken)


def test_a_row_with_a_column_of_ours_is_broken() -> None:
    """Ours would overwrite it; the list itself is not in the output, so it may be called as one of ours."""
    rules = _rules(document_column="text")
    check = RowCheck(rules, name="it", declared=(), first=("query", "text"))

    assert isinstance(check.check(Row(1, {"query": "q", "text": ["a"]})), Item)
    broken = check.check(Row(1, {"query": "q", "text": ["a"], "rank": 1}))
    assert isinstance(broken, Broken)
    assert "--score-column" in broken.reason


def test_the_columns_of_a_ranking_are_found_by_name() -> None:
    """As those of pairs are; what is asked for wins."""
    check = RowCheck(_rules(), name="it", declared=("Question", "passages", "id"))
    assert check.found is not None
    assert (check.found.query, check.found.document) == ("Question", "passages")

    named = _rules(query_column="id", document_column="Question")
    check = RowCheck(named, name="it", declared=("Question", "passages", "id"))
    assert check.found is not None
    assert (check.found.query, check.found.document) == ("id", "Question")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (("question", "document"), "list of documents .is it 'document'"),
        (("documents",), "for the query"),
    ],
)
def test_missing_columns_are_told(columns: tuple[str, ...], message: str) -> None:
    """With those that are there, and the options."""
    with pytest.raises(DataFileError, match=f"{message}.*--query-column"):
        RowCheck(_rules(), name="it", declared=columns)


def test_a_file_with_a_column_of_ours_is_refused() -> None:
    """Before anything is scored."""
    with pytest.raises(SettingError, match="'rank' already"):
        RowCheck(_rules(), name="it", declared=("query", "documents", "rank"))


def test_our_columns_are_named_after_the_score() -> None:
    """So that two models' results have room in one file."""
    added = AddedColumns(score_column="mine", windows=True, ranked=True)

    assert list(added.types(("yes", "no"))) == [
        "mine_rank",
        "mine_corpus_id",
        "mine_text",
        "mine",
        "mine_probability",
        "mine_truncated",
        "mine_start",
        "mine_end",
        "mine_num_windows",
        "mine_label",
        "mine_probability_yes",
        "mine_probability_no",
    ]


def test_a_checksum_tells_rows_apart() -> None:
    """By file, row, texts, and where one text ends and the next begins; not by their order."""
    rows = [
        (0, 0, "a", ("b",)),
        (1, 0, "a", ("b",)),
        (0, 1, "a", ("b",)),
        (0, 0, "ab", ("",)),
        (0, 0, "a", ("b", "")),
        (0, 0, "", ()),
    ]
    checksums = [row_checksum(*row) for row in rows]

    assert len(set(checksums)) == len(rows)
    assert total(checksums) == total(reversed(checksums)) < MODULUS
    assert total(checksums) != total(checksums[1:])
    # Of all runs, on all machines: it is compared with what an older run wrote down.
    assert row_checksum(0, 0, "a", ("b",)) == 7492532757177430812
