"""BM25: against numbers that were computed by hand, and what must hold of every query."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pairscore.errors import EmptyInputError, SettingError
from pairscore.evaluation.bm25 import BM25, words

DOCUMENTS = ("the cat sat", "the cat and the dog", "a bird")


def test_scores_as_computed_by_hand() -> None:
    """A word gives idf * tf / (tf + k1 * (1 - b + b * length / average)), and a query the sum."""
    found = BM25(DOCUMENTS, k1=0.9, b=0.4).scores("cat dog")

    average = (3 + 5 + 2) / 3
    of_cat, of_dog = math.log(1 + (3 - 2 + 0.5) / 2.5), math.log(1 + (3 - 1 + 0.5) / 1.5)
    norms = [0.9 * (0.6 + 0.4 * length / average) for length in (3, 5)]
    assert found.tolist() == pytest.approx(
        [of_cat / (1 + norms[0]), (of_cat + of_dog) / (1 + norms[1]), 0.0]
    )


def test_more_of_a_word_counts_less_and_less() -> None:
    """A word's second occurrence adds less than its first; without k1 it adds nothing."""
    documents = ("cat x x x", "cat cat x x", "cat cat cat x", "dog")

    one, two, three, _ = BM25(documents).scores("cat")

    assert 0 < three - two < two - one
    assert np.ptp(BM25(documents, k1=0.0).scores("cat")[:3]) == pytest.approx(0.0)


def test_b_says_whether_length_matters() -> None:
    """With b = 0 a long document is as good as a short one."""
    documents = ("cat", "cat and many other words that say nothing", "dog")

    short, long, _ = BM25(documents).scores("cat")
    same = BM25(documents, b=0.0).scores("cat")

    assert short > long
    assert same[0] == same[1]


def test_a_word_that_every_document_has_is_worth_little_and_never_negative() -> None:
    """Lucene's idf stays above 0."""
    found = BM25(["the cat", "the dog"]).scores("the cat")

    assert found[1] > 0.0
    assert found[0] > found[1]


def test_best_documents() -> None:
    """Best first, ties in their own order, none without a common word."""
    bm25 = BM25(["bird", "cat", "dog", "cat"])

    assert bm25.best("cat", limit=5).tolist() == [1, 3]
    assert bm25.best("cat", limit=1).tolist() == [1]
    assert bm25.best("fish", limit=5).tolist() == []
    assert bm25.best("", limit=5).tolist() == []


def test_a_word_that_comes_twice_in_the_query_counts_twice() -> None:
    """As in Lucene."""
    bm25 = BM25(DOCUMENTS)

    assert bm25.scores("cat cat")[0] == pytest.approx(2 * bm25.scores("cat")[0])


def test_words_of_any_script() -> None:
    """Lower case, also where that takes two letters; punctuation separates."""
    assert words("Straße, Éclair-3 и МИР!") == ["strasse", "éclair", "3", "и", "мир"]


def test_documents_without_a_word() -> None:
    """They are documents all the same, and found by nothing."""
    bm25 = BM25(["", "...", ""])

    assert bm25.num_documents == 3
    assert bm25.scores("cat").tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("documents", "settings", "error"),
    [
        ([], {}, EmptyInputError),
        (["a"], {"k1": -1.0}, SettingError),
        (["a"], {"b": 1.5}, SettingError),
    ],
    ids=["no document", "k1", "b"],
)
def test_nonsense_is_refused(documents, settings, error) -> None:
    """Before anything is counted."""
    with pytest.raises(error):
        BM25(documents, **settings)
