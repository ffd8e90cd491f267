"""A host in simulated time: cores that jobs share, each the slower the more of them run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import simpy

__all__ = ["Host"]

_DONE = 1e-12


@dataclass(eq=False, slots=True)
class _Job:
    """Something that runs: seconds of work left, cores that it takes, and who waits for its end."""

    left_s: float
    width: int
    end: simpy.Event


class Host:
    """Runs jobs at once, all at the same speed, which follows from how many there are.

    Args:
        env: the simulated time.
        speed: how quick a job is beside one that is alone, by the number of cores that are wanted in all.
    """

    def __init__(self, env: simpy.Environment, speed: Callable[[int], float]) -> None:
        self._env = env
        self._speed = speed
        self._jobs: list[_Job] = []
        self._since = 0.0
        self._serial = 0
        self.busy_s = 0.0
        """Seconds in which anything ran."""

    def work(self, seconds: float, *, width: int = 1) -> simpy.Event:
        """Do what takes one job so many seconds where it is alone; the event is its end."""
        end = self._env.event()
        if seconds <= 0:
            return end.succeed()
        self._advance()
        self._jobs.append(_Job(seconds, width, end))
        self._plan()
        return end

    def _paces(self) -> list[float]:
        """How quick each job is now; its seconds are those of its threads together, where nothing else runs."""
        now = self._speed(sum(job.width for job in self._jobs))
        return [now / self._speed(job.width) for job in self._jobs]

    def _advance(self) -> None:
        """Take from each job what was done since the last look."""
        passed, self._since = self._env.now - self._since, self._env.now
        if not self._jobs:
            return
        self.busy_s += passed
        for job, pace in zip(self._jobs, self._paces(), strict=True):
            job.left_s -= passed * pace

    def _plan(self) -> None:
        """Look again when the next job ends; whoever planned before has nothing to look for."""
        self._serial += 1
        if not self._jobs:
            return
        serial = self._serial
        paced = zip(self._jobs, self._paces(), strict=True)
        next_s = min(job.left_s / pace for job, pace in paced)
        alarm = self._env.timeout(max(0.0, next_s))
        alarm.callbacks.append(lambda _: self._look(serial))

    def _look(self, serial: int) -> None:
        if serial != self._serial:
            return
        self._advance()
        least = min(job.left_s for job in self._jobs)
        # The one whose end was planned is over, whatever rounding says.
        over = [job for job in self._jobs if job.left_s <= max(_DONE, least)]
        self._jobs = [job for job in self._jobs if job not in over]
        for job in over:
            job.end.succeed()
        self._plan()
