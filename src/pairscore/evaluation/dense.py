"""First rankings made here: a bi-encoder's over a whole corpus, and several runs fused into one.

The corpus is read, encoded and compared a part at a time, so that one of millions needs memory for its ids only.
Every document is compared with every query: no index, no approximation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np
import numpy.typing as npt

from pairscore.errors import DataFileError, EmptyInputError, SettingError
from pairscore.evaluation.beir import iter_documents, read_documents
from pairscore.evaluation.cached import Advance, CachedVectors
from pairscore.evaluation.datasets import Judged
from pairscore.evaluation.runs import Run, ranking_of
from pairscore.retrieval.base import Candidate, Document
from pairscore.retrieval.fusion import reciprocal_rank_fusion
from pairscore.values import FloatArray

__all__ = ["dense_run", "fused_run", "with_run"]

# Documents that are encoded and compared at once.
_CHUNK = 4096


def dense_run(
    judged: Judged,
    vectors: CachedVectors,
    *,
    name: str,
    top_k: int,
    advance: Advance = lambda _: None,
) -> Run:
    """The documents of the corpus that are nearest to each query, by the cosine of their vectors.

    Args:
        judged: its queries, and the corpus's file, which is read whole.
        vectors: the bi-encoder.
        name: the run's.
        top_k: documents of each query.
        advance: told of documents that were encoded; equal texts count once.

    Raises:
        SettingError: `top_k` is below 1.
        DataFileError: the corpus is broken, or has an id twice.
        EmptyInputError: the corpus is empty.
        InputError, BackendError: a text cannot be encoded, or the model failed.
    """
    if top_k < 1:
        raise SettingError(f"top_k is {top_k}; it must be at least 1")
    queries = vectors.queries(list(judged.queries.values()))
    best = _Best(num_queries=len(queries), top_k=top_k)
    ids: list[str] = []
    for chunk in _chunks(iter_documents(judged.corpus)):
        texts = [document.full_text for document in chunk]
        best.add(queries @ vectors.documents(texts, advance=advance).T, first=len(ids))
        ids += [document.id for document in chunk]
    if not ids:
        raise EmptyInputError(f"{judged.corpus} holds no document; give at least one line")
    if len(set(ids)) < len(ids):
        raise DataFileError(
            f"{judged.corpus} has {len(ids) - len(set(ids)):,} ids a second time; give each document its own"
        )
    return Run(
        name=name,
        rankings={
            query_id: ranking_of([ids[i] for i in best.positions[row]], best.scores[row])
            for row, query_id in enumerate(judged.queries)
        },
    )


def fused_run(runs: Sequence[Run], *, name: str = "hybrid") -> Run:
    """Several runs as one, by reciprocal rank fusion.

    Raises:
        SettingError: there are fewer than two.
    """
    if len(runs) < 2:  # noqa: PLR2004 - one has nobody to be fused with
        raise SettingError(f"{len(runs)} runs cannot be fused; give at least two")
    queries = dict.fromkeys(query_id for run in runs for query_id in run.rankings)
    rankings = {}
    for query_id in queries:
        found = reciprocal_rank_fusion(
            {
                run.name: [
                    Candidate(document=Document(id=document_id, text=""), score=score)
                    for document_id, score in zip(
                        run.rankings[query_id].document_ids,
                        run.rankings[query_id].scores.tolist(),
                        strict=True,
                    )
                ]
                for run in runs
                if query_id in run.rankings
            }
        )
        rankings[query_id] = ranking_of(
            [entry.document.id for entry in found], [entry.score for entry in found]
        )
    return Run(name=name, rankings=rankings)


def with_run(judged: Judged, run: Run, *, depth: int) -> Judged:
    """The collection with one more run, and the texts of its best `depth` documents.

    Raises:
        SettingError: there is a run of that name already.
        DataFileError: the corpus is broken.
    """
    if run.name in judged.runs:
        raise SettingError(f"there is a run {run.name!r} already; give the file another name")
    wanted = {
        document_id
        for ranking in run.rankings.values()
        for document_id in ranking.document_ids[:depth]
    } - judged.documents.keys()
    documents = read_documents(judged.corpus, wanted=wanted) if wanted else {}
    return replace(
        judged,
        runs={**judged.runs, run.name: run},
        documents={**judged.documents, **documents},
    )


@dataclass(slots=True)
class _Best:
    """The best documents of each query so far.

    Attributes:
        positions: of the documents in the corpus, shape (num_queries, at most top_k), int64.
        scores: their cosines, the same shape, float32; in no order.
    """

    num_queries: int
    top_k: int
    positions: npt.NDArray[np.int64] = field(init=False)
    scores: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        self.positions = np.empty((self.num_queries, 0), dtype=np.int64)
        self.scores = np.empty((self.num_queries, 0), dtype=np.float32)

    def add(self, scores: FloatArray, *, first: int) -> None:
        """Join the scores of more documents, shape (num_queries, num_documents), the first of them at `first`."""
        places = np.arange(first, first + scores.shape[1], dtype=np.int64)
        every = np.concatenate([self.scores, scores.astype(np.float32)], axis=1)
        positions = np.concatenate([self.positions, np.broadcast_to(places, scores.shape)], axis=1)
        if every.shape[1] > self.top_k:
            kept = np.argpartition(-every, self.top_k - 1, axis=1)[:, : self.top_k]
            every = np.take_along_axis(every, kept, axis=1)
            positions = np.take_along_axis(positions, kept, axis=1)
        self.scores, self.positions = every, positions


def _chunks(documents: Iterator[Document]) -> Iterator[list[Document]]:
    while chunk := list(islice(documents, _CHUNK)):
        yield chunk
