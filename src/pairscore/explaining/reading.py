"""The part of each text of a pair that an explanation is about: what the model reads, as a pair that is not cut."""

from __future__ import annotations

from dataclasses import dataclass

from pairscore.config import TruncationSide
from pairscore.explaining.units import Span
from pairscore.road.reading import read_pair
from pairscore.road.tokenization import Pair, PairTokenizer

__all__ = ["Read", "read_of"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Read:
    """What is read of a pair.

    Attributes:
        query: of the first text.
        document: of the second text.
    """

    query: Span
    document: Span

    def of(self, pair: Pair) -> Pair:
        """Both parts, as a pair that the model reads whole."""
        query, document = pair
        return (
            query[self.query.start : self.query.end],
            document[self.document.start : self.document.end],
        )


def read_of(tokenizer: PairTokenizer, pair: Pair) -> Read:
    """Find what the model reads of a pair.

    Where a cut goes through a word, a tokenizer may take the rest of it apart in another way, so that it has more
    tokens than before; the part then ends before that word.

    Raises:
        LimitError: a text has too many characters.
        TextError: a text holds half a character.
    """
    (encoded,) = tokenizer.encode([pair])
    if not encoded.truncated:
        return Read(query=Span(0, len(pair[0])), document=Span(0, len(pair[1])))
    found = read_pair(tokenizer, pair)
    read = Read(
        query=Span(found.text_a.start, found.text_a.end),
        document=Span(found.text_b.start, found.text_b.end),
    )
    while not _fits(tokenizer, pair, read):
        document = _shorter(pair[1], read.document, tokenizer.truncation_side)
        read = Read(query=read.query, document=document)
    return read


def _fits(tokenizer: PairTokenizer, pair: Pair, read: Read) -> bool:
    (encoded,) = tokenizer.encode([read.of(pair)])
    return not encoded.truncated or read.document.start == read.document.end


def _shorter(document: str, span: Span, side: TruncationSide) -> Span:
    """Without the word that is cut; a word that is all there is loses half of itself."""
    part = document[span.start : span.end]
    rest = part.rstrip().rpartition(" ")[0] if side == "right" else part.lstrip().partition(" ")[2]
    num = len(rest) or len(part) // 2
    return Span(span.start, span.start + num) if side == "right" else Span(span.end - num, span.end)
