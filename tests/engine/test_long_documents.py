"""Long documents in the engine: windows are pairs like others, and come back as one score a document."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from pairscore import CrossEncoder
from pairscore.cache.memory import MemoryCache
from pairscore.config import Chunking, Truncation
from pairscore.errors import DeadlineError, OverloadError, TooLongError
from pairscore.road.backends.fake import FakeBackend

LONG = " ".join(f"Item number {i} was a matter of talk in the room." for i in range(120))
NEEDLE = LONG + " In the end they chose titanium. " + LONG
PAIRS = [("they chose titanium", NEEDLE), ("they chose", "short"), ("they chose titanium", NEEDLE)]
CHUNKING = Chunking(window_tokens=100)


def test_the_engine_says_what_the_library_says(run: Any, engine_of: Any) -> None:
    """Scores, spans and counts, also of a pair that stands there twice."""

    async def main() -> Any:
        async with engine_of() as engine:
            return await engine.score(PAIRS, chunking=CHUNKING)

    answer = run(main())
    with CrossEncoder(backend="fake") as model:
        expected = model.score(PAIRS, chunking=CHUNKING)

    np.testing.assert_array_equal(answer.scores.logits, expected.logits)
    np.testing.assert_array_equal(answer.scores.num_tokens, expected.num_tokens)
    for field in ("num_windows", "starts", "ends", "limited"):
        mine, theirs = getattr(answer.scores.windows, field), getattr(expected.windows, field)
        np.testing.assert_array_equal(mine, theirs)
    assert "titanium" in NEEDLE[slice(*answer.scores.windows.span(0))]


def test_windows_come_out_of_the_cache(run: Any, engine_of: Any) -> None:
    """The same document again is not run; another aggregate uses the same windows."""
    backend = FakeBackend()

    async def main() -> Any:
        cache = MemoryCache(max_bytes=1 << 20, ttl_s=60.0)
        async with engine_of(backend, cache=cache) as engine:
            first = await engine.score(PAIRS[:1], chunking=CHUNKING)
            num_runs = backend.num_runs
            again = await engine.score(
                PAIRS[:1], chunking=Chunking(window_tokens=100, aggregate="mean")
            )
            cut = await engine.score(PAIRS[:1])
            return first, again, cut, num_runs, backend.num_runs

    first, again, cut, before, after = run(main())

    assert again.num_cached == int(first.scores.windows.num_windows[0]) > 10
    assert again.scores.logits[0] < first.scores.logits[0]
    # The pair that is cut is another one, and was not known.
    assert after == before + 1
    assert cut.num_cached == 0
    assert cut.scores.windows is None


def test_all_windows_are_counted_at_the_door(run: Any, engine_of: Any, gate: Any) -> None:
    """A document of many windows is refused where a short one would be let in."""

    async def main() -> None:
        async with engine_of(gate.backend, max_queue_tokens=1500) as engine:
            gate.close()
            held = asyncio.create_task(engine.score([("a", "word " * 300)]))
            await asyncio.sleep(0.05)
            with pytest.raises(OverloadError):
                await engine.score(PAIRS[:1], chunking=CHUNKING)
            short = asyncio.create_task(engine.score([("b", "few words")], chunking=CHUNKING))
            await asyncio.sleep(0.05)
            gate.open()
            await asyncio.gather(held, short)

    run(main())


def test_a_deadline_ends_the_windows_too(run: Any, engine_of: Any, gate: Any) -> None:
    """What was not begun is taken out of the queue."""

    async def main() -> int:
        async with engine_of(gate.backend) as engine:
            gate.close()
            with pytest.raises(DeadlineError):
                await engine.score(PAIRS, chunking=CHUNKING, deadline_s=0.1)
            waiting = engine.state().waiting_pairs
            gate.open()
            return waiting

    assert run(main()) == 0


def test_a_strict_request_names_the_pair(run: Any, engine_of: Any) -> None:
    """The position is that in the request, whatever was looked at together."""

    async def main() -> None:
        async with engine_of() as engine:
            with pytest.raises(TooLongError, match="pair 1 is too long"):
                await engine.score(
                    [("q", "short"), ("q", NEEDLE)],
                    truncation=Truncation(strict=True),
                    chunking=Chunking(max_windows=1),
                )

    run(main())
