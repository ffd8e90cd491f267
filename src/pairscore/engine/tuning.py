"""How many threads and which budget are fastest on this machine: measured, because it cannot be told from its name.

With VNNI, AMX, hyper-threads or a small cache the order of layouts changes.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from pairscore.road.rate import rate
from pairscore.road.road import Road
from pairscore.values import Encoded

__all__ = ["Layout", "candidates", "fastest", "measure"]

# As long as an MS MARCO passage with its query.
_NUM_TOKENS: Final = 96
_ROUNDS: Final = 3
_ROUND_S: Final = 0.15
# Less is noise, and no reason to leave the default.
_WORTH: Final = 1.03
_BUDGETS: Final = (512, 256, 1024)


@dataclass(frozen=True, slots=True)
class Layout:
    """Threads that each run one micro-batch, and the padded tokens of one."""

    num_workers: int
    budget: int


def candidates(
    *,
    num_cores: int,
    num_workers: int | None = None,
    budget: int | None = None,
    preferred: Layout | None = None,
) -> tuple[Layout, ...]:
    """The layouts worth measuring, the backend's own first; what is given is not varied."""
    # Half of the cores are the real ones where each runs two threads.
    workers = (
        (num_workers,) if num_workers else tuple(dict.fromkeys((num_cores, -(-num_cores // 2))))
    )
    budgets: tuple[int, ...] = (budget,) if budget else _BUDGETS
    if preferred is not None and preferred.budget not in _BUDGETS and budget is None:
        # A GPU's: what suits a CPU's cores says nothing about it.
        workers = (num_workers or preferred.num_workers,)
        budgets = tuple(preferred.budget // part for part in (1, 2, 4))
    return tuple(Layout(*layout) for layout in itertools.product(workers, budgets))


def measure(road: Road, layouts: tuple[Layout, ...]) -> dict[Layout, float]:
    """Tokens a second of each layout: the median of some short rounds, taken in turn.

    The first one wins by itself unless another is clearly faster; see `fastest`.
    """
    batches = {layout.budget: _batch(layout.budget) for layout in layouts}
    speeds: dict[Layout, list[float]] = {layout: [] for layout in layouts}
    for batch in batches.values():
        road.run(batch, np.arange(len(batch)))
    for _ in range(_ROUNDS):
        for layout in layouts:
            speeds[layout].append(_speed(road, layout.num_workers, batches[layout.budget]))
    return {layout: statistics.median(found) for layout, found in speeds.items()}


def fastest(speeds: dict[Layout, float]) -> Layout:
    """The fastest layout; the first one if none is clearly faster."""
    best = max(speeds, key=lambda layout: speeds[layout])
    default = next(iter(speeds))
    return best if speeds[best] > _WORTH * speeds[default] else default


def _speed(road: Road, num_workers: int, batch: list[Encoded]) -> float:
    order = np.arange(len(batch))

    def run() -> int:
        road.run(batch, order)
        return len(batch) * _NUM_TOKENS

    return rate(run, num_workers=num_workers, seconds=_ROUND_S)


def _batch(budget: int) -> list[Encoded]:
    """As many pairs of one length as the budget holds; what they say does not matter for the time."""
    return list(itertools.islice(_pairs(), max(1, budget // _NUM_TOKENS)))


def _pairs() -> Iterator[Encoded]:
    for number in itertools.count(1):
        ids = np.full(_NUM_TOKENS, number, dtype=np.int64)
        yield Encoded(ids=ids, type_ids=np.zeros_like(ids), truncated=False)
