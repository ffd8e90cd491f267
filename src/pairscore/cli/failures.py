"""What is told of a failure: a sentence for people, one JSON object for programs, both on standard error.

With `--json` the last line on standard error is ``{"error": {"kind", "message", "notes", "exit_code"}}``. Standard
output holds results and nothing else, so that it can be read by itself; a failure's exit code is never 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import typer

from pairscore.cli import exits, output
from pairscore.errors import PairscoreError

__all__ = ["Failure", "asks_for_json", "failure_of", "suggest", "tell", "usage_failure"]

_USAGE: Final = "UsageError"
_STOPPED: Final = "Stopped"
_ABORTED: Final = "Aborted"
_FLAG: Final = "--json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """Why a verb ended early.

    Attributes:
        kind: the error's name; ``UsageError`` for an argument that makes no sense to the command line itself.
        message: what happened, and what helps.
        notes: what else is worth knowing, such as what is kept.
        exit_code: the process's.
    """

    kind: str
    message: str
    notes: tuple[str, ...] = ()
    exit_code: int


def asks_for_json(args: Sequence[str]) -> bool:
    """Whether a command line has `--json` among its options; behind ``--`` there are none."""
    return _FLAG in (args[: args.index("--")] if "--" in args else args)


def failure_of(error: BaseException) -> Failure | None:
    """What is told of an error; None of one that is none of ours to tell."""
    kind = type(error).__name__
    if isinstance(error, KeyboardInterrupt):
        code = 128 + int(getattr(error, "number", 2))
        return Failure(kind=_STOPPED, message="stopped", exit_code=code)
    if isinstance(error, PairscoreError):
        return Failure(
            kind=kind,
            message=output.for_shell(error),
            notes=tuple(getattr(error, "__notes__", ())),
            exit_code=exits.exit_code(error),
        )
    if isinstance(error, MemoryError):
        message = "out of memory; lower --num-workers or --max-length, or give it more memory"
        return Failure(kind=kind, message=message, exit_code=exits.NO_MEMORY)
    if isinstance(error, OSError):
        where = f" ({error.filename})" if error.filename else ""
        message = f"{error.strerror or error}{where}"
        return Failure(kind=kind, message=message, exit_code=exits.FAILED_IO)
    if isinstance(error, Exception):
        message = (
            f"this is a bug in pairscore: {kind}: {error}; "
            "to see where, run it again with --debug before the verb, and report what it prints"
        )
        return Failure(kind=kind, message=message, exit_code=exits.INTERNAL)
    return None


def usage_failure(error: typer.TyperException | typer.Abort) -> Failure:
    """What is told of a command line that cannot be understood, or of a question that was answered with no."""
    if isinstance(error, typer.Abort):
        return Failure(kind=_ABORTED, message="aborted; nothing was done", exit_code=1)
    return Failure(kind=_USAGE, message=error.format_message(), exit_code=error.exit_code)


def suggest(error: Any) -> None:
    """Let an option that is not there be told as a verb that is not there is: with what may have been meant."""
    meant = getattr(error, "possibilities", None)
    if meant:
        names = ", ".join(repr(name) for name in meant)
        error.message = f"{error.message.rstrip('.')}. Did you mean {names}?"
        error.possibilities = None


def tell(failure: Failure, *, as_json: bool) -> None:
    """Print it on standard error."""
    if as_json:
        output.note_json({"error": asdict(failure)})
    elif failure.kind == _STOPPED:
        output.note(failure.message)
    else:
        output.fail("\n".join([failure.message, *failure.notes]))
