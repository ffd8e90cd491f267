"""How candidates are cut into slices: by the workers, by the time that is left, and by what is under way."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from pairscore.service.search_slices import Slices
from pairscore.service.telemetry import IDLE

# 40 tokens each, as they are guessed.
PAIRS = [("q" * 8, f"{place:0140}") for place in range(50)]


@dataclass
class _Facts:
    max_length: int = 512
    num_workers: int = 2
    budget: int = 160


@dataclass
class _Engine:
    tokens_per_s: float = 4000.0
    queue_tokens: int = 0

    def state(self) -> Any:
        return replace(IDLE, tokens_per_s=self.tokens_per_s, queue_tokens=self.queue_tokens)


@dataclass
class _Loaded:
    engine: _Engine = field(default_factory=_Engine)


@dataclass
class _Member:
    facts: _Facts | None = field(default_factory=_Facts)
    loaded: _Loaded | None = field(default_factory=_Loaded)


def slices(*, left_s: float | None, is_timed: bool = True, member: Any = None) -> Slices:
    """Of fifty pairs."""
    late = None if left_s is None else time.perf_counter() + left_s
    return Slices(PAIRS, member or _Member(), late=late, is_timed=is_timed)


def test_without_a_deadline_they_go_at_once() -> None:
    """And so they do where only the server's own deadline is there, far away, and little waits."""
    assert slices(left_s=None).take() == PAIRS
    assert slices(left_s=60, is_timed=False).take() == PAIRS


def test_under_load_the_servers_own_deadline_cuts_them_too() -> None:
    """What waits would take a minute by itself."""
    member = _Member(loaded=_Loaded(_Engine(queue_tokens=240_000)))

    assert len(slices(left_s=60, is_timed=False, member=member).take()) == 16


def test_a_slice_keeps_every_worker_busy_for_two_micro_batches() -> None:
    """In order, each pair once, until none is left."""
    made = slices(left_s=60)
    taken = []
    while part := made.take():
        taken.append(part)
        made.scored(len(part))

    # 2 workers x 2 micro-batches x 160 tokens / 40 tokens.
    assert [len(part) for part in taken] == [16, 16, 16, 2]
    assert [pair for part in taken for pair in part] == PAIRS


def test_the_first_slice_is_small_and_the_next_ones_follow_what_it_showed() -> None:
    """4,000 tokens a second and 0.4 s: a quarter of 1,600 tokens are ten pairs; nothing beside them, then half of what is left."""
    made = slices(left_s=0.4)
    first = len(made.take())
    beside = len(made.take())
    time.sleep(0.1)
    made.scored(first)
    second = len(made.take())
    third = len(made.take())

    assert first in (9, 10)
    assert beside == 0
    # A bit less than 4,000 tokens a second was seen, and less than 0.3 s is left.
    assert 4 <= second <= 15
    assert 1 <= third < second


def test_a_model_that_is_slower_than_the_engine_says_is_seen() -> None:
    """What was planned for a quarter of the time took most of it: of 0.3 s that are left it gets no 600 tokens any more."""
    made = slices(left_s=0.8)
    first = len(made.take())
    time.sleep(0.5)
    made.scored(first)

    assert len(made.take()) <= 6


@pytest.mark.parametrize(("left_s", "count"), [(0.015, 1), (0.005, 0), (-1.0, 0)])
def test_the_last_one_may_take_nearly_all(left_s: float, count: int) -> None:
    """A pair takes 10 ms here; one that would come too late is not sent."""
    assert len(slices(left_s=left_s).take()) == count


def test_a_model_whose_pace_nobody_knows_begins_with_a_few() -> None:
    """Also one that is not in memory, of which nothing is known at all."""
    unknown = _Member(loaded=_Loaded(_Engine(tokens_per_s=0.0)))
    absent = _Member(facts=None, loaded=None)

    for member in (unknown, absent):
        made = slices(left_s=1.0, member=member)
        assert len(made.take()) == 4
        assert made.take() == []
        made.scored(4)
        assert made.take()


def test_no_pairs_make_no_slice() -> None:
    """There is nothing to send."""
    made = Slices([], _Member(), late=time.perf_counter() + 1, is_timed=True)  # type: ignore[arg-type]

    assert made.take() == []
