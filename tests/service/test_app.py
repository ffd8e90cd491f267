"""The app as a whole: start and end, settings, documentation, counts."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.unit.retrievers import opened_in_memory

from pairscore.errors import ModelNotFoundError, ModelOfflineError, SettingError
from pairscore.road.backends.fake import FakeBackend
from pairscore.road.road import Road, open_road
from pairscore.service import runtime
from pairscore.service.app import create_app
from pairscore.service.server import serve
from pairscore.service.settings import ServiceSettings, option

PAIR = {"text_a": "a", "text_b": "b"}


def test_the_model_is_loaded_at_start_and_closed_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the app loads it closes; making the app loads nothing."""
    made: list[FakeBackend] = []

    def load(*_: object, **__: object) -> Road:
        made.append(FakeBackend())
        return open_road(backend=made[-1])

    monkeypatch.setattr(runtime, "_load", load)
    app = create_app(ServiceSettings())
    assert not made

    with TestClient(app) as client:
        assert len(made) == 1
        assert client.get("/health").json()["model_loaded"] is True
        assert client.post("/score", json=PAIR).status_code == 200

    assert made[0].closed


def test_a_given_model_stays_open() -> None:
    """Who gives a model keeps it; the app can be started again with it."""
    backend = FakeBackend()
    app = create_app(ServiceSettings(), road=open_road(backend=backend))
    for _ in range(2):
        with TestClient(app) as client:
            assert client.post("/score", json=PAIR).status_code == 200
    assert not backend.closed


def test_the_settings_reach_the_model(make_client: Any) -> None:
    """max_length cuts where it says."""
    app = create_app(ServiceSettings(backend="fake", max_length=16, num_workers=1))

    with TestClient(app) as client:
        answer = client.post("/score", json={"text_a": "a", "text_b": "word " * 30}).json()

    assert answer["truncated"] is True


@pytest.mark.parametrize(
    ("model", "error", "remedy"),
    [
        (
            "somebody/unknown-model",
            ModelOfflineError,
            "pairscore models pull somebody/unknown-model",
        ),
        ("mss-marco", ModelNotFoundError, "known names: ms-marco-minilm-l12"),
    ],
)
def test_a_model_that_is_not_there_ends_the_start(
    model: str, error: type[Exception], remedy: str
) -> None:
    """The start fails with our error and its remedy, and the server is told no traceback."""
    app = create_app(ServiceSettings(model=model))
    sent: list[Any] = []

    async def receive() -> dict[str, str]:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        sent.append(message)

    with pytest.raises(error, match=remedy):
        asyncio.run(app({"type": "lifespan", "state": {}}, receive, send))

    assert [message["type"] for message in sent] == ["lifespan.startup.failed"]
    assert remedy in sent[0]["message"]
    assert "Traceback" not in sent[0]["message"]


def test_serve_raises_why_it_could_not_start() -> None:
    """The command line can tell the user; the process is not ended under it."""
    with pytest.raises(ModelNotFoundError, match="known names"):
        serve(ServiceSettings(model="mss-marco", port=0, log_level="error"))


def test_serve_on_a_port_in_use() -> None:
    """A port that is taken is told before a model is loaded, with both options."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingError, match=f"port {port}.*--port / PAIRSCORE_PORT"):
            serve(ServiceSettings(port=port, backend="fake"))


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable sets, a keyword wins, None is as not given."""
    monkeypatch.setenv("PAIRSCORE_MAX_PAIRS", "7")
    monkeypatch.setenv("PAIRSCORE_BACKEND", "fake")

    assert ServiceSettings().max_pairs == 7
    assert ServiceSettings(max_pairs=8).max_pairs == 8
    assert ServiceSettings(max_pairs=None).max_pairs == 7
    with TestClient(create_app()) as client:
        told = client.post("/rerank", json={"query": "q", "documents": ["d"] * 8}).json()
    assert "the limit is 7" in told["error"]["message"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_pairs", "0"),
        ("max_pairs", "many"),
        ("max_chars", "-5"),
        ("max_body_bytes", "0"),
        ("port", "70000"),
        ("host", ""),
        ("backend", "tpu"),
        ("num_workers", "0"),
        ("max_length", "2"),
        ("budget", "0"),
        ("log_level", "loud"),
    ],
)
def test_settings_that_make_no_sense(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """A SettingError gives the value and the option, from the environment and by keyword."""
    with pytest.raises(SettingError, match=option(name)) as by_keyword:
        ServiceSettings(**{name: value})
    monkeypatch.setenv(f"PAIRSCORE_{name.upper()}", value)
    with pytest.raises(SettingError, match=option(name)):
        create_app()

    assert repr(value) in str(by_keyword.value)


def test_a_misspelt_setting_is_refused() -> None:
    """A keyword that nobody knows is answered with those that are known."""
    with pytest.raises(SettingError, match=r"max_pear.*max_pairs"):
        ServiceSettings(max_pear=3)


def test_settings_are_described_and_frozen() -> None:
    """Each setting says what it is for, and none changes under a running service."""
    assert all(field.description for field in ServiceSettings.model_fields.values())
    with pytest.raises(ValueError, match="frozen"):
        ServiceSettings().port = 1  # type: ignore[misc]


def test_every_documented_example_runs() -> None:
    """What /docs shows can be sent as it is; the first pair of a batch scores higher, as it says."""
    app = create_app(ServiceSettings(backend="fake"), opening=opened_in_memory)
    with TestClient(app) as client:
        ran = [
            client.request(method, path, json=example["value"]).status_code
            for path, operations in client.get("/openapi.json").json()["paths"].items()
            for method, operation in operations.items()
            for example in _examples(operation)
        ]

    assert len(ran) >= 5
    assert set(ran) == {200}


def _examples(operation: dict[str, Any]) -> list[dict[str, Any]]:
    """Of a body, each with its summary; a body without one is a fault."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content is None:
        return []
    examples = list(content["examples"].values())
    assert examples
    assert all(example["summary"] for example in examples)
    return examples


def test_the_documentation_is_whole(client: TestClient) -> None:
    """Every schema that is referred to is there, and the limits are told."""
    text = client.get("/openapi.json").text
    schema = json.loads(text)

    for name in ("ScoreRequest", "BatchRequest", "RerankRequest", "TextPair", "ProblemBody"):
        assert name in schema["components"]["schemas"]
    for part in text.split('"#/components/schemas/')[1:]:
        assert part.partition('"')[0] in schema["components"]["schemas"]
    assert set(schema["paths"]) >= {
        *("/score", "/score/batch", "/rerank", "/v1/rerank", "/v2/rerank", "/predict"),
        *("/livez", "/readyz", "/health", "/info", "/metrics"),
    }
    assert "PAIRSCORE_MAX_PAIRS" in schema["info"]["description"]


def test_docs_work_without_network(client: TestClient) -> None:
    """The page fetches nothing from elsewhere, and what it names is served."""
    page = client.get("/docs")
    named = re.findall(r'(?:src|href)="([^"]+)"', page.text) + re.findall(
        r"url: '([^']+)'", page.text
    )

    assert len(named) >= 3
    for address in named:
        assert "//" not in address
        assert client.get(f"/{address}").status_code == 200


def _metrics(client: TestClient) -> dict[str, float]:
    text = re.sub(r'(?<=[{,])model="[^"]*",?', "", client.get("/metrics").text).replace("{}", "")
    lines = text.splitlines()
    return {
        name: float(value)
        for name, _, value in (line.rpartition(" ") for line in lines if not line.startswith("#"))
    }


def test_metrics_count_what_happened(client: TestClient) -> None:
    """Requests by route template and status, seconds, pairs, tokens and truncated pairs."""
    # The canary was read already.
    read_before = _metrics(client)["pairscore_tokens_total"]
    client.post("/score", json={"text_a": "a", "text_b": "word " * 2000})
    client.post("/rerank", json={"query": "q", "documents": ["d", "e"]})
    client.post("/rerank", json={})
    client.get("/no/such/path/12345")

    numbers = _metrics(client)

    assert numbers['pairscore_requests_total{route="/score",status="200"}'] == 1
    assert numbers['pairscore_requests_total{route="/rerank",status="200"}'] == 1
    assert numbers['pairscore_requests_total{route="/rerank",status="422"}'] == 1
    assert numbers['pairscore_requests_total{route="unmatched",status="404"}'] == 1
    assert not any("12345" in name for name in numbers)
    assert numbers['pairscore_request_seconds_count{route="/rerank"}'] == 2
    assert numbers["pairscore_pairs_total"] == 3
    assert numbers["pairscore_truncated_pairs_total"] == 1
    assert numbers["pairscore_tokens_total"] - read_before == 512 + 2 * 5


def test_errors_are_counted(make_client: Any) -> None:
    """A failed request and a refused body count under their route."""
    backend = FakeBackend()
    client = make_client(backend, max_body_bytes=1000)
    backend.error = RuntimeError("x")
    client.post("/score", json=PAIR)
    client.post("/score", json={"text_a": "x" * 2000, "text_b": ""})

    numbers = _metrics(client)

    assert numbers['pairscore_requests_total{route="/score",status="500"}'] == 1
    assert numbers['pairscore_requests_total{route="/score",status="413"}'] == 1
    assert numbers["pairscore_pairs_total"] == 0


def test_apps_in_one_process_count_apart(make_client: Any) -> None:
    """Each app has its own numbers."""
    first, second = make_client(), make_client()
    first.post("/score", json=PAIR)

    assert _metrics(first)["pairscore_pairs_total"] == 1
    assert _metrics(second)["pairscore_pairs_total"] == 0


@pytest.mark.parametrize("name", ["fastapi", "uvicorn", "pydantic_settings", "prometheus_client"])
def test_a_missing_extra_is_named(name: str) -> None:
    """Without the optional dependencies the import says which extra to install."""
    code = (
        f"import sys; sys.modules[{name!r}] = None\n"
        "from pairscore.errors import MissingExtraError\n"
        "try:\n    import pairscore.service\n"
        "except MissingExtraError as error:\n    print(error)\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "the HTTP service" in done.stdout
    assert "pip install 'pairscore[serve]'" in done.stdout


def test_importing_the_room_is_cheap() -> None:
    """The package checks for its dependencies and loads none of them; the app loads no torch."""
    code = (
        "import sys, pairscore.service\n"
        "assert not {'fastapi', 'pydantic', 'uvicorn'} & set(sys.modules)\n"
        "import pairscore.service.server\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)\n"
    )

    subprocess.run([sys.executable, "-c", code], check=True)
