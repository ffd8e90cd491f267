"""Lines, columns and JSON objects of text files, each with its number, so that an error can name it.

Files are read as bytes and decoded line by line: a wrong byte is named by its line, a byte order mark and
carriage returns are dropped, and of a file with millions of lines only one is in memory. A file that ends in
``.gz`` is unpacked on the way.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from pairscore.errors import DataFileError, InputFileError

__all__ = ["columns", "half_character", "json_objects", "numbered_lines", "place", "shown"]

_BOM: Final = b"\xef\xbb\xbf"
_LONGEST_SHOWN: Final = 24


def place(path: Path, number: int) -> str:
    """A line of a file, as messages call it."""
    return f"{path}, line {number}"


def shown(value: str) -> str:
    """A field as messages show it: short, because a wrong column may hold a text, which belongs into no message."""
    return repr(value) if len(value) <= _LONGEST_SHOWN else f"a text of {len(value):,} characters"


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, with their numbers from 1, without their ends.

    Raises:
        InputFileError: the file is missing, a folder, or cannot be read.
        DataFileError: a line is not UTF-8.
    """
    try:
        with _opened(path) as file:
            for number, raw in enumerate(file, start=1):
                line = raw.removeprefix(_BOM) if number == 1 else raw
                text = _decoded(line, path, number).rstrip("\r\n")
                if text.strip():
                    yield number, text
    except FileNotFoundError as error:
        raise InputFileError(f"there is no file {str(path)!r}; check the path") from error
    except IsADirectoryError as error:
        raise InputFileError(f"{str(path)!r} is a folder; give one file") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataFileError(
            f"{path}: broken as a gzip file ({error}); fetch or pack it again"
        ) from error
    except OSError as error:
        raise InputFileError(f"{str(path)!r} cannot be read: {error.strerror or error}") from error


def columns(line: str) -> list[str]:
    """The columns of a line: by tabs where there are any, else by spaces, as TREC's own files have it."""
    fields = line.split("\t") if "\t" in line else line.split()
    return [field.strip() for field in fields]


def json_objects(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The objects of a file of JSON lines, with the numbers of their lines.

    Raises:
        InputFileError: as `numbered_lines`.
        DataFileError: a line is not UTF-8, or not one JSON object.
    """
    for number, line in numbered_lines(path):
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataFileError(
                f"{place(path, number)}: not JSON: {error.msg} at column {error.colno}; {_ONE_OBJECT}"
            ) from error
        except (ValueError, RecursionError) as error:
            raise DataFileError(
                f"{place(path, number)}: not usable as JSON: {error}; {_ONE_OBJECT}"
            ) from error
        if not isinstance(record, dict):
            raise DataFileError(
                f"{place(path, number)}: a JSON {type(record).__name__}; {_ONE_OBJECT}"
            )
        yield number, record


def half_character(text: str) -> bool:
    """Whether a text holds half a character (a lone surrogate), which an escape in JSON can spell."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


_ONE_OBJECT: Final = "each line must be one object"


def _opened(path: Path) -> BinaryIO:
    if path.suffix.lower() == ".gz":
        return cast("BinaryIO", gzip.open(path, "rb"))
    return path.open("rb")


def _decoded(line: bytes, path: Path, number: int) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataFileError(
            f"{place(path, number)}: not UTF-8 (byte {error.start + 1}); save the file as UTF-8"
        ) from error
