"""What is counted, in Prometheus' words. Each app has a registry of its own, so that several can live together.

Counters and histograms are told what happened, some by the engine's threads; gauges are asked when somebody reads
them. It knows neither the model nor the framework, and no label takes a value that a caller could choose.
docs/observability.md lists every metric, and a test holds the list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Literal, TypeAlias, get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from pairscore.cache.base import CacheStats
from pairscore.engine.records import Answer, BatchReport, EngineState, Observer, Outcome, Timing

__all__ = ["Telemetry", "server_timing"]

_OPEN_METRICS: Final = "application/openmetrics-text"

# A request is anything from one short pair to thousands behind a full queue.
_REQUEST_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_QUEUE_S: Final = (0.001, *_REQUEST_S)
_TOKENIZE_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
# A micro-batch of the default budget takes tens of milliseconds; far beyond lies only what hangs.
_BATCH_S: Final = (0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.5, 1.0, 5.0, 30.0)
_BATCH_PAIRS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_BATCH_TOKENS: Final = (32, 64, 128, 256, 384, 512, 768, 1024, 2048, 4096, 8192, 16384)

_Reason: TypeAlias = Literal["died", "hung"]
_IDLE: Final = EngineState(
    running=False,
    num_workers=0,
    num_requests=0,
    queue_tokens=0,
    waiting_pairs=0,
    stalled_s=0.0,
    canary_age_s=float("inf"),
    tokens_per_s=0.0,
)


class Telemetry(Observer):
    """The numbers of one app.

    The observer's methods may be called from any thread, cost a few microseconds and do not raise.
    """

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._registry = registry
        metrics = _Metrics(registry)
        self._http = _Http(metrics)
        self._work = _Work(metrics)
        self._batches = _Batches(metrics)
        self._live = _Live()
        self._info = Info(
            "pairscore", "What is served: a 1 with the facts as labels.", registry=registry
        )
        registry.register(self._live)
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)

    def describe(
        self, *, version: str, model: str, revision: str | None, sha256: str | None, backend: str
    ) -> None:
        """Say what is served, once the model is loaded; None where there is no such fact."""
        self._info.info(
            {
                "version": version,
                "model": model,
                "revision": revision or "",
                "sha256": sha256 or "",
                "backend": backend,
            }
        )

    def watch(
        self,
        *,
        state: Callable[[], EngineState],
        cache: Callable[[], CacheStats | None],
        ready: Callable[[], bool],
    ) -> None:
        """Whom to ask for what is read at the moment; each is called once for each exposition.

        Args:
            state: the engine's state; asked from any thread.
            cache: the cache's counts, None if there is no cache.
            ready: whether the service would answer that it is ready.
        """
        self._live.state, self._live.cache, self._live.ready = state, cache, ready

    def request(
        self,
        *,
        route: str,
        status: int,
        seconds: float,
        key: str = "",
        trace_id: str | None = None,
    ) -> None:
        """One request was answered.

        Args:
            route: the template of its route, or one fixed word, so that no caller can invent labels.
            status: of the answer.
            seconds: from the request to the end of its answer.
            key: the name of its API key; empty if access is open.
            trace_id: shown beside the bucket of its seconds to those who read OpenMetrics.
        """
        self._http.requests.labels(route, str(status)).inc()
        exemplar = {"trace_id": trace_id} if trace_id else None
        self._http.seconds.labels(route).observe(seconds, exemplar)
        if key:
            self._http.key_requests.labels(key).inc()

    def charged(self, *, key: str, num_tokens: int) -> None:
        """A request's tokens were counted for its key; without a key nothing is."""
        if key:
            self._http.key_tokens.labels(key).inc(num_tokens)

    def refused_key(self, kind: str) -> None:
        """A request was refused for its key; the kind is one of the few that `service.access` has."""
        self._http.key_refusals.labels(kind).inc()

    def tokenized(self, *, num_pairs: int, seconds: float) -> None:
        """Pairs were looked up and tokenized."""
        self._work.tokenized.inc(num_pairs)
        self._work.tokenize_s.observe(seconds)

    def ran(self, report: BatchReport) -> None:
        """The model ran a micro-batch."""
        self._batches.add(report)

    def ended(self, outcome: Outcome, *, answer: Answer | None = None) -> None:
        """A request ended; `answer` is there when it ended well."""
        self._work.outcomes[outcome].inc()
        if answer is not None:
            self._work.add(answer)

    def replaced_worker(self, reason: _Reason) -> None:
        """A worker was given up and another one took its place."""
        self._batches.replaced[reason].inc()

    def split(self) -> None:
        """A micro-batch ran out of memory and was halved."""
        self._batches.splits.inc()

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """All numbers, and the content type that they are in.

        Args:
            accept: the request's Accept header; who names OpenMetrics gets it, all others the plain text format.
        """
        # Only that word is passed on: prometheus-client raises on versions that it cannot read.
        wanted = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
        encode, content_type = choose_encoder(_OPEN_METRICS if _OPEN_METRICS in wanted else "")
        return encode(_WithoutBirthdays(self._registry)), content_type


def server_timing(timing: Timing) -> str:
    """The value of a Server-Timing header, in milliseconds: "tokenize;dur=1.2, queue;dur=0.3, ...".

    Source: https://www.w3.org/TR/server-timing/
    """
    parts = (
        ("tokenize", timing.tokenize_s),
        ("queue", timing.queue_s),
        ("inference", timing.inference_s),
        ("total", timing.total_s),
    )
    return ", ".join(f"{name};dur={seconds * 1000:.1f}" for name, seconds in parts)


class _Metrics:
    """Makes metrics of one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self._registry)

    def histogram(
        self, name: str, text: str, *labels: str, buckets: tuple[float, ...]
    ) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, registry=self._registry)


class _Http:
    """What came in over HTTP, and with which key."""

    def __init__(self, metrics: _Metrics) -> None:
        self.requests = metrics.counter(
            "pairscore_requests",
            "Requests answered, by route template and status.",
            "route",
            "status",
        )
        self.seconds = metrics.histogram(
            "pairscore_request_seconds",
            "Seconds from a request to the end of its answer.",
            "route",
            buckets=_REQUEST_S,
        )
        self.key_requests = metrics.counter(
            "pairscore_key_requests", "Requests that came with a known API key, by its name.", "key"
        )
        self.key_tokens = metrics.counter(
            "pairscore_key_tokens",
            "Tokens scored for an API key, by its name; out of the cache too.",
            "key",
        )
        self.key_refusals = metrics.counter(
            "pairscore_key_refusals", "Requests refused for their API key or its quota.", "kind"
        )


class _Work:
    """What the engine did for requests."""

    def __init__(self, metrics: _Metrics) -> None:
        outcomes = metrics.counter(
            "pairscore_outcomes", "Requests to the engine, by how they ended.", "outcome"
        )
        # All of them from the start: a rate needs a zero to rise from.
        self.outcomes = {outcome: outcomes.labels(outcome) for outcome in get_args(Outcome)}
        self.pairs = metrics.counter("pairscore_pairs", "Pairs scored; out of the cache too.")
        self.truncated = metrics.counter(
            "pairscore_truncated_pairs", "Pairs scored with a text cut."
        )
        self.shared = metrics.counter(
            "pairscore_shared_pairs", "Pairs that another one was already waiting for."
        )
        self.tokenized = metrics.counter(
            "pairscore_tokenized_pairs", "Pairs tokenized, however their request ended."
        )
        self.tokenize_s = metrics.histogram(
            "pairscore_tokenize_seconds",
            "Seconds to look a request up in the cache and tokenize it; not if all of it was cached.",
            buckets=_TOKENIZE_S,
        )
        self.queue_s = metrics.histogram(
            "pairscore_queue_seconds",
            "Seconds from tokenized until the first micro-batch of a request began.",
            buckets=_QUEUE_S,
        )
        self.inference_s = metrics.histogram(
            "pairscore_inference_seconds",
            "Seconds from the first micro-batch of a request until its last one ended.",
            buckets=_REQUEST_S,
        )

    def add(self, answer: Answer) -> None:
        """A request that ended well."""
        self.pairs.inc(len(answer.scores))
        self.truncated.inc(answer.scores.num_truncated)
        self.shared.inc(answer.num_shared)
        self.queue_s.observe(answer.timing.queue_s)
        self.inference_s.observe(answer.timing.inference_s)


class _Batches:
    """What the model ran, and what went wrong there."""

    def __init__(self, metrics: _Metrics) -> None:
        self._by_threads = metrics.counter(
            "pairscore_micro_batches",
            "Micro-batches the model ran, by the threads each was given.",
            "threads",
        )
        self._threads: dict[int, Counter] = {}
        self._tokens = metrics.counter("pairscore_tokens", "Real tokens the model read.")
        self._padded = metrics.counter(
            "pairscore_padded_tokens", "Tokens the model read, padding included."
        )
        self._seconds = metrics.histogram(
            "pairscore_micro_batch_seconds", "Seconds of one micro-batch.", buckets=_BATCH_S
        )
        self._pairs = metrics.histogram(
            "pairscore_micro_batch_pairs", "Pairs in one micro-batch.", buckets=_BATCH_PAIRS
        )
        self._size = metrics.histogram(
            "pairscore_micro_batch_padded_tokens",
            "Padded tokens in one micro-batch.",
            buckets=_BATCH_TOKENS,
        )
        replaced = metrics.counter(
            "pairscore_replaced_workers", "Workers given up and replaced.", "reason"
        )
        self.replaced = {reason: replaced.labels(reason) for reason in get_args(_Reason)}
        self.splits = metrics.counter(
            "pairscore_memory_splits", "Micro-batches halved because memory ran out."
        )

    def add(self, report: BatchReport) -> None:
        """One micro-batch."""
        threads = self._threads.get(report.num_threads)
        if threads is None:
            threads = self._by_threads.labels(str(report.num_threads))
            self._threads[report.num_threads] = threads
        threads.inc()
        self._tokens.inc(report.num_tokens)
        self._padded.inc(report.num_padded_tokens)
        self._seconds.observe(report.seconds)
        self._pairs.observe(report.num_pairs)
        self._size.observe(report.num_padded_tokens)


class _Live(Collector):
    """What is asked when somebody reads it; each one once, so that an exposition's numbers fit together."""

    def __init__(self) -> None:
        self.state: Callable[[], EngineState] = lambda: _IDLE
        self.cache: Callable[[], CacheStats | None] = lambda: None
        self.ready: Callable[[], bool] = lambda: False

    def collect(self) -> Iterable[Metric]:
        """Readiness, the engine's state, the cache's counts."""
        ready = float(self.ready())
        yield _gauge("pairscore_ready", "1 while the service is ready for requests, else 0.", ready)
        yield from _of_engine(self.state())
        yield from _of_cache(self.cache() or CacheStats())


_gauge: Final = GaugeMetricFamily
_counter: Final = CounterMetricFamily


def _of_engine(now: EngineState) -> Iterable[Metric]:
    yield _gauge("pairscore_workers", "Threads that can take a micro-batch.", now.num_workers)
    yield _gauge("pairscore_requests_in_flight", "Requests not answered yet.", now.num_requests)
    yield _gauge("pairscore_queue_tokens", "Padded tokens that wait or run.", now.queue_tokens)
    yield _gauge("pairscore_waiting_pairs", "Pairs that wait.", now.waiting_pairs)
    text = "Seconds without a micro-batch beginning or ending while pairs wait."
    yield _gauge("pairscore_stalled_seconds", text, now.stalled_s)
    text = "Seconds since a canary gave the right score; infinity before the first."
    yield _gauge("pairscore_canary_age_seconds", text, now.canary_age_s)
    text = "Padded tokens that all workers together run a second, lately."
    yield _gauge("pairscore_tokens_per_second", text, now.tokens_per_s)


def _of_cache(stats: CacheStats) -> Iterable[Metric]:
    yield _counter("pairscore_cache_hits", "Pairs found in the cache.", stats.num_hits)
    text = "Hits that came out of the tier that replicas share."
    yield _counter("pairscore_cache_shared_hits", text, stats.num_shared_hits)
    yield _counter("pairscore_cache_misses", "Pairs not found in the cache.", stats.num_misses)
    text = "Scores that left the cache to make room."
    yield _counter("pairscore_cache_evictions", text, stats.num_evicted)
    text = "Scores that were found too old and dropped."
    yield _counter("pairscore_cache_expirations", text, stats.num_expired)
    text = "Calls to the shared tier that failed; requests went on without it."
    yield _counter("pairscore_cache_shared_errors", text, stats.shared_errors)
    yield _gauge("pairscore_cache_entries", "Scores in the cache.", stats.num_entries)
    yield _gauge("pairscore_cache_bytes", "Bytes the cache takes.", stats.num_bytes)


class _WithoutBirthdays(Collector):
    """A registry without the `_created` series, one beside each counter, which hardly anybody reads."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterable[Metric]:
        """The registry's metrics."""
        for metric in self._registry.collect():
            kept = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            slim = Metric(metric.name, metric.documentation, metric.type, metric.unit)
            slim.samples = kept
            yield slim
