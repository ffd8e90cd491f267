"""One peer and its measurements, and what a run of the bench has in hand."""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import machine
import setup_peers
from texts import ROOT
from workers import OFFLINE, WORK, PeerError, Worker

_WARM_UP = 64
_DISTURBED = 0.10


@dataclass(slots=True)
class Peer:
    """One row of the table: a worker and how it is asked.

    Attributes:
        name: the row.
        worker: the process; None if it could not be set up.
        options: sent with every measurement.
        note: how it runs, or why it was not measured.
        seconds: one entry for each round.
        others: share of the machine's CPU that other processes used meanwhile, for each round.
        peak_mib: its highest resident memory so far.
    """

    name: str
    worker: Worker | None
    options: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    seconds: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)
    peak_mib: float = 0.0

    def measure(self, num_pairs: int, *, patience: int) -> None:
        """Score the pairs once more, and again while other processes are in the way.

        A failure ends this peer and is kept as its note.
        """
        self._measure(num_pairs)
        while patience and self.others and self.others[-1] > _DISTURBED:
            del self.seconds[-1], self.others[-1]
            patience -= 1
            self._measure(num_pairs)

    def _measure(self, num_pairs: int) -> None:
        if self.worker is None:
            return
        before = machine.busy_seconds()
        try:
            answer = self.worker.ask({"num_pairs": num_pairs, **self.options})
        except PeerError as error:
            self.worker, self.note = None, f"not measured: {error}"
            self.seconds, self.others = [], []
            return
        after = machine.busy_seconds()
        if before is not None and after is not None:
            foreign = after - before - answer["cpu_s"]
            self.others.append(max(0.0, foreign / answer["seconds"] / machine.num_cores()))
        self.seconds.append(answer["seconds"])
        self.peak_mib = answer["peak_mib"]

    def rate(self, num_pairs: int) -> float | None:
        """Median pairs a second; None if not measured."""
        return num_pairs / statistics.median(self.seconds) if self.seconds else None

    def behind(self, other: Peer) -> float | None:
        """How many times faster the other one is: the median of the ratios within each round."""
        if not self.seconds or len(self.seconds) != len(other.seconds):
            return None
        both = zip(self.seconds, other.seconds, strict=True)
        return statistics.median(mine / theirs for mine, theirs in both)


@dataclass(frozen=True, slots=True)
class Bench:
    """What one run of the bench has in hand."""

    options: argparse.Namespace
    pairs_file: Path
    num_pairs: int
    stack: ExitStack

    def python(self, name: str) -> Path:
        """The interpreter of a peers' environment, made if need be.

        Raises:
            PeerError: it is not there and cannot be made.
        """
        given: Path | None = getattr(self.options, f"{name}_python")
        if given is not None:
            return given
        try:
            return setup_peers.ensure(name)
        except (setup_peers.SetupError, OSError) as error:
            raise PeerError(str(error)) from error

    def start(self, name: str, *, python: Path, **load: Any) -> Worker:
        """Start a worker, end it with the run, and let it score a little so that nothing is cold."""
        say(f"loading {name}")
        worker = Worker(name, python=python, load={"pairs": str(self.pairs_file), **load})
        self.stack.callback(worker.close)
        worker.ask({"num_pairs": min(_WARM_UP, self.num_pairs)})
        return worker

    def reference(self) -> Path:
        """The float32 folder of the same weights, made if need be.

        Raises:
            PeerError: it is not there and cannot be made.
        """
        if self.options.reference is not None:
            return Path(self.options.reference).resolve()
        folder = WORK / "reference"
        if not (folder / "model.safetensors").is_file():
            say(f"making the float32 reference in {folder.relative_to(ROOT)}")
            tool = ROOT / "tools" / "build_bundled_model.py"
            run_or_fail([str(self.python("oracle")), str(tool), "--reference", str(folder)])
        return folder


def say(message: str) -> None:
    """Tell what is going on, on standard error."""
    print(f"[bench] {message}", file=sys.stderr, flush=True)


def run_or_fail(command: Sequence[str]) -> str:
    """Run a command; its output.

    Raises:
        PeerError: it failed; the message ends in what it said last.
    """
    environment = {**os.environ, **OFFLINE}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-3:]
        raise PeerError(f"{' '.join(command)} ended with {done.returncode}: {' | '.join(last)}")
    return done.stdout


def run_rounds(peers: Sequence[Peer], *, rounds: int, num_pairs: int, patience: int) -> None:
    """Ask each peer once, then each again, and so on."""
    for number in range(rounds):
        for peer in peers:
            peer.measure(num_pairs, patience=patience)
            if peer.seconds:
                rate = num_pairs / peer.seconds[-1]
                noise = f" (others: {peer.others[-1]:.0%} of the CPU)" if peer.others else ""
                say(f"round {number + 1}/{rounds}: {peer.name}: {rate:.1f} pairs/s{noise}")
