"""What is counted of a shadow: the requests that it was to score, and how far it is from the model that answers."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, get_args

from pairscore.service.fleet_telemetry import Metrics

__all__ = ["ShadowNumbers", "ShadowOutcome"]

ShadowOutcome: TypeAlias = Literal[
    "ok", "failed", "late", "busy", "full", "unloaded", "unlike", "closed"
]
"""How a request ended that the shadow was to score.

``ok``: it was compared. ``failed``: the shadow raised an error. ``late``: the shadow took too long. ``busy``: no lull came
in which it could have been scored. ``full``: too many others waited. ``unloaded``: the shadow was not in memory, or was
replaced meanwhile. ``unlike``: it has other labels. ``closed``: the service ended first.
"""

# Logits of a relevance model go from about -11 to 11, and rounding to int8 moves them by about 0.1.
_DIFFERENCES: Final = (0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0)


class ShadowNumbers:
    """The numbers of the shadow of one app; 0 where there is none."""

    def __init__(self, metrics: Metrics) -> None:
        outcomes = metrics.counter(
            "pairscore_shadow_requests",
            "Requests that the shadow was to score after their answer, by how that ended.",
            "outcome",
        )
        self._outcomes = {name: outcomes.labels(name) for name in get_args(ShadowOutcome)}
        self._difference = metrics.histogram(
            "pairscore_shadow_difference",
            "Mean absolute difference of the logits of a request, between the model that answered and the shadow.",
            buckets=_DIFFERENCES,
        )

    def ended(self, outcome: ShadowOutcome) -> None:
        """A request was scored by the shadow, or was not."""
        self._outcomes[outcome].inc()

    def differed(self, logit_difference_mean: float) -> None:
        """A request was compared."""
        self._difference.observe(logit_difference_mean)
