"""What a client is told when there is too much, too little time, or nobody left to tell."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import anyio
import httpx2 as httpx
import pytest
from tests.service.asgi import post_scope

from pairscore.errors import PairscoreError
from pairscore.road.backends.fake import FakeBackend
from pairscore.road.road import open_road
from pairscore.service.app import create_app
from pairscore.service.problems import STATUS
from pairscore.service.refusals import REFUSED
from pairscore.service.settings import ServiceSettings

PAIR = {"text_a": "a", "text_b": "b"}
LONG = {"text_a": "a", "text_b": "word " * 100}


class Gate:
    """A backend that hangs from `close` until `open`."""

    def __init__(self) -> None:
        self.backend = FakeBackend()
        self._event = threading.Event()

    def close(self) -> None:
        """From now on every run hangs."""
        self.backend.gate = self._event

    def open(self) -> None:
        """Let all of them go."""
        self._event.set()

    def wait_for(self, num_runs: int) -> None:
        """Until so many micro-batches are in the model, or have been."""
        end = time.monotonic() + 20
        while self.backend.num_runs < num_runs:
            assert time.monotonic() < end
            time.sleep(0.002)


@pytest.fixture
def gate() -> Any:
    """Open again at the end."""
    made = Gate()
    yield made
    made.open()


@pytest.mark.parametrize("status", [429, 503])
def test_a_full_queue(make_client: Any, problem: Any, gate: Gate, status: int) -> None:
    """More than the queue may hold is refused at once, with when to come back; the code is a setting."""
    client = make_client(gate.backend, max_queue_tokens=50, budget=50, overload_status=status)
    gate.close()
    with ThreadPoolExecutor(1) as pool:
        runs = gate.backend.num_runs
        admitted = pool.submit(client.post, "/score", json=PAIR)
        gate.wait_for(runs + 1)
        refused = client.post("/score", json=LONG)
        live = client.get("/livez")
        gate.open()

        told = problem(refused, status)
        assert told["type"] == "OverloadError"
        assert "the limit is 50" in told["message"]
        assert int(refused.headers["retry-after"]) >= 1
        assert live.status_code == 200
        assert admitted.result(20).status_code == 200


@pytest.mark.parametrize(
    "given",
    [
        {"json": {"deadline_ms": 60}},
        {"headers": {"X-Request-Timeout": "0.06"}},
        {"headers": {"X-Request-Timeout": "60ms"}},
        {"headers": {"X-Request-Timeout": "0.06s"}, "json": {"deadline_ms": 60_000}},
    ],
)
@pytest.mark.parametrize("route", ["/score", "/score/batch", "/rerank"])
def test_a_deadline(make_client: Any, problem: Any, gate: Gate, route: str, given: Any) -> None:
    """In the body or in the header, the shorter one holds; then 504."""
    client = make_client(gate.backend)
    gate.close()
    body = {**PAIR, "pairs": [PAIR], "query": "q", "documents": ["d"], **given.get("json", {})}

    response = client.post(route, json=body, headers=given.get("headers"))
    gate.open()

    told = problem(response, 504)
    assert told["type"] == "DeadlineError"
    assert "0.06 s" in told["message"]


def test_the_settings_deadline(make_client: Any, problem: Any, gate: Gate) -> None:
    """A request that brings none has the service's."""
    client = make_client(gate.backend, timeout_s=0.05)
    gate.close()
    response = client.post("/score", json=PAIR)
    gate.open()

    assert problem(response, 504)["type"] == "DeadlineError"


@pytest.mark.parametrize("value", ["", "soon", "-1", "0", "0ms", "1h", "1e3", "nan", "٣", "1" * 50])
def test_a_timeout_that_is_none(client: Any, problem: Any, value: str) -> None:
    """The header is told what it should be."""
    response = client.post(
        "/score", json=PAIR, headers={"X-Request-Timeout": value.encode("utf-8")}
    )

    told = problem(response, 422)
    assert told["type"] == "HeaderError"
    assert "2500ms" in told["message"]


@pytest.mark.parametrize("value", [0, -5, 1.5, "10", True, 10**12])
def test_a_deadline_that_is_none(client: Any, problem: Any, value: Any) -> None:
    """Milliseconds are a whole number from 1 to a day."""
    assert (
        "deadline_ms"
        in problem(client.post("/score", json={**PAIR, "deadline_ms": value}), 422)["message"]
    )


def test_the_time_is_told(client: Any) -> None:
    """Server-Timing names the parts in milliseconds."""
    value = client.post("/score", json=PAIR).headers["server-timing"]

    names = [part.split(";")[0].strip() for part in value.split(",")]
    assert names == ["tokenize", "queue", "inference", "total"]


def test_a_client_that_goes_away(gate: Gate) -> None:
    """Its waiting work is dropped, it is counted as 499, and the others are answered."""
    app = create_app(
        ServiceSettings(backend="fake", num_workers=1, budget=8),
        road=open_road(backend=gate.backend),
    )

    async def main() -> None:
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://test") as client,
        ):
            gate.close()
            runs = gate.backend.num_runs
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lambda: client.post("/score", json=PAIR))
                while gate.backend.num_runs == runs:
                    await anyio.sleep(0.002)
                await _leave(app, documents=[f"document {i}" for i in range(20)])
                state = app.state.parts.runtime.engine.state()
                assert state.waiting_pairs == 0
                gate.open()
            text = (await client.get("/metrics")).text
            assert 'pairscore_requests_total{route="/rerank",status="499"} 1.0' in text
            assert (
                'pairscore_outcomes_total{model="ms-marco-minilm-l12",outcome="cancelled"} 1.0'
                in text
            )
            assert (await client.post("/score", json=PAIR)).status_code == 200

    anyio.run(main)


async def _leave(app: Any, *, documents: list[str]) -> None:
    """Send a ranking, and go away while it waits."""
    import json

    body = json.dumps({"query": "q", "documents": documents}).encode()
    messages = [{"type": "http.request", "body": body, "more_body": False}]
    waiting = app.state.parts.runtime.engine

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        while waiting.state().waiting_pairs < len(documents):
            await anyio.sleep(0.002)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        pytest.fail(f"an answer to nobody: {message}")

    scope = post_scope("/rerank")
    await app(scope, receive, send)


def test_a_body_that_comes_too_slowly(problem: Any) -> None:
    """After the time that a body may take, 408."""
    app = create_app(ServiceSettings(backend="fake", body_timeout_s=0.1))

    async def main() -> httpx.Response:
        async def slowly() -> Any:
            yield b'{"text_a": '
            await anyio.sleep(5)
            yield b'"a", "text_b": "b"}'

        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t") as client,
        ):
            return await client.post(
                "/score", content=slowly(), headers={"content-type": "application/json"}
            )

    told = problem(anyio.run(main), 408)
    assert told["type"] == "BodyTimeoutError"
    assert "--body-timeout-s" in told["message"]


def test_all_bodies_together_are_bounded(problem: Any) -> None:
    """Many clients that each send a body within the limit cannot fill the memory together."""
    app = create_app(ServiceSettings(backend="fake", max_body_bytes=10_000, max_chars=10_000))
    json_type = {"content-type": "application/json"}

    async def main() -> tuple[httpx.Response, list[int]]:
        sent, rest = 0, anyio.Event()
        statuses: list[int] = []

        async def slowly() -> Any:
            nonlocal sent
            yield b" " * 9_999
            sent += 1
            await rest.wait()
            yield b"x"

        async def ask(client: httpx.AsyncClient) -> None:
            response = await client.post("/score", content=slowly(), headers=json_type)
            statuses.append(response.status_code)

        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t") as client,
        ):
            async with anyio.create_task_group() as tasks:
                for _ in range(8):
                    tasks.start_soon(ask, client)
                while sent < 8:
                    await anyio.sleep(0.002)
                refused = await client.post("/score", content=b" " * 9_999, headers=json_type)
                rest.set()
            assert (await client.post("/score", json=PAIR)).status_code == 200
            return refused, statuses

    refused, statuses = anyio.run(main)
    assert problem(refused, 503)["type"] == "BodiesLimitError"
    assert refused.headers["retry-after"] == "1"
    assert statuses == [422] * 8


def test_shutdown_answers_everybody(gate: Gate) -> None:
    """When the service ends, what was admitted is answered and what comes is refused with 503."""
    app = create_app(
        ServiceSettings(backend="fake", grace_s=10), road=open_road(backend=gate.backend)
    )

    async def main() -> tuple[list[int], httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            async with app.router.lifespan_context(app):
                gate.close()
                runs = gate.backend.num_runs
                statuses: list[int] = []

                async def ask(number: int) -> None:
                    body = {**PAIR, "text_b": f"number {number}"}
                    statuses.append((await client.post("/score", json=body)).status_code)

                async with anyio.create_task_group() as tasks:
                    for number in range(5):
                        tasks.start_soon(ask, number)
                    while gate.backend.num_runs == runs:
                        await anyio.sleep(0.002)
                    tasks.start_soon(app.state.parts.runtime.drain)
                    await anyio.sleep(0.01)
                    refused = await client.post("/score", json=PAIR)
                    ready = await client.get("/readyz")
                    assert ready.json()["checks"]["accepting"] == "shutting down"
                    gate.open()
            return statuses, refused

    statuses, refused = anyio.run(main)
    assert statuses == [200] * 5
    assert refused.status_code == 503
    assert refused.json()["error"]["type"] == "ClosedError"
    assert refused.headers["retry-after"] == "1"


def test_one_table_of_statuses() -> None:
    """Refusals at the door and errors of the tree have different names and 4xx or 5xx."""
    names = {error.__name__ for error in STATUS}

    assert not names & set(REFUSED)
    assert all(400 <= status < 504 for status in REFUSED.values())
    assert issubclass(next(iter(STATUS)), PairscoreError)


def test_many_clients_and_nobody_is_lost(make_client: Any) -> None:
    """Under a flood that overflows the queue each request ends: answered or told to come back."""
    client = make_client(FakeBackend(delay_s=0.002), max_queue_tokens=400, budget=64)
    bodies = [{"query": f"q{i}", "documents": [f"d{i}-{j}" for j in range(10)]} for i in range(60)]
    with ThreadPoolExecutor(16) as pool:
        futures: list[Future[Any]] = [pool.submit(client.post, "/rerank", json=b) for b in bodies]
        statuses = [future.result(30).status_code for future in futures]

    assert set(statuses) <= {200, 429}
    assert statuses.count(200) >= 1
    state = client.app.state.parts.runtime.engine.state()
    assert (state.num_requests, state.queue_tokens) == (0, 0)
