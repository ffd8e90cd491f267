"""`/v1/explain`: what it says, what it refuses, and that it counts, ends and is charged as every route that scores."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import httpx2 as httpx
import pytest
from starlette.testclient import TestClient
from tests.labelled import labelled_folder
from tests.service.access.guarded import SECRET, sha256_of
from tests.service.asgi import post_scope

from pairscore import CrossEncoder
from pairscore.road.backends.fake import FakeBackend
from pairscore.road.road import open_road
from pairscore.service.app import create_app
from pairscore.service.settings import ServiceSettings

Make = Callable[..., TestClient]

ROUTE = "/v1/explain"
QUERY = "red fox"
DOCUMENT = "The red fox runs. Hens sleep."
BODY = {"text_a": QUERY, "text_b": DOCUMENT}


def told(client: TestClient, **more: Any) -> dict[str, Any]:
    """The explanation of the pair."""
    response = client.post(ROUTE, json={**BODY, **more})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def test_all_that_is_known(client: TestClient) -> None:
    """Score, units with places, cost; and the headers of every route that scores."""
    response = client.post(ROUTE, json=BODY)
    answer = response.json()
    score = client.post("/score", json=BODY).json()

    assert response.headers["x-pairscore-model"] == answer["model"] == "ms-marco-minilm-l12"
    assert response.headers["x-pairscore-scale"] == answer["scale"] == "logit"
    assert response.headers["x-pairscore-truncated"] == "0"
    assert "inference;dur=" in response.headers["server-timing"]
    assert (answer["score"], answer["probability"]) == (score["score"], score["probability"])
    assert (answer["logit"], answer["calibration"]) == (answer["score"], None)
    assert (answer["truncated"], answer["limited"], answer["read"]) == (False, False, [0, 29])
    assert [unit["text"] for unit in answer["sentences"]] == ["The red fox runs.", "Hens sleep."]
    assert [unit["text"] for unit in answer["words"]] == [
        *("The", "red", "fox", "runs", "Hens", "sleep"),
    ]
    assert all(DOCUMENT[u["start"] : u["end"]] == u["text"] for u in answer["words"])
    assert answer["cost"]["num_pairs"] == 9
    assert answer["cost"]["num_tokens"] > 50
    assert answer["cost"]["ms"] > 0


def test_contributions_are_differences_of_scores(client: TestClient) -> None:
    """Of two pairs that anybody can score."""
    answer = told(client)
    without = client.post("/score", json={"text_a": QUERY, "text_b": "Hens sleep."}).json()

    first = answer["sentences"][0]["contribution"]
    assert first == pytest.approx(answer["logit"] - without["score"], abs=1e-6)
    assert first > 0


def test_it_is_what_the_library_says(client: TestClient) -> None:
    """The same record."""
    with CrossEncoder(backend="fake") as model:
        own = model.explain(QUERY, DOCUMENT).as_dict()
    answer = told(client)

    assert {**own, "cost": None} == {**answer, "cost": None}
    assert own["cost"]["num_pairs"] == answer["cost"]["num_pairs"]


@pytest.mark.parametrize("units", ["sentences", "words"])
def test_only_what_is_wanted(client: TestClient, units: str) -> None:
    """The other list is empty."""
    answer = told(client, units=units)

    assert bool(answer["sentences"]) == (units == "sentences")
    assert bool(answer["words"]) == (units == "words")


def test_fewer_pairs_than_units(client: TestClient) -> None:
    """The words of the sentence that counts most; two rounds, one answer."""
    answer = told(client, max_pairs=6)

    assert (answer["limited"], answer["cost"]["num_pairs"]) == (True, 6)
    assert [unit["text"] for unit in answer["words"]] == ["The", "red", "fox"]


def test_more_pairs_than_the_server_allows(make_client: Make, problem: Any) -> None:
    """Asked for it is refused; left open it is as many as may be."""
    client = make_client(max_explain_pairs=4)
    error = problem(client.post(ROUTE, json={**BODY, "max_pairs": 5}), 422)

    assert error["type"] == "LimitError"
    assert "--max-explain-pairs / PAIRSCORE_MAX_EXPLAIN_PAIRS" in error["message"]
    answer = told(client)
    assert (answer["cost"]["num_pairs"], answer["limited"]) == (4, True)


def test_what_is_not_read_is_null(make_client: Make) -> None:
    """Also on a server that reads long documents in windows."""
    client = make_client(long_documents="chunk")
    document = " ".join(f"The red fox number {number} runs." for number in range(150))
    response = client.post(ROUTE, json={"text_a": QUERY, "text_b": document, "units": "sentences"})
    answer = response.json()
    start, end = answer["read"]

    assert answer["truncated"]
    assert response.headers["x-pairscore-truncated"] != "0"
    assert start == 0 < end < len(document)
    assert answer["sentences"][0]["contribution"] is not None
    assert answer["sentences"][-1]["contribution"] is None


@pytest.mark.parametrize(
    "document", ["", "fox", "?!", "👩\u200d👧 🇩🇪", "שועל אדום.", "红色的狐狸。"]
)
def test_odd_documents(client: TestClient, document: str) -> None:
    """Each has an answer, with places in code points."""
    answer = told(client, text_b=document)

    for unit in (*answer["sentences"], *answer["words"]):
        assert document[unit["start"] : unit["end"]] == unit["text"]


@pytest.mark.parametrize(
    "more", [{"units": "letters"}, {"max_pairs": 1}, {"text_b": None}, {"deadline_ms": 0}]
)
def test_bodies_that_are_none(client: TestClient, problem: Any, more: dict[str, Any]) -> None:
    """422, and the field is named."""
    error = problem(client.post(ROUTE, json={**BODY, **more}), 422)

    assert error["type"] == "BodyError"
    assert error["details"][0]["field"] == next(iter(more))


def test_another_model_is_refused(client: TestClient, problem: Any) -> None:
    """As for every route that scores."""
    error = problem(client.post(ROUTE, json={**BODY, "model": "gpt-9"}), 404)

    assert error["type"] == "ModelUnknownError"


def test_a_model_with_several_labels_is_refused(tmp_path: Path, problem: Any) -> None:
    """A contribution is of one number; the message says how the operator chooses one."""
    settings = ServiceSettings(model=str(labelled_folder(tmp_path)), backend="fake")
    with TestClient(create_app(settings)) as client:
        error = problem(client.post(ROUTE, json=BODY), 422)

    assert error["type"] == "LabelsError"
    assert "--label" in error["message"]


def test_a_failing_model_is_told(failing: Any, problem: Any) -> None:
    """500, and no text of ours."""
    client = failing(RuntimeError("secret"))

    assert "secret" not in problem(client.post(ROUTE, json=BODY), 500)["message"]


def test_a_deadline(make_client: Make, problem: Any) -> None:
    """504 when it is over, and the next one is answered."""
    backend = FakeBackend()
    client = make_client(backend)
    backend.gate = threading.Event()
    late = client.post(ROUTE, json={**BODY, "deadline_ms": 300})
    backend.gate.set()
    backend.gate = None

    assert problem(late, 504)["type"] == "DeadlineError"
    assert told(client)["sentences"]


def test_keys_and_quotas_hold_here_too(make_client: Make, tmp_path: Path, problem: Any) -> None:
    """Without a key 401; what was read counts against the quota."""
    keys = tmp_path / "keys.toml"
    keys.write_text(
        f'[keys.one]\nsha256 = "{sha256_of(SECRET)}"\ntokens_per_minute = 30\n', encoding="utf-8"
    )
    client = make_client(keys_file=keys)
    headers = {"X-API-Key": SECRET}

    assert problem(client.post(ROUTE, json=BODY), 401)["type"] == "KeyMissingError"
    assert client.post(ROUTE, json=BODY, headers=headers).status_code == 200
    assert problem(client.post(ROUTE, json=BODY, headers=headers), 429)["type"] == "QuotaError"


def test_it_is_counted_as_other_routes(client: TestClient) -> None:
    """Under its own path; pairs are those that the model read."""
    told(client)
    metrics = client.get("/metrics").text

    assert 'pairscore_requests_total{route="/v1/explain",status="200"} 1.0' in metrics
    assert 'pairscore_pairs_total{model="ms-marco-minilm-l12"} 9.0' in metrics


def test_a_client_that_goes_away() -> None:
    """What waits is dropped, and it is counted as 499."""
    backend = FakeBackend()
    settings = ServiceSettings(backend="fake", num_workers=1)
    app = create_app(settings, road=open_road(backend=backend))

    async def main() -> None:
        async with app.router.lifespan_context(app):
            engine = app.state.parts.runtime.engine
            backend.gate = threading.Event()
            await _leave(app, lambda: engine.state().num_requests > 0)
            assert engine.state().waiting_pairs == 0
            backend.gate.set()
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(app), base_url="http://test"
            ) as client:
                metrics = (await client.get("/metrics")).text
        assert 'pairscore_requests_total{route="/v1/explain",status="499"} 1.0' in metrics

    anyio.run(main)


async def _leave(app: Any, is_time: Callable[[], bool]) -> None:
    """Ask, and go away when it is time."""
    messages = [{"type": "http.request", "body": json.dumps(BODY).encode(), "more_body": False}]

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        while not is_time():
            await anyio.sleep(0.002)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        pytest.fail(f"an answer to nobody: {message}")

    scope = post_scope(ROUTE)
    await app(scope, receive, send)
