"""The next window is tokenized while this one runs: in order, one at a time, and no error is lost."""

from __future__ import annotations

import threading

import pytest

from pairscore.road.ahead import each_ahead


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("count", [0, 1, 5])
def test_everything_comes_in_order(*, ahead: bool, count: int) -> None:
    """However it is made."""
    assert list(each_ahead(str, range(count), ahead=ahead)) == [str(i) for i in range(count)]


def test_the_next_is_made_meanwhile_and_no_more() -> None:
    """While the first one is used the second is made; the third waits, so that memory does not fill."""
    begun = [threading.Event() for _ in range(3)]

    def make(number: int) -> int:
        begun[number].set()
        return number

    made = each_ahead(make, range(3), ahead=True)
    assert next(made) == 0
    assert begun[1].wait(timeout=10)
    assert not begun[2].is_set()
    assert list(made) == [1, 2]


def test_without_it_nothing_is_made_unasked() -> None:
    """On a CPU whose cores all run the model, a second thread would only take from them."""
    made: list[int] = []
    each = each_ahead(lambda i: made.append(i) or threading.current_thread(), range(3), ahead=False)

    assert next(each) is threading.current_thread()
    assert made == [0]


def test_an_error_comes_in_its_turn() -> None:
    """What was made before it is given first."""

    def make(number: int) -> int:
        if number == 1:
            raise ValueError("the second")
        return number

    made = each_ahead(make, range(3), ahead=True)
    assert next(made) == 0
    with pytest.raises(ValueError, match="the second"):
        next(made)


def test_giving_up_ends_the_thread() -> None:
    """A caller whose model failed leaves no thread behind."""
    before = threading.active_count()
    made = each_ahead(str, range(9), ahead=True)
    next(made)
    made.close()  # type: ignore[attr-defined]

    assert threading.active_count() == before
