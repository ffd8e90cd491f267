"""The work of `pairscore index build`: the model, the index, the documents, and what is told of it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass

from pairscore.bi_encoder import BiEncoder
from pairscore.cli import output, progress
from pairscore.cli.corpus import Corpus, CorpusCounts
from pairscore.cli.index_options import EncoderBackend, EncoderOptions
from pairscore.cli.interrupt import Stopped, Stopping
from pairscore.errors import EmptyInputError, IndexNotFoundError, PairscoreError, SettingError
from pairscore.retrieval.index import SearchIndex
from pairscore.retrieval.index_build import BuildCounts, Building, OnDuplicate, build
from pairscore.retrieval.index_info import IndexInfo
from pairscore.values import FloatArray

__all__ = ["BuildJob", "BuildReport", "build_index"]

_FAKE_NOTE = "note: the fake backend hashes words; its vectors mean nothing"


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildJob:
    """What to build.

    Attributes:
        uri: where the index is, or will be.
        storage_options: for LanceDB.
        encoder: what makes the vectors.
        on_duplicate: what becomes of an id that was there before.
        quiet: tell nothing on the way.
    """

    uri: str
    storage_options: Mapping[str, str] | None
    encoder: EncoderOptions
    on_duplicate: str
    quiet: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildReport:
    """What was done.

    Attributes:
        info: the index as it is now.
        counts: what was done with the documents.
        read: what was found in the files.
        num_truncated: documents of which the model read the head alone.
        elapsed_s: how long it took, loading included.
    """

    info: IndexInfo
    counts: BuildCounts
    read: CorpusCounts
    num_truncated: int
    elapsed_s: float


def build_index(corpus: Corpus, job: BuildJob) -> BuildReport:
    """Put the documents into the index, which is made if it is not there.

    Raises:
        DataFileError, InputError, SearchIndexError, OutputFileError, ModelError, SettingError: what went wrong; what was
            written before stays, and a note says how much that is.
        EmptyInputError: there is no document.
    """
    began = time.monotonic()
    counts = BuildCounts()
    with ExitStack() as stack:
        index, encoder = _opened(job, stack)
        stopping = stack.enter_context(Stopping())
        with _told_of(counts, job):
            _fill(index, corpus, job, counts, stopping)
            if not job.quiet:
                output.note("indexing ...")
            with stopping.held(), progress.waiting("indexing", shown=not job.quiet):
                # Nobody can be reading a version from before the first document.
                if counts.num_added == index.num_documents:
                    index.optimize(keep_s=0.0)
                else:
                    index.optimize()
        return BuildReport(
            info=index.info(),
            counts=counts,
            read=corpus.counts,
            num_truncated=0 if encoder is None else encoder.num_truncated,
            elapsed_s=time.monotonic() - began,
        )


class _CountingEncoder:
    """A bi-encoder that knows how many documents it read only the head of."""

    def __init__(self, model: BiEncoder) -> None:
        self._model = model
        self.name = model.name
        self.dimension = model.dimension
        self.fingerprint = model.fingerprint
        self.num_truncated = 0

    def encode_queries(self, texts: Sequence[str]) -> FloatArray:
        return self._model.encode_queries(texts)

    def encode_documents(self, texts: Sequence[str]) -> FloatArray:
        made = self._model.embed(
            texts, normalize_embeddings=True, prompt=self._model.card.document_prompt
        )
        self.num_truncated += made.num_truncated
        return made.vectors


def _fill(
    index: SearchIndex, corpus: Corpus, job: BuildJob, counts: BuildCounts, stopping: Stopping
) -> None:
    with progress.progress(corpus.extent, shown=not job.quiet, unit="documents") as advance:
        building = Building(
            on_duplicate=OnDuplicate(job.on_duplicate),
            said=corpus.said,
            written=lambda done: advance(corpus.position(), done.num_documents),
            held=stopping.held,
        )
        # What is not read to its end would keep its file open for as long as the error is looked at.
        with closing(corpus.documents()) as documents:
            build(index, documents, building, counts)
    if not counts.num_documents and not index.num_documents:
        raise EmptyInputError("there is no document with a text; give at least one")


@contextmanager
def _told_of(counts: BuildCounts, job: BuildJob) -> Iterator[None]:
    """What a person wants to know when it ends early."""
    try:
        yield
    except (Stopped, PairscoreError) as error:
        added = counts.num_added + counts.num_replaced
        note = f"{added:,} documents were written and stay in the index; the same command goes on from there"
        if isinstance(error, Stopped):
            if not job.quiet:
                output.note(note)
        elif added:
            error.add_note(note)
        raise


def _opened(job: BuildJob, stack: ExitStack) -> tuple[SearchIndex, _CountingEncoder | None]:
    known = _known(job)
    encoder = _encoder(job, known, stack)
    if known is None:
        index = SearchIndex.create(job.uri, encoder=encoder, storage_options=job.storage_options)
    else:
        index = SearchIndex.open(job.uri, encoder=encoder, storage_options=job.storage_options)
    return stack.enter_context(index), encoder


def _known(job: BuildJob) -> IndexInfo | None:
    """The index as it is; None if there is none."""
    try:
        with SearchIndex.open(job.uri, storage_options=job.storage_options) as index:
            return index.info()
    except IndexNotFoundError:
        return None


def _encoder(job: BuildJob, known: IndexInfo | None, stack: ExitStack) -> _CountingEncoder | None:
    asked = job.encoder
    if known is not None and not known.has_vectors:
        if asked.model is not None:
            raise SettingError(
                f"the index {job.uri!r} was built without vectors, and --model makes some; leave --model out, or build "
                "another index"
            )
        return None
    if not asked.vectors:
        if known is not None:
            raise SettingError(
                f"the index {job.uri!r} has vectors, and without them a document would not be found; leave "
                "--no-vectors out, or build another index"
            )
        return None
    if asked.backend is EncoderBackend.FAKE and not job.quiet:
        output.note(_FAKE_NOTE)
    named = known.encoder if known is not None else None
    with progress.waiting("loading the bi-encoder", shown=not job.quiet):
        model = BiEncoder(
            asked.model or (named if asked.backend is not EncoderBackend.FAKE else None),
            backend=asked.backend.value,
            max_length=asked.max_length,
            num_workers=asked.num_workers,
        )
    return _CountingEncoder(stack.enter_context(model))
