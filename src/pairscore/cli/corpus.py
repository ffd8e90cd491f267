"""Documents of files, one by one: csv, tsv, jsonl, parquet, folders of text files, BEIR folders."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pairscore.cli import corpus_values
from pairscore.cli.corpus_values import DocumentColumns, NamedColumns
from pairscore.errors import DataFileError, InputFileError
from pairscore.files import FileFormat, format_of, known_format, open_reader, places
from pairscore.files.base import Broken, Reader, Record, Row
from pairscore.retrieval.base import Document
from pairscore.retrieval.index_build import Place, Sourced

__all__ = ["Corpus", "CorpusCounts"]

_TEXT_ENDINGS = (".txt", ".text", ".md", ".markdown")
_BEIR_CORPUS = "corpus.jsonl"
_MAX_REPORTED = 5
_MAX_FILE_BYTES = 1 << 26


@dataclass(kw_only=True, slots=True)
class CorpusCounts:
    """What was read; filled while the work goes on.

    Attributes:
        num_empty: rows without a title and a text, left out.
        num_named: documents without an id, which got one: the file's name and the line.
        num_broken: rows that cannot be read, left out.
        broken: the first of them, with place and reason.
        left_out: columns that hold lists, objects or bytes, and are not kept as metadata.
    """

    num_empty: int = 0
    num_named: int = 0
    num_broken: int = 0
    broken: list[str] = field(default_factory=list)
    left_out: set[str] = field(default_factory=set)


class Corpus:
    """The documents of some files, in their order, in bounded memory.

    Args:
        paths: files and folders; ``-`` is standard input.
        named: the columns that the caller named.
        otherwise: the format where a file's ending says none.
        skip_broken: count rows that cannot be read, instead of stopping at the first.

    Raises:
        InputFileError: one is missing, or is a folder without texts.
        SettingError: the format of one is not known.
    """

    def __init__(
        self,
        paths: Sequence[str],
        *,
        named: NamedColumns,
        otherwise: FileFormat | None = None,
        skip_broken: bool = False,
    ) -> None:
        self._named = named
        self._skip_broken = skip_broken
        self._sources = [_source(path, otherwise) for path in paths]
        self._done = 0
        self._current: tuple[Reader, int] | None = None
        self._units: dict[int, Reader] = {}
        self.counts = CorpusCounts()

    @property
    def extent(self) -> int | None:
        """How much there is to read, in the unit of `position`; None if nobody knows."""
        sizes = [source.num_bytes for source in self._sources]
        return None if None in sizes else sum(size or 0 for size in sizes)

    def position(self) -> int:
        """How much was read so far: about as many bytes."""
        if self._current is None:
            return self._done
        reader, num_bytes = self._current
        # Parquet counts rows, a folder files.
        share = reader.position() / reader.extent if reader.extent else 0.0
        return self._done + int(share * num_bytes)

    def said(self, place: Place) -> str:
        """A place in the words of messages."""
        reader = self._units[place.file]
        if isinstance(reader, _FolderReader):
            return str(reader.file(place.row))
        return f"{reader.name}, {reader.unit} {place.row}"

    def documents(self) -> Generator[Sourced]:
        """The documents, once.

        Raises:
            DataFileError: a row cannot be read; the message names the file and the line.
        """
        for number, source in enumerate(self._sources):
            reader = source.open()
            self._units[number] = reader
            self._current = reader, source.num_bytes or 0
            try:
                yield from self._of(reader, number)
            finally:
                reader.close()
                self._done += source.num_bytes or 0
                self._current = None

    def _of(self, reader: Reader, file: int) -> Iterator[Sourced]:
        columns: DocumentColumns | None = None
        typed = not reader.columns or reader.schema is not None or reader.unit == "file"
        for record in reader.rows():
            if isinstance(record, Broken):
                self._broken(Place(file, record.number), record.reason)
                continue
            if columns is None:
                columns = corpus_values.find_columns(
                    reader.columns or tuple(record.values),
                    self._named if reader.unit != "file" else NamedColumns(),
                    declared=bool(reader.columns),
                    name=reader.name,
                )
            document = self._document(record, columns, Place(file, record.number), typed=typed)
            if document is not None:
                yield Sourced(document, Place(file, record.number))

    def _document(
        self, row: Row, columns: DocumentColumns, place: Place, *, typed: bool
    ) -> Document | None:
        text = corpus_values.text_of(row.values.get(columns.text))
        title = corpus_values.text_of(row.values.get(columns.title)) if columns.title else ""
        for value, column in ((text, columns.text), (title, columns.title)):
            if value is None:
                kind = type(row.values[str(column)]).__name__
                self._broken(place, f"{column!r} is of the type {kind}, not a text")
                return None
        if not f"{title}{text}".strip():
            self.counts.num_empty += 1
            return None
        metadata, left_out = corpus_values.metadata_of(row.values, columns, typed=typed)
        self.counts.left_out.update(left_out)
        return Document(
            id=self._id(row.values.get(columns.id) if columns.id else None, place),
            title=title or "",
            text=text or "",
            metadata=metadata,
        )

    def _id(self, value: Any, place: Place) -> str:
        """Its own, or one that is the same at every run."""
        own = corpus_values.id_of(value)
        if not own:
            self.counts.num_named += 1
        return own or f"{Path(self._units[place.file].name).name}:{place.row}"

    def _broken(self, place: Place, reason: str) -> None:
        said = f"{self.said(place)}: {reason}"
        if not self._skip_broken:
            raise DataFileError(f"{said} (--skip-broken leaves such rows out)")
        self.counts.num_broken += 1
        if len(self.counts.broken) < _MAX_REPORTED:
            self.counts.broken.append(said)


@dataclass(frozen=True, slots=True)
class _Source:
    path: str
    kind: FileFormat | None
    files: tuple[Path, ...] = ()
    num_bytes: int | None = None

    def open(self) -> Reader:
        if self.kind is None:
            return _FolderReader(self.path, self.files)
        return open_reader(self.path, self.kind)


def _source(path: str, otherwise: FileFormat | None) -> _Source:
    place = Path(path)
    if path != places.STANDARD and place.is_dir():
        if (place / _BEIR_CORPUS).is_file():
            return _source(str(place / _BEIR_CORPUS), otherwise)
        found = (file for file in place.rglob("*") if file.suffix.lower() in _TEXT_ENDINGS)
        files = tuple(sorted(file for file in found if file.is_file()))
        if not files:
            raise InputFileError(
                f"the folder {path!r} holds no text files ({', '.join(_TEXT_ENDINGS)}) and no {_BEIR_CORPUS}; name the "
                "files themselves"
            )
        return _Source(path, None, files, sum(file.stat().st_size for file in files))
    if place.suffix.lower() in _TEXT_ENDINGS and known_format(path) is None and otherwise is None:
        places.open_source(path).close()
        return _Source(str(place.parent), None, (place,), place.stat().st_size)
    kind = format_of(path, otherwise=otherwise)
    if path == places.STANDARD:
        return _Source(path, kind)
    file = places.open_source(path)
    try:
        return _Source(path, kind, num_bytes=places.size(file) or 0)
    finally:
        places.close(file)


class _FolderReader:
    """A folder's text files: each is a document, and its path in the folder the id."""

    unit = "file"
    columns = ("id", "text")
    schema: Any = None

    def __init__(self, path: str, files: tuple[Path, ...]) -> None:
        self.name = path
        self._files = files
        self._num_read = 0

    @property
    def extent(self) -> int | None:
        return len(self._files)

    def position(self) -> int:
        return self._num_read

    def file(self, number: int) -> Path:
        return self._files[number - 1]

    def rows(self) -> Iterator[Record]:
        for number, file in enumerate(self._files, start=1):
            yield self._record(number, file)
            self._num_read = number

    def close(self) -> None:
        """Nothing is open between two files."""

    def _record(self, number: int, file: Path) -> Record:
        try:
            if file.stat().st_size > _MAX_FILE_BYTES:
                return Broken(number, f"more than {_MAX_FILE_BYTES:,} bytes; split it")
            text = file.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            return Broken(number, f"not UTF-8 (byte {error.start + 1}); save the file as UTF-8")
        except OSError as error:
            return Broken(number, f"cannot be read: {error.strerror}")
        return Row(number, {"id": file.relative_to(self.name).as_posix(), "text": text})
