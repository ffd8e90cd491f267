"""Which characters of a pair's texts the model reads: the same that its tokens come from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pairscore.config import RoadConfig, Truncation
from pairscore.errors import LimitError, TextError, TooLongError
from pairscore.models.resolve import resolve
from pairscore.road.reading import read_pair
from pairscore.road.road import Road, open_road
from pairscore.road.tokenization import PairTokenizer

MAX_LENGTH = 24
WORDS = " ".join(f"w{number}" for number in range(400))
# Words of one and of many tokens, other scripts, accents, marks, spaces of all kinds.
PIECES = st.sampled_from(
    [
        *("red", "fox", "unaffable", "antidisestablishmentarianism", "café", "日本", "🦊", "naïve"),
        *(" ", "  ", "\n", "\t", ", ", ".", "!?", "-", "\u3000", "e\u0301", "x" * 120),
    ]
)
TEXTS = st.lists(PIECES, max_size=60).map("".join)


def _tokenizer(
    prompt: str = "", *, max_length: int = MAX_LENGTH, max_chars: int = 100_000
) -> PairTokenizer:
    return PairTokenizer.from_file(
        resolve().folder / "tokenizer.json",
        max_length=max_length,
        config=RoadConfig(max_chars=max_chars),
        prompt=prompt,
    )


TOKENIZER = _tokenizer()


@pytest.fixture(scope="module")
def road() -> Iterator[Road]:
    """The bundled tokenizer, without weights."""
    opened = open_road(backend="fake", config=RoadConfig(max_length=MAX_LENGTH))
    yield opened
    opened.close()


def _own(ids: list[int], *, query: bool) -> list[int]:
    """A text's own ids out of an encoded pair: [CLS] a [SEP] b [SEP]."""
    between = ids.index(102)
    return ids[1:between] if query else ids[between + 1 : -1]


def _ids(text: str) -> list[int]:
    (tokens,) = TOKENIZER.with_offsets([text])
    found: list[int] = tokens.ids.tolist()
    return found


def test_a_pair_that_fits_is_read_whole() -> None:
    """All characters, the spaces around them too, and as many tokens as there are."""
    read = read_pair(TOKENIZER, (" a red fox ", "blue"))

    assert (read.text_a.start, read.text_a.end, read.text_a.num_chars) == (0, 11, 11)
    assert (read.text_a.num_tokens, read.text_a.num_tokens_read) == (3, 3)
    assert (read.text_b.start, read.text_b.end, read.text_b.num_tokens) == (0, 4, 1)


@pytest.mark.parametrize("text", ["", "   ", "\n"])
def test_a_text_without_tokens(text: str) -> None:
    """Nothing of it was cut."""
    read = read_pair(TOKENIZER, (text, text)).text_b

    assert (read.num_tokens, read.num_tokens_read) == (0, 0)
    assert (read.start, read.end) == (0, len(text))


def test_the_end_of_a_long_document_is_not_read() -> None:
    """The query stays whole; of the document as much as fits, up to where its last token ends."""
    read = read_pair(TOKENIZER, ("red fox", WORDS))

    assert read.text_a.num_tokens_read == read.text_a.num_tokens == 2
    assert read.text_b.num_tokens == len(_ids(WORDS))
    assert read.text_b.num_tokens_read == MAX_LENGTH - 3 - 2
    assert (read.text_b.start, read.text_b.num_chars) == (0, len(WORDS))
    assert len(_ids(WORDS[: read.text_b.end])) == read.text_b.num_tokens_read


def test_the_beginning_is_not_read_where_the_left_is_cut() -> None:
    """Then the range ends with the text."""
    text = "red " * 400 + "fox"
    read = read_pair(TOKENIZER, ("a", text), truncation=Truncation(side="left")).text_b

    assert read.end == len(text)
    assert len(_ids(text[read.start :])) == read.num_tokens_read == MAX_LENGTH - 3 - 1


def test_a_text_that_gets_no_room() -> None:
    """A prompt that takes the query's whole half leaves nothing of a query that is too long."""
    prompted = _tokenizer("a " * 10, max_length=23)
    pair = ("red " * 40, WORDS)
    read = read_pair(prompted, pair).text_a

    (encoded,) = prompted.encode([pair])
    assert len(_own(encoded.ids.tolist(), query=True)) == prompted.num_prompt_tokens
    assert (read.num_tokens, read.num_tokens_read) == (40, 0)
    assert (read.start, read.end) == (0, 0)


@settings(deadline=None)
@given(TEXTS, TEXTS, st.sampled_from(["left", "right"]))
@example("x" * 120, "red fox " * 90, "left")
@example("red " * 500, "fox " * 500, "right")
def test_what_is_told_is_what_was_fed(a: str, b: str, side: Literal["left", "right"]) -> None:
    """As many tokens as the model gets; and the characters alone give its ids again.

    Where a cut from the left goes through a word, its rest is tokenized in another way: then only what comes after it.
    """
    truncation = Truncation(side=side)
    (encoded,) = TOKENIZER.encode([(a, b)], truncation=truncation)
    read = read_pair(TOKENIZER, (a, b), truncation=truncation)

    whole = (read.text_a.start, read.text_a.end, read.text_b.start, read.text_b.end)
    assert encoded.truncated == (
        (read.text_a.num_tokens_read, read.text_b.num_tokens_read)
        != (read.text_a.num_tokens, read.text_b.num_tokens)
    )
    if not encoded.truncated:
        assert whole == (0, len(a), 0, len(b))
    for text, one, is_query in ((a, read.text_a, True), (b, read.text_b, False)):
        fed = _own(encoded.ids.tolist(), query=is_query)
        assert len(fed) == one.num_tokens_read
        assert (len(text), len(_ids(text))) == (one.num_chars, one.num_tokens)
        again = _ids(text[one.start : one.end])
        if one.start == 0:
            assert again == fed
        else:
            begin = next((i for i, token in enumerate(fed) if not _is_continued(token)), len(fed))
            assert again[len(again) - (len(fed) - begin) :] == fed[begin:]


def _is_continued(token: int) -> bool:
    text = TOKENIZER._tokenizer.id_to_token(token)
    return str(text).startswith("##")


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_prompt_is_no_text_of_the_callers(side: Literal["left", "right"]) -> None:
    """Its tokens and characters are not counted, whatever is cut."""
    prompted = _tokenizer("query: find ")
    truncation = Truncation(side=side)
    short = read_pair(prompted, ("red fox", "b"), truncation=truncation).text_a
    cut = read_pair(prompted, ("red " * 40, "b"), truncation=truncation).text_a

    assert (short.num_tokens, short.start, short.end) == (2, 0, 7)
    assert (cut.num_tokens, cut.num_chars) == (40, 160)
    (encoded,) = prompted.encode([("red " * 40, "b")], truncation=truncation)
    fed = _own(encoded.ids.tolist(), query=True)
    assert cut.num_tokens_read == len(fed) - prompted.num_prompt_tokens
    assert 0 <= cut.start < cut.end <= 160


def test_the_roads_own_side_holds(road: Road) -> None:
    """Without a word of the caller's the cut is where the road cuts."""
    pair = ("red fox", WORDS)

    assert read_pair(road.tokenizer, pair) == read_pair(
        road.tokenizer, pair, truncation=Truncation(side="right")
    )


def test_what_cannot_be_read() -> None:
    """As `encode` refuses it."""
    with pytest.raises(LimitError):
        read_pair(_tokenizer(max_chars=5), ("a", "longer"))
    with pytest.raises(TextError):
        read_pair(TOKENIZER, ("a", "\ud800"))
    with pytest.raises(TooLongError):
        read_pair(TOKENIZER, ("a", WORDS), truncation=Truncation(strict=True))
