"""Long-lived worker processes, one for each peer, of which only one computes at a time."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pairscore.closing import Closing
from texts import ROOT

__all__ = ["OFFLINE", "WORK", "PeerError", "Worker", "write_pairs"]

WORK = ROOT / "benchmarks" / "work"
"""Everything that the benchmarks write for themselves; not kept in the repository."""

OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true"}
_WORKER = ROOT / "benchmarks" / "peers" / "worker.py"
_ENDED = 5


class PeerError(Exception):
    """A peer could not be loaded or did not answer."""


def write_pairs(pairs: Sequence[tuple[str, str]], name: str) -> Path:
    """Put the pairs where every worker can read them."""
    WORK.mkdir(parents=True, exist_ok=True)
    path = WORK / f"{name}.json"
    path.write_text(json.dumps(list(pairs)), encoding="utf-8")
    return path


class Worker(Closing):
    """One peer in a process of its own; waits, without computing, until it is asked.

    Args:
        name: names the log file that keeps what the peer prints.
        python: the interpreter of the environment that the peer lives in.
        load: the first line of `peers/worker.py`.
    """

    def __init__(self, name: str, *, python: Path, load: dict[str, Any]) -> None:
        WORK.mkdir(parents=True, exist_ok=True)
        self.name = name
        self._log = WORK / f"{name}.log"
        with self._log.open("w", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                [str(python), str(_WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, **OFFLINE},
            )
        try:
            self.loaded = self.ask(load)
        except PeerError:
            self.close()
            raise

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send one line and wait for the answer.

        Raises:
            PeerError: the peer failed; the message is its own, and its log file keeps the rest.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise PeerError(f"{self.name} has no pipe")
        try:
            stdin.write(json.dumps(request) + "\n")
            stdin.flush()
            line = stdout.readline()
        except OSError as error:
            raise PeerError(f"{self.name} has ended ({error}); see {self._log}") from error
        if not line:
            raise PeerError(f"{self.name} ended without an answer; see {self._log}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise PeerError(f"{answer['error']} (log: {self._log.relative_to(ROOT)})")
        return answer

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=_ENDED)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
