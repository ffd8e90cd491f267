"""`POST /v1/compare`: both models' numbers side by side, and a bi-encoder that is opened once, late, and closed."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient
from tests.service.asgi import post_scope

from pairscore import BiEncoder
from pairscore.errors import ClosedError, DeadlineError, ModelCorruptError, OverloadError
from pairscore.service import runtime
from pairscore.service.app import create_app
from pairscore.service.comparer import Comparer, cosines_of
from pairscore.service.refusals import Refusal
from pairscore.service.settings import ServiceSettings

Start = Callable[..., TestClient]
ROUTE = "/v1/compare"
PAIRS = [("red fox", "a red fox"), ("red fox", "blue sky"), ("", "red fox")]
LONG = "word " * 2_000
SECRET = "good-good-good-good"
WAIT_S = 20


def body_of(pairs: list[tuple[str, str]] = PAIRS, **more: Any) -> dict[str, Any]:
    """What is posted."""
    return {"pairs": [{"text_a": a, "text_b": b} for a, b in pairs], **more}


@pytest.fixture
def start() -> Iterator[Start]:
    """A service of which neither model has weights."""
    with ExitStack() as stack:

        def make(**settings: Any) -> TestClient:
            app = create_app(ServiceSettings(backend="fake", **settings))
            return stack.enter_context(TestClient(app))

        yield make


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[_Encoder]:
    """Every bi-encoder that the service opens."""
    made: list[_Encoder] = []

    def opening(*args: Any, **options: Any) -> _Encoder:
        made.append(_Encoder(*args, **options))
        return made[-1]

    monkeypatch.setattr(runtime, "BiEncoder", opening)
    return made


class _Encoder(BiEncoder):
    """One that keeps in mind what it was asked, and on which thread."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.texts: Counter[str] = Counter()
        self.threads = {threading.current_thread().name}
        self.num_closed = 0

    def embed(self, texts: Any, **options: Any) -> Any:
        self.texts.update(texts)
        self.threads.add(threading.current_thread().name)
        return super().embed(texts, **options)

    def close(self) -> None:
        self.num_closed += 1
        super().close()


def test_both_models_side_by_side(start: Start) -> None:
    """A result for each pair, in order: the scores of /score/batch, and the cosine of both texts' vectors."""
    client = start()
    response = client.post(ROUTE, json=body_of())
    plain = client.post("/score/batch", json=body_of()).json()
    with BiEncoder("all-minilm-l6", backend="fake") as encoder:
        first, second = (encoder.encode([pair[side] for pair in PAIRS]) for side in (0, 1))
        cosines = encoder.similarity_pairwise(first, second)

    assert response.status_code == 200, response.text
    answer = response.json()
    results = answer.pop("results")
    assert answer == {
        "model": "ms-marco-minilm-l12",
        "bi_encoder": "all-minilm-l6",
        "scale": "logit",
        "usage": answer["usage"],
    }
    assert [result["index"] for result in results] == [0, 1, 2]
    np.testing.assert_allclose([result["cosine"] for result in results], cosines, atol=1e-6)
    for name in ("score", "probability", "truncated"):
        assert [result[name] for result in results] == [result[name] for result in plain]
    assert all(result["logit"] == result["score"] for result in results)
    assert all(set(result) == set(results[0]) for result in results)
    assert response.headers["x-pairscore-model"] == "ms-marco-minilm-l12"
    assert response.headers["x-pairscore-scale"] == "logit"


def test_each_models_cuts_are_told(start: Start) -> None:
    """What the bi-encoder could not read whole is another thing than what the cross-encoder could not."""
    words = "word " * 300
    response = start().post(ROUTE, json=body_of([("a", "b"), ("a", words), (LONG, "b")]))

    results = response.json()["results"]
    assert [result["cosine_truncated"] for result in results] == [False, True, True]
    assert [result["truncated"] for result in results] == [False, False, True]
    assert response.headers["x-pairscore-truncated"] == "1"


def test_a_text_is_encoded_once(start: Start, opened: list[_Encoder]) -> None:
    """However often it comes, on whichever side."""
    client = start()
    assert opened == []
    client.post(ROUTE, json=body_of())

    (encoder,) = opened
    assert encoder.texts == Counter(["red fox", "a red fox", "blue sky", ""])


def test_nothing_runs_on_the_event_loop(start: Start, opened: list[_Encoder]) -> None:
    """Neither the opening nor the encoding."""
    client = start()
    client.post(ROUTE, json=body_of())

    assert client.portal is not None
    loops = client.portal.call(lambda: threading.current_thread().name)
    assert loops not in opened[0].threads
    assert any(name.startswith("pairscore-compare") for name in opened[0].threads)


def test_calls_that_come_first_together_open_once(start: Start, opened: list[_Encoder]) -> None:
    """And it is closed with the service."""
    client = start()
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(client.post, ROUTE, json=body_of()) for _ in range(8)]
        assert {answer.result(WAIT_S).status_code for answer in answers} == {200}

    (encoder,) = opened
    assert encoder.num_closed == 0
    client.__exit__(None, None, None)
    assert encoder.num_closed == 1


def test_a_service_that_never_compares_opens_nothing(start: Start, opened: list[_Encoder]) -> None:
    """The bi-encoder costs no memory until it is asked."""
    client = start()
    client.post("/score", json={"text_a": "a", "text_b": "b"})

    assert client.get("/info").json()["bi_encoder"] == "all-minilm-l6"
    assert opened == []


@pytest.mark.parametrize("value", ["none", "None"])
def test_it_can_be_turned_off(start: Start, problem: Any, value: str) -> None:
    """Then the route says who could turn it on."""
    client = start(compare_encoder=value)

    error = problem(client.post(ROUTE, json=body_of()), 404)
    assert error["type"] == "CompareNotServedError"
    assert "--compare-encoder" in error["message"]
    assert client.get("/info").json()["bi_encoder"] is None


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({}, "BodyError"),
        (body_of([]), "BodyError"),
        (body_of([("a", "b")] * 4), "LimitError"),
        (body_of([("a", "x" * 51)]), "LimitError"),
        ({"pairs": [{"text_a": "a"}]}, "BodyError"),
        (body_of(deadline_ms=-1), "BodyError"),
    ],
)
def test_what_is_refused(start: Start, problem: Any, body: dict[str, Any], kind: str) -> None:
    """As elsewhere, in the one shape of errors."""
    client = start(max_pairs=3, max_chars=50)

    assert problem(client.post(ROUTE, json=body), 422)["type"] == kind


def test_an_unknown_model_is_refused_before_anything_runs(
    start: Start, problem: Any, opened: list[_Encoder]
) -> None:
    """The bi-encoder is not opened for a request that cannot be answered."""
    error = problem(start().post(ROUTE, json=body_of(model="nobody")), 404)

    assert error["type"] == "ModelUnknownError"
    assert opened == []


def test_both_models_tokens_are_charged(start: Start) -> None:
    """What was read, by whichever of them; the answer's usage says the same."""
    client = start(api_keys=f"good={SECRET}")
    headers = {"X-API-Key": SECRET}

    assert client.post(ROUTE, json=body_of()).status_code == 401
    usage = client.post(ROUTE, json=body_of(), headers=headers).json()["usage"]
    alone = client.post(
        "/rerank", json={"query": "red fox", "documents": ["a red fox"]}, headers=headers
    )
    assert usage["total_tokens"] > 3 * 3 + alone.json()["usage"]["total_tokens"]
    total = usage["total_tokens"] + alone.json()["usage"]["total_tokens"]
    assert f'pairscore_key_tokens_total{{key="good"}} {total}.0' in client.get("/metrics").text


def test_a_bi_encoder_that_cannot_be_opened(
    start: Start, problem: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 with the reason and the time to come back, and no path; everything else is served."""
    tries: list[int] = []

    def opening(*_: Any, **__: Any) -> BiEncoder:
        tries.append(1)
        raise ModelCorruptError("/secret/place is broken")

    monkeypatch.setattr(runtime, "BiEncoder", opening)
    client = start()
    for _ in range(3):
        refused = client.post(ROUTE, json=body_of())
        error = problem(refused, 503)
        assert error["type"] == "ModelFailedError"
        assert "its files are damaged" in error["message"]
        assert "/secret" not in refused.text
        assert int(refused.headers["retry-after"]) >= 1

    assert len(tries) == 1
    assert client.post("/score", json={"text_a": "a", "text_b": "b"}).status_code == 200


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """The opening of a bi-encoder waits for it."""
    event = threading.Event()

    def opening(*args: Any, **options: Any) -> BiEncoder:
        event.wait(WAIT_S)
        return BiEncoder(*args, **options)

    monkeypatch.setattr(runtime, "BiEncoder", opening)
    yield event
    event.set()


def test_the_deadline_is_that_of_both_models(
    start: Start, problem: Any, gate: threading.Event
) -> None:
    """An opening that takes longer is answered with 504, and goes on for the next one; probes do not wait for it."""
    client = start()
    error = problem(client.post(ROUTE, json=body_of(deadline_ms=20)), 504)
    header = client.post(ROUTE, json=body_of(), headers={"X-Request-Timeout": "20ms"})

    assert error["type"] == problem(header, 504)["type"] == "DeadlineError"
    assert client.get("/readyz").status_code == 200
    gate.set()
    assert client.post(ROUTE, json=body_of(deadline_ms=60_000)).status_code == 200


def test_a_client_that_goes_away(start: Start, gate: threading.Event) -> None:
    """Its comparison is given up, and counted as what it is."""
    client = start()
    scope = post_scope(ROUTE)
    messages = [
        {"type": "http.disconnect"},
        {"type": "http.request", "body": json.dumps(body_of()).encode(), "more_body": False},
    ]

    async def receive() -> dict[str, Any]:
        return messages.pop()

    async def send(message: Any) -> None:
        pytest.fail(f"an answer to nobody: {message}")

    assert client.portal is not None
    client.portal.call(client.app, scope, receive, send)
    assert not gate.is_set()
    counted = client.get("/metrics").text
    assert f'pairscore_requests_total{{route="{ROUTE}",status="499"}} 1.0' in counted


def _fake() -> BiEncoder:
    return BiEncoder("all-minilm-l6", backend="fake")


class TestComparer:
    """The bi-encoder between its first call and the end of the service."""

    def test_a_deadline_does_not_end_the_opening(self) -> None:
        """Whoever gives up is told; the others find it open, and nothing is opened twice."""
        gate, openings = threading.Event(), []

        def opening() -> BiEncoder:
            openings.append(1)
            gate.wait(WAIT_S)
            return _fake()

        async def main() -> None:
            comparer = Comparer("x", opening)
            with pytest.raises(DeadlineError, match=r"within 0\.01 s"):
                await comparer.cosines(PAIRS, timeout_s=0.01)
            gate.set()
            assert len((await comparer.cosines(PAIRS, timeout_s=WAIT_S)).values) == 3
            assert comparer.is_open
            assert openings == [1]
            await comparer.close()

        asyncio.run(main())

    def test_what_is_opened_during_the_end_is_closed(self) -> None:
        """Nothing is left in memory, and nobody waits for ever."""
        gate, made = threading.Event(), []

        def opening() -> BiEncoder:
            gate.wait(WAIT_S)
            made.append(_Encoder("all-minilm-l6", backend="fake"))
            return made[-1]

        async def main() -> None:
            comparer = Comparer("x", opening)
            waiting = asyncio.ensure_future(comparer.cosines(PAIRS, timeout_s=None))
            await asyncio.sleep(0)
            closing = asyncio.ensure_future(comparer.close())
            await asyncio.sleep(0)
            gate.set()
            await closing
            with pytest.raises(ClosedError):
                await waiting
            with pytest.raises(ClosedError):
                await comparer.cosines(PAIRS, timeout_s=None)
            assert [encoder.num_closed for encoder in made] == [1]
            await comparer.close()

        asyncio.run(main())

    def test_too_many_at_once(self) -> None:
        """One more than may wait is sent away, with a time to come back."""
        gate = threading.Event()

        def opening() -> BiEncoder:
            gate.wait(WAIT_S)
            return _fake()

        async def main() -> None:
            comparer = Comparer("x", opening)
            waiting = [
                asyncio.ensure_future(comparer.cosines(PAIRS, timeout_s=None)) for _ in range(64)
            ]
            await asyncio.sleep(0)
            with pytest.raises(OverloadError) as caught:
                await comparer.cosines(PAIRS, timeout_s=None)
            assert caught.value.retry_after_s > 0
            gate.set()
            assert all(len(one.values) == 3 for one in await asyncio.gather(*waiting))
            await comparer.close()

        asyncio.run(main())

    def test_a_failed_opening_is_tried_again_later(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Not for every request, and not never."""
        errors: list[Exception] = [ModelCorruptError("broken")]

        def opening() -> BiEncoder:
            if errors:
                raise errors.pop()
            return _fake()

        async def main() -> None:
            comparer = Comparer("x", opening)
            for _ in range(2):
                with pytest.raises(Refusal, match="its files are damaged"):
                    await comparer.cosines(PAIRS, timeout_s=None)
            monkeypatch.setattr(comparer, "_retry_at_s", 0.0)
            assert len((await comparer.cosines(PAIRS, timeout_s=None)).values) == 3
            await comparer.close()

        asyncio.run(main())


def test_cosines_lie_within_their_range() -> None:
    """Of equal texts 1, of a text without words a finite number, never above one by rounding."""
    with _fake() as encoder:
        made = cosines_of(encoder, [("red fox", "red fox"), ("", ""), ("a", "b"), ("red", "red")])

    assert np.isfinite(made.values).all()
    assert (np.abs(made.values) <= 1.0).all()
    assert made.values[0] == pytest.approx(1.0)
    assert made.values.dtype == np.float32
    assert made.num_tokens > 0


def test_a_model_with_prompts_reads_both_sides_with_their_own() -> None:
    """The first texts as queries, the second as documents: the same text on both sides has two vectors."""
    with _fake() as encoder:
        queries = encoder.embed(["red fox"], prompt="query: ", normalize_embeddings=True)
        documents = encoder.embed(["red fox"], prompt="passage: ", normalize_embeddings=True)
        prompted = _Prompted(encoder)
        made = cosines_of(prompted, [("red fox", "red fox")])  # type: ignore[arg-type]

    assert made.values[0] == pytest.approx(float((queries.vectors * documents.vectors).sum()))
    assert made.values[0] < 0.999


class _Prompted:
    """A bi-encoder with another card."""

    def __init__(self, encoder: BiEncoder) -> None:
        self.embed = encoder.embed
        self.card = self

    query_prompt = "query: "
    document_prompt = "passage: "
