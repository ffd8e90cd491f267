"""BM25 over documents in memory: the measure that every other ranking has to beat, and a first stage where there is none.

It counts words as they stand: lower case, no stemming, no list of stop words, so that it is the same for every language
that puts spaces between words. Source: S. Robertson, H. Zaragoza, "The Probabilistic Relevance Framework: BM25 and
Beyond", 2009; with Lucene's idf, ln(1 + (N - df + 0.5) / (df + 0.5)), which is never negative; k1 and b as
in Anserini, 0.9 and 0.4.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from pairscore.errors import EmptyInputError, SettingError

__all__ = ["BM25", "DEFAULT_B", "DEFAULT_K1", "words"]

DoubleArray: TypeAlias = npt.NDArray[np.float64]

DEFAULT_K1: Final = 0.9
DEFAULT_B: Final = 0.4
_WORD: Final = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """The words of a text: runs of letters, digits and underscores of any script, in lower case."""
    return _WORD.findall(text.casefold())


class BM25:
    """Scores queries against a collection, whose statistics (how rare a word is, how long documents are) it counts.

    It never changes once it is made, so any number of threads may use it.

    Args:
        documents: the collection; a document may come twice.
        k1: how much it matters that a word comes again; at least 0.
        b: how much a document's length matters, from 0 to 1.

    Raises:
        EmptyInputError: there is no document.
        SettingError: k1 or b makes no sense.
    """

    def __init__(
        self, documents: Iterable[str], *, k1: float = DEFAULT_K1, b: float = DEFAULT_B
    ) -> None:
        if not (k1 >= 0.0 and 0.0 <= b <= 1.0):
            raise SettingError(f"k1 is {k1} and b is {b}; k1 must be at least 0, and b from 0 to 1")
        lengths: list[int] = []
        entries: dict[str, tuple[list[int], list[int]]] = {}
        for position, document in enumerate(documents):
            counted = Counter(words(document))
            lengths.append(counted.total())
            for word, count in counted.items():
                positions, counts = entries.setdefault(word, ([], []))
                positions.append(position)
                counts.append(count)
        if not lengths:
            raise EmptyInputError("BM25 needs at least one document to count words in")
        self.num_documents: Final = len(lengths)
        self._weights = _weights(entries, np.asarray(lengths, dtype=np.float64), k1=k1, b=b)

    def scores(self, query: str) -> DoubleArray:
        """The score of every document for a query, shape (num_documents,); 0 where no word is shared.

        A word that comes twice in the query counts twice.
        """
        total = np.zeros(self.num_documents)
        for word, count in Counter(words(query)).items():
            if word in self._weights:
                positions, weights = self._weights[word]
                total[positions] += count * weights
        return total

    def best(self, query: str, *, limit: int) -> npt.NDArray[np.intp]:
        """Positions of the best documents that share a word with a query, best first; ties in their own order."""
        total = self.scores(query)
        found = np.flatnonzero(total > 0.0)
        return found[np.argsort(-total[found], kind="stable")[:limit]]


def _weights(
    entries: dict[str, tuple[list[int], list[int]]], lengths: DoubleArray, *, k1: float, b: float
) -> dict[str, tuple[npt.NDArray[np.intp], DoubleArray]]:
    """For each word the documents that have it, and what it adds to the score of each."""
    num_documents = len(lengths)
    average = float(lengths.mean()) or 1.0
    norms = k1 * (1.0 - b + b * lengths / average)
    found = {}
    for word, (positions, counts) in entries.items():
        where = np.asarray(positions, dtype=np.intp)
        often = np.asarray(counts, dtype=np.float64)
        rarity = np.log1p((num_documents - len(where) + 0.5) / (len(where) + 0.5))
        found[word] = (where, rarity * often / (often + norms[where]))
    return found
