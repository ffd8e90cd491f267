"""A service with a shadow, for the tests of it: two models without weights, and what came of each request."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.service.fleet_models import declare_models

from pairscore.road.backends.fake import FakeBackend
from pairscore.road.road import Road, open_road
from pairscore.service import fleet_memory, runtime
from pairscore.service.app import create_app
from pairscore.service.fleet_specs import ModelSpec, specs_of
from pairscore.service.settings import ServiceSettings
from pairscore.service.shadow import Shadow
from pairscore.service.shadow_plan import Timeline, plan_of
from pairscore.values import Batch, FloatArray

QUICK = Timeline(lull_s=0.02, look_s=0.005, max_age_s=20.0)
DOCUMENTS = ["red", "green and blue", "red green", "red green blue", "nothing of it", "blue red"]
RANKING = {"query": "red green blue", "documents": DOCUMENTS}


class Other(FakeBackend):
    """Scores as the usual one does, moved and turned around."""

    def __init__(self, model: str, *, factor: float = 1.0, **more: Any) -> None:
        super().__init__(**more)
        self._model = model
        self._factor = factor

    @property
    def name(self) -> str:
        """Of the model too, because the cache's keys hold it."""
        return f"fake-{self._model}"

    def run(self, batch: Batch, *, num_threads: int = 1) -> FloatArray:
        """What `Backend.run` says."""
        return self._factor * super().run(batch, num_threads=num_threads)


class Served:
    """A running service.

    Attributes:
        client: to ask it.
        file: where the shadow's lines are.
    """

    def __init__(self, client: TestClient, file: Path) -> None:
        self.client = client
        self.file = file

    @property
    def shadow(self) -> Shadow:
        """The one that runs."""
        shadow: Shadow = self.client.app.state.parts.runtime.shadow  # type: ignore[attr-defined]
        return shadow

    def rank(self, *, body: Any = RANKING, **more: Any) -> Any:
        """Ask for a ranking by the default model."""
        return self.client.post("/rerank", json=body, **more)

    def outcomes(self) -> dict[str, int]:
        """How often each outcome was counted, those that were."""
        text = self.client.get("/metrics").text
        found = re.findall(r'pairscore_shadow_requests_total\{outcome="(\w+)"\} (\d+)', text)
        return {outcome: int(number) for outcome, number in found if int(number)}

    def after(self, number: int) -> dict[str, int]:
        """The same, once so many requests have ended."""
        end = time.monotonic() + 20
        while sum((found := self.outcomes()).values()) < number:
            assert time.monotonic() < end, found
            time.sleep(0.01)
        return found

    def lines(self) -> list[dict[str, Any]]:
        """What is in the file."""
        return [json.loads(line) for line in self.file.read_text().splitlines()]


class Backends(dict[str, FakeBackend]):
    """The backends by their models' names; an exception in the place of one is raised by its load."""

    def load(self, _: object, spec: ModelSpec, **__: object) -> Road:
        """In the place of the service's own."""
        backend: Any = self[spec.name]
        if isinstance(backend, Exception):
            raise backend
        return open_road(backend=backend)


Start = Callable[..., Served]


@pytest.fixture
def backends(monkeypatch: pytest.MonkeyPatch) -> Backends:
    """``live`` answers, ``next`` is its shadow, and finds just the opposite."""
    monkeypatch.setattr(fleet_memory, "resident_bytes", lambda: None)
    backends = Backends(live=Other("live"), next=Other("next", factor=-0.5), third=Other("third"))
    monkeypatch.setattr(runtime, "_load", backends.load)
    return backends


@pytest.fixture
def start(tmp_path: Path, backends: Backends) -> Iterator[Start]:
    """Start a service with a shadow that scores every request."""
    with ExitStack() as stack:

        def make(*more: str, plan: Any = None, timeline: Timeline = QUICK, **given: Any) -> Served:
            model = declare_models(tmp_path, ("live", "next", *more))
            usual = {"shadow_model": "next", "shadow_share": 1.0, "backend": "fake"}
            file = tmp_path / "shadow.jsonl"
            settings = ServiceSettings(**{**usual, "shadow_file": file, "model": model, **given})
            app = create_app(settings)
            parts = app.state.parts
            made = plan_of(settings, specs_of(settings))
            assert made is not None
            changed = replace(made, timeline=timeline, **(plan or {}))
            parts.runtime.shadow = Shadow(changed, numbers=parts.telemetry.shadow)
            client = stack.enter_context(TestClient(app))
            shadow = parts.runtime.fleet.find("next")
            end = time.monotonic() + 10
            while shadow.state == "loading":
                assert time.monotonic() < end
                time.sleep(0.01)
            return Served(client, file)

        yield make
