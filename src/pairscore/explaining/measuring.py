"""Which pairs an explanation needs scored, round by round, and what their logits say; it runs no model itself.

The whole pair, and the pair without each unit: the difference of their logits is the unit's contribution. Whoever drives
`steps` scores the pairs of each round and sends the scores back. Units are left out of what the model reads, not of the
whole document, so that no later text moves up into the place of an early one.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final, TypeAlias

from pairscore.explaining.reading import Read
from pairscore.explaining.records import Cost, Explanation, Unit, UnitKind
from pairscore.explaining.units import Span, clipped, sentences, without, words
from pairscore.road.tokenization import Pair
from pairscore.values import Scores

__all__ = ["Question", "Round", "Steps", "steps"]

# Characters of all documents without a unit: of a word that has a million of them few can be made.
_MAX_CHARS: Final = 1 << 24
# So far words that are not read are looked for, in what may be millions of characters without one.
_NEAR_CHARS: Final = 1 << 14


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What is to be explained.

    Attributes:
        pair: the pair.
        read: what the model reads of it.
        units: what is left out.
        max_pairs: pairs that may be scored.
        max_round: pairs of one round, for who wants to be told in between; None sets no limit.
    """

    pair: Pair
    read: Read
    units: UnitKind
    max_pairs: int
    max_round: int | None = None

    @property
    def document(self) -> str:
        """The text whose units are left out."""
        return self.pair[1]


@dataclass(frozen=True, kw_only=True, slots=True)
class Round:
    """Pairs to score now.

    Attributes:
        pairs: each once.
        num_planned: of all rounds together, at most; for a progress bar.
    """

    pairs: tuple[Pair, ...]
    num_planned: int


Steps: TypeAlias = Generator[Round, Scores, Explanation]
"""Gives rounds, takes the scores of each, and returns the explanation."""


@dataclass(frozen=True, slots=True)
class _Place:
    """A unit, and what of it is read."""

    span: Span
    read: Span | None


def steps(question: Question) -> Steps:
    """Explain a pair.

    Where all units may be measured they are asked for at once; else the sentences first, and then the words of those
    that count most.
    """
    begin = time.perf_counter()
    ledger = _Ledger(question)
    places = list(_sentences(question))
    read = [place for place in places if place.read is not None]
    num_words = _num_words(question, read, most=ledger.num_left)
    at_once = len(read) + num_words <= ledger.num_left
    limited = False
    if question.units != "words" or not at_once:
        limited = not ledger.ask_all(read)
    if not at_once:
        yield from _scored(ledger, num_planned=question.max_pairs)
        read = ledger.strongest_first(read)
    measured: list[_Place] = []
    if question.units != "sentences":
        limited = not ledger.ask_all(_read_words(question, read), asked=measured) or limited
    yield from _scored(ledger, num_planned=ledger.num_asked)
    unread = islice(_unread_words(question, places), question.max_pairs)
    return ledger.explanation(
        sentences=() if question.units == "words" else places,
        words=sorted((*measured, *unread), key=lambda place: place.span),
        limited=limited,
        elapsed_s=time.perf_counter() - begin,
    )


def _scored(ledger: _Ledger, *, num_planned: int) -> Generator[Round, Scores, None]:
    """Rounds until all that was asked for is known."""
    while ledger.num_open:
        scores = yield ledger.round(num_planned)
        ledger.put(scores)


class _Ledger:
    """The pairs that were asked for, their logits, and the room that is left."""

    def __init__(self, question: Question) -> None:
        self._question = question
        self._whole = question.pair
        self._base = question.read.of(question.pair)
        self._query, self._text = self._base
        self._logits: dict[Pair, float] = {}
        # In the order in which they were asked for, so that the first one of all is the whole pair.
        self._open = dict.fromkeys((self._whole, self._base))
        self._head: Scores | None = None
        self._num_tokens = 0
        self._chars_left = _MAX_CHARS

    @property
    def num_open(self) -> int:
        """Pairs that are asked for and not scored."""
        return len(self._open)

    @property
    def num_asked(self) -> int:
        """Pairs that were scored, or will be in this round."""
        return len(self._logits) + len(self._open)

    @property
    def num_left(self) -> int:
        """Pairs that may still be asked for."""
        return self._question.max_pairs - self.num_asked

    def ask_all(self, places: Iterable[_Place], *, asked: list[_Place] | None = None) -> bool:
        """Ask for the pairs without each of these units; False if there was no room for all.

        Args:
            places: units that are read.
            asked: takes those that there was room for.
        """
        for place in places:
            if self._chars_left < len(self._text):
                return False
            self._chars_left -= len(self._text)
            pair = self._without(place)
            if pair not in self._logits and pair not in self._open:
                if self.num_left <= 0:
                    return False
                self._open[pair] = None
            if asked is not None:
                asked.append(place)
        return True

    def round(self, num_planned: int) -> Round:
        """The pairs that are open, or the first of them."""
        pairs = tuple(islice(self._open, self._question.max_round))
        return Round(pairs=pairs, num_planned=num_planned)

    def put(self, scores: Scores) -> None:
        """The scores of a round."""
        pairs = islice(self._open, len(scores))
        self._logits |= zip(pairs, scores.logits.tolist(), strict=True)
        self._open = dict.fromkeys(pair for pair in self._open if pair not in self._logits)
        self._num_tokens += int(scores.num_tokens.sum())
        if self._head is None:
            self._head = scores

    def strongest_first(self, places: Iterable[_Place]) -> list[_Place]:
        """Those that count most for or against the pair; equal ones, and those not measured, keep their order."""
        return sorted(places, key=lambda place: -abs(self._contribution(place) or 0.0))

    def explanation(
        self,
        *,
        sentences: Iterable[_Place],
        words: Iterable[_Place],
        limited: bool,
        elapsed_s: float,
    ) -> Explanation:
        """What is known now."""
        head = self._head
        if head is None:
            raise AssertionError("an explanation is made of scores")
        read = self._question.read.document
        return Explanation(
            model=head.model,
            scale=head.scale,
            calibration=head.calibration,
            logit=self._logits[self._whole],
            score=float(head.scores[0]),
            probability=float(head.probabilities[0]),
            truncated=bool(head.truncated[0]),
            read=(read.start, read.end),
            sentences=tuple(self._units(sentences)),
            words=tuple(self._units(words)),
            cost=Cost(
                num_pairs=len(self._logits), num_tokens=self._num_tokens, elapsed_s=elapsed_s
            ),
            limited=limited,
        )

    def _units(self, places: Iterable[_Place]) -> Iterator[Unit]:
        """The units that were measured or not read; what there was no room for is left out."""
        for place in places:
            start, end = place.span
            contribution = self._contribution(place)
            if contribution is not None or place.read is None:
                yield Unit(
                    start=start,
                    end=end,
                    text=self._question.document[start:end],
                    contribution=contribution,
                )

    def _contribution(self, place: _Place) -> float | None:
        if place.read is None:
            return None
        logit = self._logits.get(self._without(place))
        return None if logit is None else self._logits[self._base] - logit

    def _without(self, place: _Place) -> Pair:
        """The pair as it is read, without what is read of a unit."""
        if place.read is None:
            raise AssertionError("only what is read can be left out")
        shift = self._question.read.document.start
        local = Span(place.read.start - shift, place.read.end - shift)
        return self._query, without(self._text, local)


def _sentences(question: Question) -> Iterator[_Place]:
    """All that are read, and of those that are not as many as pairs may be scored."""
    read, num_unread = question.read.document, 0
    for span in sentences(question.document):
        part = clipped(span, read)
        num_unread += part is None
        if part is not None or num_unread <= question.max_pairs:
            yield _Place(span, part)
        elif span.start >= read.end:
            return


def _words(question: Question, sentence: _Place, *, before: int) -> Iterator[_Place]:
    for span in words(question.document, sentence.span, before=before):
        yield _Place(span, clipped(span, question.read.document))


def _read_words(question: Question, places: Iterable[_Place]) -> Iterator[_Place]:
    end = question.read.document.end
    for place in places:
        yield from (w for w in _words(question, place, before=end) if w.read is not None)


def _num_words(question: Question, places: Iterable[_Place], *, most: int) -> int:
    """How many words are read, counted no further than one more than `most`; 0 if none are wanted."""
    if question.units == "sentences":
        return 0
    return sum(1 for _ in islice(_read_words(question, places), most + 1))


def _unread_words(question: Question, places: Iterable[_Place]) -> Iterator[_Place]:
    """Those near the beginning of each sentence that is not read whole, or near the cut."""
    if question.units == "sentences":
        return
    read = question.read.document
    for place in places:
        if place.read != place.span:
            near = place.span.start if place.span.start < read.start else read.end
            found = _words(question, place, before=max(near, place.span.start) + _NEAR_CHARS)
            yield from (word for word in found if word.read is None)
