"""How many threads a lone micro-batch gets: what was quicker lately, and now and then a try of the other way."""

from __future__ import annotations

from collections import Counter

from pairscore.engine.width import Width


def _run(width: Width, *, one: float, wide: float, times: int) -> Counter[int]:
    """Lone micro-batches of 100 tokens that take so long on one thread and on all four."""
    chosen: Counter[int] = Counter()
    for _ in range(times):
        num_threads = width.choose()
        chosen[num_threads] += 1
        width.told(
            num_threads=num_threads, num_tokens=100, seconds=one if num_threads == 1 else wide
        )
    return chosen


def test_the_first_one_gets_all_threads() -> None:
    """Until something is known, the machine counts as idle."""
    assert Width(4).choose() == 4


def test_the_quicker_way_is_taken() -> None:
    """Whichever it is; the other one is tried once in a while."""
    quick = _run(Width(4), one=0.03, wide=0.01, times=200)
    slow = _run(Width(4), one=0.01, wide=0.03, times=200)

    assert 180 <= quick[4] < 200
    assert 180 <= slow[1] < 200


def test_what_changes_is_noticed() -> None:
    """A core that another process took, and gave back."""
    width = Width(2)
    _run(width, one=0.02, wide=0.01, times=50)

    taken = _run(width, one=0.02, wide=0.05, times=200)
    free = _run(width, one=0.02, wide=0.01, times=400)

    assert taken[1] > 150
    assert free[2] > 250


def test_a_small_difference_changes_nothing() -> None:
    """Noise does not switch to and fro."""
    chosen = _run(Width(4), one=0.0099, wide=0.01, times=100)

    assert chosen[4] > 90


def test_the_length_of_the_pair_is_taken_into_account() -> None:
    """Short pairs on one thread do not make that the quicker way for long ones."""
    width = Width(2)
    for _ in range(50):
        num_threads = width.choose()
        # One thread happens to get short pairs and all threads long ones; twice as quick a token is wide.
        num_tokens = 40 if num_threads == 1 else 400
        seconds = (num_tokens + 20) * (0.0002 if num_threads == 1 else 0.0001)
        width.told(num_threads=num_threads, num_tokens=num_tokens, seconds=seconds)

    assert Counter(width.choose() for _ in range(3)).most_common(1)[0][0] == 2


def test_runs_that_are_too_short_say_nothing() -> None:
    """Most of their time is not the model's."""
    chosen = _run(Width(2), one=0.0001, wide=0.001, times=50)

    assert chosen == {2: 50}


def test_one_thread_may_be_told_first() -> None:
    """Beside another engine a lone micro-batch gets one thread, whatever was chosen."""
    width = Width(2)
    width.told(num_threads=1, num_tokens=100, seconds=0.01)

    assert width.choose() == 2


def test_one_worker_has_one_way() -> None:
    """There is nothing to choose."""
    assert _run(Width(1), one=0.01, wide=0.01, times=50) == {1: 50}
