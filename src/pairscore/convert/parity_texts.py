"""The texts that two models are compared on: our own small set, or a user's pairs grouped by query.

Our own, `texts.jsonl`, was written for this purpose and comes under the package's licence: forty questions of
eight topics in English, each with a few short passages, and with all other passages of its topic as
candidates. Two more candidates of every question join the passages of the whole topic, and so are about as
long as most models read.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from typing import Any, Final

from pairscore.errors import EmptyInputError, SettingError

__all__ = [
    "MIN_DEPTH",
    "Candidates",
    "ParityTexts",
    "cut_to",
    "default_texts",
    "grouped_texts",
]

MIN_DEPTH: Final = 20
"""A limit makes no query's list shorter than this, and leaves queries out instead: of fewer candidates than
that, the ten best are nearly all of them."""

_LONG_GRADE = 1
_FILE = "texts.jsonl"


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidates:
    """One query and the documents that are ranked for it.

    Attributes:
        query: the query.
        documents: its candidates, in the order of the first ranking, where there is one.
        grades: how relevant each of them is, 0 for the unjudged; empty where nothing is judged.
        judged: grades of all judged documents of the query, ranked here or not.
    """

    query: str
    documents: tuple[str, ...]
    grades: tuple[int, ...] = ()
    judged: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ParityTexts:
    """What two models are compared on.

    Attributes:
        name: how the report calls it.
        queries: each query with its candidates.
        note: what a reader must know about the choice; empty for nothing.
        num_available: the pairs that there were before a limit.
    """

    name: str
    queries: tuple[Candidates, ...]
    note: str = ""
    num_available: int = 0

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """All pairs, query by query."""
        return [(item.query, document) for item in self.queries for document in item.documents]

    @property
    def num_pairs(self) -> int:
        """How many pairs there are."""
        return sum(len(item.documents) for item in self.queries)

    @property
    def is_judged(self) -> bool:
        """Whether any query has a relevant document."""
        return any(max(item.judged, default=0) > 0 for item in self.queries)

    @property
    def sha256(self) -> str:
        """Names the very texts, so that two reports can be compared; it gives none of them away."""
        digest = hashlib.sha256()
        for pair in self.pairs:
            digest.update(json.dumps(pair).encode())
        return digest.hexdigest()


def default_texts(*, limit: int | None = None) -> ParityTexts:
    """Our own questions and passages: English, general knowledge, from twenty tokens to about 512 a pair.

    Args:
        limit: the most pairs.
    """
    lines = (resources.files("pairscore.convert") / _FILE).read_text(encoding="utf-8").splitlines()
    entries = [json.loads(line) for line in lines]
    topics: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        topics.setdefault(str(entry["topic"]), []).append(entry)
    queries = tuple(_own(entry, topics[str(entry["topic"])]) for entry in entries)
    whole = ParityTexts(
        name="the package's own texts",
        queries=queries,
        note="English, easy, and graded by whoever wrote them: compare on your own texts before you rely on it",
    )
    return _limited(whole, limit)


def grouped_texts(
    pairs: Iterable[tuple[str, str]], *, name: str, limit: int | None = None
) -> ParityTexts:
    """A user's pairs: those with the same first text are one query's candidates.

    Args:
        pairs: of texts, in any order.
        name: how the report calls them.
        limit: the most pairs.

    Raises:
        EmptyInputError: there is no pair.
        SettingError: the limit is below 1.
    """
    by_query: dict[str, dict[str, None]] = {}
    for query, document in pairs:
        by_query.setdefault(query, {})[document] = None
    if not by_query:
        raise EmptyInputError(f"{name} holds no pair to compare on; give at least one")
    queries = tuple(
        Candidates(query=query, documents=tuple(documents)) for query, documents in by_query.items()
    )
    return _limited(ParityTexts(name=name, queries=queries), limit)


def cut_to(limit: int | None, sizes: Mapping[str, int]) -> dict[str, int]:
    """How many of the first candidates of each query to keep, so that at most `limit` pairs are left.

    All queries are kept as long as each has `MIN_DEPTH` candidates left; then the last queries go.

    Args:
        limit: the most pairs; None keeps all.
        sizes: the candidates of each query.

    Raises:
        SettingError: the limit is below 1.
    """
    if limit is None:
        return dict(sizes)
    if limit < 1:
        raise SettingError(f"limit is {limit}; it must be at least 1 pair, or none for all")
    depth = max(MIN_DEPTH, limit // max(1, len(sizes)))
    depth = _deepest(depth, limit, sizes)
    kept: dict[str, int] = {}
    left = limit
    for name, size in sizes.items():
        count = min(size, depth, left)
        if count:
            kept[name] = count
        left -= count
    return kept


def _deepest(depth: int, limit: int, sizes: Mapping[str, int]) -> int:
    """Queries with few candidates leave room, which the others may use."""
    longest = max(sizes.values(), default=0)
    while depth < longest and sum(min(size, depth + 1) for size in sizes.values()) <= limit:
        depth += 1
    return depth


def _limited(texts: ParityTexts, limit: int | None) -> ParityTexts:
    kept = cut_to(limit, {str(i): len(item.documents) for i, item in enumerate(texts.queries)})
    queries = tuple(_first(texts.queries[int(i)], count) for i, count in kept.items())
    return replace(texts, queries=queries, num_available=texts.num_pairs)


def _first(item: Candidates, count: int) -> Candidates:
    return replace(item, documents=item.documents[:count], grades=item.grades[:count])


def _own(entry: Mapping[str, Any], topic: Sequence[Mapping[str, Any]]) -> Candidates:
    """A question with its own passages, the others of its topic, and two that join them all."""
    others = [
        (str(passage["text"]), 0)
        for other in topic
        if other is not entry
        for passage in other["passages"]
    ]
    own = [(str(passage["text"]), int(passage["grade"])) for passage in entry["passages"]]
    texts = [text for text, _ in own] + [text for text, _ in others]
    half = math.ceil(len(texts) / 2)
    # One that the question's own passages begin, and one in whose middle they stand.
    long = [(" ".join(texts), _LONG_GRADE), (" ".join(texts[half:] + texts[:half]), _LONG_GRADE)]
    # The answers are spread, so that the order of the input is no ranking.
    mixed = sorted(
        [*own, *others, *long], key=lambda item: hashlib.sha256(item[0].encode()).digest()
    )
    grades = tuple(grade for _, grade in mixed)
    return Candidates(
        query=str(entry["query"]),
        documents=tuple(text for text, _ in mixed),
        grades=grades,
        judged=grades,
    )
