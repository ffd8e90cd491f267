"""Traces: what a span holds, whose trace it continues, and what is refused."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode
from tests.unit.measured import an_answer
from tests.unit.traces import PARENT, TIMING, TRACE, TRACEPARENT, send_request

from pairscore.engine.records import Timing
from pairscore.errors import MissingExtraError, SettingError
from pairscore.service import tracing
from pairscore.service.logs import QUIET_ROUTES
from pairscore.service.tracing import NoTracing, OpenTelemetryTracing, open_tracing

SECRET = "a text that is nobody's business"


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


def test_a_request_and_its_way(
    traced: OpenTelemetryTracing, spans: Callable[[], dict[str, ReadableSpan]]
) -> None:
    """One SERVER span by HTTP's conventions, three children of it, and the counts of the answer."""
    trace_id = send_request(traced)

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
        "pairscore.num_pairs": 3,
        "pairscore.num_tokens": 21,
        "pairscore.num_truncated": 2,
        "pairscore.num_cached": 1,
        "pairscore.num_shared": 2,
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
        span.answer(an_answer(TIMING))
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
        span.answer(an_answer(Timing(tokenize_s=9, queue_s=9, inference_s=9, total_s=27)))
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
    trace_id = send_request(traced, (b"traceparent", TRACEPARENT), (b"tracestate", b"a=1"))

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
    trace_id = send_request(traced, *headers)

    assert trace_id is not None
    assert trace_id != TRACE
    assert spans()["POST /rerank"].parent is None


def test_broken_headers_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """What OpenTelemetry would quote of a caller's header is not logged."""
    unsampled = TRACEPARENT.removesuffix(b"1") + b"0"
    traced = open_tracing(endpoint="http://127.0.0.1:9", service_name="s", version="1")
    with caplog.at_level(logging.DEBUG):
        for state in (SECRET.encode(), b"a=1,a=" + b"1" * 600):
            send_request(traced, (b"traceparent", unsampled), (b"tracestate", state))
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
    send_request(traced, status=status)

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

    assert send_request(OpenTelemetryTracing(provider), (b"traceparent", TRACEPARENT)) == TRACE
    assert not memory.get_finished_spans()


@pytest.mark.parametrize("endpoint", [None, ""])
def test_without_an_endpoint_nothing_is_traced(endpoint: str | None) -> None:
    """The null object takes every call, and loads nothing of OpenTelemetry."""
    tracing = open_tracing(endpoint=endpoint, service_name="s", version="1")

    assert isinstance(tracing, NoTracing)
    assert send_request(tracing, (b"traceparent", TRACEPARENT)) is None
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
