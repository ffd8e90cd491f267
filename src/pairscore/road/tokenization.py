"""Pairs of texts become token ids; each distinct text is tokenized once.

A query ranked against a hundred documents is one text here, not a hundred.
The pair is then assembled by the tokenizer's own template, which is read off a probe when the model is
loaded, so that the shared tokenizer is never changed again: any number of threads may use it.

The one truncation policy: the query is protected and the document is cut.
Only a query that would fill the whole pair alone is cut itself, and then the document gets up to half.
A prompt stands before each query, is tokenized with it, and is never cut.
A caller may set limits of its own below that, or refuse every cut that the model would need.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Encoding, Tokenizer

from pairscore.config import RoadConfig, Truncation, TruncationSide
from pairscore.errors import (
    EmptyInputError,
    LimitError,
    ModelCorruptError,
    PairError,
    SettingError,
    TextError,
    TooLongError,
)
from pairscore.road.template import Template
from pairscore.values import Encoded, IntArray

__all__ = [
    "Pair",
    "PairTokenizer",
    "Template",
    "TextTokens",
    "Vocabulary",
    "check_pairs",
    "check_text",
    "read_tokenizer",
]

Pair = tuple[str, str]

_PAIR_LENGTH = 2
_AS_CONFIGURED = Truncation()
# A token of running text is about four characters; sixteen leaves room for dense languages' opposite.
_HEAD_CHARS_PER_TOKEN = 16


@dataclass(frozen=True, slots=True)
class TextTokens:
    """One text's own tokens, and where each one stands in it.

    Attributes:
        ids: token ids, shape (num_tokens,), int64.
        starts, ends: its characters are text[start:end], shape (num_tokens,), int64. Tokens that are parts of
            one character have the same.
    """

    ids: IntArray
    starts: IntArray
    ends: IntArray


class Vocabulary:
    """A tokenizer that cuts and pads nothing by itself, and its ids.

    Args:
        tokenizer: from now on this object's own.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer

    @property
    def num_ids(self) -> int:
        """How many token ids there are, added tokens included; they are 0, 1, 2 and so on."""
        largest_added = max(self._tokenizer.get_added_tokens_decoder(), default=-1)
        return max(int(self._tokenizer.get_vocab_size(with_added_tokens=True)), largest_added + 1)

    def id_of(self, token: str) -> int | None:
        """The id of a token; None if there is no such token."""
        number: int | None = self._tokenizer.token_to_id(token)
        return number


class PairTokenizer(Vocabulary):
    """Tokenizes pairs; read-only once made, so safe to share between threads.

    Args:
        tokenizer: from now on this object's own.
        max_length: tokens of a pair that the model can read; the config's own limit may be lower.
        config: limits and the side that is cut.
        prompt: put before each query.
        token_types: False gives every token the type 0.

    Raises:
        SettingError: the prompt fills half of a pair or more.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        max_length: int,
        config: RoadConfig,
        prompt: str = "",
        token_types: bool = True,
    ) -> None:
        super().__init__(tokenizer)
        template = Template.of(tokenizer.encode("a", "b"))
        self._template = template if token_types else template.of_one_type()
        self._max_length = min(max_length, config.max_length or max_length)
        self._config = config
        self._room = self._max_length - self._template.num_special
        self._prompt = prompt
        # A space at the end becomes a part of the query's first word.
        self._num_prompt_tokens = len(self._encode_whole(prompt.rstrip()))
        if prompt and self._num_prompt_tokens > self._room // 2:
            raise SettingError(
                f"the prompt has {self._num_prompt_tokens} tokens; with a pair of {self._max_length} it may have "
                f"{self._room // 2}: take a shorter prompt, or raise max_length"
            )

    @classmethod
    def from_file(
        cls,
        path: Path,
        *,
        max_length: int,
        config: RoadConfig,
        prompt: str = "",
        token_types: bool = True,
    ) -> PairTokenizer:
        """Load a `tokenizer.json`.

        Raises:
            ModelCorruptError: the file is missing or is not a tokenizer.
            SettingError: the prompt fills half of a pair or more.
        """
        tokenizer = read_tokenizer(path)
        return cls(
            tokenizer,
            max_length=max_length,
            config=config,
            prompt=prompt,
            token_types=token_types,
        )

    @property
    def max_length(self) -> int:
        """Tokens of a pair, special tokens included."""
        return self._max_length

    @property
    def template(self) -> Template:
        """How two texts are joined."""
        return self._template

    def prompted(self, query: str) -> str:
        """A query as the model reads it, the prompt before it."""
        return self._prompt + query

    @property
    def num_prompt_tokens(self) -> int:
        """The first tokens of each query, which are the prompt's and no text's own."""
        return self._num_prompt_tokens

    @property
    def truncation_side(self) -> TruncationSide:
        """The end of a document that is cut unless a request says otherwise."""
        return self._config.truncation_side

    def encode(
        self, pairs: Sequence[Pair], *, truncation: Truncation = _AS_CONFIGURED
    ) -> list[Encoded]:
        """Tokenize pairs, cutting documents that are too long.

        Raises:
            LimitError: a text has more characters than `max_chars`.
            TextError: a text holds a lone surrogate.
            TooLongError: a pair would have to be cut, and `truncation` is strict.
        """
        if self._prompt:
            pairs = [(self.prompted(query), document) for query, document in pairs]
        tokens = self.encode_texts((text for pair in pairs for text in pair), truncation=truncation)
        return [
            self._join(tokens[query], tokens[document], truncation=truncation, position=position)
            for position, (query, document) in enumerate(pairs)
        ]

    def encode_texts(
        self, texts: Iterable[str], *, truncation: Truncation = _AS_CONFIGURED
    ) -> dict[str, IntArray]:
        """The own tokens of each distinct text, shape (num_tokens,), int64; of a long one as many as fit, or more.

        Raises:
            LimitError, TextError: as `encode`.
        """
        distinct = list(dict.fromkeys(texts))
        self.check(distinct)
        side = truncation.side or self._config.truncation_side
        # Whoever refuses a cut wants to know how long the text is.
        cut = distinct if truncation.strict else [self._cut_by_chars(t, side) for t in distinct]
        encodings = self._tokenizer.encode_batch_fast(cut, add_special_tokens=False)
        tokens = [np.asarray(encoding.ids, dtype=np.int64) for encoding in encodings]
        for index, (text, part) in enumerate(zip(distinct, cut, strict=True)):
            if part is not text and len(tokens[index]) <= self._room:
                tokens[index] = self._encode_whole(text)
        return dict(zip(distinct, tokens, strict=True))

    def check(self, texts: Iterable[str]) -> None:
        """Refuse texts that are too long or cannot be read.

        Raises:
            LimitError, TextError: as `encode`.
        """
        for text in texts:
            check_text(text, max_chars=self._config.max_chars)

    def with_offsets(self, texts: Sequence[str]) -> list[TextTokens]:
        """The own tokens of texts, whole, with their characters; the texts were checked."""
        return [
            _with_offsets(encoding)
            for encoding in self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        ]

    def room_beside(
        self, query: IntArray, *, num_document_tokens: int, truncation: Truncation
    ) -> tuple[IntArray, int]:
        """The query, cut if it would fill a pair alone, and the tokens that it leaves to the document."""
        room = self._room
        if truncation.max_pair_tokens is not None:
            room = min(room, truncation.max_pair_tokens - self._template.num_special)
        if len(query) >= room:
            query = query[: room - min(num_document_tokens, room // 2)]
        return query, room - len(query)

    def kept_query(self, query: IntArray, most: int | None, side: TruncationSide) -> IntArray:
        """The query's tokens that are left when one end is cut; its prompt stays, and does not count."""
        prompt = self._num_prompt_tokens
        return np.concatenate((query[:prompt], _kept(query[prompt:], most, side)))

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
        if side == "left" and self._prompt and text.startswith(self._prompt):
            # Where it is a document that begins so, these tokens are cut with the others.
            space = text.find(" ", max(len(text) - limit, len(self._prompt)))
            return text if space < 0 else self._prompt + text[space:]
        if side == "left":
            space = text.find(" ", len(text) - limit)
            return text if space < 0 else text[space:]
        space = text.rfind(" ", 0, limit)
        return text if space <= 0 else text[:space]

    def _join(
        self, query: IntArray, document: IntArray, *, truncation: Truncation, position: int
    ) -> Encoded:
        whole = len(query) + len(document)
        query, document = self.fitted(query, document, truncation=truncation, position=position)
        cut = len(query) + len(document) < whole
        return self._template.assemble(query, document, truncated=cut)

    def fitted(
        self, query: IntArray, document: IntArray, *, truncation: Truncation, position: int = 0
    ) -> tuple[IntArray, IntArray]:
        """What the model reads of two texts' tokens, or of whatever stands for them: the one truncation policy.

        Raises:
            TooLongError: the pair at this position would have to be cut, and `truncation` is strict.
        """
        side = truncation.side or self._config.truncation_side
        query = self.kept_query(query, truncation.max_query_tokens, side)
        document = _kept(document, truncation.max_document_tokens, side)
        length = len(query) + len(document)
        fitted, left = self.room_beside(
            query, num_document_tokens=len(document), truncation=truncation
        )
        room = len(fitted) + left
        if length <= room:
            return query, document
        if truncation.strict and room == self._room:
            raise TooLongError(
                position=position,
                num_tokens=length + self._template.num_special,
                max_tokens=self._max_length,
            )
        return fitted, _kept(document, left, side)


def _with_offsets(encoding: Encoding) -> TextTokens:
    # Through one flat iterator: numpy takes thirty times as long for a list of tuples.
    offsets = np.fromiter(chain.from_iterable(encoding.offsets), np.int64, 2 * len(encoding))
    return TextTokens(np.asarray(encoding.ids, dtype=np.int64), offsets[0::2], offsets[1::2])


def _kept(tokens: IntArray, most: int | None, side: TruncationSide) -> IntArray:
    """The tokens that are left when one end is cut; a limit of None cuts nothing."""
    if most is None or len(tokens) <= most:
        return tokens
    return tokens[len(tokens) - most :] if side == "left" else tokens[:most]


def read_tokenizer(path: Path) -> Tokenizer:
    """Load a `tokenizer.json`.

    Raises:
        ModelCorruptError: the file is missing or is not a tokenizer.
    """
    if not path.is_file():
        raise ModelCorruptError(f"{path} is missing; copy the model's folder again")
    try:
        return Tokenizer.from_str(path.read_text(encoding="utf-8"))
    # The Rust side raises a bare Exception for every kind of broken file.
    except Exception as error:
        raise ModelCorruptError(
            f"{path} is not a tokenizer file ({error}); copy the model's folder again"
        ) from error


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
