"""What is counted, in Prometheus' words. Each app has a registry of its own, so that several can live together.

Counters and histograms are told what happened, some by the engine's threads; gauges are asked when somebody reads
them. It knows neither the model nor the framework, and no label takes a value that a caller could choose.
docs/observability.md lists every metric, and a test holds the list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
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
from pairscore.engine.records import EngineState, Timing
from pairscore.service.fleet_telemetry import (
    REQUEST_S,
    Metrics,
    ModelMetrics,
    ModelNumbers,
    gauges_of,
)
from pairscore.service.shadow_telemetry import ShadowNumbers

__all__ = ["IDLE", "SEARCH_STAGES", "Telemetry", "server_timing"]

_OPEN_METRICS: Final = "application/openmetrics-text"

SEARCH_STAGES: Final = ("encode", "dense", "words", "fuse", "rerank", "total")
"""The values of the label `stage`."""
IDLE: Final = EngineState(
    running=False,
    num_workers=0,
    num_requests=0,
    queue_tokens=0,
    waiting_pairs=0,
    stalled_s=0.0,
    canary_age_s=float("inf"),
    tokens_per_s=0.0,
)
"""Of an engine that does not run."""


class Telemetry:
    """The numbers of one app.

    Args:
        models: the names of the models that were declared, the default first: the only values of the label `model`.
    """

    def __init__(self, models: Sequence[str]) -> None:
        registry = CollectorRegistry()
        self._registry = registry
        metrics = Metrics(registry)
        self._http = _Http(metrics)
        self._searches = _Searches(metrics)
        self.shadow = ShadowNumbers(metrics)
        all_models = ModelMetrics(metrics)
        self._models = {name: all_models.of(name) for name in models}
        self._live = _Live(models)
        self._info = Info(
            "pairscore",
            "What is served: a 1 with the facts as labels.",
            ["model"],
            registry=registry,
        )
        registry.register(self._live)
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)

    def of(self, model: str) -> ModelNumbers:
        """The numbers of one model, which its engine is to be told to."""
        return self._models[model]

    def describe(
        self, *, version: str, model: str, revision: str | None, sha256: str | None, backend: str
    ) -> None:
        """Say what is served, once the model is loaded; None where there is no such fact."""
        self._info.labels(model).info(
            {
                "version": version,
                "revision": revision or "",
                "sha256": sha256 or "",
                "backend": backend,
            }
        )

    def watch(
        self,
        *,
        states: Callable[[], Mapping[str, EngineState]],
        num_bytes: Callable[[], Mapping[str, int | None]],
        cache: Callable[[], CacheStats | None],
        ready: Callable[[], bool],
    ) -> None:
        """Whom to ask for what is read at the moment; each is called once for each exposition.

        Args:
            states: of the engines that there are, by their models; asked from any thread.
            num_bytes: what each model takes in memory; None for one that is not there.
            cache: the cache's counts, None if there is no cache.
            ready: whether the service would answer that it is ready.
        """
        live = self._live
        live.states, live.num_bytes, live.cache, live.ready = states, num_bytes, cache, ready

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

    def searched(self, milliseconds: Mapping[str, float], *, partial: bool) -> None:
        """A search was answered.

        Args:
            milliseconds: of each stage; one that was not done, at 0, is not counted.
            partial: whether time ran out before all candidates were reranked.
        """
        self._searches.outcomes[partial].inc()
        for stage, spread in self._searches.seconds.items():
            if milliseconds[stage]:
                spread.observe(milliseconds[stage] / 1000)

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


class _Http:
    """What came in over HTTP, and with which key."""

    def __init__(self, metrics: Metrics) -> None:
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
            buckets=REQUEST_S,
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


class _Searches:
    """What was found in the index, and how long each stage took."""

    def __init__(self, metrics: Metrics) -> None:
        seconds = metrics.histogram(
            "pairscore_search_seconds",
            "Seconds of each stage of a search, and of all of it.",
            "stage",
            buckets=(0.001, *REQUEST_S),
        )
        self.seconds = {stage: seconds.labels(stage) for stage in SEARCH_STAGES}
        outcomes = metrics.counter(
            "pairscore_searches",
            "Searches answered: whole, or partial because time ran out while candidates were reranked.",
            "outcome",
        )
        self.outcomes = {
            partial: outcomes.labels("partial" if partial else "whole") for partial in (False, True)
        }


class _Live(Collector):
    """What is asked when somebody reads it; each one once, so that an exposition's numbers fit together."""

    def __init__(self, models: Sequence[str]) -> None:
        # Before anything runs there is the default, in which nothing happens.
        self.states: Callable[[], Mapping[str, EngineState]] = lambda: {models[0]: IDLE}
        self.num_bytes: Callable[[], Mapping[str, int | None]] = lambda: dict.fromkeys(models)
        self.cache: Callable[[], CacheStats | None] = lambda: None
        self.ready: Callable[[], bool] = lambda: False

    def collect(self) -> Iterable[Metric]:
        """Readiness, the engines' states, the cache's counts."""
        ready = float(self.ready())
        yield _gauge("pairscore_ready", "1 while the service is ready for requests, else 0.", ready)
        yield from gauges_of(self.states(), self.num_bytes())
        yield from _of_cache(self.cache() or CacheStats())


_gauge: Final = GaugeMetricFamily
_counter: Final = CounterMetricFamily


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
