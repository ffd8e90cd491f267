"""Windows of any text, with any tokenizer: they cover it, and each one's characters are its tokens'."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from pairscore.config import Chunking, RoadConfig, Truncation
from pairscore.road.chunking import Windower
from pairscore.road.tokenization import PairTokenizer

_SOME = (
    "word Naïve café ﬁne",
    "E\u0301tude",
    "今日は雨です。",
    "한국어 문장.",
    "🏴‍☠️",
    "💙",
    "end. ",
    "\n",
    "  ",
    "it's",
    "x" * 30,
    "(a)",
    "Ünïcode",
)
TEXTS: Final = st.lists(
    st.one_of(st.sampled_from(_SOME), st.text(max_size=8)), min_size=1, max_size=60
).map(" ".join)


def _byte_level() -> Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: index for index, letter in enumerate(["<s>", "</s>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> $B:1 </s>:1",
        special_tokens=[("<s>", 0), ("</s>", 1)],
    )
    return tokenizer


def _word_piece() -> Tokenizer:
    letters = [chr(code) for code in range(0x21, 0x17F)] + list("今日は雨です。한국어문장💙🏴☠")
    words = ["[UNK]", "[CLS]", "[SEP]", *letters, *("##" + letter for letter in letters)]
    vocabulary = {word: index for index, word in enumerate(dict.fromkeys(words))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 1), ("[SEP]", 2)],
    )
    return tokenizer


TOKENIZERS: Final = {"byte level": _byte_level(), "word piece": _word_piece()}


def _windower(tokenizer: PairTokenizer, *, size: int, overlap: int) -> Windower:
    chunking = Chunking(
        window_tokens=size, overlap_tokens=min(overlap, size // 2), max_windows=10_000
    )
    return Windower(tokenizer, chunking=chunking, truncation=Truncation())


@pytest.mark.parametrize("name", TOKENIZERS)
@settings(max_examples=150, deadline=None)
@given(text=TEXTS, size=st.integers(8, 40), overlap=st.integers(0, 20))
def test_windows_cover_the_document_in_order(name: str, text: str, size: int, overlap: int) -> None:
    """Nothing but white space is left out, none is larger than asked for, and each one goes further."""
    tokenizer = PairTokenizer(TOKENIZERS[name], max_length=64, config=RoadConfig())
    (found,) = _windower(tokenizer, size=size, overlap=overlap).windows([("q", text)])
    (whole,) = tokenizer.with_offsets([text])
    special = tokenizer.template.num_special + len(tokenizer.encode_texts(["q"])["q"])
    spans = found.reading.spans.tolist()

    assert not found.reading.truncated
    assert all(window.num_tokens - special <= size for window in found.encoded)
    assert all(a <= c and b <= d for (a, b), (c, d) in pairwise(spans))
    assert sum(window.num_tokens - special for window in found.encoded) >= len(whole.ids)
    for start, end in zip(whole.starts.tolist(), whole.ends.tolist(), strict=True):
        seen = text[start:end].strip()
        inside = any(a <= start + text[start:end].find(seen) and end <= b for a, b in spans)
        assert not seen or inside or text[start:end] != seen


@pytest.mark.parametrize("name", TOKENIZERS)
@settings(max_examples=150, deadline=None)
@given(text=TEXTS, size=st.integers(8, 40))
def test_the_characters_of_a_window_are_its_tokens(name: str, text: str, size: int) -> None:
    """text[start:end] tokenizes to the window's own tokens, up to its edges."""
    tokenizer = PairTokenizer(TOKENIZERS[name], max_length=64, config=RoadConfig())
    (found,) = _windower(tokenizer, size=size, overlap=2).windows([("q", text)])
    before = tokenizer.template.num_special - 1 + len(tokenizer.encode_texts(["q"])["q"])
    for window, (start, end) in zip(found.encoded, found.reading.spans.tolist(), strict=True):
        own = window.ids[before:-1]
        (again,) = tokenizer.with_offsets([text[start:end]])
        inner = _longest_shared(own, again.ids)

        # White space at the edges, and the parts of a character or word that was cut, may differ.
        assert len(own) - inner <= 16
        assert len(again.ids) - inner <= 16


def _longest_shared(first: np.ndarray, second: np.ndarray) -> int:
    """The longest run of tokens that both have."""
    best = 0
    lengths = np.zeros(len(second) + 1, dtype=np.int64)
    for token in first.tolist():
        lengths[1:] = np.where(second == token, lengths[:-1] + 1, 0)
        best = max(best, int(lengths.max()))
    return best


@pytest.mark.parametrize("name", TOKENIZERS)
@settings(max_examples=150, deadline=None)
@given(words=st.lists(st.sampled_from(["alpha", "be", "gamma.", "it's", "née"]), min_size=30))
def test_no_window_begins_inside_of_a_word(name: str, words: list[str]) -> None:
    """Each one begins behind white space, if every word fits into a window."""
    text = " ".join(words)
    tokenizer = PairTokenizer(TOKENIZERS[name], max_length=64, config=RoadConfig())
    (found,) = _windower(tokenizer, size=20, overlap=3).windows([("q", text)])

    for start, _ in found.reading.spans.tolist():
        assert start == 0 or text[start - 1] == " "
