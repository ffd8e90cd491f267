"""Training data of BEIR folders: judgements, and the candidates of a first search as negatives."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pairscore.errors import DataFileError, InputFileError
from pairscore.evaluation.beir import find_files
from pairscore.evaluation.datasets import Judged, read_beir
from pairscore.training.data import (
    LabelKind,
    LabelledPair,
    RankedList,
    TrainingData,
    training_data,
)

__all__ = ["DEFAULT_DEPTH", "is_collection", "read_collection"]

DEFAULT_DEPTH: Final = 30
"""Ranks of a run that become a list's negatives where nothing else is asked."""

_CORPORA: Final = ("corpus.jsonl", "corpus.tsv", "corpus.jsonl.gz", "corpus.tsv.gz")
# Parts that are there to be measured on: none of them is taken for training unless it is named.
_HELD_OUT: Final = frozenset({"dev", "validation", "valid", "test"})


def is_collection(folder: Path) -> bool:
    """Whether a folder has the corpus of a judged collection."""
    return any((folder / name).is_file() for name in _CORPORA)


def read_collection(
    folder: Path, *, split: str | None, labels: LabelKind | None, depth: int = DEFAULT_DEPTH
) -> TrainingData:
    """Read a part of a judged collection.

    With a run of the part each query becomes a list: the documents that are judged, and those of the run's first
    `depth` ranks that are not, with the label 0. Without one, each judgement becomes a pair; where nothing is judged
    to be irrelevant these are positives without labels, unless binary ones are asked for.

    Args:
        folder: BEIR's layout, or a flat one.
        split: the part; None takes ``train``, or the only one of a collection without parts.
        labels: ``binary`` takes each grade above 0 as 1; ``graded`` keeps grades; ``none`` the positives alone;
            None takes binary where no grade is above 1.
        depth: ranks of the run.

    Raises:
        InputFileError, DataFileError, EmptyInputError: as `pairscore.evaluation.datasets.read_beir`.
    """
    if labels not in {None, "binary", "graded", "none"}:
        raise DataFileError(
            f"{folder} is a collection with judgements, whose labels are binary or graded, not {labels}; leave labels out"
        )
    part = _part(folder, split)
    qrels = find_files(folder, split=part).qrels
    judged = read_beir(folder, split=part, depth=depth)
    source = _Source(judged=judged, place=str(qrels), depth=depth)
    if judged.runs and labels != "none":
        return _lists(source, labels)
    return _pairs(source, labels)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Source:
    """A collection, and how messages call its judgements."""

    judged: Judged
    place: str
    depth: int

    def place_of(self, query_id: str) -> str:
        return f"{self.place}, query {query_id}"

    def grades(self, query_id: str) -> Iterator[tuple[str, int]]:
        """The judged documents that have a text; grades below 0 (spam, by TREC's web tracks) are 0."""
        for document_id, grade in self.judged.qrels[query_id].items():
            if self._readable(document_id):
                yield document_id, max(grade, 0)

    def unjudged(self, query_id: str) -> Iterator[str]:
        """Documents that the run ranks and nobody judged, best first."""
        run = next(iter(self.judged.runs.values()))
        ranking = run.rankings.get(query_id)
        judged = self.judged.qrels[query_id]
        for document_id in ranking.document_ids[: self.depth] if ranking is not None else ():
            if document_id not in judged and self._readable(document_id):
                yield document_id

    def text(self, document_id: str) -> str:
        return self.judged.documents[document_id].full_text

    def _readable(self, document_id: str) -> bool:
        return document_id in self.judged.documents and bool(self.text(document_id).strip())


def _part(folder: Path, split: str | None) -> str | None:
    if split is not None:
        return split
    try:
        find_files(folder, split="train")
    except InputFileError:
        parts = set(re.split(r"[._-]", find_files(folder).qrels.name)) & _HELD_OUT
        if not parts:
            return None
        raise InputFileError(
            f"{str(folder)!r} has no part 'train', only such as {min(parts)!r}; name one with split to train on it"
        ) from None
    return "train"


def _lists(source: _Source, labels: LabelKind | None) -> TrainingData:
    judged = source.judged
    top = _top(source)
    graded = labels == "graded" or (labels is None and top > 1)
    rows: list[RankedList] = []
    num_unjudged = num_without = 0
    for query_id, query in judged.queries.items():
        grades = dict(source.grades(query_id))
        if not any(grades.values()):
            num_without += 1
            continue
        others = dict.fromkeys(source.unjudged(query_id), 0)
        num_unjudged += len(others)
        every = grades | others
        rows.append(
            RankedList(
                query=query,
                documents=tuple(map(source.text, every)),
                labels=tuple(float(grade if graded else grade > 0) for grade in every.values()),
                place=source.place_of(query_id),
            )
        )
    run = next(iter(judged.runs))
    assumed = (
        f"{num_unjudged:,} documents of the first {source.depth} ranks of the run {run} are judged by nobody and taken "
        "as not relevant; some of them may be"
    )
    return training_data(
        rows,
        name=judged.name,
        kind="lists",
        labels="graded" if graded else "binary",
        max_label=float(top) if graded else None,
        notes=(assumed, *_told(source, num_without)),
    )


def _pairs(source: _Source, labels: LabelKind | None) -> TrainingData:
    judged = source.judged
    top = _top(source)
    found = [
        (query_id, query, document_id, grade)
        for query_id, query in judged.queries.items()
        for document_id, grade in source.grades(query_id)
    ]
    only_positives = labels == "none" or (
        labels is None and all(grade > 0 for *_, grade in found) and top == 1
    )
    graded = labels == "graded" or (labels is None and top > 1)
    rows = [
        LabelledPair(
            query=query,
            document=source.text(document_id),
            label=float(grade if graded else grade > 0),
            place=source.place_of(query_id),
        )
        for query_id, query, document_id, grade in found
        if grade > 0 or not only_positives
    ]
    kind: LabelKind = "none" if only_positives else ("graded" if graded else "binary")
    notes = ["no run of this part: pairs of judged documents only", *_told(source, 0)]
    if only_positives:
        notes.append(
            "each pair is taken for a positive; pairscore negatives finds negatives for them"
        )
    return training_data(
        rows,
        name=judged.name,
        kind="pairs",
        labels=kind,
        max_label=float(top) if graded else None,
        notes=notes,
    )


def _top(source: _Source) -> int:
    return max(max(grades.values()) for grades in source.judged.qrels.values())


def _told(source: _Source, num_without: int) -> Iterator[str]:
    """What was left out."""
    judged = source.judged
    if len(judged.runs) > 1:
        first, *others = judged.runs
        yield f"there are {len(judged.runs)} runs; {first} was read, not {', '.join(others)}"
    if num_without:
        yield f"{num_without:,} queries without a relevant document: left out"
    if judged.gaps.num_judged_without_text:
        yield f"{judged.gaps.num_judged_without_text:,} judged documents are not in the corpus: left out"
    if judged.gaps.queries_without_text:
        yield f"{len(judged.gaps.queries_without_text):,} judged queries without a text: left out"
    below = sum(grade < 0 for grades in judged.qrels.values() for grade in grades.values())
    if below:
        yield f"{below:,} grades below 0 are taken as 0"
