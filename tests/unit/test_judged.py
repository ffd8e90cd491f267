"""Judged collections: BEIR's folders and TREC's files, and what is wrong with broken ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pairscore.convert.judged import read_judged
from pairscore.errors import DataFileError, EmptyInputError, InputFileError


def _write(folder: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    return folder


def _lines(*records: dict[str, object]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def _beir(folder: Path) -> Path:
    return _write(
        folder,
        {
            "corpus.jsonl": _lines(
                {"_id": "d1", "title": "One", "text": "first"},
                {"_id": "d2", "title": "", "text": "second"},
                {"_id": "d3", "text": "third"},
            ),
            "queries.jsonl": _lines({"_id": "q1", "text": "what"}, {"_id": "q2", "text": "who"}),
            "qrels/test.tsv": "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\nq2\td3\t1\n",
            "qrels/train.tsv": "query-id\tcorpus-id\tscore\nq9\td1\t1\n",
        },
    )


def _trec(folder: Path) -> Path:
    return _write(
        folder,
        {
            "corpus.jsonl": _lines(
                {"docid": "d1", "text": "first"},
                {"docid": "d2", "text": "second"},
            ),
            "queries.tsv": "q1\twhat\nq2\twho\n",
            "qrels.txt": "q1 0 d1 3\nq1 0 gone 2\nq2 0 d2 0\n",
            "run.bm25.txt": "q1 Q0 d2 1 9.5 bm25\nq1 Q0 d1 2 9.1 bm25\nq2 Q0 d1 1 3.0 bm25\n",
            "run.aaa.txt": "q1 Q0 d1 1 9.5 aaa\n",
        },
    )


def test_a_beir_folder_is_read_and_its_missing_run_is_said(tmp_path: Path) -> None:
    """The test part is taken; candidates are the judged documents and other queries'."""
    texts = read_judged(_beir(tmp_path))
    first = texts.queries[0]

    assert [item.query for item in texts.queries] == ["what", "who"]
    assert dict(zip(first.documents, first.grades, strict=True)) == {
        "One first": 2,
        "second": 0,
        "third": 0,
    }
    assert first.judged == (2, 0)
    assert "no first ranking" in texts.note


def test_trecs_files_are_read_and_the_run_orders_the_candidates(tmp_path: Path) -> None:
    """BM25's run comes first; a query without a relevant document is left out; the ideal knows all judged."""
    texts = read_judged(_trec(tmp_path))

    assert [(item.query, item.documents) for item in texts.queries] == [
        ("what", ("second", "first"))
    ]
    assert texts.queries[0].grades == (0, 3)
    assert texts.queries[0].judged == (3, 2)
    assert texts.note == ""


def test_a_limit_is_a_limit(tmp_path: Path) -> None:
    """What was there is still said."""
    texts = read_judged(_trec(tmp_path), limit=1)

    assert (texts.num_pairs, texts.num_available) == (1, 2)


@pytest.mark.parametrize("missing", ["corpus.jsonl", "queries.tsv", "qrels.txt"])
def test_a_missing_file_is_named(tmp_path: Path, missing: str) -> None:
    """With what was looked for."""
    (_trec(tmp_path) / missing).unlink()

    with pytest.raises(InputFileError, match=missing.partition(".")[0]):
        read_judged(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("qrels.txt", "q1 0 d1 3\nq1 0 d2 high\n", "line 2"),
        ("qrels.txt", "q1 d1\n", "columns"),
        ("corpus.jsonl", '{"docid": "d1", "text": "x"}\n{oops\n', "line 2"),
        ("corpus.jsonl", '{"text": "x"}\n', "no id"),
        ("corpus.jsonl", '{"docid": "d1"}\n', "'text'"),
        ("run.bm25.txt", "q1\n", "line 1"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, name: str, content: str, said: str) -> None:
    """File, line and reason."""
    _write(_trec(tmp_path), {name: content})

    with pytest.raises(DataFileError, match=said):
        read_judged(tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("qrels.txt", "q1 0 d1 0\n"),
        ("run.bm25.txt", "q7 Q0 d1 1 1.0 x\n"),
        ("queries.tsv", "q7\tother\n"),
    ],
)
def test_files_that_do_not_belong_together_are_refused(
    tmp_path: Path, name: str, content: str
) -> None:
    """Nothing relevant, nothing ranked, or no text of any judged query."""
    _write(_trec(tmp_path), {name: content})

    with pytest.raises(EmptyInputError):
        read_judged(tmp_path)


def test_no_folder_is_refused(tmp_path: Path) -> None:
    """A misspelt path says so."""
    with pytest.raises(InputFileError, match="no folder"):
        read_judged(tmp_path / "nowhere")
