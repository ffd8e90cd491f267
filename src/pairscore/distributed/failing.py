"""Errors of ours across processes: a replica tells why it cannot start, and whoever deployed it raises just that.

Ray hands on a failure as the text of a traceback; what is looked for in there is one line of JSON. Nothing here
imports Ray.
"""

from __future__ import annotations

import json
import re
from typing import Final

from pairscore import errors
from pairscore.errors import PairscoreError, WorkerError

__all__ = ["ReplicaStartError", "failure_in", "summary"]

_MARK: Final = "pairscore cannot start: "
_TOLD: Final = re.compile(re.escape(_MARK) + r"(\{.*\})")
_MAX_CHARS: Final = 500


class ReplicaStartError(RuntimeError):
    """A replica cannot start; its text holds the error of ours that is the reason.

    Args:
        error: the reason.
    """

    def __init__(self, error: PairscoreError) -> None:
        told = {"type": type(error).__name__, "message": str(error)}
        super().__init__(_MARK + json.dumps(told))


def failure_in(text: str) -> PairscoreError:
    """The error that the text of a failed deployment tells of.

    Args:
        text: whatever Ray says of it, a traceback mostly.

    Returns:
        The replica's own error, of its own class; a `WorkerError` with the last line if there is none of ours.
    """
    found = _TOLD.search(text)
    if found is None:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        last = lines[-1][:_MAX_CHARS] if lines else "Ray gives no reason"
        return WorkerError(
            f"the replicas do not start: {last}; the whole story stands in the log of Ray Serve on the node that tried"
        )
    told = json.loads(found[1])
    kind = getattr(errors, told["type"], PairscoreError)
    # Past its own arguments, of which only the message came along.
    error: PairscoreError = kind.__new__(kind, told["message"])
    return error


def summary(text: str) -> str:
    """What a deployment that goes on tells of itself, in one line: our own error's message, or Ray's first line."""
    if _TOLD.search(text):
        return str(failure_in(text))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0][:_MAX_CHARS] if lines else "Ray has said nothing yet"
