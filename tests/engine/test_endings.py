"""No caller waits for ever: each way to end, and that everybody who waits is told."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from typing import Any

import pytest
from tests.engine.asking import PAIRS, PATIENCE_S, ask_many, ends_of

from pairscore.errors import (
    BackendError,
    ClosedError,
    DeadlineError,
    EmptyInputError,
    NonFiniteScoreError,
    OutOfMemoryError,
    OverloadError,
    PairError,
    SettingError,
)
from pairscore.road.backends.fake import FakeBackend


def test_success(run, engine_of, witness) -> None:
    """Every request is answered, in the order of its pairs."""

    async def main() -> None:
        async with engine_of(observer=witness) as engine:
            answers = await asyncio.gather(*ask_many(engine))
            assert all(len(answer.scores) == 2 for answer in answers)
            assert engine.state().num_requests == engine.state().queue_tokens == 0

    run(main())
    assert witness.outcomes == ["ok"] * 5


@pytest.mark.parametrize("error", [BackendError("broken"), RuntimeError("broken"), KeyError("x")])
def test_an_error_in_the_model(run, engine_of, witness, error: Exception) -> None:
    """Everybody gets the model's error, and the engine lives on."""

    async def main() -> None:
        backend = FakeBackend()
        async with engine_of(backend, observer=witness) as engine:
            backend.error = error
            ends = await ends_of(ask_many(engine))
            assert {type(end) for end in ends} == {type(error)}
            backend.error = None
            assert len((await engine.score(PAIRS)).scores) == 6
            assert engine.state().queue_tokens == 0

    run(main())
    assert witness.outcomes == ["error"] * 5 + ["ok"]
    assert witness.replacements == []


def test_a_number_that_is_not_finite(run, engine_of) -> None:
    """NaN ends in an error, never in a score."""

    async def main() -> None:
        backend = FakeBackend()
        async with engine_of(backend) as engine:
            backend.logit = math.nan
            with pytest.raises(NonFiniteScoreError):
                await engine.score(PAIRS)

    run(main())


def test_a_poisonous_pair_harms_only_its_own_request(run, engine_of, gate) -> None:
    """When requests share a micro-batch and one pair gives NaN, the others are answered."""

    async def main() -> None:
        async with engine_of(gate.backend, num_workers=1) as engine:
            token = int(engine.road.encode([("x", "poison")])[0].ids[-2])
            gate.close()
            first = asyncio.create_task(engine.score([("holds", "the worker")]))
            await gate.entered()
            good = asyncio.create_task(engine.score([("q", "water")]))
            bad = asyncio.create_task(engine.score([("q", "poison")]))
            while engine.state().waiting_pairs < 2:
                await asyncio.sleep(0.002)
            gate.backend.poison = token
            gate.open()
            assert len((await good).scores) == 1
            with pytest.raises(NonFiniteScoreError):
                await bad
            await first
            assert (2, 5, 1) in gate.backend.batches

    run(main())


@pytest.mark.parametrize("num_missing", [1, 6])
def test_a_wrong_number_of_logits(run, engine_of, num_missing: int) -> None:
    """A backend that loses a logit is an error, not a shifted score."""

    async def main() -> None:
        backend = FakeBackend()
        async with engine_of(backend) as engine:
            backend.num_missing = num_missing
            with pytest.raises(BackendError, match="logits for"):
                await engine.score(PAIRS)

    run(main())


def test_out_of_memory_splits_down_to_one_pair(run, engine_of, witness) -> None:
    """A micro-batch that does not fit is halved until it does; the answer is complete."""

    async def main() -> None:
        backend = FakeBackend()
        async with engine_of(backend, observer=witness) as engine:
            whole = await engine.score(PAIRS)
            backend.max_tokens = 12
            split = await engine.score(PAIRS)
            assert split.scores.logits.tolist() == whole.scores.logits.tolist()

    run(main())
    assert witness.num_splits >= 3
    assert witness.outcomes == ["ok", "ok"]


def test_out_of_memory_is_remembered(run, engine_of, witness) -> None:
    """The next request of the kind is not tried at the size that failed."""

    async def main() -> None:
        backend = FakeBackend()
        async with engine_of(backend, observer=witness) as engine:
            backend.max_tokens = 12
            await engine.score(PAIRS)
            splits = witness.num_splits
            await engine.score([(a, f"{b} again") for a, b in PAIRS])
            assert witness.num_splits == splits

    run(main())


@pytest.mark.parametrize("raised", [None, MemoryError("bad")])
def test_out_of_memory_on_one_pair(run, engine_of, raised: MemoryError | None) -> None:
    """What does not fit alone is an error for those who wanted it, and for nobody else."""

    async def main() -> None:
        backend = FakeBackend()
        async with engine_of(backend) as engine:
            backend.max_tokens, backend.error = 12, raised
            ends = await ends_of(
                [
                    asyncio.create_task(engine.score([("short", "one")])),
                    asyncio.create_task(engine.score([("long", "word " * 30)])),
                ]
            )
            assert isinstance(ends[1], OutOfMemoryError)
            assert isinstance(ends[0], OutOfMemoryError) == (raised is not None)
            assert engine.state().queue_tokens == 0

    run(main())


def test_cancel_frees_what_has_not_begun(run, engine_of, gate, witness) -> None:
    """A caller that goes away leaves no work behind, but for what another one wants too."""

    async def main() -> None:
        async with engine_of(gate.backend, num_workers=1, budget=8, observer=witness) as engine:
            gate.close()
            running = asyncio.create_task(engine.score([("runs", "now")]))
            await gate.entered()
            leaving = asyncio.create_task(engine.score([*PAIRS, ("both", "want this")]))
            staying = asyncio.create_task(engine.score([("both", "want this")]))
            while engine.state().waiting_pairs < 7:
                await asyncio.sleep(0.002)
            leaving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await leaving
            assert engine.state().waiting_pairs == 1
            runs = gate.backend.num_runs
            gate.open()
            await asyncio.gather(running, staying)
            assert gate.backend.num_runs == runs + 1

    run(main())
    assert sorted(witness.outcomes) == ["cancelled", "ok", "ok"]


def test_cancel_while_it_runs(run, engine_of, gate) -> None:
    """The micro-batch is not interrupted, nobody is told its scores, and nothing is left."""

    async def main() -> None:
        async with engine_of(gate.backend) as engine:
            gate.close()
            task = asyncio.create_task(engine.score(PAIRS))
            await gate.entered()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            gate.open()
            while engine.state().queue_tokens:
                await asyncio.sleep(0.002)
            assert len((await engine.score(PAIRS)).scores) == 6
            # Who went away is forgotten, or a service would grow with every impatient client.
            assert not engine._delivery._waiting

    run(main())


def test_overload_refuses_at_once(run, engine_of, gate, witness) -> None:
    """A full queue says so, with its limit and when to come back; what was admitted is answered."""

    async def main() -> None:
        async with engine_of(gate.backend, max_queue_tokens=60, observer=witness) as engine:
            gate.close()
            admitted = asyncio.create_task(engine.score(PAIRS))
            await gate.entered()
            with pytest.raises(OverloadError, match="the limit is 60") as refused:
                await engine.score([("another", "request " * 20)])
            assert 1.0 <= refused.value.retry_after_s <= 60.0
            gate.open()
            await admitted
            assert len((await engine.score(PAIRS)).scores) == 6

    run(main())
    assert witness.outcomes == ["overload", "ok", "ok"]


def test_a_large_request_may_come_to_an_empty_queue(run, engine_of) -> None:
    """However small the queue, a request that comes alone is answered whole."""

    async def main() -> None:
        async with engine_of(max_queue_tokens=1) as engine:
            assert len((await engine.score([("q", f"d{i}") for i in range(300)])).scores) == 300

    run(main())


def test_what_is_being_tokenized_counts(run, engine_of, gate) -> None:
    """Requests that come together cannot all slip in before the first one is tokenized."""

    async def main() -> None:
        async with engine_of(gate.backend, max_queue_tokens=100) as engine:
            gate.close()
            tasks = [
                asyncio.create_task(engine.score([(f"q{i}", "word " * 60)])) for i in range(50)
            ]
            await gate.entered()
            await asyncio.sleep(0)
            refused = sum(task.done() for task in tasks)
            gate.open()
            ends = await ends_of(tasks)
            assert refused == sum(isinstance(end, OverloadError) for end in ends) >= 47

    run(main())


def test_a_deadline_ends_the_wait(run, engine_of, gate, witness) -> None:
    """At its deadline a request ends, though the model hangs."""

    async def main() -> None:
        async with engine_of(gate.backend, observer=witness) as engine:
            gate.close()
            ends = await ends_of(ask_many(engine, deadline_s=0.05))
            assert {type(end) for end in ends} == {DeadlineError}
            assert "0.05 s" in str(ends[0])
            gate.open()

    run(main())
    assert witness.outcomes == ["deadline"] * 5


def test_work_that_cannot_finish_is_not_started(run, engine_of, gate) -> None:
    """Its turn comes when too little time is left: it is refused then and never run."""

    async def main() -> None:
        backend = gate.backend
        backend.delay_s = 0.1
        async with engine_of(backend, num_workers=1, budget=10) as engine:
            await engine.score([("some", "pairs"), ("to learn", "the speed")])
            runs = backend.num_runs
            begin = time.monotonic()
            with pytest.raises(DeadlineError, match="not started"):
                await engine.score(PAIRS, deadline_s=0.2)
            assert time.monotonic() - begin < 0.2
            assert backend.num_runs == runs

    run(main())


def test_the_configs_deadline_is_the_default(run, engine_of, gate) -> None:
    """A request that brings no deadline gets the engine's."""

    async def main() -> None:
        async with engine_of(gate.backend, timeout_s=0.05) as engine:
            gate.close()
            with pytest.raises(DeadlineError):
                await engine.score(PAIRS)
            gate.open()

    run(main())


def test_shutdown_finishes_what_was_admitted(run, engine_of, gate, witness) -> None:
    """New requests are refused, waiting ones are answered."""

    async def main() -> None:
        async with engine_of(gate.backend, num_workers=1, budget=8, observer=witness) as engine:
            gate.close()
            tasks = ask_many(engine)
            await gate.entered()
            closing = asyncio.create_task(engine.close())
            await asyncio.sleep(0)
            with pytest.raises(ClosedError):
                await engine.score(PAIRS)
            assert not engine.state().running
            gate.open()
            await closing
            assert all(len(task.result().scores) == 2 for task in tasks)

    run(main())
    assert sorted(witness.outcomes) == ["closed"] + ["ok"] * 5


def test_shutdown_ends_what_it_cannot_finish(run, engine_of, gate) -> None:
    """After the grace period whoever still waits is told; a hung model does not keep us."""

    async def main() -> None:
        async with engine_of(gate.backend, grace_s=0.05) as engine:
            gate.close()
            tasks = ask_many(engine)
            await gate.entered()
            closing = asyncio.create_task(engine.close())
            ends = await ends_of(tasks)
            assert {type(end) for end in ends} == {ClosedError}
            gate.open()
            await closing

    run(main())


def test_shutdown_ends_what_is_still_read(run, engine_of, witness) -> None:
    """Texts that are being tokenized, or wait for it, when the grace period is over: told like all others."""
    pairs = [(f"a question {number}", "many words " * 20) for number in range(600)]
    begun, go_on = threading.Event(), threading.Event()

    async def main() -> None:
        async with engine_of(grace_s=0.05, observer=witness) as engine:
            encode = engine.road.encode

            def slowly(*texts: Any, **options: Any) -> Any:
                begun.set()
                assert go_on.wait(PATIENCE_S)
                return encode(*texts, **options)

            engine.road.encode = slowly  # type: ignore[method-assign]
            tasks = [asyncio.create_task(engine.score(pairs)) for _ in range(4)]
            await asyncio.to_thread(begun.wait, PATIENCE_S)
            await engine.close()
            go_on.set()
            assert {type(end) for end in await ends_of(tasks)} == {ClosedError}

    run(main())
    assert witness.outcomes == ["closed"] * 4


def test_a_closed_engine_refuses(run, engine_of) -> None:
    """After the end, and a second close does nothing."""

    async def main() -> None:
        async with engine_of() as engine:
            await engine.close()
            await engine.close()
            with pytest.raises(ClosedError):
                await engine.score(PAIRS)

    run(main())


@pytest.mark.parametrize(
    ("pairs", "error"), [([], EmptyInputError), ([("a",)], PairError), ("ab", PairError)]
)
def test_what_is_no_pair(run, engine_of, witness, pairs: Any, error: type[Exception]) -> None:
    """Wrong input is refused before it is admitted."""

    async def main() -> None:
        async with engine_of(observer=witness) as engine:
            with pytest.raises(error):
                await engine.score(pairs)

    run(main())
    assert witness.outcomes == ["invalid"]


@pytest.mark.parametrize("deadline_s", [0, -1.0, math.nan])
def test_a_deadline_that_makes_no_sense(run, engine_of, deadline_s: float) -> None:
    """Zero, the past and no number."""

    async def main() -> None:
        async with engine_of() as engine:
            with pytest.raises(SettingError, match="deadline_s"):
                await engine.score(PAIRS, deadline_s=deadline_s)

    run(main())
