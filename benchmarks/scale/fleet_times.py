"""How long things take: the few numbers that the simulator is fed with, measured by `measure.py` and kept as JSON.

A micro-batch of P padded tokens, its longest pair of L, alone on a host, takes ``batch_s + token_s P + square_s P L``:
what every run costs, the products, and attention, which looks from each token at each other one. The rest are
factors: how much slower it is while others run beside it, how much quicker on all threads, how much it varies.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

__all__ = ["NoiseTable", "ServiceTimes", "Timed", "fit"]

# The slowest of a hundred decide about a p99, so there must be some steps among them.
_NUM_QUANTILES = 501


@dataclass(frozen=True, slots=True)
class Timed:
    """One micro-batch as it was measured.

    Attributes:
        num_tokens: padded, longest x count.
        longest: tokens of its longest pair.
        num_busy: micro-batches that ran on the machine meanwhile, this one included.
        seconds: what it took.
    """

    num_tokens: int
    longest: int
    num_busy: int
    seconds: float


NoiseTable = tuple[float, ...]
"""Quantiles at equal steps from the least to the most, of how many times the expected time it took; mean near 1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceTimes:
    """What one replica's work costs, in seconds of one core.

    Attributes:
        batch_s: each micro-batch.
        token_s: each padded token of it.
        square_s: each padded token times the longest pair's tokens.
        slowdown: how many times longer with 1, 2, ... micro-batches at once on a host; begins with 1. With more than
            are named here the cores are shared equally.
        lone: a micro-batch on all threads of a replica that does nothing else, as a part of its time on one.
        noise: how the time varies; empty for not at all.
        request_s: HTTP, JSON and the load balancer, of one request.
        tokenize_s: each token of a request's pairs.
    """

    batch_s: float
    token_s: float
    square_s: float = 0.0
    slowdown: tuple[float, ...] = (1.0,)
    lone: float = 1.0
    noise: NoiseTable = ()
    request_s: float = 0.0
    tokenize_s: float = 0.0

    def run_s(self, num_tokens: int, longest: int) -> float:
        """What a micro-batch takes that has a host's one core to itself, without noise."""
        return self.batch_s + self.token_s * num_tokens + self.square_s * num_tokens * longest

    def speed(self, num_running: int) -> float:
        """How quick each of so many jobs is on one host, beside one that is alone."""
        num_cores = len(self.slowdown)
        num_served = min(num_running, num_cores)
        return num_served / num_running / self.slowdown[num_served - 1]

    def noise_at(self, share: float) -> float:
        """The factor that the noise has at a share of its distribution, from 0 to 1."""
        if not self.noise:
            return 1.0
        place = share * (len(self.noise) - 1)
        low = min(int(place), len(self.noise) - 2)
        return self.noise[low] + (place - low) * (self.noise[low + 1] - self.noise[low])

    def record(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)

    @classmethod
    def read(cls, record: dict[str, Any]) -> Self:
        """What `record` gave."""
        lists = {name: tuple(record[name]) for name in ("slowdown", "noise")}
        return cls(**{**record, **lists})


def fit(
    timed: Sequence[Timed], *, request_s: float = 0.0, tokenize_s: float = 0.0, lone: float = 1.0
) -> ServiceTimes:
    """The service times that explain measured micro-batches best.

    Args:
        timed: of several sizes, with 1, 2, ... running at once.
        request_s: see `ServiceTimes`.
        tokenize_s: the same.
        lone: the same.

    Raises:
        ValueError: none ran alone, so there is nothing to be slower than.
    """
    alone = [entry for entry in timed if entry.num_busy == 1]
    if not alone:
        raise ValueError("no micro-batch was measured alone; measure some with num_busy = 1")
    batch_s, token_s, square_s = _coefficients(alone)
    bare = ServiceTimes(batch_s=batch_s, token_s=token_s, square_s=square_s)
    ratios: dict[int, list[float]] = {}
    for entry in timed:
        ratio = entry.seconds / bare.run_s(entry.num_tokens, entry.longest)
        ratios.setdefault(entry.num_busy, []).append(ratio)
    means = {busy: float(np.mean(found)) for busy, found in sorted(ratios.items())}
    varied = [ratio / means[busy] for busy, found in ratios.items() for ratio in found]
    return ServiceTimes(
        batch_s=batch_s * means[1],
        token_s=token_s * means[1],
        square_s=square_s * means[1],
        slowdown=_slowdowns(means),
        lone=lone,
        noise=_quantiles(varied),
        request_s=request_s,
        tokenize_s=tokenize_s,
    )


def _coefficients(alone: Sequence[Timed]) -> tuple[float, float, float]:
    """Least squares of the relative error; what would be negative is left out, or more tokens might take less."""
    seconds = np.array([entry.seconds for entry in alone])
    columns = np.array([(1.0, e.num_tokens, e.num_tokens * e.longest) for e in alone])
    found = np.zeros(3)
    kept = [0, 1, 2]
    while kept:
        weighted = columns[:, kept] / seconds[:, None]
        solved, *_ = np.linalg.lstsq(weighted, np.ones_like(seconds), rcond=None)
        if (solved >= 0).all():
            found[kept] = solved
            break
        kept.pop(int(np.argmin(solved * columns[:, kept].mean(axis=0))))
    return float(found[0]), float(found[1]), float(found[2])


def _slowdowns(means: dict[int, float]) -> tuple[float, ...]:
    """One for each count up to the largest measured; never less than with fewer, and between two the line."""
    most = max(means)
    line = np.interp(range(1, most + 1), list(means), [mean / means[1] for mean in means.values()])
    return tuple(float(value) for value in np.maximum.accumulate(np.maximum(line, 1.0)))


def _quantiles(ratios: Sequence[float]) -> NoiseTable:
    if len(ratios) < 2 or math.isclose(min(ratios), max(ratios)):  # noqa: PLR2004 - one value has no spread
        return ()
    return tuple(round(float(q), 4) for q in np.quantile(ratios, np.linspace(0, 1, _NUM_QUANTILES)))
