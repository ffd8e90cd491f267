"""Traces: one span for each request, with its way through the engine below it, sent to an OpenTelemetry collector.

A span holds names, numbers and times; no text, no path, no key. Spans are sent by a thread of their own: a
collector that is slow or away costs spans, never a request. Without an endpoint `NoTracing` does nothing, and
OpenTelemetry, which an extra brings, is not loaded.

The SDK reads its own standard variables beside our settings: OTEL_TRACES_SAMPLER, OTEL_EXPORTER_OTLP_HEADERS,
OTEL_RESOURCE_ATTRIBUTES and the rest.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias
from urllib.parse import urlsplit

from pairscore.engine.records import Answer
from pairscore.errors import MissingExtraError, SettingError
from pairscore.service.logs import QUIET_ROUTES, known_method

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

__all__ = ["Headers", "NoTracing", "OpenTelemetryTracing", "RequestSpan", "Tracing", "open_tracing"]

Headers: TypeAlias = Iterable[tuple[bytes, bytes]]
"""The headers of an ASGI scope: lower-case names, raw values."""

_log = logging.getLogger("pairscore.service")

_TRACES_PATH: Final = "/v1/traces"
_EXPORT_TIMEOUT_S: Final = 5
_FLUSH_TIMEOUT_S: Final = 5.0
_SAY_AGAIN_S: Final = 60.0
_FAILED: Final = 400
_SERVER_ERROR: Final = 500
_NS: Final = 1_000_000_000
# Where OpenTelemetry complains of the collector: said now and then.
_OF_THE_COLLECTOR: Final = (
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.sdk._shared_internal",
    "opentelemetry.sdk.trace.export",
)
# Where it complains of callers' headers, and quotes them: not said, a caller could fill the log.
_OF_CALLERS: Final = ("opentelemetry.trace.propagation.tracecontext", "opentelemetry.trace.span")


class RequestSpan(Protocol):
    """One request, while it is under way."""

    @property
    def trace_id(self) -> str | None:
        """The trace it belongs to, 32 hexadecimal digits, for the logs; None without tracing."""
        ...

    def answer(self, answer: Answer) -> None:
        """The engine has just answered: its way becomes child spans, its counts attributes."""
        ...

    def ended(self, *, route: str, status: int) -> None:
        """The answer's status is known, and the template of its route."""
        ...


class Tracing(Protocol):
    """Where requests are traced to."""

    def request(
        self, headers: Headers, *, method: str, request_id: str
    ) -> contextlib.AbstractContextManager[RequestSpan]:
        """A span from here to the end of the `with`, below the caller's own if its headers name one."""
        ...

    def close(self) -> None:
        """Send what is left, within a bounded time; may be called twice."""
        ...


class NoTracing:
    """Traces nothing; what callers hold when no collector is set."""

    def request(
        self,
        headers: Headers,  # noqa: ARG002 - the protocol's
        *,
        method: str,  # noqa: ARG002 - the protocol's
        request_id: str,  # noqa: ARG002 - the protocol's
    ) -> contextlib.AbstractContextManager[RequestSpan]:
        """A span that keeps nothing."""
        return contextlib.nullcontext(_NO_SPAN)

    def close(self) -> None:
        """There is nothing to send."""


class _NoSpan:
    trace_id: Final = None

    def answer(self, answer: Answer) -> None:
        pass

    def ended(self, *, route: str, status: int) -> None:
        pass


_NO_SPAN: Final = _NoSpan()


class OpenTelemetryTracing:
    """Traces through a provider of the OpenTelemetry SDK.

    Args:
        provider: makes the spans, and is shut down by `close`.
        abort: called when `close` has waited long enough; gives up what is still being sent.
    """

    def __init__(
        self, provider: TracerProvider, *, abort: Callable[[], object] = lambda: None
    ) -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._abort = abort
        self._tracer = provider.get_tracer("pairscore")
        self._propagator = TraceContextTextMapPropagator()

    @contextlib.contextmanager
    def request(self, headers: Headers, *, method: str, request_id: str) -> Iterator[RequestSpan]:
        """A span of kind SERVER, named and described by OpenTelemetry's conventions for HTTP servers.

        Source: https://opentelemetry.io/docs/specs/semconv/http/http-spans/
        """
        from opentelemetry.trace import SpanKind, StatusCode

        method = known_method(method)
        span = self._tracer.start_span(
            method,
            context=self._propagator.extract(_carrier(headers)),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": method, "pairscore.request_id": request_id},
        )
        traced = _OpenTelemetrySpan(self._tracer, span, method=method)
        try:
            yield traced
        except Exception as error:
            # Its kind alone: its text may be somebody's.
            span.set_attribute("error.type", type(error).__qualname__)
            span.set_status(StatusCode.ERROR)
            raise
        finally:
            # A span that never ends is never sent.
            if not traced.quiet:
                span.end()

    def close(self) -> None:
        """Send what is left; after 5 s the rest is given up, so that no collector holds up the end."""
        # The SDK's own shutdown waits up to 30 s and takes no other number.
        flush = threading.Thread(target=self._provider.shutdown, name="traces-flush", daemon=True)
        flush.start()
        flush.join(_FLUSH_TIMEOUT_S)
        if flush.is_alive():
            self._abort()
            _log.warning("the last traces were given up: not sent within %g s", _FLUSH_TIMEOUT_S)


class _OpenTelemetrySpan:
    """One request's span; see `RequestSpan`.

    Attributes:
        quiet: whether it was a probe that went well: hundreds of them would hide the few that matter.
    """

    def __init__(self, tracer: Tracer, span: Span, *, method: str) -> None:
        self._tracer = tracer
        self._span = span
        self._method = method
        self.quiet = False
        self._began_ns = time.time_ns()

    @property
    def trace_id(self) -> str | None:
        context = self._span.get_span_context()
        return f"{context.trace_id:032x}" if context.is_valid else None

    def answer(self, answer: Answer) -> None:
        """The three parts lie end to end, and the last ends now: `Timing` has lengths, not times."""
        from opentelemetry.trace import set_span_in_context

        scores, timing = answer.scores, answer.timing
        self._span.set_attributes(
            {
                "pairscore.num_pairs": len(scores),
                "pairscore.num_tokens": int(scores.num_tokens.sum()),
                "pairscore.num_truncated": scores.num_truncated,
                "pairscore.num_cached": answer.num_cached,
                "pairscore.num_shared": answer.num_shared,
            }
        )
        below = set_span_in_context(self._span)
        now = time.time_ns()
        begin = max(now - int(timing.total_s * _NS), self._began_ns)
        parts = (
            ("tokenize", timing.tokenize_s),
            ("queue", timing.queue_s),
            ("inference", timing.inference_s),
        )
        for name, seconds in parts:
            end = min(begin + int(seconds * _NS), now)
            self._tracer.start_span(name, context=below, start_time=begin).end(end_time=end)
            begin = end

    def ended(self, *, route: str, status: int) -> None:
        from opentelemetry.trace import StatusCode

        self.quiet = route in QUIET_ROUTES and status < _FAILED
        self._span.update_name(f"{self._method} {route}")
        self._span.set_attributes({"http.route": route, "http.response.status_code": status})
        if status >= _SERVER_ERROR:
            self._span.set_attribute("error.type", str(status))
            self._span.set_status(StatusCode.ERROR)


def open_tracing(*, endpoint: str | None, service_name: str, version: str) -> Tracing:
    """Trace to a collector that takes OTLP over HTTP; without an endpoint, to nowhere.

    Args:
        endpoint: the collector's address, "http://localhost:4318"; without a path, /v1/traces is added.
        service_name: what the service is called among the traces.
        version: of the service.

    Raises:
        SettingError: the endpoint is no address of HTTP.
        MissingExtraError: OpenTelemetry is not installed.
    """
    if not endpoint:
        return NoTracing()
    address = _address(endpoint)
    # Heavy, from an extra, and for those who ask for traces only.
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise MissingExtraError(feature="traces", extra="otel") from error
    for name in (*_OF_THE_COLLECTOR, *_OF_CALLERS):
        logging.getLogger(name).addFilter(_SELDOM)
    resource = Resource.create({"service.name": service_name, "service.version": version})
    # Never the process' global provider, and nothing left to the interpreter's end: `close` is told when.
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=address, timeout=_EXPORT_TIMEOUT_S)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return OpenTelemetryTracing(provider, abort=exporter.shutdown)


class _Seldom(logging.Filter):
    """Lets each complaint of the collector through once a minute, and those of callers' headers never."""

    def __init__(self) -> None:
        super().__init__()
        self._quiet_until: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Told apart by their wording, not by what was put into it."""
        complaint, now = (record.name, str(record.msg)), time.monotonic()
        if record.name in _OF_CALLERS or now < self._quiet_until.get(complaint, now):
            return False
        self._quiet_until[complaint] = now + _SAY_AGAIN_S
        return True


_SELDOM: Final = _Seldom()


def _address(endpoint: str) -> str:
    try:
        parts = urlsplit(endpoint)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        usable = False
    if not usable:
        # A name and a password may stand before the @, a token behind the question mark.
        shown = endpoint.rpartition("@")[2].partition("?")[0]
        raise SettingError(
            f"the endpoint for traces is {shown!r}; give the address of a collector that takes OTLP "
            "over HTTP, such as http://localhost:4318"
        )
    return (parts if parts.path.strip("/") else parts._replace(path=_TRACES_PATH)).geturl()


def _carrier(headers: Headers) -> dict[str, str]:
    """The W3C headers; a parent that is named twice is none (https://www.w3.org/TR/trace-context/)."""
    found: dict[bytes, list[str]] = {b"traceparent": [], b"tracestate": []}
    for name, value in headers:
        if name in found:
            found[name].append(value.decode("latin-1"))
    if len(found[b"traceparent"]) != 1:
        return {}
    return {"traceparent": found[b"traceparent"][0], "tracestate": ",".join(found[b"tracestate"])}
