"""Make the next thing while this one is used: tokenize a window of pairs while a GPU runs the one before it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["each_ahead"]

Given = TypeVar("Given")
Made = TypeVar("Made")


def each_ahead(
    make: Callable[[Given], Made], given: Iterable[Given], *, ahead: bool
) -> Iterator[Made]:
    """What `make` gives for each in order; of one that raises the error comes in its turn.

    Args:
        make: called on one thread, one at a time.
        given: what it is called with.
        ahead: whether the next one is made meanwhile, on a thread of its own; one more then lies in memory.
            Without it everything happens on the caller's thread, when it is asked for.
    """
    if not ahead:
        yield from map(make, given)
        return
    with ThreadPoolExecutor(1, thread_name_prefix="pairscore-ahead") as pool:
        waiting: Future[Made] | None = None
        for one in given:
            done, waiting = waiting, pool.submit(make, one)
            if done is not None:
                yield done.result()
        if waiting is not None:
            yield waiting.result()
