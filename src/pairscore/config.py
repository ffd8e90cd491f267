"""Settings of the road: frozen, keyword-only, checked when they are made.

Nothing here reads the environment; the service's settings and the model cache folder do.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal, TypeAlias

from pairscore.errors import SettingError

__all__ = ["DEFAULT_BUDGET", "DEFAULT_MAX_CHARS", "RoadConfig", "TruncationSide", "num_cores"]

TruncationSide: TypeAlias = Literal["right", "left"]

DEFAULT_BUDGET = 512
"""Padded tokens in a micro-batch. Small batches keep the activations of a layer in a core's own cache."""

DEFAULT_MAX_CHARS = 2_000_000
"""Characters one text may have. A model reads a few thousand at most; the rest is only tokenized and cut."""


def num_cores() -> int:
    """The cores that this process may use, not those of the machine: containers and cpusets count."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, kw_only=True, slots=True)
class RoadConfig:
    """How pairs are cut, packed and run.

    Attributes:
        max_length: tokens of a pair, special tokens included; None takes the model's own.
        budget: padded tokens of a micro-batch (longest x count). A longer pair runs alone.
        num_workers: threads that each run one micro-batch; None takes one for each core.
        truncation_side: which end of the document is cut.
        max_chars: characters that one text may have.
    """

    max_length: int | None = None
    budget: int = DEFAULT_BUDGET
    num_workers: int | None = None
    truncation_side: TruncationSide = "right"
    max_chars: int = DEFAULT_MAX_CHARS

    def __post_init__(self) -> None:
        _at_least("max_length", self.max_length, 8)
        _at_least("budget", self.budget, 1)
        _at_least("num_workers", self.num_workers, 1)
        _at_least("max_chars", self.max_chars, 1)
        if self.truncation_side not in ("right", "left"):
            raise SettingError(
                f"truncation_side is {self.truncation_side!r}; it must be 'right' or 'left'"
            )

    @property
    def workers(self) -> int:
        """The number of workers, resolved."""
        return self.num_workers or num_cores()


def _at_least(name: str, value: int | None, minimum: int) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise SettingError(f"{name} is {value!r}; it must be a whole number of at least {minimum}")
