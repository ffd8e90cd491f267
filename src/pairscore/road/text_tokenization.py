"""Single texts become token ids; each distinct text is tokenized once.

The way of a bi-encoder's text, as `tokenization.py` is that of a pair: without special tokens first, then assembled by
the tokenizer's own template, which is read off a probe when the model is loaded. The shared tokenizer never changes
after that, so any number of threads may use it. A text that is too long loses its end, or its beginning; the prompt
before it is never cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Encoding, Tokenizer, normalizers

from pairscore.config import RoadConfig
from pairscore.errors import ModelUnsupportedError, SettingError, TextError
from pairscore.road.tokenization import Vocabulary, check_text, read_tokenizer
from pairscore.values import Encoded, IntArray

__all__ = ["TextTemplate", "TextTokenizer", "check_texts"]

# A token of running text is about four characters; sixteen leaves room for dense languages' opposite.
_HEAD_CHARS_PER_TOKEN = 16


@dataclass(frozen=True, slots=True)
class TextTemplate:
    """How a tokenizer frames one text: special tokens before and behind it.

    Attributes:
        before, behind: special token ids, shape (n,), int64.
        before_types, behind_types: their segment ids.
        text_type: the segment id of the text's own tokens.
    """

    before: IntArray
    behind: IntArray
    before_types: IntArray
    behind_types: IntArray
    text_type: int

    @property
    def num_special(self) -> int:
        """How many tokens are not the text's own."""
        return len(self.before) + len(self.behind)

    @classmethod
    def of(cls, probe: Encoding, *, token_types: bool) -> TextTemplate:
        """Read the template off one encoded text that is not empty."""
        own = [place for place, owner in enumerate(probe.sequence_ids) if owner == 0]
        if not own:
            raise ModelUnsupportedError(
                "the tokenizer makes no token of a letter; it cannot be used for texts"
            )
        ids = np.asarray(probe.ids, dtype=np.int64)
        types = np.asarray(probe.type_ids, dtype=np.int64) * int(token_types)
        before, behind = slice(0, own[0]), slice(own[-1] + 1, None)
        return cls(
            before=ids[before],
            behind=ids[behind],
            before_types=types[before],
            behind_types=types[behind],
            text_type=int(types[own[0]]),
        )

    def assemble(self, tokens: IntArray, *, truncated: bool) -> Encoded:
        """Frame a text's own tokens."""
        own = np.full(len(tokens), self.text_type, dtype=np.int64)
        return Encoded(
            ids=np.concatenate((self.before, tokens, self.behind)),
            type_ids=np.concatenate((self.before_types, own, self.behind_types)),
            truncated=truncated,
        )


class TextTokenizer(Vocabulary):
    """Tokenizes texts; read-only once made, so safe to share between threads.

    Args:
        tokenizer: from now on this object's own.
        max_length: tokens of a text that the model can read; the config's own limit may be lower.
        config: limits and the side that is cut.
        token_types: False gives every token the type 0.
        lower_case: put texts into lower case first, whatever the tokenizer does.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        max_length: int,
        config: RoadConfig,
        token_types: bool = True,
        lower_case: bool = False,
    ) -> None:
        super().__init__(tokenizer)
        if lower_case:
            steps = [normalizers.Lowercase(), *filter(None, [tokenizer.normalizer])]
            tokenizer.normalizer = normalizers.Sequence(steps)
        self._template = TextTemplate.of(tokenizer.encode("a"), token_types=token_types)
        self._max_length = min(max_length, config.max_length or max_length)
        self._config = config
        self._room = self._max_length - self._template.num_special

    @classmethod
    def from_file(
        cls,
        path: Path,
        *,
        max_length: int,
        config: RoadConfig,
        token_types: bool = True,
        lower_case: bool = False,
    ) -> TextTokenizer:
        """Load a `tokenizer.json`.

        Raises:
            ModelCorruptError: the file is missing or is not a tokenizer.
        """
        return cls(
            read_tokenizer(path),
            max_length=max_length,
            config=config,
            token_types=token_types,
            lower_case=lower_case,
        )

    @property
    def max_length(self) -> int:
        """Tokens of a text, special tokens included."""
        return self._max_length

    @property
    def template(self) -> TextTemplate:
        """How a text is framed."""
        return self._template

    def encode(self, texts: Sequence[str], *, prompt: str = "") -> list[Encoded]:
        """Tokenize texts, cutting those that are too long.

        Args:
            texts: any number of them.
            prompt: put before each one and tokenized with it.

        Raises:
            LimitError: a text has more characters than `max_chars`.
            TextError: a text holds a lone surrogate.
            SettingError: the prompt fills half of what the model reads, or more.
        """
        num_kept = self._num_prompt_tokens(prompt)
        distinct = list(dict.fromkeys(texts))
        for text in distinct:
            check_text(text, max_chars=self._config.max_chars)
        whole = [prompt + text for text in distinct] if prompt else distinct
        cut = [self._cut_by_chars(text, prompt) for text in whole]
        tokens = self._tokens(cut)
        for index, (text, part) in enumerate(zip(whole, cut, strict=True)):
            if part is not text and len(tokens[index]) <= self._room:
                (tokens[index],) = self._tokens([text])
        rows = dict(zip(distinct, (self._framed(ids, num_kept) for ids in tokens), strict=True))
        return [rows[text] for text in texts]

    def _tokens(self, texts: list[str]) -> list[IntArray]:
        encodings = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [np.asarray(encoding.ids, dtype=np.int64) for encoding in encodings]

    def _framed(self, tokens: IntArray, num_kept: int) -> Encoded:
        room = self._room
        if len(tokens) <= room:
            return self._template.assemble(tokens, truncated=False)
        if self._config.truncation_side == "left":
            end = tokens[len(tokens) - (room - num_kept) :]
            return self._template.assemble(np.concatenate((tokens[:num_kept], end)), truncated=True)
        return self._template.assemble(tokens[:room], truncated=True)

    def _num_prompt_tokens(self, prompt: str) -> int:
        if not prompt:
            return 0
        check_text(prompt, max_chars=self._config.max_chars)
        # A space at the end becomes a part of the text's first word.
        num_tokens = len(self._tokens([prompt.rstrip()])[0])
        if num_tokens > self._room // 2:
            raise SettingError(
                f"the prompt has {num_tokens} tokens; with a text of {self._max_length} it may have "
                f"{self._room // 2}: take a shorter prompt, or raise max_length"
            )
        return num_tokens

    def _cut_by_chars(self, text: str, prompt: str) -> str:
        """Drop what cannot be read, at a space, so that a book costs no more than its first pages.

        Words are tokenized one by one, so a cut at a space changes no token before it. The caller tokenizes the
        whole text after all where this part turns out to be too short.
        """
        limit = _HEAD_CHARS_PER_TOKEN * (self._room + 1)
        if len(text) <= limit:
            return text
        if self._config.truncation_side == "left":
            space = text.find(" ", max(len(text) - limit, len(prompt)))
            return text if space < 0 else prompt + text[space:]
        space = text.rfind(" ", 0, limit)
        return text if space <= len(prompt) else text[:space]


def check_texts(texts: Iterable[Any]) -> list[str]:
    """Texts as given by anybody, as a list of strings; none is allowed.

    Raises:
        TextError: an entry is not a string; the message names its position.
    """
    if isinstance(texts, str | bytes | dict) or not isinstance(texts, Iterable):
        raise TextError(f"expected a list of texts, got a {type(texts).__name__}; write [text]")
    listed = list(texts)
    for position, text in enumerate(listed):
        if not isinstance(text, str):
            raise TextError(
                f"text {position} is a {type(text).__name__}; it must be a string (str)"
            )
    return listed
