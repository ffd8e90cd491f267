"""The corpus of `pairscore negatives` as an index in the work folder, made once and gone on with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pairscore.cli import output
from pairscore.errors import OutputFileError, SettingError
from pairscore.files import FileFormat, places

if TYPE_CHECKING:
    from pairscore.cli.corpus_values import NamedColumns
    from pairscore.cli.negatives_options import PositiveOptions

__all__ = ["CorpusFiles", "Making", "WorkIndex", "corpus_of"]

_INDEX: Final = "index"
_MARK: Final = "index.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class CorpusFiles:
    """Files of documents, and how they are read.

    Attributes:
        paths: the files and folders.
        named: the columns.
        file_format: where an ending does not tell.
        on_duplicate: what becomes of an id that is there twice: ``error`` or ``skip``.
    """

    paths: tuple[str, ...]
    named: NamedColumns
    file_format: FileFormat | None
    on_duplicate: str

    def key(self) -> list[Any]:
        """Differs when a file was written to."""
        states = [
            (str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns)
            for path in self.paths
            for file in _files(Path(path))
        ]
        return [states, str(self.named), str(self.file_format), self.on_duplicate]


@dataclass(frozen=True, kw_only=True, slots=True)
class Making:
    """How the index is made.

    Attributes:
        encoder: the bi-encoder; None for the one inside the package.
        words_only: make no vectors.
        is_fake: hash words instead of running a model.
    """

    encoder: str | None
    words_only: bool
    is_fake: bool


def corpus_of(source: str, corpus: Sequence[str], positives: PositiveOptions) -> CorpusFiles:
    """The files whose documents are candidates: those named, a BEIR folder's corpus, or the pairs' own documents.

    Raises:
        SettingError: one is standard input, which cannot be read again.
        InputFileError: one is missing.
        DataFileError: the file of pairs has no column of documents.
    """
    from pairscore.cli.corpus_values import NamedColumns

    named = NamedColumns(metadata=())
    paths, kind, on_duplicate = tuple(corpus), None, "error"
    if not paths and Path(source).is_dir():
        from pairscore.training.negatives_input import train_files

        paths = (str(train_files(Path(source), split=positives.split).corpus),)
    elif not paths:
        # One document may stand in many pairs.
        paths, kind, on_duplicate = (source,), positives.file_format, "skip"
        if source != places.STANDARD:
            named = _pair_columns(source, positives)
    if places.STANDARD in paths:
        raise SettingError(
            "a corpus cannot be read from standard input, because it may have to be read again; save it to a file"
        )
    for path in paths:
        if not Path(path).is_dir():
            places.close(places.open_source(path))
    return CorpusFiles(paths=paths, named=named, file_format=kind, on_duplicate=on_duplicate)


class WorkIndex:
    """The index in a work folder.

    Args:
        work: the folder; it need not be there.
    """

    def __init__(self, work: Path) -> None:
        self._work = work
        self._place = work / _INDEX
        self._mark = work / _MARK

    def build(self, corpus: CorpusFiles, making: Making, *, quiet: bool) -> str:
        """Make the index, go on with it, or take it as it is; gives its place.

        Raises:
            DataFileError, OutputFileError, ModelError, SearchIndexError: as `build_index`.
        """
        from pairscore.cli.corpus import Corpus
        from pairscore.cli.index_build import BuildJob, build_index
        from pairscore.cli.index_options import EncoderBackend, EncoderOptions

        key = [corpus.key(), asdict(making)]
        if self._begin(key):
            return str(self._place)
        if not quiet:
            output.note("the corpus is indexed first")
        job = BuildJob(
            uri=str(self._place),
            storage_options=None,
            encoder=EncoderOptions(
                model=making.encoder,
                vectors=not making.words_only,
                backend=EncoderBackend.FAKE if making.is_fake else EncoderBackend.ONNX,
            ),
            on_duplicate=corpus.on_duplicate,
            quiet=quiet,
        )
        documents = Corpus(corpus.paths, named=corpus.named, otherwise=corpus.file_format)
        report = build_index(documents, job)
        self._write(key, is_whole=True)
        if not quiet:
            output.note(f"indexed: {report.info.num_documents:,} documents")
        return str(self._place)

    def remove(self) -> None:
        """Take away the index and all that stages left."""
        from pairscore.retrieval.mining_work import WorkFolder

        shutil.rmtree(self._place, ignore_errors=True)
        self._mark.unlink(missing_ok=True)
        with WorkFolder(self._work) as folder:
            folder.remove()

    def _begin(self, key: list[Any]) -> bool:
        """Whether there is a whole index of just this; one of anything else makes room."""
        try:
            mark = json.loads(self._mark.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            mark = None
        if isinstance(mark, dict) and mark.get("key") == json.loads(json.dumps(key)):
            return bool(mark.get("is_whole"))
        try:
            if self._place.exists():
                shutil.rmtree(self._place)
            self._work.mkdir(parents=True, exist_ok=True)
            self._write(key, is_whole=False)
        except OSError as error:
            raise OutputFileError(
                f"the work folder {str(self._work)!r} cannot be written: {error.strerror or error}; make room, or name "
                "another one with --work"
            ) from error
        return False

    def _write(self, key: list[Any], *, is_whole: bool) -> None:
        new = self._mark.with_name(f"{self._mark.name}.new")
        new.write_text(json.dumps({"key": key, "is_whole": is_whole}), encoding="utf-8")
        new.replace(self._mark)


def _pair_columns(source: str, positives: PositiveOptions) -> NamedColumns:
    """The column of the documents, which are the corpus where there is no other."""
    from contextlib import closing

    from pairscore.cli.corpus_values import NamedColumns
    from pairscore.files import format_of, open_reader
    from pairscore.files.base import Row
    from pairscore.files.columns import find_pair_columns

    kind = format_of(source, otherwise=positives.file_format)
    with closing(open_reader(source, kind)) as reader:
        names = reader.columns
        if not names:
            first = next((row for row in reader.rows() if isinstance(row, Row)), None)
            names = () if first is None else tuple(first.values)
        pair = find_pair_columns(
            names,
            query=positives.query_column,
            document=positives.document_column,
            name=reader.name,
        )
    return NamedColumns(text=pair.document, id=positives.id_column, metadata=())


def _files(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
