"""Logs: what one line holds in both forms, and what can never break or enter one."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairscore.service import logs
from pairscore.service.logs import QUIET_ROUTES, AccessRecord, access, configure, known_method

LOGGER = "pairscore.test"
NAMES = ("", LOGGER, "uvicorn", "uvicorn.error", "uvicorn.asgi", "uvicorn.access")
WHOLE = AccessRecord(
    request_id="abc-1",
    method="POST",
    route="/rerank",
    status=200,
    seconds=0.0234567891,
    num_pairs=20,
    num_tokens=2260,
    num_truncated=1,
    num_cached=4,
    key="search team",
    outcome="ok",
    trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
)
BARE = AccessRecord(request_id="r", method="GET", route="unmatched", status=404, seconds=0.5)


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """The process' loggers are as they were, afterwards."""
    kept = {
        name: (logger.handlers[:], logger.level, logger.propagate, logger.disabled)
        for name in NAMES
        for logger in [logging.getLogger(name)]
    }
    yield
    for name, (handlers, level, propagate, disabled) in kept.items():
        logger = logging.getLogger(name)
        logger.handlers[:], logger.propagate, logger.disabled = handlers, propagate, disabled
        logger.setLevel(level)


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Callable[[], list[str]]:
    """What was written to standard error since the last call, split where a log shipper splits."""
    return lambda: [line for line in capsys.readouterr().err.split("\n") if line]


def _log() -> logging.Logger:
    return logging.getLogger(LOGGER)


def _raise(text: str) -> None:
    raise RuntimeError(text)


def _log_error(text: str) -> None:
    try:
        _raise(text)
    except RuntimeError:
        _log().exception("request %s failed", "abc")


def test_a_request_in_json(lines: Callable[[], list[str]]) -> None:
    """One object: time first, in UTC, and each field under its own name with its own type."""
    configure(level="info", format="json")
    access(_log(), WHOLE)

    (line,) = lines()
    record = json.loads(line)
    time = datetime.fromisoformat(record.pop("timestamp"))

    assert next(iter(json.loads(line))) == "timestamp"
    assert time.utcoffset() == timedelta(0)
    assert abs(datetime.now(tz=UTC) - time) < timedelta(minutes=1)
    assert record == {
        "level": "INFO",
        "logger": LOGGER,
        "message": "POST /rerank 200",
        "request_id": "abc-1",
        "method": "POST",
        "route": "/rerank",
        "status": 200,
        "seconds": 0.023457,
        "num_pairs": 20,
        "num_tokens": 2260,
        "num_truncated": 1,
        "num_cached": 4,
        "key": "search team",
        "outcome": "ok",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    }


def test_a_request_in_text(lines: Callable[[], list[str]]) -> None:
    """One short line that grep and awk can take apart; a value with a space is quoted."""
    configure(level="info", format="text")
    access(_log(), WHOLE)

    (line,) = lines()

    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO pairscore\.test: POST /rerank 200 "
        r"request_id=abc-1 seconds=0\.023457 num_pairs=20 num_tokens=2260 num_truncated=1 num_cached=4 "
        r'key="search team" outcome=ok trace_id=4bf92f3577b34da6a3ce929d0e0e4736',
        line,
    )


@pytest.mark.parametrize("form", ["text", "json"])
def test_what_is_not_known_is_not_there(lines: Callable[[], list[str]], form: Any) -> None:
    """A request that was no scoring has no counts: no null, no None, no zero."""
    configure(level="info", format=form)
    access(_log(), BARE)

    (line,) = lines()

    assert "unmatched" in line
    assert not any(word in line for word in ("num_", "key", "outcome", "trace_id", "None", "null"))


@pytest.mark.parametrize("route", sorted(QUIET_ROUTES))
def test_probes_are_quiet_while_all_is_well(lines: Callable[[], list[str]], route: str) -> None:
    """At `info` only a probe that fails is seen; at `debug` each one."""
    well = AccessRecord(request_id="r", method="GET", route=route, status=200, seconds=0.001)
    failing = AccessRecord(request_id="r", method="GET", route=route, status=503, seconds=0.001)

    configure(level="info")
    access(_log(), well)
    access(_log(), failing)
    at_info = lines()
    configure(level="debug")
    access(_log(), well)
    at_debug = lines()

    assert [f"{route} 503" in line for line in at_info] == [True]
    assert [f"{route} 200" in line for line in at_debug] == [True]


def test_the_level_holds(lines: Callable[[], list[str]]) -> None:
    """What is less severe than asked for is not written."""
    configure(level="warning")
    access(_log(), WHOLE)
    _log().warning("seen")

    assert [line.partition("Z ")[2] for line in lines()] == [f"WARNING {LOGGER}: seen"]


HOSTILE = (
    "one\n2025-01-01T00:00:00.000Z INFO pairscore: forged\r\x1b[2J\x85\u2028\u202e\ud800\x00end"
)


def test_a_message_cannot_start_a_line_in_text(lines: Callable[[], list[str]]) -> None:
    """Line ends, terminal codes, reading direction and half characters are written out."""
    configure(level="info", format="text")
    _log().info("said %s", HOSTILE)
    _log().info("later")

    first, second = lines()

    assert first.endswith(
        "said one\\n2025-01-01T00:00:00.000Z INFO pairscore: forged"
        "\\r\\x1b[2J\\x85\\u2028\\u202e\\ud800\\x00end"
    )
    assert second.endswith("later")


def test_an_error_in_text_is_indented(lines: Callable[[], list[str]]) -> None:
    """Whatever an error says, only a record starts at the left."""
    configure(level="info", format="text")
    _log_error(HOSTILE)

    first, *rest = lines()

    assert first.endswith("request abc failed")
    assert any("RuntimeError: one" in line for line in rest)
    assert all(line.startswith("  ") for line in rest)
    assert all(line.isprintable() for line in rest)


def test_an_error_in_json_is_one_field(lines: Callable[[], list[str]]) -> None:
    """The traceback is in `exception`, on the line of its record, in plain ASCII."""
    configure(level="info", format="json")
    _log_error(HOSTILE)

    (line,) = lines()
    record = json.loads(line)

    assert line.isascii()
    assert line.isprintable()
    assert set(record) == {"timestamp", "level", "logger", "message", "exception"}
    assert record["message"] == "request abc failed"
    assert "RuntimeError: one" in record["exception"]
    assert record["exception"].startswith("Traceback")


@given(text=st.text(st.characters(), max_size=40))
@pytest.mark.parametrize("form", ["text", "json"])
def test_any_text_in_any_field_stays_on_its_line(form: Any, text: str) -> None:
    """A property: one record, one printable line; JSON gives back what was put in."""
    formatter = logs._JsonFormatter() if form == "json" else logs._TextFormatter()
    record = logging.LogRecord(LOGGER, logging.INFO, __file__, 1, "said %s", (text,), None)
    record.__dict__.update(request_id=text, key=text, outcome=text)

    line = formatter.format(record)

    assert len(line.splitlines()) == 1
    assert "\x1b" not in line
    line.encode("utf-8")
    if form == "json":
        assert json.loads(line)["key"] == text


def test_numbers_that_json_does_not_have(lines: Callable[[], list[str]]) -> None:
    """Infinity in a field leaves as a word: the line stays JSON for strict readers."""
    configure(level="info", format="json")
    _log().info("x", extra={"canary_age_s": float("inf")})

    assert json.loads(lines()[0], parse_constant=pytest.fail)["canary_age_s"] == "inf"


@pytest.mark.parametrize("form", ["text", "json"])
def test_uvicorn_speaks_through_the_same_handler(lines: Callable[[], list[str]], form: Any) -> None:
    """Even after uvicorn configured its own; its access log is off, and its colours are no field."""
    import uvicorn

    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    uvicorn.Config(app)
    configure(level="info", format=form)
    logging.getLogger("uvicorn.error").info("Started", extra={"color_message": "\x1b[31mStarted"})
    logging.getLogger("uvicorn.access").info("GET /secret?key=1")

    (line,) = lines()

    assert "Started" in line
    assert "color" not in line
    assert not logging.getLogger("uvicorn.access").hasHandlers()


def test_configured_again_the_last_call_holds(lines: Callable[[], list[str]]) -> None:
    """No line comes twice, and handlers of others stay."""
    other = logging.NullHandler()
    logging.getLogger().addHandler(other)
    configure(level="info", format="text")
    configure(level="info", format="json")
    _log().info("once")

    assert [json.loads(line)["message"] for line in lines()] == ["once"]
    assert other in logging.getLogger().handlers


def test_warnings_are_records(lines: Callable[[], list[str]]) -> None:
    """A warning of Python's is a line like the others."""
    configure(level="info", format="json")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning("old", DeprecationWarning, "file.py", 1)

    record = json.loads(lines()[0])

    assert (record["logger"], record["level"]) == ("py.warnings", "WARNING")


@pytest.mark.parametrize(
    ("method", "known"),
    [("GET", "GET"), ("POST", "POST"), ("get", "_OTHER"), ("X" * 9000, "_OTHER"), ("", "_OTHER")],
)
def test_nobody_invents_a_method(method: str, known: str) -> None:
    """What HTTP does not know is one fixed word."""
    assert known_method(method) == known


@pytest.mark.parametrize("form", ["text", "json"])
def test_times_are_utc_wherever_the_machine_is(form: str) -> None:
    """Logs of machines in different places can be put in order."""
    code = f"from pairscore.service.logs import configure; configure(level='info', format={form!r})"
    told = f"{code}; import logging; logging.info('x')"

    done = subprocess.run(
        [sys.executable, "-c", told],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "TZ": "UTC-9"},
    )
    (found,) = re.findall(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(?:Z|\+00:00)", done.stderr)

    assert abs(datetime.now(tz=UTC) - datetime.fromisoformat(found)) < timedelta(minutes=1)


def test_a_process_of_its_own() -> None:
    """In a real process the lines are on standard error, and standard output stays empty."""
    code = (
        "import logging\n"
        "from pairscore.service.logs import AccessRecord, access, configure\n"
        "configure(level='info', format='json')\n"
        "log = logging.getLogger('pairscore.service')\n"
        "access(log, AccessRecord(request_id='r', method='GET', route='/a', status=200, seconds=1))\n"
        "try:\n    1 / 0\n"
        "except ZeroDivisionError:\n    log.exception('bad\\nthing')\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, second = map(json.loads, done.stderr.splitlines())

    assert done.stdout == ""
    assert (first["status"], first["seconds"]) == (200, 1)
    assert second["message"] == "bad\nthing"
    assert "ZeroDivisionError" in second["exception"]
