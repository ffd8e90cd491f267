"""What is counted of each model: its requests, its micro-batches, its loads. `telemetry` puts it beside the rest.

Every metric here has the label `model`, whose values are the names that the operator declared and no other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal, TypeAlias, get_args

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from pairscore.engine.records import Answer, BatchReport, EngineState, Observer, Outcome

__all__ = ["REQUEST_S", "Left", "Metrics", "ModelMetrics", "ModelNumbers", "gauges_of"]

REQUEST_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""A request is anything from one short pair to thousands behind a full queue."""
_QUEUE_S: Final = (0.001, *REQUEST_S)
_TOKENIZE_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
# A micro-batch of the default budget takes tens of milliseconds; far beyond lies only what hangs.
_BATCH_S: Final = (0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.5, 1.0, 5.0, 30.0)
_BATCH_PAIRS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_BATCH_TOKENS: Final = (32, 64, 128, 256, 384, 512, 768, 1024, 2048, 4096, 8192, 16384)

_MODEL: Final = "model"
_Reason: TypeAlias = Literal["died", "hung"]
Left: TypeAlias = Literal["asked", "evicted"]


class Metrics:
    """Makes metrics of one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def counter(self, name: str, text: str, *labels: str) -> Counter:
        """A counter, which gets the suffix `_total`."""
        return Counter(name, text, labels, registry=self._registry)

    def histogram(
        self, name: str, text: str, *labels: str, buckets: tuple[float, ...]
    ) -> Histogram:
        """A histogram."""
        return Histogram(name, text, labels, buckets=buckets, registry=self._registry)


class ModelMetrics:
    """The metrics of all models of one app; `of` gives the numbers of one."""

    def __init__(self, metrics: Metrics) -> None:
        self.outcomes = metrics.counter(
            "pairscore_outcomes", "Requests to the engine, by how they ended.", _MODEL, "outcome"
        )
        self.pairs = _counted(metrics, "pairs", "Pairs scored; out of the cache too.")
        self.truncated = _counted(metrics, "truncated_pairs", "Pairs scored with a text cut.")
        text = "Pairs that another one was already waiting for."
        self.shared = _counted(metrics, "shared_pairs", text)
        text = "Pairs tokenized, however their request ended."
        self.tokenized = _counted(metrics, "tokenized_pairs", text)
        text = "Seconds to look a request up in the cache and tokenize it; not if all of it was cached."
        self.tokenize_s = _spread(metrics, "tokenize_seconds", text, _TOKENIZE_S)
        text = "Seconds from tokenized until the first micro-batch of a request began."
        self.queue_s = _spread(metrics, "queue_seconds", text, _QUEUE_S)
        text = "Seconds from the first micro-batch of a request until its last one ended."
        self.inference_s = _spread(metrics, "inference_seconds", text, REQUEST_S)
        text = "Micro-batches the model ran, by the threads each was given."
        self.by_threads = metrics.counter("pairscore_micro_batches", text, _MODEL, "threads")
        self.tokens = _counted(metrics, "tokens", "Real tokens the model read.")
        text = "Tokens the model read, padding included."
        self.padded = _counted(metrics, "padded_tokens", text)
        text = "Seconds of one micro-batch."
        self.batch_s = _spread(metrics, "micro_batch_seconds", text, _BATCH_S)
        text = "Pairs in one micro-batch."
        self.batch_pairs = _spread(metrics, "micro_batch_pairs", text, _BATCH_PAIRS)
        text = "Padded tokens in one micro-batch."
        self.batch_size = _spread(metrics, "micro_batch_padded_tokens", text, _BATCH_TOKENS)
        text = "Workers given up and replaced."
        self.replaced = metrics.counter("pairscore_replaced_workers", text, _MODEL, "reason")
        text = "Micro-batches halved because memory ran out."
        self.splits = _counted(metrics, "memory_splits", text)
        text = "Times a model was loaded, or could not be."
        self.loads = metrics.counter("pairscore_model_loads", text, _MODEL, "outcome")
        text = "Times a model was unloaded: asked to, or evicted to make room for another one."
        self.unloads = metrics.counter("pairscore_model_unloads", text, _MODEL, "reason")

    def of(self, model: str) -> ModelNumbers:
        """The numbers of one model."""
        return ModelNumbers(self, model)


class ModelNumbers(Observer):
    """The numbers of one model.

    The observer's methods may be called from any thread, cost a few microseconds and do not raise.
    """

    def __init__(self, all_models: ModelMetrics, model: str) -> None:
        both = all_models
        # All of them from the start: a rate needs a zero to rise from.
        self._outcomes = {name: both.outcomes.labels(model, name) for name in get_args(Outcome)}
        self._replaced = {name: both.replaced.labels(model, name) for name in get_args(_Reason)}
        self._loads = {
            ok: both.loads.labels(model, "ok" if ok else "failed") for ok in (True, False)
        }
        self._unloads = {name: both.unloads.labels(model, name) for name in get_args(Left)}
        self._pairs, self._truncated = both.pairs.labels(model), both.truncated.labels(model)
        self._shared, self._tokenized = both.shared.labels(model), both.tokenized.labels(model)
        self._tokenize_s, self._queue_s = both.tokenize_s.labels(model), both.queue_s.labels(model)
        self._inference_s = both.inference_s.labels(model)
        self._tokens, self._padded = both.tokens.labels(model), both.padded.labels(model)
        self._batch_s, self._batch_pairs = (
            both.batch_s.labels(model),
            both.batch_pairs.labels(model),
        )
        self._batch_size, self._splits = both.batch_size.labels(model), both.splits.labels(model)
        self._by_threads, self._model = both.by_threads, model
        self._threads: dict[int, Counter] = {}

    def tokenized(self, *, num_pairs: int, seconds: float) -> None:
        """Pairs were looked up and tokenized."""
        self._tokenized.inc(num_pairs)
        self._tokenize_s.observe(seconds)

    def ran(self, report: BatchReport) -> None:
        """The model ran a micro-batch."""
        threads = self._threads.get(report.num_threads)
        if threads is None:
            threads = self._by_threads.labels(self._model, str(report.num_threads))
            self._threads[report.num_threads] = threads
        threads.inc()
        self._tokens.inc(report.num_tokens)
        self._padded.inc(report.num_padded_tokens)
        self._batch_s.observe(report.seconds)
        self._batch_pairs.observe(report.num_pairs)
        self._batch_size.observe(report.num_padded_tokens)

    def ended(self, outcome: Outcome, *, answer: Answer | None = None) -> None:
        """A request ended; `answer` is there when it ended well."""
        self._outcomes[outcome].inc()
        if answer is not None:
            self._pairs.inc(len(answer.scores))
            self._truncated.inc(answer.scores.num_truncated)
            self._shared.inc(answer.num_shared)
            self._queue_s.observe(answer.timing.queue_s)
            self._inference_s.observe(answer.timing.inference_s)

    def replaced_worker(self, reason: _Reason) -> None:
        """A worker was given up and another one took its place."""
        self._replaced[reason].inc()

    def split(self) -> None:
        """A micro-batch ran out of memory and was halved."""
        self._splits.inc()

    def loaded(self, *, ok: bool) -> None:
        """The model was loaded, or could not be."""
        self._loads[ok].inc()

    def unloaded(self, reason: Left) -> None:
        """The model was freed."""
        self._unloads[reason].inc()


def gauges_of(
    states: Mapping[str, EngineState], num_bytes: Mapping[str, int | None]
) -> Iterable[Metric]:
    """What is asked when somebody reads it.

    Args:
        states: of the engines that there are, by their models.
        num_bytes: what each model takes in memory; None for one that is not there.
    """
    for name, text, field in _GAUGES:
        family = GaugeMetricFamily(f"pairscore_{name}", text, labels=[_MODEL])
        for model, state in states.items():
            family.add_metric([model], float(getattr(state, field)))
        yield family
    text = "1 while the model is in memory, else 0."
    loaded = GaugeMetricFamily("pairscore_model_loaded", text, labels=[_MODEL])
    text = "Bytes that the model takes in memory, as was measured when it was loaded."
    weights = GaugeMetricFamily("pairscore_model_bytes", text, labels=[_MODEL])
    for model, taken in num_bytes.items():
        loaded.add_metric([model], float(taken is not None))
        weights.add_metric([model], taken or 0)
    yield from (loaded, weights)


_GAUGES: Final = (
    ("workers", "Threads that can take a micro-batch.", "num_workers"),
    ("requests_in_flight", "Requests not answered yet.", "num_requests"),
    ("queue_tokens", "Padded tokens that wait or run.", "queue_tokens"),
    ("waiting_pairs", "Pairs that wait.", "waiting_pairs"),
    (
        "stalled_seconds",
        "Seconds without a micro-batch beginning or ending while pairs wait.",
        "stalled_s",
    ),
    (
        "canary_age_seconds",
        "Seconds since a canary gave the right score; infinity before the first.",
        "canary_age_s",
    ),
    (
        "tokens_per_second",
        "Padded tokens that all workers together run a second, lately.",
        "tokens_per_s",
    ),
)


def _counted(metrics: Metrics, name: str, text: str) -> Counter:
    return metrics.counter(f"pairscore_{name}", text, _MODEL)


def _spread(metrics: Metrics, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
    return metrics.histogram(f"pairscore_{name}", text, _MODEL, buckets=buckets)
