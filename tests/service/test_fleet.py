"""Several models in one service: by name, on demand, within a memory budget, replaced without a lost request."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.service.fleet_models import (
    SIZE,
    Loads,
    ask,
    declare_models,
    entries_of,
    loads_of,
    score_of,
    states_of,
)

from pairscore.errors import ModelCorruptError
from pairscore.service import fleet_memory
from pairscore.service.app import create_app
from pairscore.service.settings import ServiceSettings

Start = Callable[..., TestClient]


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Loads:
    """Every model scores with a number of its own; what is loaded is counted, and weighs what its files do."""
    monkeypatch.setattr(fleet_memory, "resident_bytes", lambda: None)
    return loads_of(monkeypatch)


@pytest.fixture
def start(tmp_path: Path, loads: Loads) -> Iterator[Start]:
    """Start a service with models of these names."""
    with ExitStack() as stack:

        def make(*names: str, **settings: Any) -> TestClient:
            model = declare_models(tmp_path, names)
            app = create_app(ServiceSettings(model=model, backend="fake", **settings))
            return stack.enter_context(TestClient(app))

        yield make


def test_each_model_answers_to_its_name(start: Start, loads: Loads) -> None:
    """With its own score, and says so in the body's words and in the header; no name is the first one."""
    client = start("a", "b")

    for name, model in (("a", "a"), ("b", "b"), (None, "a")):
        response = ask(client, name)

        assert score_of(response) == loads.logit(model)
        assert response.headers["x-pairscore-model"] == model


def test_a_header_names_the_model_where_a_body_cannot(start: Start, loads: Loads) -> None:
    """TEI's body has no model; the header goes before a body's own name, so that a proxy can choose."""
    client = start("a", "b")
    header = {"X-Pairscore-Model": "b"}
    body = {"query": "q", "texts": ["t"], "raw_scores": True}

    assert client.post("/rerank", json=body, headers=header).json()[0]["score"] == loads.logit("b")
    assert score_of(ask(client, "a", headers=header)) == loads.logit("b")
    assert ask(client, "a", headers={"X-Pairscore-Model": "c"}).status_code == 404


@pytest.mark.parametrize(
    ("path", "body", "score"),
    [
        ("/v1/rerank", {"query": "q", "documents": ["d"]}, ["results", 0, "relevance_score"]),
        ("/v2/rerank", {"query": "q", "documents": ["d"]}, ["results", 0, "relevance_score"]),
        ("/jina/v1/rerank", {"query": "q", "documents": ["d"]}, ["results", 0, "relevance_score"]),
        ("/voyage/v1/rerank", {"query": "q", "documents": ["d"]}, ["data", 0, "relevance_score"]),
        ("/vllm/score", {"text_1": "q", "text_2": "d"}, ["data", 0, "score"]),
        ("/infinity/rerank", {"query": "q", "documents": ["d"]}, ["results", 0, "relevance_score"]),
    ],
)
def test_every_dialect_that_names_a_model(
    start: Start, loads: Loads, path: str, body: dict[str, Any], score: list[Any]
) -> None:
    """Gets that model's scores."""
    client = start("a", "b")
    found = {}
    for name in ("a", "b"):
        response = client.post(path, json={**body, "model": name})
        assert response.status_code == 200, response.text
        found[name] = response.json()
        for key in score:
            found[name] = found[name][key]

    assert found["a"] == pytest.approx(loads.probability("a"), abs=1e-6)
    assert found["b"] == pytest.approx(loads.probability("b"), abs=1e-6)


def test_a_batch_call_may_name_a_model_for_each_query(start: Start, loads: Loads) -> None:
    """Its own, else that of the call; each line says which."""
    client = start("a", "b", "c")
    query = {"query": "q", "documents": ["d"]}
    body = {"model": "b", "queries": [query, {**query, "model": "c"}]}

    lines = client.post("/v1/rerank/batch", json=body).text.splitlines()
    told = {line["index"]: line for line in map(json.loads, lines[:-1])}
    assert [told[index]["model"] for index in (0, 1)] == ["b", "c"]
    assert told[1]["results"][0]["score"] == loads.logit("c")


def test_an_unknown_name_is_told_the_known_ones(start: Start) -> None:
    """404, with all that are served; with any_model the default answers."""
    response = ask(start("a", "b"), "c")

    assert response.status_code == 404
    assert "'a' or 'b'" in response.json()["error"]["message"]


def test_any_model_lets_strangers_have_the_default(start: Start, loads: Loads) -> None:
    """And those who name a model that there is get that one."""
    client = start("a", "b", any_model=True, model_aliases="mine")

    assert score_of(ask(client, "gpt-5")) == loads.logit("a")
    assert score_of(ask(client, "mine")) == loads.logit("a")
    assert score_of(ask(client, "b")) == loads.logit("b")


def test_the_list_names_all_with_their_state(start: Start) -> None:
    """The default, its aliases, the others; what they weigh, and when they were used."""
    client = start("a", "b", model_aliases="mine")
    ask(client, "b")

    entries = entries_of(client)

    assert list(entries) == ["a", "mine", "b"]
    assert {entry["state"] for entry in entries.values()} == {"loaded"}
    assert entries["mine"]["root"] == "a"
    assert entries["b"]["memory_bytes"] == SIZE
    assert entries["b"]["last_used"] == pytest.approx(time.time(), abs=5)
    assert entries["a"]["last_used"] is None
    models = client.get("/info").json()["models"]
    assert [(model["name"], model["state"], model["pinned"]) for model in models] == [
        ("a", "loaded", True),
        ("b", "loaded", False),
    ]


def test_what_does_not_fit_is_loaded_when_it_is_asked_for(start: Start, loads: Loads) -> None:
    """The one that rested longest makes room; the default stays however long it rested."""
    client = start("a", "b", "c", max_models_bytes=2 * SIZE)
    assert states_of(client) == {"a": "loaded", "b": "loaded", "c": "unloaded"}

    assert score_of(ask(client, "c")) == loads.logit("c")
    assert states_of(client) == {"a": "loaded", "b": "unloaded", "c": "loaded"}
    assert loads.closed("b") == 1

    assert score_of(ask(client, "b")) == loads.logit("b")
    assert states_of(client) == {"a": "loaded", "b": "loaded", "c": "unloaded"}
    text = client.get("/metrics").text
    assert 'pairscore_model_unloads_total{model="b",reason="evicted"} 1.0' in text
    assert 'pairscore_model_loaded{model="c"} 0.0' in text


def test_the_least_recently_used_one_goes(start: Start) -> None:
    """Not the one that was loaded first."""
    client = start("a", "b", "c", "d", max_models_bytes=3 * SIZE)
    ask(client, "c")
    ask(client, "b")

    ask(client, "d")

    assert states_of(client) == {"a": "loaded", "b": "loaded", "c": "unloaded", "d": "loaded"}


def test_a_model_that_never_fits_is_refused(start: Start) -> None:
    """503 with the reason; nobody is evicted for it in vain."""
    client = start("a", "b", "large", max_models_bytes=3 * SIZE)
    assert states_of(client)["large"] == "unloaded"

    response = ask(client, "large")

    assert response.status_code == 503
    assert response.json()["error"]["type"] == "ModelFailedError"
    assert "no room for it in memory" in response.json()["error"]["message"]
    assert states_of(client) == {"a": "loaded", "b": "loaded", "large": "failed"}


def test_a_model_that_cannot_be_loaded_harms_no_other(start: Start, loads: Loads) -> None:
    """It is told why without a path, is tried again after a while, and then serves."""
    loads.errors["b"] = ModelCorruptError("/secret/place is broken")
    client = start("a", "b")

    refused = ask(client, "b")
    assert refused.status_code == 503
    assert "its files are damaged" in refused.json()["error"]["message"]
    assert "/secret" not in refused.text
    assert int(refused.headers["retry-after"]) >= 1
    assert ask(client, "a").status_code == 200
    assert client.get("/readyz").status_code == 200
    assert entries_of(client)["b"]["error"] == "its files are damaged"
    tries = loads.number("b")
    assert ask(client, "b").status_code == 503
    assert loads.number("b") == tries

    del loads.errors["b"]
    time.sleep(1.1)
    assert ask(client, "b").status_code == 200


def test_those_who_wait_share_one_load(start: Start, loads: Loads) -> None:
    """Requests that come together for a model that is not in memory load it once."""
    client = start("a", "b", "c", max_models_bytes=2 * SIZE)
    assert states_of(client)["c"] == "unloaded"
    loads.gate.clear()
    with ThreadPoolExecutor(6) as threads:
        asked = [threads.submit(ask, client, "c") for _ in range(6)]
        time.sleep(0.1)
        loads.gate.set()

    assert {score_of(one.result()) for one in asked} == {loads.logit("c")}
    assert loads.number("c") == 1


def test_a_load_counts_against_the_deadline(start: Start, loads: Loads) -> None:
    """504 when it takes longer; the load goes on, and who asks again finds it done."""
    client = start("a", "b", "c", max_models_bytes=2 * SIZE)
    loads.gate.clear()

    late = ask(client, "c", deadline_ms=100)
    loads.gate.set()

    assert late.status_code == 504
    assert "goes on being loaded" in late.json()["error"]["message"]
    assert ask(client, "c").status_code == 200
    assert loads.number("c") == 1
