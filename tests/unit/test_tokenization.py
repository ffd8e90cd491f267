"""How pairs become ids: the tokenizer's own template, one truncation policy, one tokenization a text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from pairscore.config import RoadConfig
from pairscore.errors import (
    EmptyInputError,
    LimitError,
    ModelCorruptError,
    ModelUnsupportedError,
    PairError,
    TextError,
)
from pairscore.models.resolve import resolve
from pairscore.road.tokenization import PairTokenizer, check_pairs

TOKENIZER = resolve().folder / "tokenizer.json"
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)


def _make(max_length: int = 512, **options: Any) -> PairTokenizer:
    return PairTokenizer.from_file(TOKENIZER, max_length=max_length, config=RoadConfig(**options))


@pytest.fixture(scope="module")
def tokenizer() -> PairTokenizer:
    """The bundled model's tokenizer."""
    return _make()


@pytest.fixture(scope="module")
def reference() -> Tokenizer:
    """The tokenizers library itself, joining the pair in its own way."""
    made = Tokenizer.from_file(str(TOKENIZER))
    made.no_padding()
    made.no_truncation()
    return made


@given(query=TEXTS, document=TEXTS)
@example(query="", document="")
@example(query="a\x00b", document=" \t\n")
@pytest.mark.slow
def test_ids_are_those_of_the_tokenizer_itself(query: str, document: str) -> None:
    """Tokenizing texts apart and joining them gives what the library gives for the pair."""
    made = Tokenizer.from_file(str(TOKENIZER)).encode(query, document)
    (ours,) = _SHARED.encode([(query, document)])

    assert ours.ids.tolist() == made.ids
    assert ours.type_ids.tolist() == made.type_ids
    assert not ours.truncated


_SHARED = _make()


def test_a_repeated_text_is_tokenized_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A query ranked against a hundred documents is tokenized once."""
    made = _make()
    seen: list[str] = []

    class Spy:
        def encode_batch_fast(self, texts: list[str], **options: Any) -> Any:
            seen.extend(texts)
            return inner.encode_batch_fast(texts, **options)

    inner = made._tokenizer
    monkeypatch.setattr(made, "_tokenizer", Spy())
    made.encode([("the query", f"document {i % 5}") for i in range(100)])

    assert sorted(seen) == sorted({"the query", *(f"document {i}" for i in range(5))})


def test_only_the_document_is_cut() -> None:
    """The query stays whole, the document keeps its beginning, and the cut is reported."""
    (made,) = _make(max_length=16).encode([("one two three", "word " * 50)])
    (query,) = _make().encode([("one two three", "")])

    assert made.num_tokens == 16
    assert made.truncated
    assert made.ids[:5].tolist() == query.ids[:5].tolist()
    assert int((made.type_ids == 1).sum()) == 16 - 5


def test_left_truncation_keeps_the_end_of_the_document() -> None:
    """With truncation_side left the document's last tokens remain."""
    document = "first " + "word " * 50 + "last"
    (made,) = _make(max_length=16, truncation_side="left").encode([("query", document)])
    (last,) = _make().encode([("query", "last")])

    assert made.ids[-2] == last.ids[-2]
    assert made.truncated


def test_a_query_that_leaves_no_room_is_cut_too() -> None:
    """Even then the document is read: it gets up to half."""
    (made,) = _make(max_length=23).encode([("word " * 100, "text " * 100)])

    assert made.num_tokens == 23
    assert int((made.type_ids == 1).sum()) == 10 + 1
    assert made.truncated


def test_a_long_query_is_whole_as_long_as_the_document_gets_a_token() -> None:
    """Nineteen of twenty places for the query leave the document one."""
    (made,) = _make(max_length=23).encode([("word " * 19, "text " * 100)])

    assert int((made.type_ids == 0).sum()) == 19 + 2
    assert int((made.type_ids == 1).sum()) == 1 + 1


def test_a_document_of_monstrous_words_is_read_to_where_the_model_ends() -> None:
    """A word of 150 letters is one token, so a cut by characters would come too early."""
    document = " ".join(["x" * 150] * 40)
    (made,) = _make(max_length=43).encode([("", document)])

    assert made.num_tokens == 43
    assert not made.truncated


def test_a_pair_that_just_fits_is_not_cut() -> None:
    """The limit itself is allowed."""
    (made,) = _make(max_length=13).encode([("a b c d e", "f g h i j")])

    assert made.num_tokens == 13
    assert not made.truncated


@settings(deadline=None, max_examples=30)
@given(
    words=st.lists(TEXTS.filter(str.strip), min_size=1, max_size=8),
    times=st.integers(1, 60),
    side=st.sampled_from(["left", "right"]),
)
def test_cutting_by_characters_first_changes_no_token(
    words: list[str], times: int, side: str
) -> None:
    """A long document gives the same ids as if all of it had been tokenized."""
    document = " ".join(words * times)
    config = RoadConfig(max_length=32, truncation_side=side)
    short = PairTokenizer.from_file(TOKENIZER, max_length=512, config=config)
    whole = PairTokenizer.from_file(TOKENIZER, max_length=512, config=config)
    whole._cut_by_chars = lambda text, _: text  # type: ignore[method-assign]

    (ours,), (theirs,) = short.encode([("q", document)]), whole.encode([("q", document)])

    assert ours.ids.tolist() == theirs.ids.tolist()
    assert ours.truncated == theirs.truncated


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ("query", "list of"),
        (7, "list of"),
        ([("a",)], "entry 0 has 1 parts"),
        ([("a", "b"), ("a", "b", "c")], "entry 1 has 3 parts"),
        ([("a", "b"), "ab"], "entry 1 is str 'ab'"),
        ([{"a": 1, "b": 2}], "entry 0 is dict"),
        ([("a", None)], "document of entry 0 is NoneType"),
        ([(3.5, "b")], "query of entry 0 is float"),
        ([None], "entry 0 is NoneType"),
        ([("a", b"b")], "document of entry 0 is bytes"),
    ],
)
def test_what_is_no_pair_is_named(pairs: Any, message: str) -> None:
    """The message names the entry, what was found, and what should be there."""
    with pytest.raises(PairError, match=message):
        check_pairs(pairs)


def test_no_pair_at_all_is_refused() -> None:
    """An empty list has no score."""
    with pytest.raises(EmptyInputError):
        check_pairs([])


def test_a_lone_surrogate_is_refused_with_its_place(tokenizer: PairTokenizer) -> None:
    """Half a character is named, with its position and a remedy."""
    with pytest.raises(TextError, match=r"U\+D800.* position 2.*'replace'"):
        tokenizer.encode([("ok", "ab\ud800")])


def test_a_text_over_max_chars_is_refused() -> None:
    """The limit names itself, its value and its option."""
    with pytest.raises(LimitError, match=r"received 11, the limit is 10.*max_chars"):
        _make(max_chars=10).encode([("q", "x" * 11)])


def test_a_broken_tokenizer_file_is_a_corrupt_model(tmp_path: Path) -> None:
    """A file that is no tokenizer is our error, with its path."""
    broken = tmp_path / "tokenizer.json"
    with pytest.raises(ModelCorruptError, match="missing"):
        PairTokenizer.from_file(broken, max_length=512, config=RoadConfig())
    broken.write_text("{}", encoding="utf-8")
    with pytest.raises(ModelCorruptError, match="not a tokenizer"):
        PairTokenizer.from_file(broken, max_length=512, config=RoadConfig())


def test_a_template_with_swapped_texts_is_refused() -> None:
    """A tokenizer that puts the second text first cannot score (query, document)."""
    made = Tokenizer(models.WordLevel({"a": 0, "b": 1, "[SEP]": 2}, unk_token="a"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="$A", pair="$B:0 [SEP] $A:1", special_tokens=[("[SEP]", 2)]
    )
    with pytest.raises(ModelUnsupportedError, match="query before the document"):
        PairTokenizer(made, max_length=16, config=RoadConfig())


def test_a_roberta_like_template_is_learnt() -> None:
    """Two separators between the texts and one segment for all are taken from the tokenizer."""
    made = Tokenizer(models.WordLevel({"<s>": 0, "</s>": 1, "a": 2, "b": 3}, unk_token="a"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 0))
    (pair,) = PairTokenizer(made, max_length=16, config=RoadConfig()).encode([("a a", "b")])

    assert pair.ids.tolist() == [0, 2, 2, 1, 1, 3, 1]
    assert pair.type_ids.tolist() == [0] * 7
