"""The speed test: a model's own rate, beside the machine's peak, in turn, because a machine is never equally quick."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from pairscore.config import num_cores
from pairscore.diagnosis.flops import flops_of_pair
from pairscore.diagnosis.products import Product, blas_flops_per_s
from pairscore.models.facts import read_facts
from pairscore.road.backends.base import preferred_layout
from pairscore.road.rate import rate
from pairscore.road.road import Road
from pairscore.road.trial import NUM_TOKENS, numbers_of, probe_pairs
from pairscore.values import Encoded

__all__ = ["Advance", "Peak", "Speed", "speed_of"]

Advance: TypeAlias = Callable[[float], None]
"""Called with the share of the speed test that is done, 0 to 1."""

_ROUNDS: Final = 10
# Of a round: each of the three ways to ask for the machine's peak; the rest is the model's.
_PEAK_SHARE: Final = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Peak:
    """What the machine can do at best: operations a second of large products, the fastest of some rounds."""

    float32_per_s: float
    int8_per_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Speed:
    """How fast the model runs here.

    Attributes:
        num_tokens: of each pair.
        pairs_per_s, tokens_per_s: medians over the rounds.
        best_pairs_per_s: of the fastest round.
        alone_s: seconds that one pair takes which has the machine to itself, on one thread.
        numbers: that the model computes in.
        flops_of_pair: operations of one pair; None for an architecture that is not known.
        peak: the machine's.
        share_of_peak: of the peak in those numbers, the fastest round's; None on a GPU, or where one of them is not
            known.
        seconds: that the test took.
    """

    num_tokens: int
    pairs_per_s: float
    tokens_per_s: float
    best_pairs_per_s: float
    alone_s: float
    numbers: str
    flops_of_pair: float | None
    peak: Peak
    share_of_peak: float | None
    seconds: float


def speed_of(road: Road, *, seconds: float, advance: Advance = lambda _share: None) -> Speed:
    """Run the model in its layout, and the machine's largest products, for so many seconds in all.

    Raises:
        BackendError: the model fails.
    """
    began = time.perf_counter()
    work = _Work(road)
    products = Product("float32"), Product("int8")
    a_round = seconds / _ROUNDS
    rates: list[float] = []
    floats: list[float] = []
    integers: list[float] = []
    work.run()
    for number in range(_ROUNDS):
        a_peak = _PEAK_SHARE * a_round
        in_float32, in_int8 = (
            product.ops_per_s(num_workers=num_cores(), seconds=a_peak) for product in products
        )
        floats += [blas_flops_per_s(seconds=a_peak), in_float32]
        integers.append(in_int8)
        left = a_round - 3 * a_peak
        rates.append(rate(work.run, num_workers=road.config.workers, seconds=left))
        advance((number + 1) / _ROUNDS)
    peak = Peak(float32_per_s=max(floats), int8_per_s=max(integers))
    pairs_per_s = statistics.median(rates)
    numbers = numbers_of(road.backend, road.files.weights)
    of_pair = flops_of_pair(read_facts(road.files.folder), num_tokens=work.num_tokens)
    return Speed(
        num_tokens=work.num_tokens,
        pairs_per_s=pairs_per_s,
        tokens_per_s=pairs_per_s * work.num_tokens,
        best_pairs_per_s=max(rates),
        alone_s=work.alone_s(),
        numbers=numbers,
        flops_of_pair=of_pair,
        peak=peak,
        share_of_peak=_share(max(rates), of_pair, _peak_in(numbers, peak, road)),
        seconds=time.perf_counter() - began,
    )


class _Work:
    """As many pairs of one length as the road's budget holds."""

    def __init__(self, road: Road) -> None:
        self._road = road
        self.num_tokens = min(NUM_TOKENS, road.max_length)
        num_pairs = max(1, road.config.budget // self.num_tokens)
        probes = itertools.islice(itertools.cycle(probe_pairs(road.tokenizer)), num_pairs)
        self._pairs = [
            Encoded(
                ids=np.resize(pair.ids, self.num_tokens),
                type_ids=np.resize(pair.type_ids, self.num_tokens),
                truncated=False,
            )
            for pair in probes
        ]
        self._positions = np.arange(num_pairs)

    def run(self) -> float:
        """Run them once; how many pairs it were."""
        self._road.run(self._pairs, self._positions)
        return len(self._pairs)

    def alone_s(self) -> float:
        """Seconds that one pair takes, the median of a few."""
        times = []
        for _ in range(_ROUNDS):
            began = time.perf_counter()
            self._road.run(self._pairs, self._positions[:1])
            times.append(time.perf_counter() - began)
        return statistics.median(times)


def _peak_in(numbers: str, peak: Peak, road: Road) -> float | None:
    # What has a worker of its own for each core runs on the CPU.
    if preferred_layout(road.backend).num_workers is not None:
        return None
    return {"float32": peak.float32_per_s, "int8": peak.int8_per_s}.get(numbers)


def _share(pairs_per_s: float, of_pair: float | None, peak: float | None) -> float | None:
    return None if of_pair is None or peak is None else pairs_per_s * of_pair / peak
