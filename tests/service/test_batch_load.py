"""`/v1/rerank/batch` where there is too much, too little time, nobody left to read, or an end to the service."""

from __future__ import annotations

import asyncio
import re
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.service.batch_calls import (
    LONG,
    LONGS,
    ROUTE,
    HoldingBackend,
    Reader,
    make_app,
    post,
    query,
)

from pairscore.road.backends.fake import FakeBackend

WAIT_S = 20.0


@pytest.fixture
def gated() -> Any:
    """A model that hangs from when its `gate` is set to this event, until the event is."""
    event = threading.Event()
    yield event
    event.set()


def run(app: Any, main: Callable[[Any], Awaitable[None]]) -> None:
    """A test in a loop of its own, with the service's engine; at the end nothing waits."""

    async def inside() -> None:
        async with app.router.lifespan_context(app):
            engine = app.state.parts.runtime.engine
            async with asyncio.timeout(WAIT_S):
                await main(engine)
            state = engine.state()
            assert (state.num_requests, state.queue_tokens) == (0, 0)

    asyncio.run(inside())


async def until(condition: Callable[[], bool]) -> None:
    """Until it is so."""
    while not condition():
        await asyncio.sleep(0.002)


def kinds(lines: list[dict[str, Any]]) -> dict[int, str]:
    """How each query ended: the kind of its error, or `ok`."""
    told = {line["index"]: line.get("error", {}).get("type", "ok") for line in lines[:-1]}
    return dict(sorted(told.items()))


@pytest.mark.parametrize("status", [429, 503])
def test_a_queue_without_room_for_any_query(status: int) -> None:
    """The call is refused as a single ranking is: with a status, when to come back, and no line."""
    backend = HoldingBackend()
    app = make_app(backend, max_queue_tokens=100, overload_status=status)

    async def main(_: Any) -> None:
        backend.hold()
        other, refused = Reader(app=app), Reader(app=app)
        task = asyncio.create_task(other.post([query("q", *LONGS)]))
        await until(lambda: backend.num_held == 2)
        await refused.post([query("q", LONG + str(i)) for i in range(30)])
        backend.let_go()
        await task

        (body,) = refused.lines
        assert refused.status == status
        assert int(refused.headers[b"retry-after"]) >= 1
        assert body["error"]["type"] == "OverloadError"
        assert "the limit is 100" in body["error"]["message"]
        assert kinds(other.lines) == {0: "ok"}

    run(app, main)


def test_a_queue_with_room_for_some() -> None:
    """What was refused is told in its line, and does not end the rest."""
    backend = HoldingBackend()
    app = make_app(backend, max_queue_tokens=160)

    async def main(_: Any) -> None:
        backend.hold()
        other, reader = Reader(app=app), Reader(app=app)
        task = asyncio.create_task(other.post([query("q", *LONGS)]))
        await until(lambda: backend.num_held == 2)
        await reader.post([query("q", LONG * 2), query("q", "a"), query("q", LONG * 3)])
        backend.let_go()
        await task

        assert reader.status == 200
        assert kinds(reader.lines) == {0: "OverloadError", 1: "ok", 2: "OverloadError"}
        assert reader.lines[-1]["num_failed"] == 2

    run(app, main)


def test_a_call_is_not_refused_for_its_own_load() -> None:
    """A query for which others of the same call leave no room waits for them, whatever they turn out to hold."""
    # Read as one token each, where the guess is four characters a token.
    texts = [chr(0x4E00 + i) * 80 for i in range(20)]
    app = make_app(FakeBackend(delay_s=0.002), max_queue_tokens=100)

    async def main(_: Any) -> None:
        reader = Reader(app=app)
        await reader.post([query("q", text) for text in texts])

        assert set(kinds(reader.lines).values()) == {"ok"}

    run(app, main)


def test_a_query_that_finds_no_room_tries_again() -> None:
    """Beside the load of others there is room for two queries at a time: all are answered, one after the other."""
    backend = HoldingBackend()
    app = make_app(backend, max_queue_tokens=200)

    async def main(engine: Any) -> None:
        backend.hold()
        other, reader = Reader(app=app), Reader(app=app)
        task = asyncio.create_task(other.post([query("q", *LONGS)]))
        await until(lambda: backend.num_held == 2)
        taken = engine.state().queue_tokens
        backend.delay_s = 0.02
        # The guess is 11, so that four come at a time; they have 35.
        texts = [chr(0x4E00 + i) * 31 for i in range(12)]
        await reader.post([query("q", text) for text in texts])
        backend.let_go()
        await task

        assert taken + 2 * 35 < 200 < taken + 2 * 35 + 11
        assert set(kinds(reader.lines).values()) == {"ok"}

    run(app, main)


def test_few_queries_are_under_way_together(gated: threading.Event) -> None:
    """However many there are, a call takes a bounded part of the engine, and all of them get through."""
    backend = FakeBackend()
    app = make_app(backend)

    async def main(engine: Any) -> None:
        backend.gate = gated
        reader = Reader(app=app)
        task = asyncio.create_task(reader.post([query("q", f"d {i}") for i in range(100)]))
        await until(lambda: engine.state().num_requests >= 8)
        await asyncio.sleep(0.05)
        assert engine.state().num_requests == 8
        gated.set()
        await task

        assert set(kinds(reader.lines).values()) == {"ok"}

    run(app, main)


def test_large_queries_come_one_at_a_time(gated: threading.Event) -> None:
    """Their tokens together stay below a part of the queue, and one that is larger is alone."""
    backend = FakeBackend()
    app = make_app(backend, max_queue_tokens=240)

    async def main(engine: Any) -> None:
        backend.gate = gated
        reader = Reader(app=app)
        queries = [query("q", f"{LONG} {i}") for i in range(5)]
        task = asyncio.create_task(reader.post(queries))
        await until(lambda: engine.state().num_requests >= 1)
        await asyncio.sleep(0.05)
        assert engine.state().num_requests == 1
        gated.set()
        await task

        assert set(kinds(reader.lines).values()) == {"ok"}

    run(app, main)


@pytest.mark.parametrize("given", [{"deadline_ms": 60}, {"timeout_s": 0.06}])
def test_no_time_for_any_query(
    make_client: Any, problem: Any, gated: threading.Event, given: dict[str, Any]
) -> None:
    """One deadline for the whole call, also for the queries that had not begun; then 504."""
    backend = FakeBackend()
    limits = {name: value for name, value in given.items() if name == "timeout_s"}
    client = make_client(backend, **limits)
    backend.gate = gated
    body = {"queries": [query("q", f"d {i}") for i in range(50)]}

    response = client.post(ROUTE, json=body if limits else {**body, **given})

    told = problem(response, 504)
    assert told["type"] == "DeadlineError"
    assert "within 0.06 s" in told["message"]
    outcomes = client.app.state.parts.telemetry.exposition("")[0].decode()
    ended = re.findall(r'^pairscore_outcomes_total{.*outcome="\w+"} (\S+)', outcomes, re.MULTILINE)
    assert 0 < sum(map(float, ended)) <= 8


@pytest.mark.parametrize("own", [False, True])
def test_time_for_some_queries(own: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """What was done is answered, the rest is told that time ran out; a query may give itself less."""
    backend = HoldingBackend()
    app = make_app(backend)
    limit = {"deadline_ms": 200}

    async def main(_: Any) -> None:
        backend.hold()
        reader = Reader(app=app)
        queries = [query("q", *LONGS, **(limit if own else {})), query("q", "a")]
        await reader.post(queries, **({} if own else limit))
        backend.let_go()
        await until(lambda: backend.num_held == 0)

        assert kinds(reader.lines) == {0: "DeadlineError", 1: "ok"}
        assert "within 0.2 s" in reader.lines[1]["error"]["message"]

    run(app, main)


def test_a_client_that_goes_away() -> None:
    """All that is left of its call is cancelled: what runs, what waits, and what has not begun."""
    backend = HoldingBackend()
    app = make_app(backend)

    async def main(engine: Any) -> None:
        backend.hold()
        reader = Reader(app=app)

        async def leave(_: Any) -> None:
            await until(lambda: engine.state().num_requests >= 6)
            reader.gone.set()

        reader.on_line = leave
        queries = [query("q", "a"), *(query("q", f"{LONG} {i}") for i in range(200))]
        await reader.post(queries)
        state = engine.state()

        assert (len(reader.lines), state.num_requests, state.waiting_pairs) == (1, 0, 0)
        backend.let_go()
        await until(lambda: engine.state().queue_tokens == 0)
        assert backend.num_runs < 100
        exposed = app.state.parts.telemetry.exposition("")[0].decode()
        assert f'pairscore_requests_total{{route="{ROUTE}",status="200"}} 1.0' in exposed

    run(app, main)


def test_lines_wait_for_a_slow_reader() -> None:
    """While nobody reads, no further query begins, and what is finished is not piled up."""
    app = make_app(FakeBackend())

    async def main(engine: Any) -> None:
        scored = Counter[str]()
        observer = engine._observer
        told = observer.ended
        observer.ended = lambda outcome, **more: (scored.update([outcome]), told(outcome, **more))
        reading = asyncio.Event()
        reader = Reader(app=app, on_line=lambda _: reading.wait())  # type: ignore[arg-type, return-value]
        task = asyncio.create_task(reader.post([query("q", f"d {i}") for i in range(100)]))
        await until(lambda: scored["ok"] >= 8)
        await asyncio.sleep(0.05)
        assert (len(reader.lines), scored["ok"]) == (1, 8)
        reading.set()
        await task

        assert (len(reader.lines), scored["ok"]) == (101, 100)

    run(app, main)


def test_the_end_of_the_service() -> None:
    """What is under way is answered, what had not begun is told to come again, and a new call is refused."""
    backend = HoldingBackend()
    app = make_app(backend, grace_s=10)

    async def main(engine: Any) -> None:
        backend.hold()
        reader, late = Reader(app=app), Reader(app=app)
        task = asyncio.create_task(reader.post([query("q", *LONGS), *[query("q", LONG)] * 20]))
        await until(lambda: backend.num_held == 2 and engine.state().num_requests >= 8)
        draining = asyncio.create_task(app.state.parts.runtime.drain())
        await asyncio.sleep(0.01)
        await late.post([query("q", "d")] * 3)
        backend.let_go()
        await asyncio.gather(task, draining)

        assert late.status == 503
        assert late.lines[0]["error"]["type"] == "ClosedError"
        ended = kinds(reader.lines)
        assert ended[0] == "ok"
        assert Counter(ended.values()) == {"ok": 8, "ClosedError": 13}

    run(app, main)


def test_many_calls_and_nobody_is_lost(make_client: Any) -> None:
    """Calls, and single rankings between them, all end; whoever was let in has all lines."""
    client = make_client(FakeBackend(delay_s=0.001), budget=64)
    queries = [query(f"q {i}", "a b", "c d") for i in range(40)]

    threads = [threading.Thread(target=post, args=(client, queries)) for _ in range(4)]
    for thread in threads:
        thread.start()
    alone = [client.post("/rerank", json=entry).status_code for entry in queries]
    for thread in threads:
        thread.join(WAIT_S)

    assert set(alone) == {200}
    state = client.app.state.parts.runtime.engine.state()
    assert (state.num_requests, state.queue_tokens) == (0, 0)
