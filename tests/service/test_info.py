"""What `/info` tells a page: what may be done with this key, what there is, and why the model is not there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from starlette.testclient import TestClient

from pairscore.service.app import create_app
from pairscore.service.settings import ServiceSettings

Start = Callable[..., TestClient]
OPS = "ops-ops-ops-ops-ops"
USER = "user-user-user-user"
KEYS = f"ops={OPS}, user={USER}"
MODEL = "ms-marco-minilm-l12"


@pytest.fixture
def start() -> Iterator[Start]:
    """A service whose model can be loaded again."""
    with ExitStack() as stack:

        def make(**settings: Any) -> TestClient:
            app = create_app(ServiceSettings(backend="fake", **settings))
            return stack.enter_context(TestClient(app))

        yield make


def _unload(client: TestClient, **headers: str) -> int:
    answer = client.post("/v1/models/unload", json={"model": MODEL}, headers=headers)
    return int(answer.status_code)


def test_what_there_is_for_a_page(start: Start) -> None:
    """The bi-encoder of comparisons by its name, and what an explanation may cost."""
    info = start(max_explain_pairs=77).get("/info").json()

    assert info["bi_encoder"] == "all-minilm-l6"
    assert info["explain"] == {"max_pairs": 77}
    assert info["may_control"] is False


def test_a_bi_encoder_in_a_folder_is_told_by_its_name(start: Start, tmp_path: Any) -> None:
    """No path of the server leaves it."""
    (tmp_path / "own").mkdir()
    client = start(compare_encoder=str(tmp_path / "own"))

    assert client.get("/info").json()["bi_encoder"] == "own"
    assert str(tmp_path) not in client.get("/info").text


@pytest.mark.parametrize(
    ("settings", "key", "expected"),
    [
        ({}, None, False),
        ({"model_control": "*"}, None, True),
        ({"api_keys": KEYS}, OPS, False),
        ({"api_keys": KEYS, "model_control": "ops"}, OPS, True),
        ({"api_keys": KEYS, "model_control": "ops"}, USER, False),
        ({"api_keys": KEYS, "model_control": "*"}, USER, True),
    ],
)
def test_who_may_control(
    start: Start,
    settings: dict[str, Any],
    key: str | None,
    expected: bool,  # noqa: FBT001 - pytest's
) -> None:
    """What `/info` says of the key that asks is what the routes do."""
    client = start(**settings)
    headers = {} if key is None else {"X-API-Key": key}

    assert client.get("/info", headers=headers).json()["may_control"] is expected
    assert _unload(client, **headers) == (200 if expected else 403)


def test_everybody_does_not_open_the_service(start: Start) -> None:
    """With keys, a request without one is no request at all."""
    client = start(api_keys=KEYS, model_control="*")

    assert _unload(client) == 401


@pytest.mark.parametrize("path", ["/info", "/tei/info"])
def test_an_unloaded_model_is_another_thing_than_none(start: Start, path: str) -> None:
    """It says what brings the model back; and a request that scores does."""
    client = start(model_control="*")
    assert _unload(client) == 200
    told = client.get(path)

    assert told.status_code == 503
    assert f"the model {MODEL!r} was unloaded" in told.text
    assert "/v1/models/load" in told.text
    assert client.post("/score", json={"text_a": "a", "text_b": "b"}).status_code == 200
    assert client.get(path).status_code == 200


def test_the_kinds_of_error(start: Start, problem: Any) -> None:
    """`ModelUnloadedError` after an unload, `ModelError` before the first load; time alone brings nothing back."""
    client = start(model_control="*")
    _unload(client)
    unloaded = client.get("/info")
    early = TestClient(create_app(ServiceSettings(backend="fake"))).get("/info")

    assert problem(unloaded, 503)["type"] == "ModelUnloadedError"
    assert "retry-after" not in unloaded.headers
    assert problem(early, 503)["type"] == "ModelError"
    assert early.headers["retry-after"] == "1"
