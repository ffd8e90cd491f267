"""The candidates of each query, from a run of the collection or, where there is none, by BM25 over its documents."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from pairscore.errors import EmptyInputError, InputError, SettingError
from pairscore.evaluation.bm25 import BM25
from pairscore.evaluation.compare_parts import Labels, numbered
from pairscore.evaluation.compare_systems import BM25_NAME
from pairscore.evaluation.datasets import Judged

__all__ = ["Candidates", "FirstStage", "first_stage_of", "labels_of"]

DoubleArray: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Candidates:
    """One query's candidates, in the order of the first stage.

    Attributes:
        query_id: the query's.
        query: its text.
        ids: of the documents that have a text.
        texts: theirs.
        scores: the first stage's, shape (num_candidates,).
        absent: ids that the first stage found and that have no text: not scored, and behind all others.
    """

    query_id: str
    query: str
    ids: tuple[str, ...]
    texts: tuple[str, ...]
    scores: DoubleArray
    absent: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FirstStage:
    """Where the candidates come from.

    Attributes:
        name: of the system whose order they have: a run's, or BM25.
        detail: the same in more words.
        queries: the queries that have at least one candidate with a text.
        collection: the documents that BM25 counts, in words.
    """

    name: str
    detail: str
    queries: tuple[Candidates, ...]
    collection: str

    @property
    def is_run(self) -> bool:
        """Whether it was read from a file."""
        return self.name != BM25_NAME

    @property
    def num_pairs(self) -> int:
        """Candidates of all queries together."""
        return sum(len(query.ids) for query in self.queries)

    @property
    def deepest(self) -> int:
        """The most candidates that a query has."""
        return max(len(query.ids) for query in self.queries)


def first_stage_of(judged: Judged, *, run: str | None, num_candidates: int) -> FirstStage:
    """The best candidates of each query.

    Args:
        judged: the collection; without a run, with its whole corpus.
        run: a run's name; None takes the first one, or BM25 where there is none.
        num_candidates: how many of each query.

    Raises:
        SettingError: there is no such run.
        EmptyInputError: no query has a candidate with a text.
    """
    if run is not None and run not in judged.runs:
        known = ", ".join(judged.runs) or "none"
        raise SettingError(f"there is no run {run!r} beside {judged.name}; there are: {known}")
    name = run or next(iter(judged.runs), None)
    num_documents = len(judged.documents)
    if name is None:
        found = _by_words(judged, num_candidates)
        detail, shown = f"best {num_candidates:,} by words", BM25_NAME
    else:
        found = _of_run(judged, name, num_candidates)
        detail, shown = f"order of the file, best {num_candidates:,}", f"run {name}"
    queries = tuple(query for query in found if query.ids)
    if not queries:
        raise EmptyInputError(
            f"no query of {judged.name} has a candidate with a text; check that run, corpus and queries belong together"
        )
    return FirstStage(
        name=shown,
        detail=detail,
        queries=queries,
        collection=f"{num_documents:,} documents of {judged.name}",
    )


def labels_of(first: FirstStage, judged: Judged, *, min_grade: int) -> Labels:
    """What is known of every candidate.

    Documents that nobody judged count as unrelated where the collection judges relevant ones alone; where it judges
    others too, they are left out of gaps, thresholds and reliability. The measures of rankings count them as
    not relevant either way, as trec_eval does.

    Raises:
        InputError: no candidate counts as related.
    """
    grades = np.asarray(
        [
            judged.qrels.get(query.query_id, {}).get(document_id, math.nan)
            for query in first.queries
            for document_id in query.ids
        ],
        dtype=np.float64,
    )
    related = np.nan_to_num(grades, nan=0.0) >= min_grade
    if not related.any():
        raise InputError(
            f"none of the {len(grades):,} candidates of {judged.name} has a grade of {min_grade} or more, so there is "
            "nothing to find; take more candidates, or a lower grade"
        )
    judges_others = any(
        grade < min_grade for entries in judged.qrels.values() for grade in entries.values()
    )
    return Labels(
        pairs=[(query.query, text) for query in first.queries for text in query.texts],
        grades=grades,
        related=related,
        known=~np.isnan(grades) if judges_others else np.ones(len(grades), dtype=np.bool_),
        groups=numbered([query.query_id for query in first.queries for _ in query.ids]),
    )


def _of_run(judged: Judged, name: str, num_candidates: int) -> Iterator[Candidates]:
    rankings = judged.runs[name].rankings
    for query_id, query in judged.queries.items():
        if query_id not in rankings:
            continue
        ranked = rankings[query_id]
        best = ranked.document_ids[:num_candidates]
        places = [
            place for place, document_id in enumerate(best) if document_id in judged.documents
        ]
        yield Candidates(
            query_id=query_id,
            query=query,
            ids=tuple(best[place] for place in places),
            texts=tuple(judged.documents[best[place]].full_text for place in places),
            scores=ranked.scores[places].astype(np.float64),
            absent=tuple(
                document_id for document_id in best if document_id not in judged.documents
            ),
        )


def _by_words(judged: Judged, num_candidates: int) -> Iterator[Candidates]:
    documents = tuple(judged.documents.values())
    texts = [document.full_text for document in documents]
    bm25 = BM25(texts)
    for query_id, query in judged.queries.items():
        places = bm25.best(query, limit=num_candidates)
        yield Candidates(
            query_id=query_id,
            query=query,
            ids=tuple(documents[place].id for place in places),
            texts=tuple(texts[place] for place in places),
            scores=bm25.scores(query)[places],
        )
