"""Models for the tests of several in one service: folders that weigh something, and backends with scores of their own."""

from __future__ import annotations

import math
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any, Final

import pytest
from starlette.testclient import TestClient

from pairscore.road.backends.fake import FakeBackend
from pairscore.road.road import Road, open_road
from pairscore.service import runtime
from pairscore.service.fleet_specs import ModelSpec

SIZE: Final = 100_000
"""Bytes of the weights of each model but those called `large`."""
BODY: Final = {"query": "a", "documents": ["b"]}
_BUNDLED: Final = Path(str(resources.files("pairscore.models"))) / "bundled/ms-marco-minilm-l12"


class Loads:
    """What was loaded, and how.

    Attributes:
        gate: loads wait for it.
        errors: what a model's load raises, by its name.
        backends: of every load that went well, by the model's name.
        delay_s: what a micro-batch takes in models that are loaded from now on.
    """

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.errors: dict[str, Exception] = {}
        self.backends: dict[str, list[FakeBackend]] = {}
        self.delay_s = 0.0
        self._numbers: Counter[str] = Counter()

    def load(self, _: object, spec: ModelSpec, **__: object) -> Road:
        """In the place of the service's own."""
        self._numbers[spec.name] += 1
        self.gate.wait()
        if spec.name in self.errors:
            raise self.errors[spec.name]
        backend = _Named(spec.name, logit=self.logit(spec.name), delay_s=self.delay_s)
        self.backends.setdefault(spec.name, []).append(backend)
        return open_road(backend=backend)

    @staticmethod
    def logit(name: str) -> float:
        """What a model of that name puts out for every pair."""
        return float(ord(name[0]) - ord("a")) / 4

    def probability(self, name: str) -> float:
        """Its sigmoid."""
        return 1 / (1 + math.exp(-self.logit(name)))

    def number(self, name: str) -> int:
        """How often it was loaded, or tried."""
        return self._numbers[name]

    def closed(self, name: str) -> int:
        """How many of them were closed again."""
        return sum(backend.closed for backend in self.backends.get(name, ()))


class _Named(FakeBackend):
    """Bears a name of its own: else its scores could come out of the cache of another one's."""

    def __init__(self, model: str, **more: Any) -> None:
        super().__init__(**more)
        self._model = model

    @property
    def name(self) -> str:
        """Of the model too."""
        return f"fake-{self._model}"


def loads_of(monkeypatch: pytest.MonkeyPatch) -> Loads:
    """Take the place of the service's loading."""
    loads = Loads()
    monkeypatch.setattr(runtime, "_load", loads.load)
    return loads


def declare_models(folder: Path, names: Iterable[str]) -> list[str]:
    """Folders with weights of a known size, as `--model NAME=PLACE` takes them."""
    specs = []
    for name in names:
        place = folder / "models" / name
        if not place.exists():
            place.mkdir(parents=True)
            for file in _BUNDLED.glob("*.json"):
                if file.name != "manifest.json":
                    shutil.copy(file, place)
            with (place / "model.onnx").open("wb") as file:
                file.truncate(10 * SIZE if name == "large" else SIZE)
        specs.append(f"{name}={place}")
    return specs


def ask(client: TestClient, model: str | None, *, headers: Any = None, **more: Any) -> Any:
    """Rank one document with a model, by pairscore's own dialect."""
    named = {} if model is None else {"model": model}
    return client.post("/rerank", json={**BODY, **named, **more}, headers=headers)


def score_of(response: Any) -> float:
    """The logit that came back."""
    assert response.status_code == 200, response.text
    return float(response.json()["results"][0]["score"])


def entries_of(client: TestClient) -> dict[str, dict[str, Any]]:
    """What `/v1/models` says, by name, once nothing is being loaded any more."""
    end = time.monotonic() + 10
    while True:
        entries = client.get("/v1/models").json()["data"]
        busy = any(entry["state"] == "loading" for entry in entries)
        if not busy or time.monotonic() > end:
            return {entry["id"]: entry for entry in entries}
        time.sleep(0.01)


def states_of(client: TestClient) -> dict[str, str]:
    """The state of each."""
    return {name: entry["state"] for name, entry in entries_of(client).items()}
