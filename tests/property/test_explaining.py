"""Units of any text: their places, their order, and what is left without them."""

from __future__ import annotations

import unicodedata
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pairscore.explaining.units import Span, sentences, without, words

# Letters, spaces, ends of sentences, Chinese, Thai, Hebrew, marks, joiners, flags, emoji, digits.
TEXTS = st.text(alphabet="ab é.!? \n\t。你สדa\u0301\u200d🇩🇪👩👍🏽1,'-(", max_size=60) | st.text(
    max_size=60
)


@given(TEXTS)
def test_sentences_hold_all_that_is_visible(text: str) -> None:
    """In their order, apart from each other, and between them only white space."""
    found = list(sentences(text))

    assert all(start < end for start, end in found)
    assert all(first.end <= second.start for first, second in pairwise(found))
    gaps = pairwise([0, *(place for span in found for place in span), len(text)])
    outside = [text[start:end] for start, end in list(gaps)[::2]]
    assert not any(gap.strip() for gap in outside)


@given(TEXTS)
def test_words_lie_in_their_sentences_and_hold_all_letters(text: str) -> None:
    """In their order; every letter and digit is in one; none begins with a mark but at the beginning."""
    for sentence in sentences(text):
        found = list(words(text, sentence))
        assert all(sentence.start <= start < end <= sentence.end for start, end in found)
        assert all(first.end <= second.start for first, second in pairwise(found))
        inside = {place for start, end in found for place in range(start, end)}
        assert all(
            place in inside
            for place in range(sentence.start, sentence.end)
            if unicodedata.category(text[place])[0] in "LN"
        )
        assert not any(
            unicodedata.category(text[start])[0] == "M"
            for start, _ in found
            if start > sentence.start
        )


@given(TEXTS, st.data())
def test_leaving_out_takes_the_unit_and_white_space_only(text: str, data: st.DataObject) -> None:
    """All other visible characters stay, in their order; no white space is new."""
    spans = [*sentences(text), *(word for s in sentences(text) for word in words(text, s))]
    if not spans:
        return
    span = data.draw(st.sampled_from(spans))
    rest = without(text, span)

    assert "".join(rest.split()) == "".join((text[: span.start] + " " + text[span.end :]).split())
    assert len(rest) <= len(text) - (span.end - span.start)


@given(st.text(alphabet="ab ", max_size=30), st.data())
def test_no_space_is_doubled(text: str, data: st.DataObject) -> None:
    """Where none was before."""
    text = " ".join(text.split())
    found = list(words(text, Span(0, len(text))))
    if found:
        rest = without(text, data.draw(st.sampled_from(found)))
        assert rest == " ".join(rest.split())
