"""Workers that die or hang, and the canary: they are replaced, found out, and nobody waits for them."""

from __future__ import annotations

import asyncio

import pytest
from tests.engine.asking import PAIRS, PATIENCE_S, ask_many, ends_of

from pairscore.cache.memory import MemoryCache
from pairscore.errors import BackendError, WorkerError
from pairscore.road.backends.fake import FakeBackend


class Death(BaseException):
    """What no worker survives."""


def test_a_worker_that_dies_is_replaced(run, engine_of, witness, caplog) -> None:
    """Its callers get an error; the next request is answered, by as many workers as before."""

    async def main() -> None:
        backend = FakeBackend()
        async with engine_of(backend, observer=witness) as engine:
            backend.error = Death()
            ends = await ends_of(ask_many(engine, 3))
            assert {type(end) for end in ends} == {WorkerError}
            backend.error = None
            assert len((await engine.score(PAIRS)).scores) == 6
            while engine.state().num_workers < 2:
                await asyncio.sleep(0.002)

    run(main())
    assert set(witness.replacements) == {"died"}
    assert "a worker died" in caplog.text


def test_readiness_waits_for_the_canary_after_a_death(run, engine_of) -> None:
    """Between a death and the next right score nothing is believed; then all is well again."""

    async def main() -> None:
        backend = FakeBackend()
        async with engine_of(backend) as engine:
            assert engine.state().canary_age_s < 30
            backend.error = Death()
            with pytest.raises(WorkerError):
                await engine.score(PAIRS)
            await asyncio.sleep(0)
            while engine.state().canary_age_s < 1e9:
                await asyncio.sleep(0.001)
            backend.error = None
            engine._look_now.set()
            while engine.state().canary_age_s > 30:
                await asyncio.sleep(0.002)

    run(main())


def test_a_worker_that_hangs_is_replaced(run, engine_of, gate, witness) -> None:
    """Its callers get an error after the time a run may take, and another worker goes on."""

    async def main() -> None:
        async with engine_of(gate.backend, run_timeout_s=0.2, observer=witness) as engine:
            gate.close()
            tasks = ask_many(engine, 3)
            await gate.entered()
            gate.backend.gate = None
            ends = await ends_of(tasks)
            assert {type(end) for end in ends} == {WorkerError}
            assert len((await engine.score(PAIRS)).scores) == 6
            # The canary is asked at once, long before its own time comes.
            while engine.state().num_workers < 2 or engine.state().canary_age_s > 30:
                await asyncio.sleep(0.002)
            gate.open()

    run(main())
    assert witness.replacements == ["hung"]


def test_a_hung_worker_that_comes_back_is_not_heard(run, engine_of, gate) -> None:
    """Its late logits reach nobody, not even those who asked for the same pair again."""

    async def main() -> None:
        async with engine_of(gate.backend, run_timeout_s=0.2) as engine:
            gate.close()
            task = asyncio.create_task(engine.score([("same", "pair")]))
            await gate.entered()
            gate.backend.gate = None
            with pytest.raises(WorkerError):
                await task
            again = await engine.score([("same", "pair")])
            gate.backend.logit = 99.0
            gate.open()
            await asyncio.sleep(0.05)
            assert (await engine.score([("same", "pair")])).scores.logits[0] == 99.0
            assert again.scores.logits[0] != 99.0
            assert engine.state().queue_tokens == 0

    run(main())


def test_a_hung_worker_that_comes_back_ends(run, engine_of, gate) -> None:
    """Its place is taken: it runs nothing more, and what it brings late is not kept for anybody."""

    async def main() -> None:
        cache = MemoryCache(max_bytes=1_000_000, ttl_s=60)
        async with engine_of(gate.backend, run_timeout_s=0.2, cache=cache) as engine:
            gate.close()
            task = asyncio.create_task(engine.score([("same", "pair")]))
            await gate.entered()
            (hung,) = (worker.thread for worker in engine._workers._workers if worker.run)
            gate.backend.gate = None
            with pytest.raises(WorkerError):
                await task
            gate.backend.logit = 99.0
            gate.open()
            await asyncio.to_thread(hung.join, PATIENCE_S)
            assert not hung.is_alive()
            gate.backend.logit = None
            # The next answer takes along to the cache what was left for it.
            await engine.score([("other", "pair")])
            await asyncio.sleep(0)
            answer = await engine.score([("same", "pair")])
            assert answer.num_cached == 0
            assert answer.scores.logits[0] != 99.0

    run(main())


def test_a_model_that_cannot_score_ends_the_start(run, engine_of) -> None:
    """The canary is scored before anybody is let in."""

    async def main() -> None:
        with pytest.raises(BackendError, match="broken"):
            async with engine_of(FakeBackend(error=BackendError("broken"))):
                pytest.fail("it started")

    run(main())


def test_a_model_that_changes_its_mind_is_found_out(run, engine_of, caplog) -> None:
    """The canary's score must not change; until it is right again its age grows."""

    async def main() -> None:
        backend = FakeBackend()
        async with engine_of(backend, canary_interval_s=0.02) as engine:
            backend.logit = 1.0
            before = engine.state().canary_age_s
            await asyncio.sleep(0.1)
            assert engine.state().canary_age_s > max(before, 0.05)
            backend.logit = None
            while engine.state().canary_age_s > 0.05:
                await asyncio.sleep(0.002)

    run(main())
    assert "scored the canary" in caplog.text
