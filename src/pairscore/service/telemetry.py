"""What is counted, in Prometheus' words. Each app has a registry of its own, so that several can live together.

It counts what it is told and knows neither the model nor the framework.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from pairscore.values import Scores

__all__ = ["CONTENT_TYPE", "Telemetry"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Telemetry:
    """The numbers of one app."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "pairscore_requests",
            "Requests answered, by route template and status.",
            ("route", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "pairscore_request_seconds",
            "Seconds from a request to the end of its answer.",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._pairs = Counter("pairscore_pairs", "Pairs scored.", registry=self._registry)
        self._tokens = Counter(
            "pairscore_tokens", "Tokens that the model read.", registry=self._registry
        )
        self._truncated = Counter(
            "pairscore_truncated_pairs", "Pairs with a text cut.", registry=self._registry
        )

    def request(self, *, route: str, status: int, seconds: float) -> None:
        """One request was answered. The route is a template, so that no caller can invent labels."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def scored(self, scores: Scores) -> None:
        """Some pairs were scored."""
        self._pairs.inc(len(scores))
        self._tokens.inc(int(scores.num_tokens.sum()))
        self._truncated.inc(scores.num_truncated)

    def exposition(self) -> bytes:
        """All numbers, as Prometheus reads them."""
        return generate_latest(self._registry)
