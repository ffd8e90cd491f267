"""How fast something runs on several threads at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

__all__ = ["rate"]


def rate(work: Callable[[], float], *, num_workers: int, seconds: float) -> float:
    """What `work` says it did, a second: run again and again by each of so many threads for about so long.

    Each thread runs it once at least, and what is under way at the end is finished and counted.
    """
    ends = threading.Event()

    def repeat() -> float:
        done = work()
        while not ends.is_set():
            done += work()
        return done

    with ThreadPoolExecutor(num_workers) as pool:
        began = time.perf_counter()
        running = [pool.submit(repeat) for _ in range(num_workers)]
        # A worker that fails at once need not be waited for.
        while time.perf_counter() - began < seconds and not any(one.done() for one in running):
            time.sleep(min(0.02, seconds))
        ends.set()
        done = sum(one.result() for one in running)
        # A clock may be coarser than a fake model is quick.
        return done / max(time.perf_counter() - began, 1e-9)
