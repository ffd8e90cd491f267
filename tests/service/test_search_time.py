"""`/v1/search` when time runs out, the index hangs, or many ask at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

from starlette.testclient import TestClient
from tests.service.searches import ROUTE, found, many
from tests.unit.retrievers import MemoryRetriever

from pairscore.config import RoadConfig
from pairscore.road.backends.fake import FakeBackend
from pairscore.values import Batch, FloatArray

Start = Callable[..., TestClient]


class Slow(FakeBackend):
    """Takes so many seconds for each micro-batch, once it is told."""

    seconds = 0.0

    def run(self, batch: Batch, *, num_threads: int = 1) -> FloatArray:
        time.sleep(self.seconds)
        return super().run(batch, num_threads=num_threads)


def test_what_there_is_no_time_for_stands_behind(start_search: Start) -> None:
    """The slices that were scored in time are kept; the rest has the first stage's order and scale."""
    backend = Slow()
    client = start_search(many(60), backend=backend, config=RoadConfig(budget=128, num_workers=1))
    backend.seconds = 0.05
    answer = found(client, query="fox", mode="dense", top_k=60, deadline_ms=400)

    num = answer["num_reranked"]
    assert 0 < num < 60
    assert answer["partial"]
    hits = answer["results"]
    assert [hit["reranked"] for hit in hits] == [True] * num + [False] * (60 - num)
    assert {hit["scale"] for hit in hits[num:]} == {"cosine"}
    # The best candidates were the ones that were read.
    assert sorted(hit["rank_before"] for hit in hits[:num]) == list(range(1, num + 1))
    assert [hit["rank_before"] for hit in hits[num:]] == list(range(num + 1, 61))
    assert answer["timings"]["total"] < 5000


def test_a_deadline_that_is_over_after_the_first_stage(start_search: Start) -> None:
    """In the body it gives the first stage's order; in the header it limits the whole request."""
    client = start_search(MemoryRetriever(before=lambda _: time.sleep(0.05)))
    answer = found(client, deadline_ms=1)
    late = client.post(ROUTE, json={"query": "fox"}, headers={"X-Request-Timeout": "10ms"})

    assert (answer["num_reranked"], answer["partial"], len(answer["results"])) == (0, True, 5)
    assert answer["model"] == "ms-marco-minilm-l12"
    assert (late.status_code, late.json()["error"]["type"]) == (504, "DeadlineError")


def test_enough_time_is_as_none(start_search: Start) -> None:
    """In slices or at once, the same documents in the same order."""
    client = start_search(many(50), config=RoadConfig(budget=64, num_workers=2), timeout_s=0)
    whole = found(client, query="fox other", top_k=50)
    sliced = found(client, query="fox other", top_k=50, deadline_ms=80_000)

    assert (sliced["results"], sliced["num_reranked"]) == (whole["results"], 50)


def test_the_event_loop_never_waits_for_the_index(start_search: Start) -> None:
    """/health answers while look-ups hang; searches beyond a bound are turned away, not piled up."""
    gate = threading.Event()
    began = threading.Event()

    def hold(_: str) -> None:
        began.set()
        gate.wait(20)

    retriever = MemoryRetriever()
    client = start_search(retriever)
    retriever._before = hold
    with ThreadPoolExecutor(160) as pool:
        asked = [pool.submit(client.post, ROUTE, json={"query": "fox"}) for _ in range(150)]
        assert began.wait(10)
        try:
            assert client.get("/health").status_code == 200
            done, _ = wait(asked, timeout=20, return_when=FIRST_COMPLETED)
            turned_away = done.pop().result()
        finally:
            gate.set()
        statuses = [one.result().status_code for one in asked]

    assert turned_away.status_code == 429
    assert int(turned_away.headers["retry-after"]) >= 1
    assert statuses.count(200) >= 128
    assert set(statuses) == {200, 429}


def test_many_searches_at_once_get_their_own_answers(start_search: Start) -> None:
    """Answers do not cross."""
    client = start_search(many(20))
    words = [f"fox {'other ' * number}" for number in range(20)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda query: found(client, query=query, mode="dense", top_k=1), words)
        )

    assert [answer["results"][0]["id"] for answer in answers] == [
        f"d{number:03}" for number in range(20)
    ]
