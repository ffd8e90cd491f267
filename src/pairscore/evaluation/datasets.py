"""Labelled data to measure on: judged collections (BEIR, TREC), and pairs with grades.

A collection is read once: judgements, then the texts of the judged queries, then the runs, then of the corpus only
the documents that are wanted, so that a corpus of millions needs no memory for the others. What the files
leave out (a ranked document without a text, a judged query without a ranking) is counted in `Gaps`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from pairscore.errors import EmptyInputError, InputError, SettingError
from pairscore.evaluation.beir import (
    CollectionFiles,
    find_files,
    read_documents,
    read_queries,
    run_name,
)
from pairscore.evaluation.runs import Ranking, Run
from pairscore.evaluation.trec_files import line_of_id, read_qrels, read_run
from pairscore.retrieval.base import Document

__all__ = [
    "CollectionFiles",
    "Gaps",
    "Judged",
    "PairKind",
    "Ranking",
    "Run",
    "ScoredPairs",
    "read_beir",
    "read_trec",
    "scored_pairs",
]

PairKind: TypeAlias = Literal["binary", "graded"]
"""``binary``: each grade is 0 or 1; ``graded``: a number that says how near the texts are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Gaps:
    """What a collection's files leave out. None of it stops an evaluation; all of it is told.

    Attributes:
        num_unjudged_queries: queries of the runs without a judgement: left out, as trec_eval does.
        queries_without_text: judged queries that the queries' file lacks: left out.
        queries_without_relevant: judged queries without a relevant document: each counts 0.
        num_judged_without_text: judged documents that are not in the corpus. The ideal ranking knows them
            all the same.
        unranked: by run, judged queries that it ranks nothing for: each counts 0.
        ranked_without_text: by run, documents among those to rerank that are not in the corpus: they cannot
            be scored, and stand behind those that were.
        first: a sentence for each run with such documents, which names the first of them and its line.
    """

    num_unjudged_queries: int = 0
    queries_without_text: tuple[str, ...] = ()
    queries_without_relevant: tuple[str, ...] = ()
    num_judged_without_text: int = 0
    unranked: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ranked_without_text: Mapping[str, int] = field(default_factory=dict)
    first: Mapping[str, str] = field(default_factory=dict)

    @property
    def sentences(self) -> tuple[str, ...]:
        """What there is to tell, a sentence each."""
        told = []
        if self.num_unjudged_queries:
            told.append(f"{self.num_unjudged_queries:,} ranked queries are not judged: left out")
        if self.queries_without_text:
            told.append(f"{_some(self.queries_without_text, 'judged')} without a text: left out")
        if self.queries_without_relevant:
            some = _some(self.queries_without_relevant, "judged")
            told.append(f"{some} without a relevant document: 0 in every measure")
        if self.num_judged_without_text:
            told.append(
                f"{self.num_judged_without_text:,} judged documents are not in the corpus; the ideal ranking of nDCG "
                "and the total of recall count them all the same"
            )
        for name, query_ids in self.unranked.items():
            told.append(f"run {name}: {_some(query_ids, 'judged')} without a candidate: 0")
        for name, count in self.ranked_without_text.items():
            told.append(
                f"run {name}: {count:,} candidates are not in the corpus{self.first.get(name, '')}: not scored, and put "
                "behind those that are"
            )
        return tuple(told)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Judged:
    """A judged collection, as far as it is needed.

    Attributes:
        name: how reports call it.
        queries: the judged queries' texts by id, in the order of their file.
        documents: by id: those that a run ranks among its best and those that are judged, or the whole corpus.
        qrels: grades by query and document, of these queries; documents that are not in the corpus included.
        runs: first rankings by name, of these queries; not cut.
        corpus: the corpus's file, for what was not kept.
        gaps: what the files leave out.
        num_queries_available: judged queries before a limit.
    """

    name: str
    queries: Mapping[str, str]
    documents: Mapping[str, Document]
    qrels: Mapping[str, Mapping[str, int]]
    runs: Mapping[str, Run]
    corpus: Path
    gaps: Gaps = field(default_factory=Gaps)
    num_queries_available: int = 0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ScoredPairs:
    """Pairs of texts that people judged.

    Attributes:
        name: how reports call them.
        pairs: the texts, in the file's order.
        grades: what people said, shape (num_pairs,), float64.
        kind: what the grades are.
    """

    name: str
    pairs: tuple[tuple[str, str], ...]
    grades: npt.NDArray[np.float64]
    kind: PairKind

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def positive(self) -> npt.NDArray[np.bool_]:
        """Of binary pairs, whether each belongs together, shape (num_pairs,)."""
        return self.grades > 0


def scored_pairs(
    pairs: Sequence[tuple[str, str]], grades: npt.ArrayLike, *, name: str = "pairs"
) -> ScoredPairs:
    """Pairs with grades; they are binary if every grade is 0 or 1.

    Raises:
        EmptyInputError: there is no pair.
        InputError: there are not as many grades as pairs, a grade is not finite, or all are the same, which
            nothing can be measured on.
    """
    numbers = np.asarray(grades, dtype=np.float64)
    if not len(pairs):
        raise EmptyInputError(f"{name} holds no pair; give at least two with different grades")
    if numbers.shape != (len(pairs),) or not np.isfinite(numbers).all():
        raise InputError(
            f"{name}: {len(pairs):,} pairs and grades of shape {numbers.shape}; give each pair one finite grade"
        )
    if float(np.ptp(numbers)) == 0.0:
        raise InputError(
            f"{name}: all {len(pairs):,} pairs have the grade {numbers[0]:g}, so that no order is right or wrong; "
            "give pairs of different grades"
        )
    kind: PairKind = "binary" if np.isin(numbers, (0.0, 1.0)).all() else "graded"
    return ScoredPairs(name=name, pairs=tuple(pairs), grades=numbers, kind=kind)


def read_beir(
    folder: Path | str,
    *,
    split: str | None = None,
    depth: int | None = None,
    limit: int | None = None,
    whole_corpus: bool = False,
) -> Judged:
    """Read a judged collection from its folder, as `find_files` finds its files.

    Args:
        folder: BEIR's layout or a flat one.
        split: its part, such as ``dev``; None takes ``test`` where there is one.
        depth: ranks of each run whose documents are wanted; None wants all.
        limit: the most queries, the first in the order of their file.
        whole_corpus: keep every document, not only those that are ranked or judged.

    Raises:
        InputFileError: a file is missing or cannot be read.
        DataFileError: a line is broken; the message names file and line.
        EmptyInputError: a file is empty, or the files do not belong together.
        SettingError: a limit is below 1.
    """
    folder = Path(folder)
    files = find_files(folder, split=split)
    return read_trec(
        files,
        name=folder.resolve().name,
        depth=depth,
        limit=limit,
        whole_corpus=whole_corpus,
    )


def read_trec(
    files: CollectionFiles,
    *,
    name: str | None = None,
    depth: int | None = None,
    limit: int | None = None,
    whole_corpus: bool = False,
) -> Judged:
    """Read a judged collection from files that are each named, TREC's or BEIR's.

    Args:
        files: the files; any number of runs.
        name: how reports call it; None takes the name of the judgements' folder.
        depth: as in `read_beir`; so are the other two.
        limit: the most queries.
        whole_corpus: keep every document.

    Raises:
        InputFileError, DataFileError, EmptyInputError, SettingError: as `read_beir`.
    """
    for option, value in (("depth", depth), ("limit", limit)):
        if value is not None and value < 1:
            raise SettingError(f"{option} is {value}; it must be at least 1, or none for all")
    every = read_qrels(files.qrels)
    texts = read_queries(files.queries, wanted=every)
    if not texts:
        raise EmptyInputError(
            f"no query that {files.qrels} judges has a text in {files.queries}; "
            "check that the files belong to one collection"
        )
    queries = dict(islice(texts.items(), limit))
    whole_runs = {run.name: run for run in _read_runs(files.runs)}
    read = Judged(
        name=name or files.qrels.resolve().parent.name,
        queries=queries,
        documents={},
        qrels={query_id: every[query_id] for query_id in queries},
        runs={run.name: run.only(queries) for run in whole_runs.values()},
        corpus=files.corpus,
        num_queries_available=len(texts),
    )
    wanted = _wanted(read, depth)
    documents = read_documents(files.corpus, wanted=None if whole_corpus else wanted)
    if wanted.isdisjoint(documents):
        raise EmptyInputError(
            f"{files.corpus} has none of the {len(wanted):,} documents that are ranked or judged; "
            "check that the files belong to one collection"
        )
    read = replace(read, documents=documents)
    unjudged = {query for run in whole_runs.values() for query in run.rankings} - every.keys()
    gaps = replace(
        _gaps(read, files=files, depth=depth),
        num_unjudged_queries=len(unjudged),
        queries_without_text=tuple(query for query in every if query not in texts),
    )
    return replace(read, gaps=gaps)


def _read_runs(paths: Sequence[Path]) -> list[Run]:
    """Each under its own name: the short one, or the file's where two would be the same."""
    names = [run_name(path) for path in paths]
    if len(set(names)) < len(names):
        names = [str(path) for path in paths]
    if len(set(names)) < len(names):
        raise SettingError("a run is given twice; name each file once")
    return [read_run(path, name=name) for path, name in zip(paths, names, strict=True)]


def _wanted(judged: Judged, depth: int | None) -> set[str]:
    """The documents that may be scored, and those that are judged."""
    ranked = {
        document_id
        for run in judged.runs.values()
        for ranking in run.rankings.values()
        for document_id in ranking.document_ids[:depth]
    }
    return ranked | {document_id for grades in judged.qrels.values() for document_id in grades}


def _gaps(judged: Judged, *, files: CollectionFiles, depth: int | None) -> Gaps:
    judged_ids = {document_id for grades in judged.qrels.values() for document_id in grades}
    unranked, ranked_without_text, first = {}, {}, {}
    for path, (name, run) in zip(files.runs, judged.runs.items(), strict=True):
        unranked[name] = tuple(query for query in judged.queries if query not in run.rankings)
        absent = [
            document_id
            for ranking in run.rankings.values()
            for document_id in ranking.document_ids[:depth]
            if document_id not in judged.documents
        ]
        ranked_without_text[name] = len(absent)
        if absent:
            first[name] = f" (the first: {absent[0]!r}, {line_of_id(path, absent[0])})"
    return Gaps(
        queries_without_relevant=tuple(
            query for query, grades in judged.qrels.items() if max(grades.values()) < 1
        ),
        num_judged_without_text=len(judged_ids - judged.documents.keys()),
        unranked={name: queries for name, queries in unranked.items() if queries},
        ranked_without_text={name: count for name, count in ranked_without_text.items() if count},
        first=first,
    )


def _some(query_ids: Collection[str], kind: str) -> str:
    """How many, and a few of them by name."""
    most = 3
    named = ", ".join(list(query_ids)[:most])
    more = ", ..." if len(query_ids) > most else ""
    return f"{len(query_ids):,} {kind} queries ({named}{more})"
