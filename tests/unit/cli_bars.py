"""A drawing that keeps what it was to show, for tests of progress bars."""

from __future__ import annotations

from collections.abc import Sequence

from pairscore.cli.stage import Stage


class Recorder:
    """Keeps each bar once, in the order in which they begin; a bar holds its last numbers."""

    def __init__(self, seen: list[Stage]) -> None:
        self._seen = seen
        self.told: list[str] = []

    def start(self, stages: Sequence[Stage]) -> None:
        self.show(stages)

    def show(self, stages: Sequence[Stage]) -> None:
        self._seen += [stage for stage in stages if all(stage is not one for one in self._seen)]

    def tell(self, text: str) -> None:
        self.told.append(text)

    def stop(self, stages: Sequence[Stage]) -> None:
        self.show(stages)
