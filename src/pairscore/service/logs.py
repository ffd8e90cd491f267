"""Logs: one handler, text or JSON, one line for each request, and nothing of what was sent in it.

A record holds names and numbers: a route's template, a status, counts. Texts, API keys, paths and query strings
have no field here. Whatever does come from outside, an error's text for one, cannot start a line of its own.
"""

from __future__ import annotations

import json
import logging
import math
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, Final, Literal, TextIO, TypeAlias

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

__all__ = ["QUIET_ROUTES", "AccessRecord", "LogFormat", "access", "configure", "known_method"]

LogFormat: TypeAlias = Literal["text", "json"]

QUIET_ROUTES: Final = frozenset(
    {"/livez", "/readyz", "/health", "/metrics", "/page/{path:path}", "/docs-files"}
)
"""Probes come every few seconds, and a page asks for two dozen files; what went well is logged at `debug` only."""

_METHODS: Final = frozenset(
    {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"}
)
_FAILED: Final = 400
# What would end a line, move a terminal's cursor or turn the reading direction; and half characters.
_CONTROL: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
# A value with one of these would look like two fields.
_TO_QUOTE: Final = re.compile(r'[\s"=]')
_INDENT: Final = "  "
# uvicorn's own copy of each message, with colours.
_NOT_A_FIELD: Final = frozenset({*RESERVED_ATTRS, "color_message", "taskName"})


@dataclass(frozen=True, kw_only=True, slots=True)
class AccessRecord:
    """What is logged of one request; None is not logged.

    Attributes:
        request_id: as the answer's header has it.
        method: the HTTP method; `known_method` keeps callers from inventing one.
        route: the template of the route, such as "/rerank"; for a path that no route has, one fixed word.
        status: of the answer.
        seconds: from the request to the end of its answer.
        num_pairs: pairs that were asked for.
        num_tokens: their tokens.
        num_truncated: pairs with a text cut.
        num_cached: pairs whose score came out of the cache.
        key: the name of the API key, never the key.
        outcome: how it ended in the engine.
        trace_id: the trace that it belongs to.
    """

    request_id: str
    method: str
    route: str
    status: int
    seconds: float
    num_pairs: int | None = None
    num_tokens: int | None = None
    num_truncated: int | None = None
    num_cached: int | None = None
    key: str | None = None
    outcome: str | None = None
    trace_id: str | None = None


_FIELDS: Final = tuple(field.name for field in fields(AccessRecord))
# They are the message itself.
_IN_MESSAGE: Final = frozenset({"method", "route", "status"})


def configure(*, level: str, format: LogFormat = "text") -> None:  # noqa: A002 - the setting's name
    """Send every logger's records, uvicorn's too, to standard error in one form.

    May be called again; the last call holds. uvicorn's access log is switched off, because `access` replaces it.

    Args:
        level: debug, info, warning or error.
        format: "text" for people and grep, "json" for one object a line.
    """
    handler = _StandardError()
    handler.setFormatter(_JsonFormatter() if format == "json" else _TextFormatter())
    root = logging.getLogger()
    for present in root.handlers[:]:
        if isinstance(present, _StandardError):
            root.removeHandler(present)
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.asgi", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        # uvicorn asks whether anybody would hear its access log, and writes none if not.
        logger.propagate = name != "uvicorn.access"
    # Python's own warnings would otherwise be the only lines in another form.
    logging.captureWarnings(capture=True)


def access(logger: logging.Logger, record: AccessRecord) -> None:
    """Log one request in one line: at `info`, and a probe that went well at `debug`."""
    quiet = record.route in QUIET_ROUTES and record.status < _FAILED
    level = logging.DEBUG if quiet else logging.INFO
    if logger.isEnabledFor(level):
        present = {name: getattr(record, name) for name in _FIELDS}
        extra = {name: value for name, value in present.items() if value is not None}
        extra["seconds"] = round(record.seconds, 6)
        logger.log(level, "%s %s %d", record.method, record.route, record.status, extra=extra)


def known_method(method: str) -> str:
    """The method if HTTP knows it, else "_OTHER", as OpenTelemetry's conventions call it.

    A server may let any word through, and this one ends up in logs and traces.
    """
    return method if method in _METHODS else "_OTHER"


class _StandardError(logging.StreamHandler[TextIO]):
    """Writes to what is standard error at the time, so that a redirection later on holds too."""

    def emit(self, record: logging.LogRecord) -> None:
        """Called under the handler's lock."""
        self.stream = sys.stderr
        super().emit(record)


class _TextFormatter(logging.Formatter):
    """`2025-01-31T12:00:00.000Z INFO pairscore.access: POST /rerank 200 seconds=0.12 ...`.

    What belongs to the line above, a traceback, is indented: only a record starts at the left.
    """

    def format(self, record: logging.LogRecord) -> str:
        """One line, and indented ones if an error comes with it."""
        time = datetime.fromtimestamp(record.created, tz=UTC).isoformat(timespec="milliseconds")
        head = f"{time.removesuffix('+00:00')}Z {record.levelname} {record.name}:"
        words = [head, _escaped(record.getMessage()), *_pairs_of(record)]
        lines = [" ".join(words)]
        if record.exc_info:
            lines += self.formatException(record.exc_info).splitlines()
        if record.stack_info:
            lines += self.formatStack(record.stack_info).splitlines()
        return f"\n{_INDENT}".join([lines[0], *map(_escaped, lines[1:])])


class _JsonFormatter(JsonFormatter):
    """One JSON object a line, in ASCII; the time first, an error with its traceback in `exception`."""

    def __init__(self) -> None:
        super().__init__(
            "%(levelname)s %(name)s %(message)s",
            rename_fields={"levelname": "level", "name": "logger", "exc_info": "exception"},
            reserved_attrs=_NOT_A_FIELD,
            timestamp=True,
        )

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """The time first, and no number that JSON does not have."""
        time = log_data.pop("timestamp")
        return {"timestamp": time, **{name: _finite(value) for name, value in log_data.items()}}


def _pairs_of(record: logging.LogRecord) -> list[str]:
    present: Mapping[str, object] = record.__dict__
    return [
        f"{name}={_quoted(str(present[name]))}"
        for name in _FIELDS
        if name in present and name not in _IN_MESSAGE
    ]


def _quoted(value: str) -> str:
    return json.dumps(value) if _TO_QUOTE.search(value) else _escaped(value)


def _escaped(text: str) -> str:
    return _CONTROL.sub(lambda found: found.group().encode("unicode_escape").decode("ascii"), text)


def _finite(value: object) -> object:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
