"""One request scored by the shadow: in lulls only, a micro-batch at a time, and never so that a model is kept or loaded for it.

The shadow's engine has a queue of its own, so what harms an answer is only what runs while it is made. Nothing is begun
until nobody was served for a while, and what is begun is one micro-batch: it is all that a request which comes then
can meet.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from pairscore.config import Chunking, Truncation
from pairscore.engine.preparing import guess_tokens
from pairscore.engine.records import Answer, EngineState
from pairscore.errors import DeadlineError
from pairscore.road.tokenization import Pair
from pairscore.service.fleet import Fleet
from pairscore.service.fleet_member import Facts, Loaded, Member
from pairscore.service.shadow_compare import Outputs
from pairscore.service.shadow_plan import Timeline
from pairscore.service.shadow_telemetry import ShadowOutcome

__all__ = ["PRIORITY", "Dropped", "Lull", "Scored", "Seen", "outputs_of", "score"]

PRIORITY: Final = 1_000_000
"""After everybody who asks for this model by its name."""

# Others that may be served meanwhile, for each so many workers: on a small machine nobody.
_WORKERS_AN_ANSWER: Final = 8
_MS: Final = 1000.0


class Dropped(Exception):  # noqa: N818 - no error: it is how most requests end on a busy server
    """A request is not compared.

    Args:
        outcome: why.
    """

    def __init__(self, outcome: ShadowOutcome) -> None:
        super().__init__(outcome)
        self.outcome: ShadowOutcome = outcome


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """A request that was answered, and is to be scored again.

    Attributes:
        request_id: as its answer's header has it.
        route: the template of its route.
        pairs: what was scored.
        answer: what was found.
        facts: of the model that answered.
        is_ranking: whether documents were put in order.
        truncation: how the texts were cut.
        chunking: how long documents were read in windows; None if they were cut.
        answered_s: when it was answered, in seconds since 1970.
        begun_s: the same on the monotonic clock.
    """

    request_id: str
    route: str
    pairs: Sequence[Pair]
    answer: Answer
    facts: Facts | None
    is_ranking: bool
    truncation: Truncation
    chunking: Chunking | None
    answered_s: float = field(default_factory=time.time)
    begun_s: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """What the shadow made of a request.

    Attributes:
        outputs: in the order of the pairs.
        milliseconds: that its micro-batches took, one after the other.
        facts: of the shadow.
    """

    outputs: Outputs
    milliseconds: float
    facts: Facts


class Lull:
    """Whether nobody has been served for a while.

    Args:
        fleet: whose engines are asked.
        timeline: how long a while is.
    """

    def __init__(self, fleet: Fleet, timeline: Timeline) -> None:
        self._fleet = fleet
        self._timeline = timeline
        self._served_s = time.monotonic()

    def served(self) -> None:
        """Somebody was served just now."""
        self._served_s = time.monotonic()

    def look(self, *, num_own: int = 0) -> None:
        """Look whether somebody is.

        Args:
            num_own: requests under way that are the shadow's own.
        """
        states = [one.loaded.engine.state() for one in self._fleet.members if one.loaded]
        if _is_crowded(states, num_own=num_own, num_workers=_num_workers(self._fleet)):
            self.served()

    async def wait(self, *, until_s: float) -> None:
        """Until nobody has been served for a while.

        Raises:
            Dropped: that was not so before time was up.
        """
        while True:
            self.look()
            now = time.monotonic()
            if now >= until_s:
                raise Dropped("busy")
            if now - self._served_s >= self._timeline.lull_s:
                return
            await asyncio.sleep(self._timeline.look_s)


async def score(seen: Seen, *, member: Member, lull: Lull, timeline: Timeline) -> Scored:
    """Score the pairs of a request with the shadow.

    Raises:
        Dropped: it is not in memory or leaves it, it has other labels, there was no lull, or time was up.
        PairscoreError: it failed.
    """
    until_s = seen.begun_s + timeline.max_age_s
    loaded = _loaded(member)
    if loaded.facts.labels != seen.answer.scores.labels:
        raise Dropped("unlike")
    answers = []
    for pairs in _slices(seen.pairs, loaded.facts):
        await lull.wait(until_s=until_s)
        # Halves of two models cannot be compared with anything.
        _stays(member, loaded)
        answers.append(await _slice(pairs, seen, member=member, lull=lull, timeline=timeline))
    return Scored(
        outputs=_joined(answers),
        milliseconds=sum(answer.timing.total_s for answer in answers) * _MS,
        facts=loaded.facts,
    )


async def _slice(
    pairs: Sequence[Pair], seen: Seen, *, member: Member, lull: Lull, timeline: Timeline
) -> Answer:
    loaded = _loaded(member)
    # Neither held nor touched as a request would: then it would look used, and stay while others leave.
    scoring = asyncio.ensure_future(
        loaded.engine.score(
            pairs,
            deadline_s=max(seen.begun_s + timeline.max_age_s - time.monotonic(), timeline.look_s),
            priority=PRIORITY,
            truncation=seen.truncation,
            chunking=seen.chunking,
        )
    )
    try:
        while not scoring.done():
            await asyncio.wait({scoring}, timeout=timeline.look_s)
            lull.look(num_own=0 if scoring.done() else 1)
            # Whoever unloads it, or makes room for another model, waits for those who use it.
            _stays(member, loaded)
        return scoring.result()
    except DeadlineError:
        raise Dropped("late") from None
    finally:
        scoring.cancel()
        await asyncio.gather(scoring, return_exceptions=True)


def outputs_of(answer: Answer) -> Outputs:
    """What a model put out, as it is compared."""
    scores = answer.scores
    return Outputs(
        logits=scores.logits, scores=scores.scores, scale=scores.scale, labels=scores.labels
    )


def _loaded(member: Member) -> Loaded:
    if member.loaded is None:
        raise Dropped("unloaded")
    return member.loaded


def _stays(member: Member, loaded: Loaded) -> None:
    if member.loaded is not loaded:
        raise Dropped("unloaded")


def _is_crowded(states: Sequence[EngineState], *, num_own: int, num_workers: int) -> bool:
    others = sum(state.num_requests for state in states) - num_own
    if others <= 0:
        return False
    waiting = any(state.waiting_pairs for state in states)
    return waiting or others * _WORKERS_AN_ANSWER > num_workers


def _num_workers(fleet: Fleet) -> int:
    loaded = fleet.default.loaded
    return 0 if loaded is None else loaded.facts.num_workers


def _slices(pairs: Sequence[Pair], facts: Facts) -> Iterator[Sequence[Pair]]:
    """Pairs in their order, as many at a time as make about one micro-batch."""
    begin, longest = 0, 0
    for end, pair in enumerate(pairs):
        num_tokens = guess_tokens([pair], max_length=facts.max_length)
        grown = max(longest, num_tokens)
        if end > begin and grown * (end - begin + 1) > facts.budget:
            yield pairs[begin:end]
            begin, grown = end, num_tokens
        longest = grown
    yield pairs[begin:]


def _joined(answers: Sequence[Answer]) -> Outputs:
    parts = [outputs_of(answer) for answer in answers]
    return Outputs(
        logits=np.concatenate([part.logits for part in parts]),
        scores=np.concatenate([part.scores for part in parts]),
        scale=parts[0].scale,
        labels=parts[0].labels,
    )
