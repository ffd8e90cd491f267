"""Who may come in: the queue is bounded in tokens, also while a request is still being tokenized."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from pairscore.errors import OverloadError

__all__ = ["Admission"]

# What a caller is told to wait when the queue is full: at least and at most.
_MIN_RETRY_S: Final = 1.0
_MAX_RETRY_S: Final = 60.0


class Admission:
    """Counts what is promised to requests that are not in the queue yet.

    Args:
        max_tokens: tokens that may wait or run at once.
        queued: tokens that wait or run now.
        tokens_per_s: what the workers do; 0 if that is not known yet.
    """

    def __init__(
        self, *, max_tokens: int, queued: Callable[[], int], tokens_per_s: Callable[[], float]
    ) -> None:
        self._max_tokens = max_tokens
        self._queued = queued
        self._tokens_per_s = tokens_per_s
        self._reserved = 0

    @property
    def num_tokens(self) -> int:
        """Tokens that wait or run, and the guess of those that are being tokenized."""
        return self._queued() + self._reserved

    @contextmanager
    def reserved(self, num_tokens: int) -> Iterator[None]:
        """Room in the queue while a request is tokenized.

        Raises:
            OverloadError: there is none.
        """
        waiting = self.num_tokens
        # To an empty queue any request may come, or a large one never could.
        if waiting and num_tokens and waiting + num_tokens > self._max_tokens:
            raise self._overload(waiting, num_tokens)
        self._reserved += num_tokens
        try:
            yield
        finally:
            self._reserved -= num_tokens

    def _overload(self, waiting: int, wanted: int) -> OverloadError:
        speed = self._tokens_per_s()
        too_many = min(waiting, waiting + wanted - self._max_tokens)
        wait = too_many / speed if speed else _MIN_RETRY_S
        return OverloadError(
            f"the queue is full: {waiting:,} tokens wait and about {wanted:,} more were sent, the limit "
            f"is {self._max_tokens:,}; send the request again later, or raise the limit with max_queue_tokens",
            retry_after_s=min(max(wait, _MIN_RETRY_S), _MAX_RETRY_S),
        )
