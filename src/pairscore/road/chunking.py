"""A long document becomes windows, each an ordinary pair with the query; `folding` makes one score of them again.

Windows are laid in the document's own tokens. A window takes as much as fits and ends before a sentence if one
begins in its second half, else before a word. The next one begins earlier by the overlap: at the first sentence
in the second half of what may overlap, else at the first word that overlaps, so that it never begins inside of a
word that fits into a window. A document that fits is one window, the very pair that is read without chunking.

A document is tokenized once for all its queries, and no further than its windows may reach: a book costs what the
limit allows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from pairscore.config import Chunking, Truncation, TruncationSide
from pairscore.errors import TooLongError
from pairscore.road.borders import Borders, parts_of
from pairscore.road.folding import WindowedRead
from pairscore.road.tokenization import Pair, PairTokenizer, TextTokens
from pairscore.values import Encoded, IntArray

__all__ = ["Windowed", "Windower", "guess_windows"]

# Characters of a token of running text, for guesses before anything is tokenized.
_CHARS_PER_TOKEN: Final = 4
# Tokens of documents that are kept for the next query: about 40 MB.
_KEPT_TOKENS: Final = 1 << 20
# An overlap is a part of its window: by default this one, and at most half.
_OVERLAP_SHARE: Final = 8


@dataclass(frozen=True, slots=True)
class Windowed:
    """One pair as windows.

    Attributes:
        encoded: the query with each window, in the document's order, at least one.
        reading: what is told of them.
    """

    encoded: tuple[Encoded, ...]
    reading: WindowedRead


class Windower:
    """Makes windows for one call; documents that come again, with other queries, are tokenized once.

    Args:
        tokenizer: of the model.
        chunking: how windows are laid.
        truncation: what is left out of either text before that; with `strict`, a pair of which any text would
            be in no window is refused.
    """

    def __init__(
        self, tokenizer: PairTokenizer, *, chunking: Chunking, truncation: Truncation
    ) -> None:
        self._tokenizer = tokenizer
        self._chunking = chunking
        self._truncation = truncation
        self._side = truncation.side or tokenizer.truncation_side
        self._documents: dict[str, _Document] = {}

    def windows(self, pairs: Sequence[Pair]) -> list[Windowed]:
        """Each pair as windows.

        Raises:
            LimitError: a text has more characters than `max_chars`.
            TextError: a text holds a lone surrogate.
            TooLongError: text would be in no window, and the truncation is strict.
        """
        pairs = [(self._tokenizer.prompted(query), document) for query, document in pairs]
        queries = self._tokenizer.encode_texts(
            (query for query, _ in pairs), truncation=self._truncation
        )
        documents = self._read(dict.fromkeys(document for _, document in pairs))
        return [
            self._windowed(queries[query], documents[document], position=position)
            for position, (query, document) in enumerate(pairs)
        ]

    def turns(self, pairs: Sequence[Pair], *, max_windows: int) -> Iterator[Sequence[Pair]]:
        """Pairs in turns of about so many windows, in their order; a turn has at least one pair."""
        begin, num_windows = 0, 0
        for position, (_, document) in enumerate(pairs):
            guess = guess_windows(
                document, chunking=self._chunking, max_length=self._tokenizer.max_length
            )
            if num_windows and num_windows + guess > max_windows:
                yield pairs[begin:position]
                begin, num_windows = position, 0
            num_windows += guess
        yield pairs[begin:]

    def _read(self, texts: Iterable[str]) -> dict[str, _Document]:
        new = [text for text in texts if text not in self._documents]
        self._tokenizer.check(new)
        found = {**self._documents}
        found.update(zip(new, self._tokenized(new), strict=True))
        self._documents = _latest(found, {*texts})
        return found

    def _tokenized(self, texts: Sequence[str]) -> Iterator[_Document]:
        """Tokenize each text as far as its windows may reach; the first parts of all of them together."""
        parts = [self._parts(text) for text in texts]
        first = self._tokenizer.with_offsets(
            [text[slice(*ranges[0])] for text, ranges in zip(texts, parts, strict=True)]
        )
        for text, ranges, tokens in zip(texts, parts, first, strict=True):
            yield self._document(text, ranges, tokens)

    def _parts(self, text: str) -> list[tuple[int, int]]:
        parts = parts_of(text)
        return parts[::-1] if self._side == "left" else parts

    def _document(
        self, text: str, parts: Sequence[tuple[int, int]], first: TextTokens
    ) -> _Document:
        # Whoever refuses a cut wants to know how long the text is.
        needed = math.inf if self._truncation.strict else self._reach
        read = [_moved(first, parts[0][0])]
        num_tokens = len(first.ids)
        for start, end in parts[1:]:
            if num_tokens >= needed:
                break
            (tokens,) = self._tokenizer.with_offsets([text[start:end]])
            read.append(_moved(tokens, start))
            num_tokens += len(tokens.ids)
        whole = len(read) == len(parts)
        read = read[::-1] if self._side == "left" else read
        return _Document.of(
            text, read, whole=whole, most=self._truncation.max_document_tokens, side=self._side
        )

    @property
    def _reach(self) -> int:
        """Tokens beyond which no window lies."""
        longest = self._tokenizer.max_length
        size = min(longest, self._chunking.window_tokens or longest)
        reach = self._chunking.limit * size + 1
        most = self._truncation.max_document_tokens
        return reach if most is None else min(reach, most + 1)

    def _windowed(self, query: IntArray, document: _Document, *, position: int) -> Windowed:
        whole = len(query)
        query = self._tokenizer.kept_query(query, self._truncation.max_query_tokens, self._side)
        fitted, room = self._tokenizer.room_beside(
            query, num_document_tokens=document.num_tokens, truncation=self._truncation
        )
        size = min(room, self._chunking.window_tokens or room)
        windows = document.laid(size, self._overlap(size))
        kept = self._kept(windows)
        limited = len(kept) < len(windows) or not document.whole
        cut = len(fitted) < len(query)
        if self._truncation.strict and (limited or cut):
            raise self._too_long(query, document, room=room, position=position)
        truncated = len(query) < whole or cut or limited or document.shortened
        template = self._tokenizer.template
        encoded = tuple(
            template.assemble(fitted, document.ids[start:end], truncated=truncated)
            for start, end in kept
        )
        reading = WindowedRead(
            np.asarray([document.span(start, end) for start, end in kept], dtype=np.int64),
            num_tokens=sum(window.num_tokens for window in encoded),
            truncated=truncated,
            limited=limited and self._chunking.aggregate != "first",
        )
        return Windowed(encoded, reading)

    def _overlap(self, size: int) -> int:
        wanted = self._chunking.overlap_tokens
        return min(size // _OVERLAP_SHARE if wanted is None else wanted, size // 2)

    def _kept(self, windows: Sequence[tuple[int, int]]) -> Sequence[tuple[int, int]]:
        if self._side == "left" and self._chunking.aggregate != "first":
            return windows[-self._chunking.limit :]
        return windows[: self._chunking.limit]

    def _too_long(
        self, query: IntArray, document: _Document, *, room: int, position: int
    ) -> TooLongError:
        special = self._tokenizer.template.num_special
        return TooLongError(
            position=position,
            num_tokens=len(query) + document.num_tokens + special,
            max_tokens=self._tokenizer.max_length - room + room * self._chunking.limit,
        )


@dataclass(frozen=True, slots=True)
class _Document:
    """One tokenized document, or as much of it as may be read.

    Attributes:
        ids: its tokens, shape (num_tokens,), int64.
        borders: where they may be parted.
        offset: where the text that `borders` count from begins in the document.
        whole: whether nothing but what a limit of tokens left out is missing.
        shortened: whether such a limit left something out.
        layouts: the windows of each size that was asked for.
    """

    ids: IntArray
    borders: Borders
    offset: int
    whole: bool
    shortened: bool
    layouts: dict[tuple[int, int], list[tuple[int, int]]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        text: str,
        read: Sequence[TextTokens],
        *,
        whole: bool,
        most: int | None,
        side: TruncationSide,
    ) -> _Document:
        ids = np.concatenate([part.ids for part in read])
        starts = np.concatenate([part.starts for part in read])
        ends = np.concatenate([part.ends for part in read])
        shortened = most is not None and len(ids) > most
        if shortened:
            kept = slice(len(ids) - (most or 0), None) if side == "left" else slice(most)
            ids, starts, ends = ids[kept], starts[kept], ends[kept]
        low = int(starts[0]) if len(ids) else 0
        high = int(ends.max()) if len(ids) else 0
        borders = Borders.of(text[low:high], starts - low, ends - low)
        return cls(ids, borders, low, whole=whole or shortened, shortened=shortened)

    @property
    def num_tokens(self) -> int:
        return len(self.ids)

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The characters of tokens in the document."""
        if start == end:
            return self.offset, self.offset
        first = int(self.borders.starts[start])
        return self.offset + first, self.offset + max(first, int(self.borders.ends[end - 1]))

    def laid(self, size: int, overlap: int) -> list[tuple[int, int]]:
        """Its windows of at most `size` tokens, as (start, end)."""
        key = (size, overlap)
        if key not in self.layouts:
            self.layouts[key] = list(
                _layout(self.borders, self.num_tokens, size=size, overlap=overlap)
            )
        return self.layouts[key]


def _layout(
    borders: Borders, num_tokens: int, *, size: int, overlap: int
) -> Iterator[tuple[int, int]]:
    start = 0
    while num_tokens - start > size:
        end = _end(borders, start + size // 2 + 1, start + size)
        yield start, end
        start = _start(borders, start, end, overlap=overlap)
    yield start, num_tokens


def _end(borders: Borders, low: int, high: int) -> int:
    """The last sentence, word or character that begins from `low` to `high`, in this order of preference."""
    for places in (borders.sentences, borders.words, borders.characters):
        index = int(np.searchsorted(places, high, side="right")) - 1
        if index >= 0 and places[index] >= low:
            return int(places[index])
    return high


def _start(borders: Borders, start: int, end: int, *, overlap: int) -> int:
    """Where the window behind one from `start` to `end` begins: always behind `start`, never behind `end`."""
    first = max(end - overlap, start + 1)
    choices = (
        (borders.sentences, first, max(first, end - overlap // 2)),
        (borders.words, first, end),
    )
    for places, low, high in choices:
        index = int(np.searchsorted(places, low))
        if index < len(places) and places[index] <= high:
            return int(places[index])
    # The word at the end is longer than the overlap: all of it, if it did not begin with this window.
    index = int(np.searchsorted(borders.words, first)) - 1
    if index >= 0 and borders.words[index] > start:
        return int(borders.words[index])
    index = int(np.searchsorted(borders.characters, first))
    if index < len(borders.characters) and borders.characters[index] <= end:
        return int(borders.characters[index])
    return first


def _moved(tokens: TextTokens, offset: int) -> TextTokens:
    return TextTokens(tokens.ids, tokens.starts + offset, tokens.ends + offset)


def _latest(documents: dict[str, _Document], wanted: set[str]) -> dict[str, _Document]:
    """Those that were wanted last, as many as may be kept."""
    kept: dict[str, _Document] = {}
    num_tokens = 0
    newest_first = list(documents)[::-1]
    for text in sorted(newest_first, key=lambda text: text not in wanted):
        num_tokens += documents[text].num_tokens
        if num_tokens > _KEPT_TOKENS:
            break
        kept[text] = documents[text]
    return kept


def guess_windows(document: str, *, chunking: Chunking, max_length: int) -> int:
    """Windows that a document may have, guessed from its characters."""
    size = min(max_length, chunking.window_tokens or max_length)
    num_tokens = len(document) // _CHARS_PER_TOKEN
    return min(chunking.limit, 1 + num_tokens // size)
