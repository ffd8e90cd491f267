"""How many replicas a deployment should have: as many as its queues need, counted in tokens.

Nothing here imports Ray: Ray Serve calls `QueueTokens` in its controller, and a test calls it with a record.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from pairscore.errors import SettingError

__all__ = ["QUEUE_TOKENS", "QueueTokens", "ReplicaOptions", "Situation", "replicas_for"]

QUEUE_TOKENS: Final = "queue_tokens"
"""What a replica calls the tokens that wait or run in it, when Ray Serve asks for its numbers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplicaOptions:
    """How many replicas a deployment has, and what each one takes of the cluster.

    Attributes:
        min_replicas: are always there.
        max_replicas: are never exceeded; None for as many as `min_replicas`: the number is fixed.
        target_queue_tokens: tokens that may wait or run in one replica, on average, before another one is started.
        cpus_per_replica: cores that Ray reserves for each; the engine runs so many workers, unless the service's
            settings say a number.
        gpus_per_replica: GPUs, or a share of one, that Ray reserves for each.
        upscale_delay_s: seconds for which more replicas must be wanted before they are started.
        downscale_delay_s: seconds for which fewer must be wanted before one is stopped.
        max_surge_percent: extra replicas during a rolling update, in percent; with 0 an old one is stopped before
            the new one starts, so that no room for a further one is needed.

    Raises:
        SettingError: a number makes no sense.
    """

    min_replicas: int = 1
    max_replicas: int | None = None
    target_queue_tokens: int = 16_384
    cpus_per_replica: float = 1.0
    gpus_per_replica: float = 0.0
    upscale_delay_s: float = 2.0
    downscale_delay_s: float = 300.0
    max_surge_percent: int = 0

    def __post_init__(self) -> None:
        _check_at_least("min_replicas", self.min_replicas, 1)
        _check_at_least("target_queue_tokens", self.target_queue_tokens, 1)
        for name in ("cpus_per_replica", "gpus_per_replica", "upscale_delay_s"):
            _check_at_least(name, getattr(self, name), 0)
        _check_at_least("downscale_delay_s", self.downscale_delay_s, 0)
        _check_at_least("max_surge_percent", self.max_surge_percent, 0)
        if self.max_surge_percent > _WHOLE:
            raise _wrong("max_surge_percent", self.max_surge_percent, f"at most {_WHOLE}")
        if self.max_replicas is not None and self.max_replicas < self.min_replicas:
            raise _wrong(
                "max_replicas", self.max_replicas, f"at least min_replicas, {self.min_replicas}"
            )

    @property
    def most(self) -> int:
        """The largest number of replicas."""
        return self.min_replicas if self.max_replicas is None else self.max_replicas

    @property
    def is_fixed(self) -> bool:
        """Whether the number of replicas never changes."""
        return self.most == self.min_replicas


class Situation(Protocol):
    """What the policy reads of Ray Serve's `AutoscalingContext`."""

    @property
    def target_num_replicas(self) -> int:
        """The number that was wanted last."""

    @property
    def aggregated_metrics(self) -> Mapping[str, Mapping[Any, float]] | None:
        """Each number that replicas tell, by replica, as a mean over the last seconds."""


class QueueTokens:
    """Wants one replica for each `target_queue_tokens` that wait or run in all of them together.

    Ray Serve makes one in its controller, asks it several times a second, and then holds its answer within the
    bounds and the delays of the deployment.

    Args:
        target_queue_tokens: of one replica.
    """

    def __init__(self, *, target_queue_tokens: int) -> None:
        self._target = target_queue_tokens

    def __call__(self, situation: Situation) -> tuple[int, dict[str, Any]]:
        """The number of replicas that is wanted, and nothing to remember."""
        told = (situation.aggregated_metrics or {}).get(QUEUE_TOKENS)
        if not told:
            # Nobody has said anything yet, which is not the same as an empty queue.
            return situation.target_num_replicas, {}
        return replicas_for(sum(told.values()), self._target), {}


def replicas_for(queue_tokens: float, target_queue_tokens: int) -> int:
    """Replicas that so many tokens need, at least one.

    Args:
        queue_tokens: that wait or run in all replicas together.
        target_queue_tokens: that may wait or run in one.
    """
    return max(1, math.ceil(queue_tokens / target_queue_tokens))


_WHOLE: Final = 100


def _check_at_least(name: str, value: float, least: float) -> None:
    if not value >= least or math.isinf(value):
        raise _wrong(name, value, f"at least {least}")


def _wrong(name: str, value: float, bound: str) -> SettingError:
    option = f"--{name.replace('_', '-')}"
    return SettingError(f"{name} is {value}; it must be {bound}; set it with {option}")
