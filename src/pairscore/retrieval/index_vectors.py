"""Vectors on their way into an index and its searches: made where they are missing, and checked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pairscore.errors import IndexMismatchError, SettingError
from pairscore.retrieval.base import Document, Encoder
from pairscore.retrieval.lance_schema import Origin
from pairscore.values import FloatArray

__all__ = ["document_vectors", "query_vector"]


def document_vectors(
    documents: Sequence[Document],
    given: FloatArray | None,
    *,
    encoder: Encoder | None,
    origin: Origin,
    place: str,
) -> FloatArray | None:
    """The vectors of documents, shape (num_documents, dimension), float32; None for an index of words alone.

    Raises:
        SettingError: nobody can make them.
        IndexMismatchError: they have another shape, or are not finite.
    """
    if origin.dimension is None:
        return None
    if given is None:
        if encoder is None:
            raise SettingError(
                f"the index {place!r} was opened without its encoder {origin.encoder!r}, which makes the vectors; "
                "open it with encoder=..."
            )
        texts = [document.full_text for document in documents]
        nothing = np.empty((0, origin.dimension), dtype=np.float32)
        given = encoder.encode_documents(texts) if texts else nothing
    made = np.ascontiguousarray(given, dtype=np.float32)
    _check(made, (len(documents), origin.dimension), "the vectors have", origin)
    return made


def query_vector(vector: FloatArray, *, origin: Origin) -> FloatArray:
    """A query's vector as float32.

    Raises:
        IndexMismatchError: it has another shape, or is not finite.
    """
    given = np.asarray(vector, dtype=np.float32)
    _check(given, (origin.dimension,), "the vector of a query has", origin)
    return given


def _check(made: FloatArray, shape: tuple[int | None, ...], what: str, origin: Origin) -> None:
    if made.shape != shape:
        raise IndexMismatchError(
            f"{what} the shape {made.shape}, and the index takes {shape}; use the model that it was built with, {origin}"
        )
    if not np.isfinite(made).all():
        raise IndexMismatchError(
            f"{what} a number that is not finite (NaN or infinity); check the model that made it"
        )
