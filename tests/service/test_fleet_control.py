"""Models loaded, unloaded and reloaded by operators while requests come; nothing that was sent is lost."""

from __future__ import annotations

import threading
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
    loads_of,
    score_of,
    states_of,
)

from pairscore.errors import ModelCorruptError
from pairscore.service import fleet_memory
from pairscore.service.app import create_app
from pairscore.service.settings import ServiceSettings

Start = Callable[..., TestClient]
OPS = "ops-ops-ops-ops-ops"
USER = "user-user-user-user"


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Loads:
    """What is loaded is counted, and weighs what its files do."""
    monkeypatch.setattr(fleet_memory, "resident_bytes", lambda: None)
    return loads_of(monkeypatch)


@pytest.fixture
def start(tmp_path: Path, loads: Loads) -> Iterator[Start]:
    """A service with models, a key that may control them and one that may not; clients send the first."""
    with ExitStack() as stack:

        def make(*names: str, **settings: Any) -> TestClient:
            keys = {"api_keys": f"ops={OPS}, user={USER}", "model_control": "ops"}
            model = declare_models(tmp_path, names)
            app = create_app(
                ServiceSettings(model=model, backend="fake", cache_bytes=0, **keys, **settings)
            )
            client = TestClient(app, headers={"X-API-Key": OPS})
            return stack.enter_context(client)

        yield make


def act(client: TestClient, verb: str, model: str, *, key: str = OPS) -> Any:
    """Ask for a model to be loaded, unloaded or reloaded."""
    return client.post(f"/v1/models/{verb}", json={"model": model}, headers={"X-API-Key": key})


def test_unload_and_load(start: Start, loads: Loads) -> None:
    """The answer is the model's entry; what was unloaded comes back when it is asked for."""
    client = start("a", "b")
    assert states_of(client)["b"] == "loaded"

    unloaded = act(client, "unload", "b").json()
    assert (unloaded["id"], unloaded["state"], unloaded["memory_bytes"]) == ("b", "unloaded", 0)
    assert loads.closed("b") == 1
    assert act(client, "load", "b").json()["memory_bytes"] == SIZE
    assert act(client, "load", "b").json()["state"] == "loaded"
    assert loads.number("b") == 2
    act(client, "unload", "b")
    assert score_of(ask(client, "b")) == loads.logit("b")


def test_the_default_leaves_only_when_it_is_asked_to(start: Start) -> None:
    """The service is then not ready, until somebody names no model, or has it loaded."""
    client = start("a", "b")

    assert act(client, "unload", "a").status_code == 200
    assert client.get("/readyz").status_code == 503
    assert client.get("/v1/models").status_code == 200
    assert ask(client, None).status_code == 200
    assert client.get("/readyz").status_code == 200


@pytest.mark.parametrize("verb", ["load", "unload", "reload"])
def test_who_may_not(start: Start, verb: str) -> None:
    """A key that is not named is refused; so is everybody where none is, and what was not declared."""
    client = start("a")

    refused = act(client, verb, "a", key=USER)
    assert refused.status_code == 403
    assert "--model-control" in refused.json()["error"]["message"]
    assert act(client, verb, "/etc").status_code == 404
    assert act(client, verb, "owner/name").status_code == 404
    assert client.post(f"/v1/models/{verb}", json={}).status_code == 422


def test_any_model_is_no_leave_to_act(start: Start, loads: Loads) -> None:
    """A name that nobody declared does not unload the default."""
    client = start("a", any_model=True)

    assert act(client, "unload", "b").status_code == 404
    assert loads.closed("a") == 0


def test_a_reload_that_fails_keeps_the_old_one(start: Start, loads: Loads) -> None:
    """And says so; the next one may go well."""
    client = start("a", "b")
    loads.errors["a"] = ModelCorruptError("/secret/place is broken")

    refused = act(client, "reload", "a")
    assert refused.status_code == 503
    assert "its files are damaged" in refused.json()["error"]["message"]
    assert "/secret" not in refused.text
    assert score_of(ask(client, "a")) == loads.logit("a")
    assert loads.closed("a") == 0
    loads.errors.clear()
    assert act(client, "reload", "a").status_code == 200
    assert (loads.number("a"), loads.closed("a")) == (3, 1)


def test_a_reload_is_checked_by_its_first_pair(start: Start, loads: Loads) -> None:
    """A new one that cannot score does not take over."""
    client = start("a")
    loads.logit = lambda _: float("nan")  # type: ignore[method-assign]

    assert act(client, "reload", "a").status_code == 503
    assert score_of(ask(client, "a")) == 0.0


def test_a_request_under_way_is_finished_by_the_old_one(start: Start, loads: Loads) -> None:
    """While new ones go to the new one already; the old one is closed after that."""
    client = start("a")
    old = loads.backends["a"][0]
    old.gate = threading.Event()
    loads.logit = lambda _: 1.5  # type: ignore[method-assign]
    with ThreadPoolExecutor(2) as threads:
        slow = threads.submit(ask, client, "a")
        while not _is_asked(client):
            time.sleep(0.005)
        reload = threads.submit(act, client, "reload", "a")
        # As long as the old one is asked, nobody answers.
        while (answer := ask(client, "a", query="new", deadline_ms=200)).status_code == 504:
            time.sleep(0.005)
        assert score_of(answer) == 1.5
        assert not old.closed
        assert not reload.done()
        old.gate.set()
        assert score_of(slow.result()) == 0.0
        assert reload.result().status_code == 200

    assert old.closed


def _is_asked(client: TestClient) -> bool:
    return bool(client.get("/v1/models").json()["data"][0]["stats"]["results_pending"])


@pytest.mark.parametrize("verb", ["reload", "unload"])
@pytest.mark.slow
def test_nothing_is_lost_under_load(start: Start, loads: Loads, verb: str) -> None:
    """Clients ask without a pause while both models are replaced again and again: each gets its scores."""
    loads.delay_s = 0.002
    client = start("a", "b")
    states_of(client)
    stop = threading.Event()
    wrong: list[str] = []
    num_answers = 0

    def ask_on(number: int) -> int:
        model = "ab"[number % 2]
        num_asked = 0
        while not stop.is_set():
            response = ask(client, model, query=f"{number} {num_asked}", documents=["d"] * 5)
            num_asked += 1
            if response.status_code != 200 or score_of(response) != loads.logit(model):
                wrong.append(response.text)
        return num_asked

    with ThreadPoolExecutor(6) as threads:
        asking = [threads.submit(ask_on, number) for number in range(6)]
        for turn in range(10):
            assert act(client, verb, "ab"[turn % 2]).status_code == 200
        stop.set()
        num_answers = sum(one.result() for one in asking)

    assert not wrong
    assert num_answers > 20
    assert loads.number("a") >= 3
    assert loads.closed("a") >= 3


@pytest.mark.slow
def test_models_take_turns_within_a_budget_under_load(start: Start, loads: Loads) -> None:
    """Room for one beside the default, and clients of two: each is answered, one after the other."""
    client = start("a", "b", "c", max_models_bytes=2 * SIZE)
    with ThreadPoolExecutor(4) as threads:
        asked = [
            (model, threads.submit(ask, client, model, query=str(turn)))
            for turn in range(10)
            for model in "abc"
        ]

    assert all(score_of(one.result()) == loads.logit(model) for model, one in asked)
    assert loads.number("a") == 1
