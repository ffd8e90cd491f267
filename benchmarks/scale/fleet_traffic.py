"""What comes to a fleet: when, how many pairs, and how long they are; all drawn beforehand from a seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

__all__ = ["Arrival", "Traffic", "clients", "draw_sizes", "moments", "open_loop"]


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request.

    Attributes:
        at_s: when it is sent; in a closed loop, how long its client thinks before it.
        lengths: tokens of each pair.
    """

    at_s: float
    lengths: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Traffic:
    """How requests look.

    Attributes:
        pairs: pairs of a request; one of these each time, all equally likely.
        tokens: tokens of a pair, the same.
    """

    pairs: Sequence[int]
    tokens: Sequence[int]

    def request(self, dice: random.Random) -> tuple[int, ...]:
        """The lengths of one request."""
        return tuple(dice.choice(self.tokens) for _ in range(dice.choice(self.pairs)))

    @property
    def mean_pairs(self) -> float:
        """Pairs of a request on average."""
        return sum(self.pairs) / len(self.pairs)

    @property
    def mean_tokens(self) -> float:
        """Tokens of a pair on average."""
        return sum(self.tokens) / len(self.tokens)


def moments(*, rate: float, seconds: float, seed: int) -> Iterator[float]:
    """Poisson arrivals, as the load generator of `serve/load.py` draws them from the same seed."""
    dice = random.Random(seed)  # noqa: S311 - moments of a load, not a secret
    moment = dice.expovariate(rate)
    while moment < seconds:
        yield moment
        moment += dice.expovariate(rate)


def draw_sizes(traffic: Traffic, *, seed: int) -> Callable[[], tuple[int, ...]]:
    """One request after the other, the same from the same seed, whatever the moments are."""
    dice = random.Random(f"sizes of {seed}")  # noqa: S311 - sizes of a load, not a secret
    return lambda: traffic.request(dice)


def open_loop(traffic: Traffic, *, rate: float, seconds: float, seed: int) -> list[Arrival]:
    """Requests that come at random moments, whatever became of the others."""
    sizes = draw_sizes(traffic, seed=seed)
    return [Arrival(at, sizes()) for at in moments(rate=rate, seconds=seconds, seed=seed)]


def clients(
    traffic: Traffic, *, num_clients: int, num_requests: int, think_s: float, seed: int
) -> list[list[Arrival]]:
    """For each client of a closed loop its requests, one after the other."""
    sizes = draw_sizes(traffic, seed=seed)
    dice = random.Random(seed)  # noqa: S311 - pauses of a load, not a secret

    def pause() -> float:
        return dice.expovariate(1 / think_s) if think_s else 0.0

    return [[Arrival(pause(), sizes()) for _ in range(num_requests)] for _ in range(num_clients)]
