"""The bench itself: its client, its loads, its texts, its processes. No model is loaded.

Run it with::

    python -m pytest -o pythonpath=benchmarks benchmarks/serve
"""

# As in the tests of the package:
# ruff: noqa: ANN001, ANN003, ANN201, ANN202, ASYNC251, D103, PLR2004, S101

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from serve.cells import percentile
from serve.client import HOST, Connection, encode_request
from serve.load import Generator, Job
from serve.servers import Server, Spec, Watch
from serve.traffic import Request, Row, Texts, Wire
from workers import PeerError

TEXTS = Texts(
    ("q0", "q1", "q2"),
    tuple(tuple(f"d{number}-{place}" for place in range(5)) for number in range(3)),
)
REQUEST = Request("q", ("a", "b"))
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Answer = Callable[[str, bytes], Awaitable[tuple[int, bytes]]]


@pytest.fixture
def texts_file(tmp_path):
    return str(TEXTS.write(tmp_path / "texts.json"))


@contextmanager
def listening(talk: Talk):
    """A server on a loop and a thread of its own, so that it may block without blocking who asks."""
    started, port, end, tasks = threading.Event(), [0], asyncio.Event(), set()

    async def handle(reader, writer):
        tasks.add(asyncio.current_task())
        try:
            await talk(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def main():
        async with await asyncio.start_server(handle, HOST, 0) as server:
            port[0] = server.sockets[0].getsockname()[1]
            started.set()
            await end.wait()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_until_complete, args=(main(),))
    thread.start()
    started.wait(10)
    try:
        yield port[0]
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join(10)
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


def serving(answer: Answer):
    """The same for HTTP: `answer` gets a path and a body and gives a status and a body."""

    async def talk(reader, writer):
        while head := await reader.readuntil(b"\r\n\r\n"):
            _, _, length = head.lower().partition(b"content-length: ")
            body = await reader.readexactly(int(length.split(b"\r\n")[0])) if length else b""
            writer.write(reply(*await answer(head.split()[1].decode(), body)))

    return listening(talk)


def reply(status: int, content: bytes) -> bytes:
    return b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%s" % (status, len(content), content)


def scores(body: bytes) -> bytes:
    found = [{"corpus_id": i, "score": 1.0} for i in range(len(json.loads(body)["documents"]))]
    return json.dumps({"results": found}).encode()


def job(port: int, texts: str, **given) -> Job:
    return Job(port=port, wire=Wire("rerank"), texts=texts, num_documents=2, **given)


def exchange(pieces: list[bytes], *, times: int = 1, timeout_s: float = 5.0):
    """Ask a server that answers each request with these pieces, and closes where a piece is empty."""
    opened = 0

    async def talk(reader, writer):
        nonlocal opened
        opened += 1
        while await reader.readuntil(b"\r\n\r\n"):
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(0.01)
                if not piece:
                    return

    async def ask(port: int):
        connection, request = Connection(port), encode_request("GET", "/")
        try:
            return [await connection.send(request, timeout_s=timeout_s) for _ in range(times)]
        finally:
            connection.close()

    with listening(talk) as port:
        return asyncio.run(ask(port)), opened


def test_connection_is_kept_and_answers_may_come_in_pieces():
    """Two answers over one connection, each in two packets."""
    replies, opened = exchange([reply(200, b"ab")[:-1], b"b"], times=2)

    assert [(found.status, found.body) for found in replies] == [(200, b"ab")] * 2
    assert opened == 1


def test_chunked_answers_are_read():
    """Servers that do not know the length beforehand send chunks."""
    content = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    replies, _ = exchange([content])

    assert replies[0].body == b"abc"
    assert replies[0].headers == {b"transfer-encoding": b"chunked"}


def test_a_closed_connection_is_opened_again():
    """A server that says that it closes is asked over a new connection, and no answer is lost."""
    content = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\na"
    replies, opened = exchange([content, b""], times=3)

    assert [found.body for found in replies] == [b"a"] * 3
    assert opened == 3


@pytest.mark.parametrize(
    "piece", [b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab", b"not HTTP\r\n\r\n"]
)
def test_a_broken_answer_is_an_error(piece):
    """Half an answer, or something else, ends the wait at once."""
    with pytest.raises(ConnectionError):
        exchange([piece, b""])


def test_an_answer_that_does_not_come_ends_in_a_timeout():
    """Nobody waits for ever."""
    with pytest.raises(TimeoutError):
        exchange([b"HTTP/1.1 200 OK\r\n"], timeout_s=0.1)


def test_no_pair_comes_twice_before_every_query_met_every_document():
    """A cache of scores cannot help, whatever the size of the requests."""
    for size, in_a_turn in ((1, 15), (2, 6), (5, 3)):
        row = Row(TEXTS, size)
        met = Counter(pair for place in range(3 * len(row)) for pair in row.at(place).pairs)

        assert len(row) == in_a_turn
        assert set(met.values()) == {1}
        assert row.at(0) == row.at(3 * len(row))


def test_short_texts_keep_some_whole():
    """Of each list, the first of every so many is left as it is."""
    texts = Texts(("q",), (("a b c", "d e f", "g h i"),)).shortened(words=1, whole_each=2)

    assert texts.documents == (("a b c", "d", "g h i"),)


@pytest.mark.parametrize(
    ("wire", "answer"),
    [
        (Wire("rerank"), {"results": [{"index": 1, "relevance_score": 2.0}, {"index": 0, "relevance_score": 1.0}]}),
        (Wire("rerank"), {"results": [{"corpus_id": 1, "score": 2.0}, {"corpus_id": 0, "score": 1.0}]}),
        (Wire("batch"), [{"score": 1.0}, {"score": 2.0}]),
    ],
)  # fmt: skip
def test_scores_are_read_in_the_order_of_the_documents(wire, answer):
    """Rankings are turned back."""
    assert wire.scores(json.dumps(answer).encode()) == [1.0, 2.0]


def test_bodies_are_what_each_server_wants():
    """A query with documents, a list of pairs, one pair."""
    pairs = [{"text_a": "q", "text_b": "a"}, {"text_a": "q", "text_b": "b"}]
    reranked = {"query": "q", "documents": ["a", "b"], "return_documents": False}

    assert json.loads(Wire("rerank").body(REQUEST)) == reranked
    assert json.loads(Wire("rerank", model="m").body(REQUEST)) == reranked | {
        "model": "m",
        "raw_scores": True,
    }
    assert json.loads(Wire("batch").body(REQUEST)) == {"pairs": pairs}
    assert json.loads(Wire("score").body(REQUEST)) == pairs[0]


def test_closed_loop_keeps_so_many_requests_under_way(texts_file):
    """Each client waits for its answer; all places are sent, each once."""
    under_way, most, seen = 0, 0, []

    async def answer(_, body):
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.01)
        under_way -= 1
        seen.append(tuple(json.loads(body)["documents"]))
        return 200, scores(body)

    with serving(answer) as port:
        given = job(port, texts_file, num_clients=3, max_requests=6, first=6)
        outcome = asyncio.run(Generator(given).run())

    assert (len(outcome.latencies), outcome.num_sent, outcome.errors) == (6, 6, {})
    assert most == 3
    assert sorted(seen) == sorted(Row(TEXTS, 2).at(place).documents for place in range(6, 12))


def test_failures_are_counted_apart(texts_file):
    """A refusal and an answer without all scores are no latencies."""
    count = 0

    async def answer(_, body):
        nonlocal count
        count += 1
        return (429, b"{}") if count == 1 else (200, b"{}" if count == 2 else scores(body))

    with serving(answer) as port:
        given = job(port, texts_file, num_clients=1, max_requests=4)
        outcome = asyncio.run(Generator(given).run())

    assert outcome.errors == {"429": 1, "too few scores": 1}
    assert len(outcome.latencies) == 2


def test_a_server_that_is_gone_is_counted_as_well(texts_file):
    """The load goes on and tells how many were refused; it neither ends in an error nor spins."""
    with serving(lambda *_: None) as port:
        pass
    given = job(port, texts_file, rate=50.0, seconds=0.3)
    outcome = asyncio.run(Generator(given).run())

    assert outcome.num_sent == sum(outcome.errors.values()) > 0
    assert not outcome.latencies


def test_open_loop_times_from_when_a_request_was_due(texts_file):
    """A server that is too slow does not slow the arrivals, and the wait in its queue is counted."""

    async def answer(_, body):
        time.sleep(0.05)
        return 200, scores(body)

    with serving(answer) as port:
        given = job(port, texts_file, rate=60.0, seconds=0.6, seed=3)
        outcome = asyncio.run(Generator(given).run())

    # Twenty a second are answered, about sixty a second come: the last one waits longer than it was sent.
    assert outcome.num_sent == len(outcome.latencies) > 20
    assert max(outcome.latencies) > 0.5
    assert outcome.seconds > 0.05 * outcome.num_sent


def test_open_loop_counts_what_the_generator_itself_is_late(texts_file):
    """A request that is sent late because its sender was busy has waited since it was due."""

    async def answer(_, body):
        return 200, scores(body)

    async def busy():
        await asyncio.sleep(0.1)
        time.sleep(0.3)

    async def both(given: Job):
        return (await asyncio.gather(Generator(given).run(), busy()))[0]

    with serving(answer) as port:
        outcome = asyncio.run(both(job(port, texts_file, rate=50.0, seconds=0.5)))

    assert sum(value > 0.1 for value in outcome.latencies) >= 3


def test_prober_sees_a_blocked_server_for_as_long_as_it_is_blocked(texts_file):
    """Every probe that was due meanwhile counts with its own wait, not just the one that was under way."""

    async def answer(path, body):
        if path == "/health":
            return 200, b"{}"
        time.sleep(0.5)
        return 200, scores(body)

    with serving(answer) as port:
        given = job(port, texts_file, num_clients=1, max_requests=2, health="/health")
        outcome = asyncio.run(Generator(given).run())

    assert len(outcome.probes) >= 8
    assert sum(value > 0.2 for value in outcome.probes) >= 4
    assert outcome.probe_errors == 0


def test_percentile_is_a_value_that_was_seen():
    """The smallest value that so many do not exceed."""
    values = [1.0, 2.0, 3.0, 4.0]

    assert [percentile(values, share) for share in (0.5, 0.75, 0.99, 1.0)] == [2.0, 3.0, 4.0, 4.0]
    assert percentile([7.0], 0.01) == 7.0


_TWO_PROCESSES = """
import http.server, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def spec_of(code: str, tmp_path: Path) -> Spec:
    return Spec(
        name="test",
        python=Path(sys.executable),
        command=lambda port: [sys.executable, "-c", code, str(port)],
        wire=lambda _: Wire("rerank"),
        scores_wire=Wire("rerank"),
        health=("/livez", "/health"),
        folder=tmp_path,
        # Two tests at once must not write one file.
        logs=tmp_path,
    )


def test_a_server_ends_with_what_it_started(tmp_path):
    """The whole process group is gone; the health route is the first that exists."""
    with Server(spec_of(_TWO_PROCESSES, tmp_path)) as server:
        with Watch(server.pid) as watch:
            children = psutil.Process(server.pid).children()
        assert server.health == "/health"
        assert len(children) == 1
    gone, alive = psutil.wait_procs(children, timeout=10)

    assert not psutil.pid_exists(server.pid)
    assert (len(gone), alive) == (1, [])
    assert watch.usage.rss_mb > 10


def test_a_server_that_ends_tells_why(tmp_path):
    """What it printed last is in the message."""
    with pytest.raises(PeerError, match=r"test ended with 1: .*no model here"):
        Server(spec_of("raise SystemExit('no model here')", tmp_path))
