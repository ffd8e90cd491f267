"""Traces: what a span holds, whose trace it continues, and a collector that cannot harm a request."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from pairscore.engine.records import Answer, Timing
from pairscore.errors import MissingExtraError, SettingError
from pairscore.road.ranking import scores_of
from pairscore.service import tracing
from pairscore.service.logs import QUIET_ROUTES
from pairscore.service.tracing import NoTracing, OpenTelemetryTracing, Tracing, open_tracing

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01".encode()
TIMING = Timing(tokenize_s=0.001, queue_s=0.002, inference_s=0.02, total_s=0.023)
SECRET = "a text that is nobody's business"


def _answer(timing: Timing = TIMING) -> Answer:
    scores = scores_of(
        [1.0, 2.0], activation="identity", num_tokens=[5, 7], truncated=[False, True], model="m"
    )
    return Answer(scores=scores, timing=timing, num_cached=1, num_shared=0)


@pytest.fixture
def memory() -> InMemorySpanExporter:
    """Where finished spans are kept."""
    return InMemorySpanExporter()


@pytest.fixture
def traced(memory: InMemorySpanExporter) -> Iterator[OpenTelemetryTracing]:
    """Tracing with the real SDK, into memory."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracing = OpenTelemetryTracing(provider)
    yield tracing
    tracing.close()


@pytest.fixture
def spans(memory: InMemorySpanExporter) -> Callable[[], dict[str, ReadableSpan]]:
    """The finished spans by name."""
    return lambda: {span.name: span for span in memory.get_finished_spans()}


def _run(tracing: Tracing, *headers: tuple[bytes, bytes], status: int = 200) -> str | None:
    """One request from its headers to its end; gives the trace's id."""
    with tracing.request(headers, method="POST", request_id="r-1") as span:
        span.answer(_answer())
        span.ended(route="/rerank", status=status)
        return span.trace_id


def test_a_request_and_its_way(
    traced: OpenTelemetryTracing, spans: Callable[[], dict[str, ReadableSpan]]
) -> None:
    """One SERVER span by HTTP's conventions, three children of it, and the counts of the answer."""
    trace_id = _run(traced)

    found = spans()
    server = found["POST /rerank"]
    assert set(found) == {"POST /rerank", "tokenize", "queue", "inference"}
    assert server.kind is SpanKind.SERVER
    assert server.parent is None
    assert server.status.status_code is StatusCode.UNSET
    assert dict(server.attributes or {}) == {
        "http.request.method": "POST",
        "http.route": "/rerank",
        "http.response.status_code": 200,
        "pairscore.request_id": "r-1",
        "pairscore.num_pairs": 2,
        "pairscore.num_tokens": 12,
        "pairscore.num_truncated": 1,
        "pairscore.num_cached": 1,
        "pairscore.num_shared": 0,
    }
    for name in ("tokenize", "queue", "inference"):
        assert found[name].parent == server.context
    assert trace_id == f"{server.context.trace_id:032x}"


def test_the_parts_lie_end_to_end_within_the_request(
    traced: OpenTelemetryTracing, spans: Callable[[], dict[str, ReadableSpan]]
) -> None:
    """Their lengths are the engine's, and none begins before the request or ends after it."""
    with traced.request((), method="POST", request_id="r") as span:
        time.sleep(0.03)
        span.answer(_answer())
        span.ended(route="/rerank", status=200)

    found = spans()
    parts = [found[name] for name in ("tokenize", "queue", "inference")]
    server = found["POST /rerank"]
    lengths = [(part.end_time or 0) - (part.start_time or 0) for part in parts]

    assert lengths == [1_000_000, 2_000_000, 20_000_000]
    assert parts[0].end_time == parts[1].start_time
    assert parts[1].end_time == parts[2].start_time
    assert (server.start_time or 0) <= (parts[0].start_time or 0)
    assert (parts[2].end_time or 0) <= (server.end_time or 0)


def test_clocks_that_disagree_stay_within_the_request(
    traced: OpenTelemetryTracing, spans: Callable[[], dict[str, ReadableSpan]]
) -> None:
    """More seconds than the request had do not make a part that begins before it or ends later."""
    with traced.request((), method="POST", request_id="r") as span:
        span.answer(_answer(Timing(tokenize_s=9, queue_s=9, inference_s=9, total_s=27)))
        span.ended(route="/rerank", status=200)

    found = spans()
    server = found.pop("POST /rerank")
    for part in found.values():
        assert (server.start_time or 0) <= (part.start_time or 0) <= (part.end_time or 0)
        assert (part.end_time or 0) <= (server.end_time or 0)


def test_the_callers_trace_goes_on(
    traced: OpenTelemetryTracing, spans: Callable[[], dict[str, ReadableSpan]]
) -> None:
    """A W3C traceparent makes this request a child, with its state; the logs get its id."""
    trace_id = _run(traced, (b"traceparent", TRACEPARENT), (b"tracestate", b"a=1"))

    server = spans()["POST /rerank"]
    assert trace_id == TRACE
    assert f"{server.context.trace_id:032x}" == TRACE
    assert server.parent is not None
    assert f"{server.parent.span_id:016x}" == PARENT
    assert server.context.trace_state.to_header() == "a=1"


@pytest.mark.parametrize(
    "headers",
    [
        [(b"traceparent", b"")],
        [(b"traceparent", b"nonsense")],
        [(b"traceparent", b"\xff\xfe\x00")],
        [(b"traceparent", b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01")],
        [(b"traceparent", b"9" * 10_000)],
        [(b"traceparent", TRACEPARENT), (b"traceparent", TRACEPARENT)],
        [(b"tracestate", b"a=1")],
    ],
)
def test_a_broken_parent_is_none(
    traced: OpenTelemetryTracing,
    spans: Callable[[], dict[str, ReadableSpan]],
    headers: list[tuple[bytes, bytes]],
) -> None:
    """Whatever a caller sends, the request gets a trace, if need be of its own."""
    trace_id = _run(traced, *headers)

    assert trace_id is not None
    assert trace_id != TRACE
    assert spans()["POST /rerank"].parent is None


def test_broken_headers_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """What OpenTelemetry would quote of a caller's header is not logged."""
    unsampled = TRACEPARENT.removesuffix(b"1") + b"0"
    traced = open_tracing(endpoint="http://127.0.0.1:9", service_name="s", version="1")
    with caplog.at_level(logging.DEBUG):
        for state in (SECRET.encode(), b"a=1,a=" + b"1" * 600):
            _run(traced, (b"traceparent", unsampled), (b"tracestate", state))
    traced.close()

    assert SECRET not in caplog.text
    assert not [r for r in caplog.records if r.name.startswith("opentelemetry")]


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (422, StatusCode.UNSET, None),
        (429, StatusCode.UNSET, None),
        (499, StatusCode.UNSET, None),
        (500, StatusCode.ERROR, "500"),
        (503, StatusCode.ERROR, "503"),
        (504, StatusCode.ERROR, "504"),
    ],
)
def test_the_servers_failures_are_errors(
    traced: OpenTelemetryTracing,
    spans: Callable[[], dict[str, ReadableSpan]],
    status: int,
    code: StatusCode,
    kind: str | None,
) -> None:
    """From 500 on the span's status is ERROR; the caller's own mistakes are none of the server's."""
    _run(traced, status=status)

    server = spans()["POST /rerank"]
    assert server.status.status_code is code
    assert (server.attributes or {}).get("error.type") == kind


@pytest.mark.parametrize(("status", "num_spans"), [(200, 0), (503, 1)])
@pytest.mark.parametrize("route", sorted(QUIET_ROUTES))
def test_probes_are_traced_only_if_they_fail(
    traced: OpenTelemetryTracing,
    memory: InMemorySpanExporter,
    route: str,
    status: int,
    num_spans: int,
) -> None:
    """As in the log: they come every few seconds."""
    with traced.request((), method="GET", request_id="r") as span:
        span.ended(route=route, status=status)

    assert len(memory.get_finished_spans()) == num_spans


def test_an_error_that_passes_through(
    traced: OpenTelemetryTracing, spans: Callable[[], dict[str, ReadableSpan]]
) -> None:
    """It is kept by its kind; its text, which may be somebody's, is nowhere in the trace."""
    with (
        pytest.raises(ValueError, match=SECRET),
        traced.request((), method="POST", request_id="r"),
    ):
        raise ValueError(SECRET)

    server = spans()["POST"]
    assert server.status.status_code is StatusCode.ERROR
    assert dict(server.attributes or {})["error.type"] == "ValueError"
    assert not server.events
    assert SECRET not in server.to_json()


def test_a_method_that_nobody_knows(
    traced: OpenTelemetryTracing, spans: Callable[[], dict[str, ReadableSpan]]
) -> None:
    """A caller cannot name a span."""
    with traced.request((), method="FOO", request_id="r") as span:
        span.ended(route="unmatched", status=405)

    (server,) = spans().values()
    assert server.name == "_OTHER unmatched"
    assert dict(server.attributes or {})["http.request.method"] == "_OTHER"


def test_what_is_not_sampled_still_has_an_id(memory: InMemorySpanExporter) -> None:
    """The logs name the trace although nothing of it is sent."""
    provider = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))

    assert _run(OpenTelemetryTracing(provider), (b"traceparent", TRACEPARENT)) == TRACE
    assert not memory.get_finished_spans()


@pytest.mark.parametrize("endpoint", [None, ""])
def test_without_an_endpoint_nothing_is_traced(endpoint: str | None) -> None:
    """The null object takes every call, and loads nothing of OpenTelemetry."""
    tracing = open_tracing(endpoint=endpoint, service_name="s", version="1")

    assert isinstance(tracing, NoTracing)
    assert _run(tracing, (b"traceparent", TRACEPARENT)) is None
    tracing.close()
    tracing.close()


def test_the_null_object_is_free_of_opentelemetry() -> None:
    """In a fresh process, so that the tests' own imports do not count."""
    code = (
        "import sys\nfrom pairscore.service.tracing import open_tracing\n"
        "open_tracing(endpoint=None, service_name='s', version='1')\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]\n"
    )

    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks for traces without OpenTelemetry is told what to install."""
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)

    with pytest.raises(MissingExtraError, match=r"traces needs.*pip install 'pairscore\[otel\]'"):
        open_tracing(endpoint="http://127.0.0.1:9", service_name="s", version="1")


@pytest.mark.parametrize(
    "endpoint",
    ["localhost:4318", "grpc://localhost:4317", "http://", "http://[::1", "/v1/traces", "http:/c"],
)
def test_an_endpoint_that_is_no_address(endpoint: str) -> None:
    """It is refused at the start, with the value and an example."""
    with pytest.raises(SettingError, match="http://localhost:4318") as refused:
        open_tracing(endpoint=endpoint, service_name="s", version="1")

    assert repr(endpoint) in str(refused.value)


def test_a_refused_endpoint_keeps_its_secrets() -> None:
    """Neither a password nor a token of the address is said."""
    with pytest.raises(SettingError) as refused:
        open_tracing(endpoint="grpc://me:word@host/?token=key", service_name="s", version="1")

    assert "'host/'" in str(refused.value)


@pytest.mark.parametrize(
    ("endpoint", "address"),
    [
        ("http://c:4318", "http://c:4318/v1/traces"),
        ("http://c:4318/", "http://c:4318/v1/traces"),
        ("https://c/otlp/v1/traces", "https://c/otlp/v1/traces"),
    ],
)
def test_the_usual_path_is_added(endpoint: str, address: str) -> None:
    """Only to an address that has none of its own."""
    assert tracing._address(endpoint) == address


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
    trace_id = _run(tracing, (b"traceparent", TRACEPARENT))
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

    assert _run(traced) is not None
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
            assert _run(traced) is not None
            traced.close()

    complaints = [(r.name, str(r.msg)) for r in caplog.records if r.name.startswith("opentel")]
    assert complaints
    assert len(complaints) == len(set(complaints))
