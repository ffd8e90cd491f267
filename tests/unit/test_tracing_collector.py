"""A collector of traces that is there, silent or away: it gets the spans, and cannot harm a request."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from tests.unit.traces import PARENT, TRACE, TRACEPARENT, send_request

from pairscore.service import tracing
from pairscore.service.tracing import OpenTelemetryTracing, open_tracing


class _Collector(ThreadingHTTPServer):
    """A tiny OTLP collector on loopback: keeps what it is sent, or never answers."""

    daemon_threads = True

    def __init__(self, *, answers: bool = True) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: list[tuple[str, str, ExportTraceServiceRequest]] = []
        self.released = threading.Event()
        if answers:
            self.released.set()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: _Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        message = ExportTraceServiceRequest.FromString(body)
        self.server.received.append((self.path, self.headers["content-type"], message))
        self.server.released.wait(20)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args: Any) -> None: ...


@pytest.fixture
def collector() -> Iterator[Callable[..., _Collector]]:
    """Start a collector; it is ended with the test."""
    running: list[tuple[_Collector, threading.Thread]] = []

    def start(**options: Any) -> _Collector:
        server = _Collector(**options)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        running.append((server, thread))
        return server

    yield start
    for server, thread in running:
        server.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_real_collector_gets_the_spans(collector: Callable[..., _Collector]) -> None:
    """OTLP protobuf at /v1/traces, with the service's name and version; `close` sends what is left."""
    server = collector()
    before = trace.get_tracer_provider()
    tracing = open_tracing(endpoint=server.endpoint, service_name="pairs", version="1.2.3")
    trace_id = send_request(tracing, (b"traceparent", TRACEPARENT))
    tracing.close()
    tracing.close()

    assert trace.get_tracer_provider() is before
    ((path, content_type, message),) = server.received
    (resource_spans,) = message.resource_spans
    resource = {a.key: a.value.string_value for a in resource_spans.resource.attributes}
    spans = {span.name: span for span in resource_spans.scope_spans[0].spans}
    assert (path, content_type) == ("/v1/traces", "application/x-protobuf")
    assert resource.items() >= {"service.name": "pairs", "service.version": "1.2.3"}.items()
    assert set(spans) == {"POST /rerank", "tokenize", "queue", "inference"}
    assert {span.trace_id.hex() for span in spans.values()} == {trace_id} == {TRACE}
    assert spans["inference"].parent_span_id == spans["POST /rerank"].span_id
    assert spans["POST /rerank"].parent_span_id.hex() == PARENT


def test_a_collector_that_never_answers_is_given_up(
    collector: Callable[..., _Collector],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Requests do not wait for it, and `close` returns after its own time, and says so."""
    monkeypatch.setattr(tracing, "_FLUSH_TIMEOUT_S", 0.2)
    server = collector(answers=False)
    traced = open_tracing(endpoint=server.endpoint, service_name="s", version="1")

    assert send_request(traced) is not None
    with caplog.at_level(logging.WARNING):
        traced.close()

    assert not server.released.is_set()
    assert "the last traces were given up" in caplog.text


def test_what_is_given_up_is_also_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the time is over, the exporter is told to end its own waiting."""
    monkeypatch.setattr(tracing, "_FLUSH_TIMEOUT_S", 0.05)
    stopped = threading.Event()

    class Stuck(SpanProcessor):
        def shutdown(self) -> None:
            stopped.wait(20)

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Stuck())
    OpenTelemetryTracing(provider, abort=stopped.set).close()

    assert stopped.is_set()


def test_a_collector_that_is_away_is_complained_of_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many batches are lost, the log has one line of a kind a minute; requests go on."""
    monkeypatch.setattr(tracing._SELDOM, "_quiet_until", {})
    monkeypatch.setattr(tracing, "_EXPORT_TIMEOUT_S", 0.05)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            # The discard port: nobody listens there.
            traced = open_tracing(endpoint="http://127.0.0.1:9", service_name="s", version="1")
            assert send_request(traced) is not None
            traced.close()

    complaints = [(r.name, str(r.msg)) for r in caplog.records if r.name.startswith("opentel")]
    assert complaints
    assert len(complaints) == len(set(complaints))
