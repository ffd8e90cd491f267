"""An index by its place, with the bi-encoder that it was built with: what the command line and the service search in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pairscore.errors import ModelError
from pairscore.retrieval.base import Encoder, Retriever
from pairscore.retrieval.milvus_place import is_milvus

if TYPE_CHECKING:
    from pairscore.bi_encoder import BiEncoder
    from pairscore.road.backends.opening import BackendName

__all__ = ["OpenedIndex", "open_index"]


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenedIndex:
    """An index that is open, and its bi-encoder.

    Attributes:
        retriever: the index.
        encoder: None where only words are looked up.
    """

    retriever: Retriever
    encoder: BiEncoder | None

    def close(self) -> None:
        """Let go of both; a second call does nothing."""
        self.retriever.close()
        if self.encoder is not None:
            self.encoder.close()


def open_index(
    uri: str,
    *,
    encoder: str | None = None,
    backend: BackendName = "onnx",
    words_only: bool = False,
) -> OpenedIndex:
    """Open a search index and load the bi-encoder that belongs to it.

    Args:
        uri: a folder, whatever else LanceDB takes, or a Milvus URI (`MilvusPlace.parse`).
        encoder: the bi-encoder's name, folder or hub id; None takes the one that the index names.
        backend: what runs the bi-encoder.
        words_only: load none; only words can then be looked up.

    Raises:
        IndexNotFoundError: there is no index.
        IndexMismatchError: it was built with another bi-encoder.
        SearchIndexError: it cannot be opened.
        ModelError: the bi-encoder cannot be found or used.
        MissingExtraError: the extra for the index is not installed.
    """
    named = _encoder_of(uri)
    if words_only or named is None:
        return OpenedIndex(retriever=_opened(uri, None), encoder=None)
    model = _loaded(encoder or named, backend=backend)
    try:
        return OpenedIndex(retriever=_opened(uri, model), encoder=model)
    except BaseException:
        model.close()
        raise


def _encoder_of(uri: str) -> str | None:
    """The bi-encoder that an index names; None for one without vectors."""
    # Both libraries take a while to import.
    if is_milvus(uri):
        from pairscore.retrieval.milvus import MilvusRetriever

        with MilvusRetriever.open(uri) as found:
            return found.encoder_name
    from pairscore.retrieval.index import SearchIndex

    index = SearchIndex.open(uri)
    try:
        info = index.info()
    finally:
        index.close()
    return info.encoder if info.has_vectors else None


def _opened(uri: str, encoder: Encoder | None) -> Retriever:
    if is_milvus(uri):
        from pairscore.retrieval.milvus import MilvusRetriever

        return MilvusRetriever.open(uri, encoder=encoder)
    from pairscore.retrieval.index import SearchIndex

    return SearchIndex.open(uri, encoder=encoder)


def _loaded(name: str | None, *, backend: BackendName) -> BiEncoder:
    # Here, because a search by words loads no model.
    from pairscore.bi_encoder import BiEncoder

    try:
        return BiEncoder(name, backend=backend)
    except ModelError as error:
        error.add_note(
            "it is the bi-encoder that the index names; say where it is with --encoder, or search by words alone with "
            "--mode bm25"
        )
        raise
