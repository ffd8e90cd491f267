"""Windows of long documents: where they are cut, what they cover, and how they become one again."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from pairscore import CrossEncoder
from pairscore.config import Chunking, Truncation, chosen_chunking
from pairscore.errors import SettingError, TooLongError
from pairscore.models.card import Card
from pairscore.road.borders import parts_of, sentence_starts
from pairscore.road.folding import WindowedRead, aggregated, windowed_scores
from pairscore.road.road import Road, open_road

QUERY = "what did they decide"
SENTENCES = [f"Item number {i} was a matter of much talk in the small room." for i in range(200)]
DOCUMENT = " ".join(SENTENCES)


@pytest.fixture(scope="module")
def road() -> Road:
    """The bundled model's tokenizer, without its weights."""
    return open_road(backend="fake")


def windowed(road: Road, document: str, *, truncation: Truncation | None = None, **how: Any) -> Any:
    """One document in windows."""
    (found,) = road.windower(chunking=Chunking(**how), truncation=truncation).windows(
        [(QUERY, document)]
    )
    return found


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("It rains. We stay! Why? So.", ["It rains. ", "We stay! ", "Why? ", "So."]),
        ("Dr. Smith met J. Doe, i.e. him. Good.", ["Dr. Smith met J. Doe, i.e. him. ", "Good."]),
        ("It costs 3.5 million. Yes.", ["It costs 3.5 million. ", "Yes."]),
        ('He said "stop." Then left.', ['He said "stop." ', "Then left."]),
        ("1. Peel them\n2. Boil them", ["1. Peel them\n", "2. Boil them"]),
        (
            "今日は雨です。家にいます！そうですか？",
            ["今日は雨です。", "家にいます！", "そうですか？"],
        ),
        ("他说：「好。」然后走了。", ["他说：「好。」", "然后走了。"]),
        ("no end", ["no end"]),
        ("", [""]),
    ],
)
def test_sentences_are_found_in_several_languages(text: str, sentences: list[str]) -> None:
    """Terminators, line breaks and what is none: abbreviations, initials, decimals."""
    starts = [0, *(start for start in sentence_starts(text) if start < len(text)), len(text)]

    assert [text[a:b] for a, b in pairwise(starts)] == sentences


def test_windows_begin_and_end_with_sentences(road: Road) -> None:
    """Where a sentence fits into the overlap, each window holds whole ones."""
    found = windowed(road, DOCUMENT, window_tokens=100, overlap_tokens=30)

    assert len(found.encoded) > 10
    for start, end in found.reading.spans.tolist():
        assert DOCUMENT[start:end].startswith("Item number ")
        assert DOCUMENT[start:end].endswith("small room.")


def test_every_character_is_in_a_window_and_neighbours_overlap(road: Road) -> None:
    """Nothing but white space lies between windows; each shares at most the overlap with the one before."""
    found = windowed(road, DOCUMENT, window_tokens=100, overlap_tokens=30)
    spans = found.reading.spans.tolist()

    assert spans[0][0] == 0
    assert spans[-1][1] == len(DOCUMENT)
    for (_, end), (start, _) in pairwise(spans):
        shared = DOCUMENT[start:end]
        assert shared
        assert len(shared.replace(".", " .").split()) <= 30


def test_without_overlap_windows_meet(road: Road) -> None:
    """An overlap of 0 reads every token once."""
    found = windowed(road, DOCUMENT, window_tokens=100, overlap_tokens=0)
    whole = windowed(road, DOCUMENT, window_tokens=100)
    spans = found.reading.spans.tolist()

    assert all(start == end + 1 for (_, end), (start, _) in pairwise(spans))
    assert len(whole.encoded) > len(found.encoded)


def test_a_document_that_fits_is_the_very_pair_that_is_read_without_windows(road: Road) -> None:
    """One window, the same tokens, nothing truncated."""
    pair = (QUERY, "Berlin has 3,520,031 inhabitants, says the café's owner.")
    (ordinary,) = road.encode([pair])
    (found,) = road.windower(chunking=Chunking()).windows([pair])

    assert len(found.encoded) == 1
    np.testing.assert_array_equal(found.encoded[0].ids, ordinary.ids)
    np.testing.assert_array_equal(found.encoded[0].type_ids, ordinary.type_ids)
    assert found.reading.spans.tolist() == [[0, len(pair[1])]]
    assert not found.reading.truncated
    assert not found.reading.limited


def test_the_limit_of_windows_is_told(road: Road) -> None:
    """What is behind it is not read: truncated, and limited."""
    found = windowed(road, DOCUMENT, window_tokens=100, max_windows=3)

    assert len(found.encoded) == 3
    assert found.reading.truncated
    assert found.reading.limited
    assert all(pair.truncated for pair in found.encoded)


def test_the_other_side_keeps_the_last_windows(road: Road) -> None:
    """Where the left end is cut, the limit leaves the end of the document."""
    found = windowed(
        road, DOCUMENT, truncation=Truncation(side="left"), window_tokens=100, max_windows=3
    )

    assert found.reading.spans[-1].tolist()[1] == len(DOCUMENT)
    assert found.reading.limited


def test_a_strict_request_is_refused_only_if_text_is_not_read(road: Road) -> None:
    """Windows read what one pair could not; a limit of windows is a cut."""
    strict = Truncation(strict=True)

    assert len(windowed(road, DOCUMENT, truncation=strict).encoded) > 1
    with pytest.raises(TooLongError, match="pair 0 is too long"):
        windowed(road, DOCUMENT, truncation=strict, max_windows=2)


def test_a_limit_of_document_tokens_holds_before_windows_are_laid(road: Road) -> None:
    """The tokens that a request leaves out are in no window, and that is told as a cut, not as the limit."""
    found = windowed(
        road, DOCUMENT, truncation=Truncation(max_document_tokens=150), window_tokens=100
    )

    assert len(found.encoded) == 2
    assert found.reading.truncated
    assert not found.reading.limited


def test_a_query_that_fills_the_pair_is_cut_as_ever(road: Road) -> None:
    """The document gets up to half, and the cut is told."""
    query = "word " * 600
    (found,) = road.windower(chunking=Chunking(max_windows=2)).windows([(query, DOCUMENT)])

    assert found.encoded[0].num_tokens <= road.max_length
    assert found.reading.truncated


def test_a_book_is_tokenized_no_further_than_its_windows_reach(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two million characters cost what the limit allows."""
    book = (DOCUMENT + " ") * 160
    read: list[int] = []
    tokenizer = road._tokenizer
    whole = tokenizer.with_offsets
    monkeypatch.setattr(
        tokenizer,
        "with_offsets",
        lambda texts: (read.extend(map(len, texts)), whole(texts))[1],
    )
    found = windowed(road, book, max_windows=8)

    assert len(book) > 1_900_000
    assert sum(read) < 100_000
    assert len(found.encoded) == 8
    assert found.reading.limited


def test_a_document_is_tokenized_once_for_all_its_queries(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the queries come in several turns."""
    read: list[str] = []
    tokenizer = road._tokenizer
    whole = tokenizer.with_offsets
    monkeypatch.setattr(
        tokenizer, "with_offsets", lambda texts: (read.extend(texts), whole(texts))[1]
    )
    windower = road.windower(chunking=Chunking())
    for query in ("one", "two", "three"):
        windower.windows([(query, DOCUMENT), (query + " more", DOCUMENT)])

    assert read == [DOCUMENT]


@pytest.mark.parametrize("text", ["x" * 3000, "!?" * 3000, "今日" * 3000, " " * 9000, "\n", ""])
def test_texts_without_words_or_sentences_still_end(road: Road, text: str) -> None:
    """No border at all, or nothing but borders: windows are found, and stay within the text."""
    found = windowed(road, text, window_tokens=50)

    assert 1 <= len(found.encoded) <= 64
    for start, end in found.reading.spans.tolist():
        assert 0 <= start <= end <= len(text)


def test_long_texts_are_parted_at_spaces() -> None:
    """Parts follow each other without a gap, and end before white space."""
    text = "some words " * 20_000
    parts = parts_of(text)

    assert len(parts) > 2
    assert "".join(text[a:b] for a, b in parts) == text
    assert all(text[a] == " " for a, _ in parts[1:])


def test_aggregates_are_what_they_are_said_to_be() -> None:
    """The formulas, against numbers worked out by hand."""
    logits = np.asarray([1.0, 3.0, 2.0], dtype=np.float32)
    weights = np.exp([1.0, 3.0, 2.0])

    assert aggregated(logits, "max") == 3.0
    assert aggregated(logits, "mean") == 2.0
    assert aggregated(logits, "first") == 1.0
    expected = (weights * [1.0, 3.0, 2.0]).sum() / weights.sum()
    assert aggregated(logits, "softmax") == pytest.approx(expected, rel=1e-6)
    assert aggregated(logits + np.float32(1e4), "softmax") == pytest.approx(
        1e4 + expected, rel=1e-6
    )


def test_several_labels_are_folded_each_for_itself() -> None:
    """The best window is that of the label which is highest in the end."""
    logits = np.asarray([[1.0, 5.0], [4.0, 0.0]], dtype=np.float32)
    card = Card(
        task="classification",
        name="two",
        revision=None,
        activation="identity",
        max_length=64,
        pad_id=0,
        labels=("no", "yes"),
    )
    reads = [
        WindowedRead(np.asarray([[0, 4], [5, 9]]), num_tokens=20, truncated=False, limited=False)
    ]
    scores = windowed_scores(logits, reads, card=card, aggregate="max")

    assert scores.logits.tolist() == [[4.0, 5.0]]
    assert scores.windows is not None
    assert scores.windows.span(0) == (0, 4)


def test_first_reads_one_window_alone(road: Road) -> None:
    """The others would be run for nothing; the rest of the text is not read, which is told, and is no limit."""
    found = windowed(road, DOCUMENT, window_tokens=100, aggregate="first")

    assert len(found.encoded) == 1
    assert found.reading.truncated
    assert not found.reading.limited


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"window_tokens": 4}, "window_tokens is 4"),
        ({"overlap_tokens": -1}, "overlap_tokens is -1"),
        ({"max_windows": 0}, "max_windows is 0"),
        ({"aggregate": "median"}, "aggregate is 'median'"),
        ({"window_tokens": 100, "overlap_tokens": 51}, "at most half of them, 50"),
    ],
)
def test_options_that_make_no_sense_are_refused(how: dict[str, Any], message: str) -> None:
    """With the value and the limit."""
    with pytest.raises(SettingError, match=message):
        Chunking(**how)


def test_chunking_alone_means_chunk_and_truncate_forbids_it() -> None:
    """The two options together say one thing."""
    own = Chunking(max_windows=3)

    assert chosen_chunking(None, None) is None
    assert chosen_chunking("truncate", None) is None
    assert chosen_chunking("chunk", None) == Chunking()
    assert chosen_chunking(None, own) is own
    assert chosen_chunking(None, None, otherwise="chunk") == Chunking()
    with pytest.raises(SettingError, match="leave chunking out"):
        chosen_chunking("truncate", own)
    with pytest.raises(SettingError, match="'chunk'"):
        chosen_chunking("both", None)  # type: ignore[arg-type]


def test_rank_gives_spans_only_when_asked(fake_encoder: CrossEncoder) -> None:
    """Entries are as ever without chunking; with it they have the best window and the number of windows."""
    documents = ["Nothing here.", DOCUMENT + " They decide on titanium what did they decide."]
    plain = fake_encoder.rank(QUERY, documents)
    chunked = fake_encoder.rank(QUERY, documents, long_documents="chunk", return_documents=True)

    assert all(set(entry) == {"corpus_id", "score"} for entry in plain)
    best = chunked[0]
    assert best["corpus_id"] == 1
    assert best["num_windows"] > 1
    start, end = best["span"]
    assert "titanium" in best["text"][start:end]


def test_scores_count_the_tokens_of_all_windows(fake_encoder: CrossEncoder) -> None:
    """What the model read; in the order of the pairs, repeated ones too."""
    pairs = [(QUERY, "short"), (QUERY, DOCUMENT), (QUERY, "short"), ("talk", DOCUMENT)]
    scores = fake_encoder.score(pairs, chunking=Chunking(window_tokens=100))

    assert scores.windows is not None
    assert scores.num_tokens[1] > 2000
    assert scores.num_tokens[0] == scores.num_tokens[2] < 20
    assert scores.windows.num_windows.tolist()[::2] == [1, 1]
    assert not scores.truncated.any()


def test_a_prompt_stands_before_the_query_of_every_window() -> None:
    """As before that of an ordinary pair."""
    with (
        CrossEncoder(backend="fake", prompt="query: ") as prompted,
        CrossEncoder(backend="fake") as plain,
    ):
        chunking = Chunking(window_tokens=100)
        mine = prompted.score([(QUERY, DOCUMENT)], chunking=chunking)
        same = plain.score([("query: " + QUERY, DOCUMENT)], chunking=chunking)

    assert mine.num_tokens.tolist() == same.num_tokens.tolist()
    assert mine.logits.tolist() == same.logits.tolist()
