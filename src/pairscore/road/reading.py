"""Which characters of a pair's texts the model reads: the way from tokens back to what somebody wrote.

The positions of tokens are cut by the very function that cuts their ids, so both cannot come apart. A range ends where
a token ends: read again by itself, it gives the ids that the model got. Not so where a cut goes through a word from
the left, or through a character that has several tokens: the rest of it would be tokenized in another way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pairscore.config import Truncation
from pairscore.road.tokenization import Pair, PairTokenizer, TextTokens
from pairscore.values import IntArray

__all__ = ["PairReading", "TextReading", "read_pair"]

_AS_CONFIGURED = Truncation()


@dataclass(frozen=True, kw_only=True, slots=True)
class TextReading:
    """How much of one text the model reads.

    Attributes:
        num_tokens: the text's own tokens before anything is cut, without special ones and without a prompt's.
        num_tokens_read: those that are left.
        num_chars: its characters, in code points.
        start, end: the model reads text[start:end]; all of it, spaces at the ends too, if nothing is cut.
    """

    num_tokens: int
    num_tokens_read: int
    num_chars: int
    start: int
    end: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PairReading:
    """How much of a pair the model reads.

    Attributes:
        text_a: of the query.
        text_b: of the document.
    """

    text_a: TextReading
    text_b: TextReading


def read_pair(
    tokenizer: PairTokenizer, pair: Pair, *, truncation: Truncation = _AS_CONFIGURED
) -> PairReading:
    """Say which part of each text `tokenizer.encode` leaves to the model.

    Texts are tokenized whole, however little of them is read: a long one takes milliseconds.

    Raises:
        LimitError: a text has more characters than `max_chars`.
        TextError: a text holds a lone surrogate.
        TooLongError: the pair would have to be cut, and `truncation` is strict.
    """
    text_a, text_b = pair
    query = tokenizer.prompted(text_a)
    encoded = tokenizer.encode_texts((query, text_b), truncation=truncation)
    first, second = tokenizer.with_offsets((query, text_b))
    side = truncation.side or tokenizer.truncation_side
    num_prompt = tokenizer.num_prompt_tokens
    kept_a, kept_b = tokenizer.fitted(
        _places(first, len(encoded[query]), num_prompt=num_prompt, is_left=side == "left"),
        _places(second, len(encoded[text_b]), num_prompt=0, is_left=side == "left"),
        truncation=truncation,
    )
    return PairReading(
        text_a=_reading(
            text_a, first, kept_a, num_prompt=num_prompt, offset=len(query) - len(text_a)
        ),
        text_b=_reading(text_b, second, kept_b, num_prompt=0, offset=0),
    )


def _places(tokens: TextTokens, count: int, *, num_prompt: int, is_left: bool) -> IntArray:
    """The places of those tokens that `encode_texts` gave: of a very long text one end, and the prompt."""
    places = np.arange(len(tokens.ids))
    if not is_left:
        return places[:count]
    num_prompt = min(num_prompt, count)
    return np.concatenate((places[:num_prompt], places[len(places) - (count - num_prompt) :]))


def _reading(
    text: str, tokens: TextTokens, kept: IntArray, *, num_prompt: int, offset: int
) -> TextReading:
    """What is said of a text, from the places of its tokens that are left; the prompt before it is `offset` long."""
    own = kept[kept >= num_prompt]
    num_tokens = len(tokens.ids) - num_prompt
    start, end = 0, len(text)
    if num_tokens and not len(own):
        end = 0
    elif num_tokens:
        if own[0] > num_prompt:
            start = int(tokens.starts[own[0]]) - offset
        if own[-1] < len(tokens.ids) - 1:
            end = int(tokens.ends[own].max()) - offset
    return TextReading(
        num_tokens=max(num_tokens, 0),
        num_tokens_read=len(own),
        num_chars=len(text),
        start=min(max(start, 0), len(text)),
        end=min(max(start, end, 0), len(text)),
    )
