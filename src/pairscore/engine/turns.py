"""`Turns`: engines that share a machine run at most so many micro-batches at once, all of them together.

Each engine has as many workers as there are cores, so that one alone can use them all. When several are busy, their
workers take turns in the order in which they came, and no model can keep another one from its share.
"""

from __future__ import annotations

import threading
from collections import deque

__all__ = ["Turn", "Turns"]


class Turn:
    """Leave to run one micro-batch."""

    __slots__ = ("granted",)

    def __init__(self) -> None:
        self.granted = threading.Event()


class Turns:
    """Gives out turns, first come, first served; safe to use from any thread.

    Args:
        num_turns: how many may be out at once.
    """

    def __init__(self, num_turns: int) -> None:
        self._num_turns = num_turns
        self._lock = threading.Lock()
        self._out: set[Turn] = set()
        self._waiting: deque[Turn] = deque()

    @property
    def busy(self) -> bool:
        """Whether any turn is out now."""
        return bool(self._out)

    def enter(self) -> Turn:
        """Wait for a turn; whoever got one must `leave` it."""
        turn = Turn()
        with self._lock:
            if len(self._out) < self._num_turns:
                self._out.add(turn)
                return turn
            self._waiting.append(turn)
        turn.granted.wait()
        return turn

    def leave(self, turn: Turn) -> None:
        """Give a turn back, to whoever has waited longest; a second call does nothing."""
        with self._lock:
            if turn not in self._out:
                return
            self._out.remove(turn)
            # Handed on, not left to be grabbed: a busy engine would be back before a sleeping thread has woken.
            if self._waiting:
                following = self._waiting.popleft()
                self._out.add(following)
                following.granted.set()
