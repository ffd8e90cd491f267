"""From a pattern to files, and from files to blocks; the same files give the same blocks in every run.

Of Parquet the footers are read and nothing else. A text file is read through once, because only its reader knows where a
row ends; where each block begins is kept, so that nobody has to read what is before it.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Final

from pairscore.batch.records import Block, Job, Source
from pairscore.batch.storage import Entry, child, is_url, locate
from pairscore.errors import InputFileError, SettingError
from pairscore.files import FileFormat, format_of, known_format, reader_of
from pairscore.files.base import Mark, MarkedReader
from pairscore.files.parquet import ParquetReader

__all__ = ["MAX_BLOCK_BYTES", "is_pattern", "open_source", "plan", "sources_of"]

MAX_BLOCK_BYTES: Final = 1 << 26
"""What a block's rows may take in the file: a block lies in memory as a whole."""

_MAGIC: Final = re.compile(r"[*?\[]")
# Footers behind a network are waited for, not computed.
_READERS: Final = 16


def is_pattern(place: str) -> bool:
    """Whether a place names several files; the ``?`` of a URL begins its query."""
    return bool(_MAGIC.search(place.partition("?")[0] if is_url(place) else place))


def sources_of(
    places: str | Sequence[str], *, otherwise: FileFormat | None = None
) -> tuple[Source, ...]:
    """The files of the input, in the order of their names; of a folder those whose ending is known.

    Args:
        places: files, folders, patterns (``*``, ``?``, ``[…]``, and ``**`` for folders in between) or URLs of these.
        otherwise: the format of files whose ending says nothing.

    Raises:
        InputFileError: there is none.
        SettingError: the format of one is not known.
    """
    found: dict[str, Source] = {}
    for place in [places] if isinstance(places, str) else places:
        # Whole, because whoever reads them may be in another folder.
        whole = place if is_url(place) else str(Path(place).absolute())
        matched = list(_found(whole, otherwise))
        if not matched:
            raise InputFileError(
                f"there is no file for {place!r}; check the path, and put a pattern into quotes"
            )
        for path, entry in matched:
            found[path] = Source(
                path=path,
                format=format_of(_bare(path), otherwise=otherwise),
                num_bytes=entry.num_bytes,
                version=entry.version,
            )
    return tuple(found[path] for path in sorted(found))


def plan(job: Job) -> tuple[Block, ...]:
    """Cut every file into blocks.

    Raises:
        DataFileError: a file cannot be read.
        SettingError: `block_rows` is below 1.
    """
    if job.block_rows < 1:
        raise SettingError(f"--block-rows is {job.block_rows}; it must be at least 1")
    footers = [i for i, one in enumerate(job.sources) if one.format is FileFormat.PARQUET]
    blocks: dict[int, tuple[Block, ...]] = {}
    with ThreadPoolExecutor(min(_READERS, len(footers) or 1)) as pool:
        blocks |= zip(footers, pool.map(partial(_blocks, job), footers), strict=True)
    for index in range(len(job.sources)):
        if index not in blocks:
            blocks[index] = _blocks(job, index)
    return tuple(block for index in range(len(job.sources)) for block in blocks[index])


def open_source(source: Source) -> MarkedReader:
    """Open a file of the input.

    Raises:
        InputFileError: it is not there, or is another one than when the job was planned.
        DataFileError: it cannot be read.
    """
    place = locate(source.path)
    entry = place.store.entry(place.path)
    if entry is None or (entry.num_bytes, entry.version) != (source.num_bytes, source.version):
        how = "is gone" if entry is None else "was changed"
        raise InputFileError(
            f"{source.path!r} {how} since the run began; put it back, or begin anew with --overwrite"
        )
    return reader_of(place.store.open(place.path), source.format, name=source.path)


def _blocks(job: Job, index: int) -> tuple[Block, ...]:
    with closing(open_source(job.sources[index])) as reader:
        if isinstance(reader, ParquetReader):
            return tuple(_of_footer(reader, index, job.block_rows))
        return tuple(_of_text(reader, index, job.block_rows))


def _of_footer(reader: ParquetReader, source: int, block_rows: int) -> Iterator[Block]:
    num_rows = reader.extent or 0
    if num_rows:
        block_rows = min(block_rows, max(1, MAX_BLOCK_BYTES * num_rows // (reader.num_bytes or 1)))
    for index, first in enumerate(range(0, num_rows, block_rows)):
        yield Block(
            source=source,
            index=index,
            first_row=first,
            num_rows=min(block_rows, num_rows - first),
        )


def _of_text(reader: MarkedReader, source: int, block_rows: int) -> Iterator[Block]:
    index, first, num_rows, start = 0, 0, 0, Mark()
    for mark in reader.starts():
        if num_rows == block_rows or (num_rows and mark.offset - start.offset >= MAX_BLOCK_BYTES):
            yield _text_block(source, index, first, num_rows, start)
            index, first, num_rows = index + 1, first + num_rows, 0
        if num_rows == 0:
            start = mark
        num_rows += 1
    if num_rows:
        yield _text_block(source, index, first, num_rows, start)


def _text_block(source: int, index: int, first: int, num_rows: int, start: Mark) -> Block:
    return Block(
        source=source,
        index=index,
        first_row=first,
        num_rows=num_rows,
        offset=start.offset,
        first_line=start.line,
    )


def _found(place: str, otherwise: FileFormat | None) -> Iterator[tuple[str, Entry]]:
    if is_pattern(place):
        yield from _matching_url(place) if is_url(place) else _matching(place)
        return
    located = locate(place)
    entry = located.store.entry(located.path)
    if entry is not None:
        yield place, entry
        return
    for one in located.store.listing(located.path, recursive=True):
        if not _is_hidden(one.name) and (known_format(one.name) or otherwise):
            yield child(place, one.name), one


def _matching(pattern: str) -> Iterator[tuple[str, Entry]]:
    fixed = next(i for i, part in enumerate(Path(pattern).parts) if _MAGIC.search(part))
    # Not `Path.glob`, which takes no absolute pattern.
    for path in glob.glob(pattern, recursive=True):  # noqa: PTH207
        entry = locate(path).store.entry(path)
        if entry is not None and not _is_hidden("/".join(Path(path).parts[fixed:])):
            yield path, entry


def _matching_url(url: str) -> Iterator[tuple[str, Entry]]:
    path, mark, query = url.partition("?")
    parts = path.split("/")
    fixed = next(index for index, part in enumerate(parts) if _MAGIC.search(part))
    folder = "/".join(parts[:fixed]) + mark + query
    wanted = parts[fixed:]
    located = locate(folder)
    for entry in located.store.listing(located.path, recursive=len(wanted) > 1):
        if not _is_hidden(entry.name) and _fits(entry.name.split("/"), wanted):
            yield child(folder, entry.name), entry


def _fits(names: Sequence[str], wanted: Sequence[str]) -> bool:
    """Whether a path fits a pattern, part by part; ``**`` is any number of folders."""
    if not wanted:
        return not names
    if wanted[0] == "**":
        return any(_fits(names[skip:], wanted[1:]) for skip in range(len(names) + 1))
    return bool(names) and fnmatchcase(names[0], wanted[0]) and _fits(names[1:], wanted[1:])


def _is_hidden(name: str) -> bool:
    """Whether readers of folders pass over it: what begins with ``_`` or ``.`` is somebody's own book-keeping."""
    return any(part.startswith(("_", ".")) for part in name.split("/"))


def _bare(path: str) -> str:
    """A path without the query of its store, whose end is no ending."""
    return path.partition("?")[0] if is_url(path) else path
