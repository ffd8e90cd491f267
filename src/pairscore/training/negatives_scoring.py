"""What the first stage finds for each query and what the cross-encoder says of it, kept on disk as it is done.

One record a query holds ids, ranks and logits, and none of what is chosen of them later: another margin, sampling or
number of negatives finds everything done.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pairscore.cross_encoder import CrossEncoder
from pairscore.retrieval.base import Candidate, Document
from pairscore.retrieval.first_stage import FirstStage
from pairscore.retrieval.fusion import reciprocal_rank_fusion
from pairscore.retrieval.index import SearchIndex
from pairscore.retrieval.mining_work import Stage, WorkFolder
from pairscore.retrieval.results import SearchMode
from pairscore.retrieval.same_text import normalised
from pairscore.training.negatives_queries import JudgedQuery, JudgedText, QueryStore
from pairscore.values import FloatArray

__all__ = [
    "Considered",
    "Finder",
    "Ranks",
    "ScoredQueries",
    "ScoredQuery",
    "chosen_mode",
    "score_queries",
]

Advance = Callable[[int, int], None]
"""Called with how many queries are done, and how many there are."""

# About what is scored between two writes: all that a killed process loses.
_PAIRS_AT_ONCE: Final = 1024
_NUM_THREADS: Final = 4
# Beyond it no search is repeated to find what stands behind judged documents and copies.
_MAX_DEEPER: Final = 1000
# A pair whose logit tells apart what a model's weights do not: its prompt, its label.
_PROBE: Final = ("how does somebody play the guitar", "With the fingers, or with a plectrum.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Considered:
    """A document that may become a negative.

    Attributes:
        id: its id in the index.
        rank: where the first stage has it, from 1, judged documents and copies left out.
        logit: the cross-encoder's.
    """

    id: str
    rank: int
    logit: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoredQuery:
    """What is known of one query.

    Attributes:
        positives: places among the query's positives of those that were scored, with their logits.
        candidates: by rank.
        num_known_ids: judged documents that were found and left out, by their ids.
        num_known_texts: documents left out because they read as a judged one or as the query does.
        num_copies: documents left out because they read as one that was found before.
        num_missing: positives of which neither the file nor the index has a text.
        num_truncated: pairs that the cross-encoder did not read to their end.
    """

    positives: tuple[tuple[int, float], ...]
    candidates: tuple[Considered, ...]
    num_known_ids: int
    num_known_texts: int
    num_copies: int
    num_missing: int
    num_truncated: int

    def line(self) -> bytes:
        """As it is kept."""
        counts = (self.num_known_ids, self.num_known_texts, self.num_copies)
        fields = (
            self.positives,
            [(one.id, one.rank, one.logit) for one in self.candidates],
            (*counts, self.num_missing, self.num_truncated),
        )
        return json.dumps(fields, separators=(",", ":")).encode() + b"\n"

    @classmethod
    def of(cls, line: bytes) -> ScoredQuery:
        """What `line` wrote."""
        positives, candidates, (by_id, by_text, copies, missing, truncated) = json.loads(line)
        return cls(
            positives=tuple((place, logit) for place, logit in positives),
            candidates=tuple(
                Considered(id=key, rank=rank, logit=logit) for key, rank, logit in candidates
            ),
            num_known_ids=by_id,
            num_known_texts=by_text,
            num_copies=copies,
            num_missing=missing,
            num_truncated=truncated,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranks:
    """Which part of a ranking is looked at, and how many positives a query is given.

    Attributes:
        first: the first rank that may be a negative, from 1.
        last: the last one.
        max_positives: the most positives that are scored, the first ones of the query.
    """

    first: int
    last: int
    max_positives: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Finder:
    """Where candidates come from, and who reads them.

    Attributes:
        index: the documents.
        mode: how they are found.
        cross_encoder: reads them; it puts out one number a pair.
    """

    index: SearchIndex
    mode: SearchMode
    cross_encoder: CrossEncoder

    def key(self) -> Mapping[str, Any]:
        """Differs wherever what is found or scored may."""
        info = self.index.info()
        cross = self.cross_encoder
        return {
            "index": [info.version, info.num_documents, str(info.written_at)],
            "encoder": None if self.mode == "bm25" else info.fingerprint,
            "mode": self.mode,
            "model": cross.model_sha256,
            "backend": cross.backend_name,
            "max_length": cross.max_length,
            "probe": round(float(cross.score([_PROBE]).logits[0]), 2),
        }

    def rankings(
        self, queries: Sequence[JudgedQuery], limits: Sequence[int], pool: ThreadPoolExecutor
    ) -> list[list[Document]]:
        """The documents for each query, best first."""
        texts = [query.text for query in queries]
        vectors: Sequence[FloatArray | None] = [None] * len(texts)
        encoder = self.index.encoder
        if self.mode != "bm25" and encoder is not None:
            vectors = list(encoder.encode_queries(texts))
        return list(pool.map(self._ranking, texts, vectors, limits))

    def _ranking(self, text: str, vector: FloatArray | None, limit: int) -> list[Document]:
        found: dict[str, Sequence[Candidate]] = {}
        if vector is not None:
            found["dense"] = self.index.by_vector(vector, limit=limit)
        if self.mode != "dense":
            found["bm25"] = self.index.by_words(text, limit=limit)
        return [one.document for one in reciprocal_rank_fusion(found, limit=limit)]


def chosen_mode(index: SearchIndex, mode: SearchMode | None) -> SearchMode:
    """How candidates are found: as asked for, else the best way that the index has.

    Raises:
        SettingError: the index cannot be searched so.
    """
    with closing(FirstStage(index, encoder=index.encoder)) as stage:
        return stage.chosen_mode(mode)


class ScoredQueries:
    """The records of all queries that are done, in their order."""

    def __init__(self, work: WorkFolder, *, key: Mapping[str, Any]) -> None:
        self._work = work
        self._lines: Stage = work.stage("scored", key=key, dtype="u1")
        # Where each query's line ends.
        self._ends: Stage = work.stage("scored-ends", key=key, dtype="<i8")

    def keep_whole(self, num_at_once: int, *, num_queries: int) -> int:
        """Forget what a killed process left half done; what is kept is a number of whole turns."""
        ends = self._ends.read()
        num_done = int(np.searchsorted(ends, len(self._lines), side="right"))
        if num_done < num_queries:
            num_done -= num_done % num_at_once
        with self._work.writing():
            self._ends.truncate(num_done)
            self._lines.truncate(int(ends[num_done - 1]) if num_done else 0)
        return num_done

    def append(self, found: Sequence[ScoredQuery]) -> None:
        """Keep the records of the next queries."""
        lines = [one.line() for one in found]
        ends = len(self._lines) + np.cumsum([len(line) for line in lines])
        with self._work.writing():
            self._lines.append(np.frombuffer(b"".join(lines), dtype=np.uint8))
            self._ends.append(ends)

    def read(self, start: int, stop: int) -> list[ScoredQuery]:
        """The records of some queries, by their places."""
        lines, ends = self._lines.mapped(), self._ends.mapped()
        begin = int(ends[start - 1]) if start else 0
        found = []
        for end in ends[start:stop].tolist():
            found.append(ScoredQuery.of(lines[begin:end].tobytes()))
            begin = end
        return found


def score_queries(
    store: QueryStore, finder: Finder, *, ranks: Ranks, work: WorkFolder, advance: Advance
) -> ScoredQueries:
    """Find and score candidates for every query; what is kept already is not done again.

    Raises:
        SettingError: the ranks make no sense.
        OutputFileError: the work folder cannot be written.
        SearchIndexError: the index cannot be read.
        BackendError: a model failed.
    """
    key = {
        "queries": store.sha256,
        "ranks": [ranks.first, ranks.last, ranks.max_positives],
        **finder.key(),
    }
    kept = ScoredQueries(work, key=key)
    num_at_once = max(1, _PAIRS_AT_ONCE // ranks.last)
    done = kept.keep_whole(num_at_once, num_queries=store.num_queries)
    advance(done, store.num_queries)
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(_NUM_THREADS, "pairscore-negatives"))
        for start in range(done, store.num_queries, num_at_once):
            queries = store.read(start, start + num_at_once)
            kept.append(_scored(queries, finder, ranks=ranks, pool=pool))
            advance(start + len(queries), store.num_queries)
    return kept


def _scored(
    queries: Sequence[JudgedQuery], finder: Finder, *, ranks: Ranks, pool: ThreadPoolExecutor
) -> list[ScoredQuery]:
    """One turn: all its searches, then all its pairs at once."""
    limits = [
        ranks.last + min(len(query.positives) + len(query.others), _MAX_DEEPER) for query in queries
    ]
    rankings = finder.rankings(queries, limits, pool)
    texts = _stored_texts(queries, finder.index)
    picked = []
    for query, found_first, first_limit in zip(queries, rankings, limits, strict=True):
        ranking, limit = found_first, first_limit
        one = _picked(query, ranking, texts, ranks=ranks)
        # Copies of what is known take places; looking deeper finds what stands behind them.
        while one.is_short and len(ranking) >= limit < _MAX_DEEPER:
            limit *= 2
            (ranking,) = finder.rankings([query], [limit], pool)
            one = _picked(query, ranking, texts, ranks=ranks)
        picked.append(one)
    pairs = [pair for one in picked for pair in one.pairs]
    scores = finder.cross_encoder.score(pairs) if pairs else None
    found, begin = [], 0
    for one in picked:
        end = begin + len(one.pairs)
        logits = [] if scores is None else scores.logits[begin:end].tolist()
        num_truncated = 0 if scores is None else int(scores.truncated[begin:end].sum())
        found.append(one.scored(logits, num_truncated=num_truncated))
        begin = end
    return found


def _stored_texts(queries: Sequence[JudgedQuery], index: SearchIndex) -> Mapping[str, str]:
    """The texts of judged documents that the file names by their ids alone."""
    judged = (one for query in queries for one in (*query.positives, *query.others))
    wanted = list(dict.fromkeys(one.id for one in judged if one.text is None and one.id))
    return {document.id: document.full_text for document in index.get(wanted)}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Picked:
    """One query before it is scored."""

    pairs: tuple[tuple[str, str], ...]
    positives: tuple[int, ...]
    candidates: tuple[tuple[str, int], ...]
    counts: Mapping[str, int]
    is_short: bool

    def scored(self, logits: Sequence[float], *, num_truncated: int) -> ScoredQuery:
        num_positives = len(self.positives)
        return ScoredQuery(
            positives=tuple(zip(self.positives, logits[:num_positives], strict=True)),
            candidates=tuple(
                Considered(id=key, rank=rank, logit=logit)
                for (key, rank), logit in zip(self.candidates, logits[num_positives:], strict=True)
            ),
            num_truncated=num_truncated,
            **self.counts,
        )


def _picked(
    query: JudgedQuery, ranking: Sequence[Document], texts: Mapping[str, str], *, ranks: Ranks
) -> _Picked:
    """The positives that have a text, and the candidates of the wanted ranks that are none of them."""
    known = [(one.id, _text_of(one, texts)) for one in (*query.positives, *query.others)]
    positives = [
        (place, text)
        for place, (_, text) in enumerate(known[: len(query.positives)])
        if text is not None
    ]
    num_missing = len(query.positives) - len(positives)
    counts = {"num_known_ids": 0, "num_known_texts": 0, "num_copies": 0, "num_missing": num_missing}
    known_ids = {key for key, _ in known if key is not None}
    known_texts = {normalised(query.text), *(normalised(text) for _, text in known if text)}
    found: list[Document] = []
    seen: set[str] = set()
    for document in ranking:
        folded = normalised(document.full_text)
        if document.id in known_ids:
            counts["num_known_ids"] += 1
        elif folded in known_texts:
            counts["num_known_texts"] += 1
        elif folded in seen:
            counts["num_copies"] += 1
        elif folded:
            seen.add(folded)
            found.append(document)
    chosen = positives[: ranks.max_positives]
    wanted = found[ranks.first - 1 : ranks.last] if chosen else []
    return _Picked(
        pairs=tuple(
            (query.text, text)
            for text in (*(text for _, text in chosen), *(one.full_text for one in wanted))
        ),
        positives=tuple(place for place, _ in chosen),
        candidates=tuple((one.id, rank) for rank, one in enumerate(wanted, start=ranks.first)),
        counts=counts,
        is_short=bool(chosen) and len(found) < ranks.last,
    )


def _text_of(one: JudgedText, texts: Mapping[str, str]) -> str | None:
    if one.text is not None:
        return one.text
    return texts.get(one.id or "") or None
