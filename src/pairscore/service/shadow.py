"""`Shadow`: a second model scores a share of the requests after they were answered, so that both can be compared.

Nothing of it reaches a caller. A request is taken only when its answer has left, waits in a queue that drops what does
not fit, is scored when nobody else is served (`shadow_scoring`), and ends as one line of numbers and two metrics. It is
charged to no key. When the service ends, what waits is dropped.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import sys
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any, Final

from pairscore.road.tokenization import Pair
from pairscore.service.fleet import Fleet
from pairscore.service.fleet_member import Facts, Member
from pairscore.service.shadow_compare import Difference, compare
from pairscore.service.shadow_file import LineFile
from pairscore.service.shadow_plan import ShadowPlan
from pairscore.service.shadow_scoring import (
    Dropped,
    Lull,
    Scored,
    Seen,
    outputs_of,
    score,
)
from pairscore.service.shadow_telemetry import ShadowNumbers, ShadowOutcome

__all__ = ["Shadow"]

_log = logging.getLogger("pairscore.service")

_HASH_BYTES: Final = 8
_SHA256_CHARS: Final = 12
_DIGITS: Final = 6


class Shadow:
    """Scores a share of the requests again; its methods belong to one event loop.

    Args:
        plan: which models, and every limit.
        numbers: is told how each request ended.
    """

    def __init__(self, plan: ShadowPlan, *, numbers: ShadowNumbers) -> None:
        self._plan = plan
        self._numbers = numbers
        self._waiting: deque[tuple[Seen, int]] = deque()
        self._num_bytes = 0
        self._arrived = asyncio.Event()
        self._told: set[str] = set()
        self._file: LineFile | None = None
        self._fleet: Fleet | None = None
        self._running: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """The model that scores afterwards."""
        return self._plan.shadow

    def open(self) -> None:
        """Open the file.

        Raises:
            SettingError: it cannot be written.
        """
        if self._plan.file is not None:
            self._file = LineFile(self._plan.file, max_bytes=self._plan.max_file_bytes)

    def start(self, fleet: Fleet) -> None:
        """Begin to take requests."""
        self._fleet = fleet
        self._lull = Lull(fleet, self._plan.timeline)
        self._running = asyncio.get_running_loop().create_task(
            self._run(_member(fleet, self._plan))
        )

    async def close(self) -> None:
        """Drop what waits, stop what runs, so that the shadow's engine has nothing to finish; a second call does nothing."""
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        while self._waiting:
            self._numbers.ended("closed")
            self._take()
        if self._fleet is not None:
            _let_go(_member(self._fleet, self._plan))
        if self._file is not None:
            await asyncio.to_thread(self._file.close)

    def wants(self, request_id: str, *, model: str) -> bool:
        """Whether a request is of the share; always the same for one id, on each replica too.

        Args:
            request_id: as its answer's header has it.
            model: the one that answered.
        """
        if self._running is None or model != self._plan.live:
            return False
        digest = hashlib.blake2b(request_id.encode(), digest_size=_HASH_BYTES).digest()
        return int.from_bytes(digest) < self._plan.share * 256**_HASH_BYTES

    async def offer(self, seen: Seen) -> None:
        """Take a request whose answer has left, if there is room; never waits."""
        if self._running is None:
            self._numbers.ended("closed")
            return
        self._lull.served()
        num_bytes = _num_bytes(seen.pairs)
        plan = self._plan
        if len(self._waiting) >= plan.max_requests or self._num_bytes + num_bytes > plan.max_bytes:
            self._numbers.ended("full")
            return
        self._waiting.append((seen, num_bytes))
        self._num_bytes += num_bytes
        self._arrived.set()

    def _take(self) -> None:
        _, num_bytes = self._waiting.popleft()
        self._num_bytes -= num_bytes

    async def _run(self, member: Member) -> None:
        while True:
            await self._arrived.wait()
            while self._waiting:
                outcome = await self._outcome(self._waiting[0][0], member)
                # Only now, so that its texts count as long as they are in memory.
                self._take()
                self._numbers.ended(outcome)
            self._arrived.clear()

    async def _outcome(self, seen: Seen, member: Member) -> ShadowOutcome:
        try:
            scored = await score(seen, member=member, lull=self._lull, timeline=self._plan.timeline)
            difference = compare(
                outputs_of(seen.answer), scored.outputs, is_ranking=seen.is_ranking
            )
            self._numbers.differed(difference.logit_difference_mean)
            if self._file is not None and self._file.is_open:
                line = _line(self._plan, seen, scored, difference)
                await asyncio.to_thread(self._file.write, line)
        except Dropped as dropped:
            self._tell(dropped.outcome, "a request was not compared with the shadow")
            return dropped.outcome
        # The shadow's door: whatever is wrong with it, requests are answered.
        except Exception as error:  # noqa: BLE001
            self._tell(type(error).__name__, "the shadow could not score a request")
            return "failed"
        return "ok"

    def _tell(self, kind: str, what: str) -> None:
        """Warn once of each kind, without the error's own words, which may hold texts."""
        if kind not in self._told:
            self._told.add(kind)
            _log.warning(
                "%s (%s): %s; further ones are only counted", what, self._plan.shadow, kind
            )


def _member(fleet: Fleet, plan: ShadowPlan) -> Member:
    return next(member for member in fleet.members if member.name == plan.shadow)


def _let_go(member: Member) -> None:
    """Wait for nothing at its end that no request waits for: a canary of a model that hangs."""
    loaded = member.loaded
    if loaded is not None and not loaded.num_users:
        loaded.engine.config = replace(loaded.engine.config, grace_s=0.0)


def _num_bytes(pairs: Iterable[Pair]) -> int:
    """What the texts take in memory; one that stands in many pairs is there once."""
    return sum({id(text): sys.getsizeof(text) for pair in pairs for text in pair}.values())


def _line(
    plan: ShadowPlan, seen: Seen, scored: Scored, difference: Difference
) -> Mapping[str, Any]:
    answer = seen.answer
    return {
        "time": datetime.fromtimestamp(seen.answered_s, UTC).isoformat(timespec="milliseconds"),
        "request_id": seen.request_id,
        "route": seen.route,
        "num_pairs": len(answer.scores),
        "num_cached": answer.num_cached,
        "model": plan.live,
        **_of_weights("", seen.facts),
        "shadow": plan.shadow,
        **_of_weights("shadow_", scored.facts),
        **{name: _rounded(value) for name, value in asdict(difference).items()},
        "milliseconds": round(answer.timing.total_s * 1000, 1),
        "shadow_milliseconds": round(scored.milliseconds, 1),
    }


def _of_weights(prefix: str, facts: Facts | None) -> Mapping[str, str | None]:
    """Which weights they were: a reload keeps the name."""
    return {
        f"{prefix}revision": None if facts is None else facts.revision,
        f"{prefix}sha256": None if facts is None else facts.sha256[:_SHA256_CHARS],
    }


def _rounded(value: Any) -> Any:
    return round(value, _DIGITS) if isinstance(value, float) else value
