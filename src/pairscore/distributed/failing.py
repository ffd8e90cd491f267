"""Errors of ours across processes: a replica tells why it cannot start, and whoever deployed it raises just that.

Ray hands on a failure as the text of a traceback; what is looked for in there is one line of JSON. Nothing here
imports Ray.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from pairscore import errors
from pairscore.errors import PairscoreError, WorkerError

__all__ = ["ReplicaStartError", "described", "failure_in", "last_line", "restored", "summary"]

_MARK: Final = "pairscore cannot start: "
_TOLD: Final = re.compile(re.escape(_MARK) + r"(\{.*\})")
_MAX_CHARS: Final = 500


class ReplicaStartError(RuntimeError):
    """A replica cannot start; its text holds the error of ours that is the reason.

    Args:
        error: the reason.
    """

    def __init__(self, error: PairscoreError) -> None:
        super().__init__(_MARK + json.dumps(described(error), default=str))


def described(error: PairscoreError) -> dict[str, Any]:
    """An error as values that can travel."""
    # A class of the tree, not a subclass that lives elsewhere: who restores it must know it.
    kind = next(one for one in type(error).__mro__ if one.__module__ == errors.__name__)
    return {"kind": kind.__name__, "message": str(error), "attributes": vars(error)}


def restored(description: Mapping[str, Any]) -> PairscoreError:
    """The error as it was raised; constructors that make a message of parts are passed by."""
    kind: type[PairscoreError] = getattr(errors, description["kind"])
    error = kind.__new__(kind, description["message"])
    vars(error).update(description["attributes"])
    return error


def failure_in(text: str) -> PairscoreError:
    """The error that the text of a failed deployment tells of.

    Args:
        text: whatever Ray says of it, a traceback mostly.

    Returns:
        The replica's own error, of its own class; a `WorkerError` with the last line if there is none of ours.
    """
    found = _TOLD.search(text)
    if found is None:
        last = last_line(text)[:_MAX_CHARS] or "Ray gives no reason"
        return WorkerError(
            f"the replicas do not start: {last}; the whole story stands in the log of Ray Serve on the node that tried"
        )
    return restored(json.loads(found[1]))


def summary(text: str) -> str:
    """What a deployment that goes on tells of itself, in one line: our own error's message, or Ray's first line."""
    if _TOLD.search(text):
        return str(failure_in(text))
    return next(iter(_lines(text)), "Ray has said nothing yet")[:_MAX_CHARS]


def last_line(text: str) -> str:
    """The last line that says something, which of a traceback is the error; empty if there is none."""
    return next(reversed(_lines(text)), "")


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]
