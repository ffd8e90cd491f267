"""Judged collections and pairs: what is read, what is left out and said, and what is refused with its line."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from tests.judged import (
    DOCUMENTS,
    QRELS,
    QUERIES,
    beir_folder,
    flat_folder,
    json_lines,
    write_files,
)

from pairscore.errors import (
    DataFileError,
    EmptyInputError,
    InputError,
    InputFileError,
    SettingError,
)
from pairscore.evaluation.beir import find_files, iter_documents, read_documents, run_name
from pairscore.evaluation.datasets import CollectionFiles, read_beir, read_trec, scored_pairs
from pairscore.evaluation.trec_files import read_qrels, read_run


def _files(folder: Path, **others: Path) -> CollectionFiles:
    names = {"qrels": "qrels.tsv", "queries": "queries.tsv", "corpus": "corpus.jsonl"}
    return CollectionFiles(
        **{key: folder / name for key, name in names.items()}, runs=(folder / "run.bm25.tsv",)
    )


def test_a_beir_folder_is_read(tmp_path: Path) -> None:
    """The part called test is taken; without a run the judged documents are kept, and no other."""
    found = read_beir(beir_folder(tmp_path))

    assert found.queries == QUERIES
    assert found.qrels == QRELS
    assert sorted(found.documents) == ["d1", "d2", "d3", "d4"]
    assert found.documents["d1"].full_text == f"Berlin {DOCUMENTS['d1'][1]}"
    assert found.runs == {}


def test_another_part_can_be_asked_for(tmp_path: Path) -> None:
    """The qrels of a part choose its queries; a part that is not there is refused with those that are."""
    folder = beir_folder(tmp_path)
    write_files(folder, {"queries.jsonl": json_lines({"_id": "q7", "text": "what"})})

    assert read_beir(folder, split="train").qrels == {"q7": {"d1": 1}}
    with pytest.raises(InputFileError, match=r"'dev'; there are test.tsv, train.tsv"):
        read_beir(folder, split="dev")


def test_a_flat_folder_is_read_with_its_runs(tmp_path: Path) -> None:
    """A run is ordered by its scores and called by the middle of its name."""
    found = read_beir(flat_folder(tmp_path))

    assert list(found.runs) == ["bm25"]
    assert found.runs["bm25"].rankings["q1"].document_ids == ("d2", "d5", "d1")
    assert found.runs["bm25"].num_entries == 6


def test_the_parts_of_a_flat_folder_are_kept_apart(tmp_path: Path) -> None:
    """queries.test.tsv belongs to qrels.test.tsv, and so does run.x.test.tsv."""
    folder = flat_folder(tmp_path)
    for name in ("queries", "qrels", "run.bm25"):
        (folder / f"{name}.tsv").rename(folder / f"{name}.test.tsv")
        (folder / f"{name}.train.tsv").write_text("", encoding="utf-8")
    found = find_files(folder)

    assert [found.qrels.name, found.queries.name] == ["qrels.test.tsv", "queries.test.tsv"]
    assert [path.name for path in found.runs] == ["run.bm25.test.tsv"]
    assert run_name(found.runs[0]) == "bm25"
    assert list(read_beir(folder).runs) == ["bm25"]


def test_only_the_documents_that_may_be_scored_are_kept(tmp_path: Path) -> None:
    """Those that are ranked within the depth, and the judged ones; or all of them."""
    folder = flat_folder(tmp_path)

    assert "d5" not in read_beir(folder, depth=1, limit=1).documents
    assert "d5" in read_beir(folder, depth=2, limit=1).documents
    assert read_beir(folder, limit=1, whole_corpus=True).documents.keys() == DOCUMENTS.keys()


def test_a_limit_keeps_the_first_queries(tmp_path: Path) -> None:
    """And says how many there were."""
    found = read_beir(flat_folder(tmp_path), limit=1)

    assert list(found.queries) == list(found.qrels) == list(found.runs["bm25"].rankings) == ["q1"]
    assert found.num_queries_available == 2
    with pytest.raises(SettingError, match="limit is 0"):
        read_beir(tmp_path, limit=0)


def test_what_the_files_leave_out_is_said(tmp_path: Path) -> None:
    """Queries without text, judgement, candidates or relevant document; documents without text."""
    folder = flat_folder(tmp_path)
    with (folder / "qrels.tsv").open("a") as file:
        file.write("q3 0 d1 0\nq4 0 d1 1\n")
    with (folder / "queries.tsv").open("a") as file:
        file.write("q3\twho\n")
    with (folder / "run.bm25.tsv").open("a") as file:
        file.write("q1\tgone\t4\t1.0\nq8\td1\t1\t1.0\n")
    gaps = read_beir(folder).gaps

    assert gaps.num_unjudged_queries == 1
    assert gaps.queries_without_text == ("q4",)
    assert gaps.queries_without_relevant == ("q3",)
    assert gaps.num_judged_without_text == 1
    assert gaps.unranked == {"bm25": ("q3",)}
    assert gaps.ranked_without_text == {"bm25": 1}
    assert read_beir(folder, depth=3).gaps.ranked_without_text == {}
    told = " ".join(gaps.sentences)
    for part in ("q4", "q3", "'gone'", "run.bm25.tsv, line 7", "1 ranked queries"):
        assert part in told


def test_a_whole_collection_leaves_nothing_to_say(tmp_path: Path) -> None:
    """No sentence about what is not missing."""
    qrels = "q1 0 d1 1\nq2 0 d3 1\n"

    assert read_beir(flat_folder(tmp_path, **{"qrels.tsv": qrels})).gaps.sentences == ()


@pytest.mark.parametrize("name", ["qrels.tsv", "queries.tsv", "corpus.jsonl", "run.bm25.tsv"])
def test_byte_order_marks_and_carriage_returns_change_nothing(tmp_path: Path, name: str) -> None:
    """As Windows writes files; so do blank lines."""
    path = flat_folder(tmp_path) / name
    wanted = read_beir(tmp_path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n\r\n"))
    found = read_beir(tmp_path)

    assert found.queries == wanted.queries
    assert found.qrels == wanted.qrels
    assert found.documents == wanted.documents
    assert found.runs["bm25"].rankings["q2"].document_ids == ("d5", "d4", "d3")


def test_packed_files_are_read(tmp_path: Path) -> None:
    """A corpus and a run that end in .gz; a broken one is said to be."""
    for name in ("corpus.jsonl", "run.bm25.tsv"):
        path = flat_folder(tmp_path) / name if name == "corpus.jsonl" else tmp_path / name
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    for name in ("corpus.jsonl", "run.bm25.tsv"):
        (tmp_path / name).unlink()

    assert list(read_beir(tmp_path).runs) == ["bm25"]
    whole = (tmp_path / "corpus.jsonl.gz").read_bytes()
    (tmp_path / "corpus.jsonl.gz").write_bytes(whole[:40])
    with pytest.raises(DataFileError, match="gzip"):
        read_beir(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("qrels.tsv", "q1 0 d1 1\nq1 0 d2 high\n", "line 2.*'high' is no whole number"),
        ("qrels.tsv", "q1 0 d1 high\n", "line 1"),
        ("qrels.tsv", "q1 d1\n", "line 1: 2 columns"),
        ("qrels.tsv", "q1 0 d1 1\nq1 0 d1 1\n", "line 2.*'d1' is judged a second time"),
        ("queries.tsv", "q1\twhat\nq1\twho\n", "line 2.*'q1' is there a second time"),
        ("queries.tsv", "q1 what is this\n", "line 1: 1 columns"),
        ("queries.tsv", "q1\twhat\tthis\n", "line 1: 3 columns"),
        ("queries.tsv", "q1\t \n", "line 1.*'q1' has no text"),
        (
            "run.bm25.tsv",
            "q1\td1\t1\t2.0\nq1\td1\t2\t1.0\n",
            "line 2.*'d1' is ranked a second time",
        ),
        ("run.bm25.tsv", "q1\td1\t1\tbest\n", "line 1.*'best' is no finite number"),
        ("run.bm25.tsv", "q1\td1\t1\tnan\n", "line 1.*'nan' is no finite number"),
        ("run.bm25.tsv", "q1 d1 1\n", "line 1: 3 columns; a run has TREC's six"),
        ("run.bm25.tsv", "q1 d1\nq1 d2 1 1.0\n", "line 2: 4 columns, and 2 in the lines before"),
        ("run.bm25.tsv", "q1\t\t1\t1.0\n", "line 1: an id is empty"),
        ("corpus.jsonl", '{"docid": "d1", "text": "x"}\n{oops\n', "line 2: not JSON"),
        ("corpus.jsonl", "[1]\n", "line 1: a JSON list"),
        ("corpus.jsonl", '{"text": "x"}\n', "line 1: no id"),
        ("corpus.jsonl", '{"_id": true, "text": "x"}\n', "line 1: no id"),
        ("corpus.jsonl", '{"docid": "d1"}\n', "line 1: 'text' must be a string"),
        ("corpus.jsonl", '{"docid": "d1", "text": "\\ud800"}\n', "line 1.*half a character"),
        ("corpus.jsonl", '{"docid": "d1", "text": "x", "title": 3}\n', "line 1: 'title' is of the"),
        (
            "corpus.jsonl",
            '{"docid": "d1", "text": "x"}\n{"docid": "d1", "text": "y"}\n',
            "line 2.*'d1' is there a second time",
        ),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, name: str, content: str, said: str) -> None:
    """The file, the line, what is wrong, and what to do."""
    flat_folder(tmp_path, **{name: content})

    with pytest.raises(DataFileError, match=rf"(?s){name}.*{said}"):
        read_beir(tmp_path)


@pytest.mark.parametrize("name", ["qrels.tsv", "queries.tsv", "corpus.jsonl", "run.bm25.tsv"])
def test_an_empty_file_and_a_wrong_encoding_are_named(tmp_path: Path, name: str) -> None:
    """Empty is no crash and no nothing; the line with the wrong byte is said."""
    flat_folder(tmp_path, **{name: "\n \n"})
    with pytest.raises(EmptyInputError, match=name):
        read_beir(tmp_path)
    (tmp_path / name).write_bytes(b"q1\tcaf\xe9\n")
    with pytest.raises(DataFileError, match=rf"{name}, line 1: not UTF-8 \(byte 7\)"):
        read_beir(tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("queries.tsv", "q9\tother\n"),
        ("corpus.jsonl", '{"docid": "other", "text": "x"}\n'),
    ],
)
def test_files_that_do_not_belong_together_are_refused(
    tmp_path: Path, name: str, content: str
) -> None:
    """No judged query has a text, or no document that is ranked or judged is in the corpus."""
    with pytest.raises(EmptyInputError, match="belong to one collection"):
        read_beir(flat_folder(tmp_path, **{name: content}))


def test_a_text_is_in_no_message(tmp_path: Path) -> None:
    """A wrong column may hold what a user wrote."""
    secret = "a long and private sentence of the user"
    flat_folder(tmp_path, **{"qrels.tsv": f"q1\td1\t{secret}\n"})

    with pytest.raises(DataFileError) as caught:
        read_beir(tmp_path)
    assert "private" not in str(caught.value)


def test_trecs_runs_have_six_columns_four_or_two(tmp_path: Path) -> None:
    """Ranks are not read; without scores the order of the lines counts."""
    lines = {
        "six": "q1 Q0 b 1 1.5 tag\nq1 Q0 a 2 2.5 tag\n",
        "four": "qid\tdocid\trank\tscore\nq1\tb\t1\t1.5\nq1\ta\t2\t2.5\n",
        "two": "q1 a\nq1 b\n",
    }
    for name, content in lines.items():
        (tmp_path / name).write_text(content)
        run = read_run(tmp_path / name, name=name)
        assert run.rankings["q1"].document_ids == ("a", "b"), name


def test_qrels_have_three_columns_or_four(tmp_path: Path) -> None:
    """BEIR's header is known by its name; negative grades are grades."""
    (tmp_path / "beir").write_text("query-id\tcorpus-id\tscore\nq1\td1\t-1\n")
    (tmp_path / "trec").write_text("q1 0 d1 -1\n")

    assert read_qrels(tmp_path / "beir") == read_qrels(tmp_path / "trec") == {"q1": {"d1": -1}}


def test_a_corpus_may_have_two_columns(tmp_path: Path) -> None:
    """As MS MARCO's; it can be read one document at a time."""
    path = tmp_path / "corpus.tsv"
    path.write_text("1\tone text\n2\tanother\n")

    assert [document.id for document in iter_documents(path)] == ["1", "2"]
    assert read_documents(path, wanted={"2"})["2"].full_text == "another"


def test_missing_files_are_named(tmp_path: Path) -> None:
    """In a folder by what was looked for, else by the path."""
    folder = flat_folder(tmp_path)
    files = _files(folder)
    (folder / "run.bm25.tsv").unlink()
    with pytest.raises(InputFileError, match=r"run\.bm25\.tsv"):
        read_trec(files)
    (folder / "qrels.tsv").unlink()
    with pytest.raises(InputFileError, match="no qrels"):
        read_beir(folder)
    with pytest.raises(InputFileError, match="no folder"):
        read_beir(folder / "nowhere")


def test_a_run_that_is_given_twice_is_refused(tmp_path: Path) -> None:
    """Two files of one name are told apart by their paths; the same file twice cannot be."""
    first = flat_folder(tmp_path / "a") / "run.bm25.tsv"
    second = flat_folder(tmp_path / "b") / "run.bm25.tsv"
    files = _files(tmp_path / "a")

    found = read_trec(
        CollectionFiles(
            qrels=files.qrels, queries=files.queries, corpus=files.corpus, runs=(first, second)
        )
    )
    assert list(found.runs) == [str(first), str(second)]
    with pytest.raises(SettingError, match="twice"):
        read_trec(
            CollectionFiles(
                qrels=files.qrels, queries=files.queries, corpus=files.corpus, runs=(first, first)
            )
        )


def test_pairs_are_binary_or_graded() -> None:
    """By their grades alone."""
    pairs = [("a", "b"), ("c", "d")]

    assert scored_pairs(pairs, [0, 1]).kind == "binary"
    assert scored_pairs(pairs, [0, 1]).positive.tolist() == [False, True]
    assert scored_pairs(pairs, [0, 4.5]).kind == "graded"


@pytest.mark.parametrize(
    ("pairs", "grades", "said"),
    [
        ([], [], "no pair"),
        ([("a", "b")], [1, 2], "1 pairs and grades of shape"),
        ([("a", "b"), ("c", "d")], [1, float("nan")], "finite"),
        ([("a", "b"), ("c", "d")], [3, 3], "all 2 pairs have the grade 3"),
    ],
)
def test_pairs_that_say_nothing_are_refused(pairs: list, grades: list, said: str) -> None:
    """Nothing can be measured on them."""
    with pytest.raises(InputError, match=said):
        scored_pairs(pairs, grades)
