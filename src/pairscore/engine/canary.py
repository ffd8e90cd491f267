"""The canary: one pair, scored now and then, whose score must never change."""

from __future__ import annotations

import math
import time
from typing import Final

from pairscore.errors import BackendError
from pairscore.road.tokenization import Pair

__all__ = ["PAIR", "PRIORITY", "Canary", "choir"]

PAIR: Final[Pair] = ("is the canary alive?", "the canary is alive and sings")
PRIORITY: Final = -1_000_000
"""Before everybody else: a full queue must not look like a dead model."""

# More than rounding can do, and less than damage does.
_TOLERANCE: Final = 0.05
# Tokens of a text as long as a passage.
_VERSE: Final = 96


class Canary:
    """Remembers the first score, and when it last came out again."""

    def __init__(self) -> None:
        self._logit = math.nan
        self._sang_s = -math.inf

    @property
    def age_s(self) -> float:
        """Seconds since the right score came out; infinity before the first time, or after `doubt`."""
        return time.monotonic() - self._sang_s

    def heard(self, logit: float) -> None:
        """The pair was scored.

        Raises:
            BackendError: not as it was scored first.
        """
        if math.isnan(self._logit):
            self._logit = logit
        if not abs(logit - self._logit) <= _TOLERANCE:
            raise BackendError(
                f"the model scored the canary {logit:.4f} and at the start {self._logit:.4f}; "
                "its memory may be damaged: restart the service"
            )
        self._sang_s = time.monotonic()

    def doubt(self) -> None:
        """Something died; nothing is believed until the next song."""
        self._sang_s = -math.inf


def choir(num_tokens: int) -> list[Pair]:
    """Pairs that together have about so many tokens: what an engine warms up with."""
    song = " la" * _VERSE
    return [(f"canary {number}", song) for number in range(max(1, num_tokens // _VERSE))]
