"""The second stage of a search: the cross-encoder reads the best candidates, as many as there is time for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol

import numpy as np

from pairscore.engine.preparing import guess_tokens
from pairscore.errors import ScaleError
from pairscore.models.card import Card
from pairscore.retrieval.blending import blended
from pairscore.retrieval.fusion import Fused
from pairscore.retrieval.results import HitScale, SearchHit
from pairscore.road.ranking import check_one_number, least
from pairscore.road.tokenization import Pair
from pairscore.values import Scores, Threshold

__all__ = ["Pace", "Reranker", "TimedReranker", "arranged", "joined_scores", "pairs_of"]

# Pairs of the first call of all, when nobody knows yet how long a pair takes.
_FIRST: Final = 4
# A call is planned to take so much of the time that is left; the last one, when it is little, a bit less than all.
_SHARE: Final = 0.5
_LAST_SHARE: Final = 0.9
# How much the newest measurement counts.
_NEWEST: Final = 0.5


class Reranker(Protocol):
    """Scores pairs; `CrossEncoder` is one."""

    @property
    def card(self) -> Card:
        """What its numbers mean."""
        ...

    @property
    def max_length(self) -> int:
        """Tokens of a pair that it reads."""
        ...

    def score(self, pairs: Iterable[Any]) -> Scores:
        """One score for each pair, in their order."""
        ...


class Pace:
    """How long a cross-encoder takes for a token, as was measured lately; any thread may use it."""

    def __init__(self) -> None:
        self._s_per_token: float | None = None

    def fitting(self, costs: Sequence[int], *, left_s: float) -> int:
        """How many of the next pairs to score at once, so that time is left if they take twice as long as they should.

        Args:
            costs: the tokens of each pair that is left, in order.
            left_s: the seconds that are left.

        Returns:
            0 where not one fits.
        """
        if left_s <= 0:
            return 0
        pace = self._s_per_token
        if pace is None:
            return min(_FIRST, len(costs))
        ends = np.cumsum(costs) * pace
        planned = int(np.searchsorted(ends, left_s * _SHARE, side="right"))
        return planned or int(np.searchsorted(ends, left_s * _LAST_SHARE, side="right"))

    def ran(self, *, num_tokens: int, seconds: float) -> None:
        """So many tokens took so long."""
        measured = seconds / max(num_tokens, 1)
        before = measured if self._s_per_token is None else self._s_per_token
        self._s_per_token = _NEWEST * measured + (1 - _NEWEST) * before

    def doubt(self) -> None:
        """Nothing fitted: one slow moment must not be believed for ever, so that the next search tries again."""
        if self._s_per_token is not None:
            self._s_per_token *= _SHARE


class TimedReranker:
    """A cross-encoder that stops when time is up.

    A call of the model cannot be broken off, so it is asked in several calls, each planned by the pace of those before to
    take at most half of what is left. Without a deadline it is asked once.

    Args:
        reranker: the cross-encoder; it is not closed here.
        clock: seconds.

    Raises:
        SettingError: the model has several labels, and an order needs one number.
    """

    def __init__(
        self, reranker: Reranker, *, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        check_one_number(reranker.card.name, reranker.card.labels)
        self.reranker = reranker
        self._clock = clock
        self._pace = Pace()

    @property
    def name(self) -> str:
        """The model's name."""
        return self.reranker.card.name

    @property
    def scale(self) -> HitScale:
        """What its scores mean."""
        return self.reranker.card.scale

    def score(self, pairs: Sequence[Pair], *, late: float | None) -> Scores | None:
        """The scores of the first pairs, as many as there is time for; None if there is time for none.

        Args:
            pairs: the best candidates first.
            late: when time is up, on the clock; None for never.

        Raises:
            InputError: a text cannot be scored.
            BackendError: the model failed.
        """
        if late is None:
            return self.reranker.score(pairs) if pairs else None
        costs = [guess_tokens([pair], max_length=self.reranker.max_length) for pair in pairs]
        parts: list[Scores] = []
        done = 0
        while done < len(pairs):
            begin = self._clock()
            count = self._pace.fitting(costs[done:], left_s=late - begin)
            if not count:
                break
            parts.append(self.reranker.score(pairs[done : done + count]))
            self._pace.ran(
                num_tokens=sum(costs[done : done + count]), seconds=self._clock() - begin
            )
            done += count
        if pairs and not parts:
            self._pace.doubt()
        return joined_scores(parts) if parts else None


def pairs_of(query: str, candidates: Iterable[Fused]) -> list[Pair]:
    """What the cross-encoder reads of each candidate: its title and its text, behind the query."""
    return [(query, candidate.document.full_text) for candidate in candidates]


def joined_scores(parts: Sequence[Scores]) -> Scores:
    """The scores of several calls of one model as one, in their order; how documents were read in windows is left out."""
    first = parts[0]
    names = ("logits", "scores", "probabilities", "num_tokens", "truncated")
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts]) for name in names
    }
    return replace(first, windows=None, **columns)


def arranged(  # noqa: PLR0913 - what both stages know
    candidates: Sequence[Fused],
    scores: Scores | None,
    *,
    retrieval_scale: HitScale,
    rerank_scale: HitScale | None = None,
    top_k: int | None = None,
    min_score: float | Threshold | None = None,
    blend: float = 0.0,
) -> tuple[SearchHit, ...]:
    """The hits of a search: what was reranked in its new order, behind it the rest in the first stage's.

    Args:
        candidates: the first stage's order.
        scores: of the first so many of them; None if none was reranked.
        retrieval_scale: what the candidates' own scores mean.
        rerank_scale: what the scores mean, or would have meant; None if nothing was to be reranked.
        top_k: how many to give; None gives all.
        min_score: the lowest score, on the cross-encoder's scale where there is one, else on the first stage's. What the
            cross-encoder had no time for is then left out, because nobody knows its score.
        blend: how much the first stage's scores count in the order of what was reranked, as `blended` says.

    Raises:
        ScaleError: `min_score` is on another scale.
    """
    num_reranked = 0 if scores is None else len(scores)
    order = [] if scores is None else _order(candidates[:num_reranked], scores, blend=blend)
    hits = [
        _hit(candidates[place], place, retrieval_scale, scores)
        for place in (*order, *range(num_reranked, len(candidates)))
    ]
    if min_score is not None:
        lowest = _lowest(min_score, rerank_scale or retrieval_scale)
        hits = [
            hit for hit in hits if hit.score >= lowest and (hit.reranked or rerank_scale is None)
        ]
    return tuple(hits[:top_k])


def _order(candidates: Sequence[Fused], scores: Scores, *, blend: float) -> list[int]:
    keys = scores.scores.astype(np.float64)
    if blend:
        first = [candidate.score for candidate in candidates]
        keys = blended(first, scores.logits, blend=blend)
    # Stable: equal scores keep the first stage's order.
    order: list[int] = np.argsort(-keys, kind="stable").tolist()
    return order


def _lowest(min_score: float | Threshold, scale: HitScale) -> float:
    if scale in ("logit", "unit"):
        return least(min_score, scale=scale)
    if isinstance(min_score, Threshold):
        raise ScaleError(
            f"the threshold {min_score.value:g} is on the scale {min_score.scale!r}, and without a cross-encoder these "
            f"scores are on {scale!r}; rerank, or give a plain number on that scale"
        )
    return min_score


def _hit(
    candidate: Fused, place: int, retrieval_scale: HitScale, scores: Scores | None
) -> SearchHit:
    reranked = scores is not None and place < len(scores)
    return SearchHit(
        document=candidate.document,
        score=float(scores.scores[place]) if scores is not None and reranked else candidate.score,
        scale=scores.scale if scores is not None and reranked else retrieval_scale,
        reranked=reranked,
        rank_before=place + 1,
        retrieval_score=candidate.score,
        sources=candidate.sources,
        probability=float(scores.probabilities[place]) if scores is not None and reranked else None,
        truncated=bool(scores.truncated[place]) if scores is not None and reranked else None,
    )
