"""JSON lines: one object a line, each with its own keys; blank lines are skipped."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

from pairscore.files import places
from pairscore.files.base import Broken, Mark, Record, Row

__all__ = ["JsonLinesReader", "JsonLinesWriter"]


class JsonLinesReader:
    """Reads JSON lines."""

    unit = "line"
    columns: tuple[str, ...] = ()
    schema: Any = None

    def __init__(self, file: BinaryIO, *, name: str) -> None:
        self.name = name
        self._file = file
        self.extent = places.size(file)
        self._num_bytes = 0

    def position(self) -> int:
        """Bytes read so far."""
        return self._num_bytes

    def starts(self) -> Iterator[Mark]:
        """Where each row begins; nothing is parsed."""
        for number, raw in enumerate(self._file, start=1):
            mark = Mark(offset=self._num_bytes, line=number)
            self._num_bytes += len(raw)
            if not _is_blank(raw, number):
                yield mark

    def rows(self, start: Mark | None = None) -> Iterator[Record]:
        """One row for each line that is not blank."""
        if start is not None:
            self._file.seek(start.offset)
            self._num_bytes = start.offset
        first = 1 if start is None else start.line
        for number, raw in enumerate(self._file, start=first):
            self._num_bytes += len(raw)
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                yield Broken(number, f"not UTF-8 (byte {error.start + 1}); save the file as UTF-8")
                continue
            if line.strip():
                yield _record(number, line)

    def close(self) -> None:
        """Let go of the file."""
        places.close(self._file)


def _is_blank(raw: bytes, number: int) -> bool:
    """Whether `rows` passes over a line; told from its first byte where that is enough."""
    if raw.startswith(b"{"):
        return False
    try:
        return not raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
    except UnicodeDecodeError:
        return False


def _record(number: int, line: str) -> Record:
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        return Broken(number, f"not JSON: {error.msg} at column {error.colno}; {_ONE_OBJECT}")
    except (ValueError, RecursionError) as error:
        return Broken(number, f"not usable as JSON: {error}; {_ONE_OBJECT}")
    if not isinstance(value, dict):
        return Broken(number, f"holds a JSON {_KINDS[type(value)]}, not an object; {_ONE_OBJECT}")
    if "\\u" in line and not _is_unicode(value):
        return Broken(
            number, "holds half a character (a lone surrogate, \\ud800 to \\udfff); clean it"
        )
    return Row(number, value)


_ONE_OBJECT = 'each line must be one object, such as {"query": "…", "document": "…"}'
_KINDS = {
    list: "list",
    str: "string",
    int: "number",
    float: "number",
    bool: "boolean",
    type(None): "null",
}


def _is_unicode(value: Any) -> bool:
    """An escape can spell half a character, which nothing could write again."""
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


class JsonLinesWriter:
    """Writes JSON lines."""

    def __init__(self, sink: places.Sink) -> None:
        self._sink = sink

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append rows; they reach the file together."""
        lines = (json.dumps(dict(row), ensure_ascii=False, default=_plain) for row in rows)
        self._sink.write("".join(f"{line}\n" for line in lines).encode("utf-8"))

    def close(self) -> None:
        """Close the file."""
        self._sink.close()


def _plain(value: Any) -> str:
    """Dates, decimals and the like, which Parquet has and JSON has not."""
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
