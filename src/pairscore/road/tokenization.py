"""Pairs of texts become token ids; each distinct text is tokenized once.

A query ranked against a hundred documents is one text here, not a hundred.
The pair is then assembled by the tokenizer's own template, which is read off a probe when the model is
loaded, so that the shared tokenizer is never changed again: any number of threads may use it.

The one truncation policy: the query is protected and the document is cut.
Only a query that would fill the whole pair alone is cut itself, and then the document gets up to half.
A caller may set limits of its own below that, or refuse every cut that the model would need.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Encoding, Tokenizer

from pairscore.config import RoadConfig, Truncation, TruncationSide
from pairscore.errors import (
    EmptyInputError,
    LimitError,
    ModelCorruptError,
    ModelUnsupportedError,
    PairError,
    TextError,
    TooLongError,
)
from pairscore.values import Encoded, IntArray

__all__ = ["Pair", "PairTokenizer", "Template", "check_pairs", "check_text"]

Pair = tuple[str, str]

_PAIR_LENGTH = 2
_AS_CONFIGURED = Truncation()
# A token of running text is about four characters; sixteen leaves room for dense languages' opposite.
_HEAD_CHARS_PER_TOKEN = 16


@dataclass(frozen=True, slots=True)
class Template:
    """How a tokenizer joins two texts: special tokens before, between and behind them.

    Attributes:
        before, between, behind: special token ids, shape (n,), int64.
        before_types, between_types, behind_types: their segment ids.
        query_type, document_type: the segment ids of the texts' own tokens.
    """

    before: IntArray
    between: IntArray
    behind: IntArray
    before_types: IntArray
    between_types: IntArray
    behind_types: IntArray
    query_type: int
    document_type: int

    @property
    def num_special(self) -> int:
        """How many tokens of a pair are not the texts' own."""
        return len(self.before) + len(self.between) + len(self.behind)

    @classmethod
    def of(cls, probe: Encoding) -> Template:
        """Read the template off one encoded pair of two non-empty texts."""
        owners = probe.sequence_ids
        first = [i for i, owner in enumerate(owners) if owner == 0]
        second = [i for i, owner in enumerate(owners) if owner == 1]
        if not first or not second or first[-1] > second[0]:
            raise ModelUnsupportedError(
                "the tokenizer does not put the query before the document; it cannot be used for pairs"
            )
        ids = np.asarray(probe.ids, dtype=np.int64)
        types = np.asarray(probe.type_ids, dtype=np.int64)
        before, between = slice(0, first[0]), slice(first[-1] + 1, second[0])
        behind = slice(second[-1] + 1, None)
        return cls(
            before=ids[before],
            between=ids[between],
            behind=ids[behind],
            before_types=types[before],
            between_types=types[between],
            behind_types=types[behind],
            query_type=int(types[first[0]]),
            document_type=int(types[second[0]]),
        )

    def assemble(self, query: IntArray, document: IntArray, *, truncated: bool) -> Encoded:
        """Join two texts' own tokens to the pair that the model reads."""
        ids = np.concatenate((self.before, query, self.between, document, self.behind))
        types = np.concatenate(
            (
                self.before_types,
                np.full(len(query), self.query_type, dtype=np.int64),
                self.between_types,
                np.full(len(document), self.document_type, dtype=np.int64),
                self.behind_types,
            )
        )
        return Encoded(ids=ids, type_ids=types, truncated=truncated)


class PairTokenizer:
    """Tokenizes pairs; read-only once made, so safe to share between threads."""

    def __init__(self, tokenizer: Tokenizer, *, max_length: int, config: RoadConfig) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        self._template = Template.of(tokenizer.encode("a", "b"))
        self._max_length = min(max_length, config.max_length or max_length)
        self._config = config
        self._room = self._max_length - self._template.num_special

    @classmethod
    def from_file(cls, path: Path, *, max_length: int, config: RoadConfig) -> PairTokenizer:
        """Load a `tokenizer.json`.

        Raises:
            ModelCorruptError: the file is missing or is not a tokenizer.
        """
        if not path.is_file():
            raise ModelCorruptError(f"{path} is missing; copy the model's folder again")
        try:
            tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
        # The Rust side raises a bare Exception for every kind of broken file.
        except Exception as error:
            raise ModelCorruptError(
                f"{path} is not a tokenizer file ({error}); copy the model's folder again"
            ) from error
        return cls(tokenizer, max_length=max_length, config=config)

    @property
    def max_length(self) -> int:
        """Tokens of a pair, special tokens included."""
        return self._max_length

    def encode(
        self, pairs: Sequence[Pair], *, truncation: Truncation = _AS_CONFIGURED
    ) -> list[Encoded]:
        """Tokenize pairs, cutting documents that are too long.

        Raises:
            LimitError: a text has more characters than `max_chars`.
            TextError: a text holds a lone surrogate.
            TooLongError: a pair would have to be cut, and `truncation` is strict.
        """
        tokens = self._encode_texts(pairs, truncation)
        return [
            self._join(tokens[query], tokens[document], truncation=truncation, position=position)
            for position, (query, document) in enumerate(pairs)
        ]

    def _encode_texts(self, pairs: Sequence[Pair], truncation: Truncation) -> dict[str, IntArray]:
        distinct = list(dict.fromkeys(text for pair in pairs for text in pair))
        for text in distinct:
            check_text(text, max_chars=self._config.max_chars)
        side = truncation.side or self._config.truncation_side
        # Whoever refuses a cut wants to know how long the text is.
        cut = distinct if truncation.strict else [self._cut_by_chars(t, side) for t in distinct]
        encodings = self._tokenizer.encode_batch_fast(cut, add_special_tokens=False)
        tokens = [np.asarray(encoding.ids, dtype=np.int64) for encoding in encodings]
        for index, (text, part) in enumerate(zip(distinct, cut, strict=True)):
            if part is not text and len(tokens[index]) <= self._room:
                tokens[index] = self._encode_whole(text)
        return dict(zip(distinct, tokens, strict=True))

    def _encode_whole(self, text: str) -> IntArray:
        (encoding,) = self._tokenizer.encode_batch_fast([text], add_special_tokens=False)
        return np.asarray(encoding.ids, dtype=np.int64)

    def _cut_by_chars(self, text: str, side: TruncationSide) -> str:
        """Drop what no pair could hold, at a space, so that a book costs no more than its first pages.

        Words are tokenized one by one, so a cut at a space changes no token before it.
        The caller tokenizes the whole text after all where this part turns out to be too short.
        """
        limit = _HEAD_CHARS_PER_TOKEN * (self._room + 1)
        if len(text) <= limit:
            return text
        if side == "left":
            space = text.find(" ", len(text) - limit)
            return text if space < 0 else text[space:]
        space = text.rfind(" ", 0, limit)
        return text if space <= 0 else text[:space]

    def _join(
        self, query: IntArray, document: IntArray, *, truncation: Truncation, position: int
    ) -> Encoded:
        side = truncation.side or self._config.truncation_side
        whole = len(query) + len(document)
        query = _kept(query, truncation.max_query_tokens, side)
        document = _kept(document, truncation.max_document_tokens, side)
        length = len(query) + len(document)
        room = self._room
        if truncation.max_pair_tokens is not None:
            room = min(room, truncation.max_pair_tokens - self._template.num_special)
        if length <= room:
            return self._template.assemble(query, document, truncated=length < whole)
        if truncation.strict and room == self._room:
            raise TooLongError(
                position=position,
                num_tokens=length + self._template.num_special,
                max_tokens=self._max_length,
            )
        if len(query) >= room:
            query = query[: room - min(len(document), room // 2)]
        document = _kept(document, room - len(query), side)
        return self._template.assemble(query, document, truncated=True)


def _kept(tokens: IntArray, most: int | None, side: TruncationSide) -> IntArray:
    """The tokens that are left when one end is cut; a limit of None cuts nothing."""
    if most is None or len(tokens) <= most:
        return tokens
    return tokens[len(tokens) - most :] if side == "left" else tokens[:most]


def check_pairs(pairs: Iterable[Any]) -> list[Pair]:
    """Pairs of texts as given by anybody, as a list of tuples of two strings.

    Raises:
        EmptyInputError: there is none.
        PairError: an entry is not a pair of texts; the message names its position.
    """
    if isinstance(pairs, str | bytes) or not isinstance(pairs, Iterable):
        raise PairError(
            f"expected a list of (query, document) pairs, got {_shown(pairs)}; write [(query, document)]"
        )
    checked = [_check_pair(pair, index) for index, pair in enumerate(pairs)]
    if not checked:
        raise EmptyInputError("there is no pair to score; give at least one (query, document)")
    return checked


def check_text(text: str, *, max_chars: int) -> None:
    """Refuse what no tokenizer can read.

    Raises:
        LimitError: it has more than `max_chars` characters.
        TextError: it holds a lone surrogate, which is half a character.
    """
    if len(text) > max_chars:
        raise LimitError(
            limit="characters in one text", value=len(text), maximum=max_chars, option="max_chars"
        )
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise TextError(
            f"a text holds half a character (a lone surrogate, U+{ord(text[error.start]):04X}) at "
            f"position {error.start}; decode its source as UTF-8, or clean it with "
            "text.encode('utf-8', 'replace').decode()"
        ) from error


def _check_pair(pair: Any, index: int) -> Pair:
    if isinstance(pair, str | bytes | dict) or not hasattr(pair, "__len__"):
        raise PairError(f"entry {index} is {_shown(pair)}; it must be a pair (query, document)")
    if len(pair) != _PAIR_LENGTH:
        raise PairError(f"entry {index} has {len(pair)} parts; a pair has two: (query, document)")
    query, document = pair
    for place, text in (("query", query), ("document", document)):
        if not isinstance(text, str):
            raise PairError(
                f"the {place} of entry {index} is {_shown(text)}; it must be a string (str)"
            )
    return str(query), str(document)


def _shown(value: object) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text[:60]}{'…' if len(text) > 60 else ''}"  # noqa: PLR2004
