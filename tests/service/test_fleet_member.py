"""One model of a fleet: who holds it keeps it, who waits for it gets it, and how long a failure is remembered."""

from __future__ import annotations

import asyncio
import math
import time

import pytest

from pairscore.engine.core import Engine
from pairscore.errors import ModelCorruptError, OutOfMemoryError
from pairscore.road.backends.fake import FakeBackend
from pairscore.road.road import open_road
from pairscore.service.fleet_member import Facts, Loaded, Member, reason_of
from pairscore.service.fleet_specs import ModelSpec

FACTS = Facts(
    revision=None,
    sha256="",
    backend="fake",
    scale="logit",
    max_length=512,
    budget=512,
    num_workers=1,
    labels=(),
    calibration=None,
)


def _member() -> Member:
    return Member(ModelSpec(name="a", place=None, names=("a",)), pinned=False)


async def _loaded(backend: FakeBackend) -> Loaded:
    engine = Engine(open_road(backend=backend))
    await engine.start()
    return Loaded(engine.road, engine, facts=FACTS, num_bytes=1, is_ours=True)


def test_who_holds_it_can_still_ask() -> None:
    """Though nobody finds it any more, and its engine has nothing to do; it is freed when the last one lets go."""

    async def main() -> None:
        backend = FakeBackend()
        loaded = await _loaded(backend)
        loaded.hold()
        retiring = asyncio.ensure_future(loaded.retire(grace_s=30))
        await asyncio.sleep(0.05)

        assert len((await loaded.engine.score([("a", "b")])).scores) == 1
        assert not backend.closed
        loaded.release()
        await retiring
        assert backend.closed

    asyncio.run(main())


def test_grace_has_an_end() -> None:
    """Who holds it for longer holds up nothing."""

    async def main() -> None:
        backend = FakeBackend()
        loaded = await _loaded(backend)
        loaded.hold()
        await loaded.retire(grace_s=0.01)
        assert backend.closed

    asyncio.run(main())


def test_who_waits_holds_it_before_it_wakes() -> None:
    """Or others could have it freed in between, again and again; who gave up holds nothing."""

    async def main() -> None:
        member, loaded = _member(), await _loaded(FakeBackend())
        waiting = [asyncio.ensure_future(member.wait(timeout_s=math.inf)) for _ in range(3)]
        with pytest.raises(TimeoutError):
            await member.wait(timeout_s=0.01)
        member.put(loaded)
        assert loaded.num_users == 3

        waiting[0].cancel()
        assert await asyncio.gather(*waiting[1:]) == [loaded, loaded]
        await asyncio.gather(waiting[0], return_exceptions=True)
        assert loaded.num_users == 2
        loaded.release()
        loaded.release()
        await loaded.retire(grace_s=30)

    asyncio.run(main())


def test_a_failure_is_remembered_longer_each_time() -> None:
    """A second, two, four, up to a minute; a load that goes well forgets it."""
    member = _member()
    waits = []
    for _ in range(9):
        member.failed(ModelCorruptError("/secret"))
        assert member.failure is not None
        waits.append(round(member.failure.retry_at_s - time.monotonic()))

    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert member.state == "failed"


@pytest.mark.parametrize(
    "error", [OutOfMemoryError("/x"), ModelCorruptError("/x"), ValueError("/x")]
)
def test_a_reason_holds_no_path(error: Exception) -> None:
    """Whatever was raised."""
    assert reason_of(error)
    assert "/x" not in reason_of(error)
