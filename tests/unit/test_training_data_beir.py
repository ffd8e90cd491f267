"""Training data of BEIR folders: lists where a search ranked candidates, pairs of judged documents elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pairscore.errors import DataFileError, InputFileError
from pairscore.training.data import LabelledPair, RankedList
from pairscore.training.data_files import read_training

DOCUMENTS = {"d1": "one", "d2": "two", "d3": "three", "d4": "four"}


def collection(
    folder: Path,
    qrels: str,
    *,
    part: str = "train",
    run: str | None = None,
    queries: tuple[str, ...] = ("q1", "q2"),
) -> Path:
    """A folder with four documents, of which the first has a title; columns of `qrels` and `run` are parted by blanks."""
    corpus = [
        {"_id": name, "text": text, "title": "T" if name == "d1" else ""}
        for name, text in DOCUMENTS.items()
    ]
    (folder / "corpus.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in corpus))
    (folder / "queries.tsv").write_text("".join(f"{name}\ttext of {name}\n" for name in queries))
    (folder / f"qrels.{part}.tsv").write_text(qrels.replace(" ", "\t"))
    if run is not None:
        (folder / f"run.bm25.{part}.tsv").write_text(run.replace(" ", "\t"))
    return folder


def test_ranked_documents_that_nobody_judged_become_negatives(tmp_path: Path) -> None:
    """Down to the depth that is asked for, behind the judged ones; a title is part of its text."""
    run = "q1 d2 1 9\nq1 d1 2 8\nq1 d3 3 7\nq1 d4 4 6\nq2 d4 1 5\n"
    folder = collection(tmp_path, "q1 d1 1\nq2 d2 1\n", run=run)

    data = read_training(folder, run_depth=3)

    assert (data.name, data.kind, data.labels) == (tmp_path.name, "lists", "binary")
    assert data.rows == (
        RankedList(
            query="text of q1",
            documents=("T one", "two", "three"),
            labels=(1.0, 0.0, 0.0),
            place=f"{folder}/qrels.train.tsv, query q1",
        ),
        RankedList(
            query="text of q2",
            documents=("two", "four"),
            labels=(1.0, 0.0),
            place=f"{folder}/qrels.train.tsv, query q2",
        ),
    )
    assert "3 documents of the first 3 ranks of the run bm25 are judged by nobody" in data.notes[0]


def test_without_a_run_the_judged_documents_are_pairs(tmp_path: Path) -> None:
    """Nothing is made up; a note says so."""
    folder = collection(tmp_path, "q1 d1 1\nq1 d2 0\nq2 d3 1\n")

    data = read_training(folder)

    assert (data.kind, data.labels) == ("pairs", "binary")
    assert data.rows[1] == LabelledPair(
        query="text of q1",
        document="two",
        label=0.0,
        place=f"{folder}/qrels.train.tsv, query q1",
    )
    assert data.notes == ("no run of this part: pairs of judged documents only",)


def test_grades_above_one_are_kept_and_those_below_zero_are_zero(tmp_path: Path) -> None:
    """Unless binary labels are asked for."""
    folder = collection(tmp_path, "q1 d1 3\nq1 d2 -2\nq2 d3 1\n")

    data = read_training(folder)

    assert (data.labels, data.max_label) == ("graded", 3.0)
    assert [row.label for row in data.rows] == [3.0, 0.0, 1.0]  # type: ignore[union-attr]
    assert "1 grades below 0 are taken as 0" in data.notes
    binary = read_training(folder, labels="binary")
    assert [row.label for row in binary.rows] == [1.0, 0.0, 1.0]  # type: ignore[union-attr]
    assert binary.max_label == 1.0


def test_judgements_of_relevant_documents_alone_are_positives_without_labels(
    tmp_path: Path,
) -> None:
    """Binary ones of a single class are refused where they are asked for."""
    folder = collection(tmp_path, "q1 d1 1\nq2 d2 1\n")

    data = read_training(folder)

    assert (data.kind, data.labels, len(data)) == ("pairs", "none", 2)
    assert "pairscore negatives" in data.notes[-1]
    with pytest.raises(DataFileError, match="all 2 pairs have the label 1"):
        read_training(folder, labels="binary")


def test_what_is_left_out_is_told(tmp_path: Path) -> None:
    """Queries without a relevant document or a text, and judged documents that the corpus lacks."""
    run = "q1 d2 1 9\nq2 d4 1 5\n"
    folder = collection(tmp_path, "q1 d1 1\nq1 gone 1\nq2 d2 0\nq9 d2 1\n", run=run)

    data = read_training(folder)

    assert [row.query for row in data.rows] == ["text of q1"]
    assert data.notes[1:] == (
        "1 queries without a relevant document: left out",
        "1 judged documents are not in the corpus: left out",
        "1 judged queries without a text: left out",
    )


def test_a_part_that_is_there_to_be_measured_on_is_taken_only_by_its_name(tmp_path: Path) -> None:
    """Nobody trains on a test part by accident."""
    folder = collection(tmp_path, "q1 d1 1\nq2 d2 0\n", part="test")

    with pytest.raises(InputFileError, match="no part 'train', only such as 'test'"):
        read_training(folder)
    assert len(read_training(folder, split="test")) == 2


def test_a_collection_without_parts_is_read_whole(tmp_path: Path) -> None:
    """Where no name says a part there is only one."""
    folder = collection(tmp_path, "q1 d1 1\nq2 d2 0\n")
    (folder / "qrels.train.tsv").rename(folder / "qrels.tsv")

    assert len(read_training(folder)) == 2


def test_labels_that_judgements_are_not_are_refused(tmp_path: Path) -> None:
    """Judgements hold no logits."""
    folder = collection(tmp_path, "q1 d1 1\nq2 d2 0\n")

    with pytest.raises(DataFileError, match="binary or graded, not teacher"):
        read_training(folder, labels="teacher")
