"""Explanations without a model: the units of texts, the pairs without them, and what is measured when there is little room."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from pairscore.errors import SettingError
from pairscore.explaining.measuring import Question, steps
from pairscore.explaining.reading import Read
from pairscore.explaining.records import Explanation, UnitKind, check_asked
from pairscore.explaining.units import Span, sentences, without, words
from pairscore.road.tokenization import Pair
from pairscore.values import Scores

Logit = Callable[[Pair], float]


def texts(text: str, spans: object) -> list[str]:
    """The parts of a text."""
    return [text[start:end] for start, end in spans]  # type: ignore[attr-defined]


def words_of(text: str) -> list[str]:
    """The words of a whole text."""
    return texts(text, words(text, Span(0, len(text))))


def scores_of(logits: Sequence[float]) -> Scores:
    """What a model would say."""
    values = np.asarray(logits, dtype=np.float32)
    return Scores(
        logits=values,
        scores=values,
        probabilities=1 / (1 + np.exp(-values)),
        scale="logit",
        num_tokens=np.full(len(values), 7, dtype=np.int64),
        truncated=np.zeros(len(values), dtype=np.bool_),
        model="a model",
    )


class Driver:
    """Scores rounds with a function, and remembers them."""

    def __init__(self, logit: Logit) -> None:
        self.rounds: list[tuple[Pair, ...]] = []
        self.planned: list[int] = []
        self._logit = logit

    def explain(
        self,
        document: str,
        *,
        units: UnitKind = "both",
        max_pairs: int = 512,
        read: Span | None = None,
        max_round: int | None = None,
    ) -> Explanation:
        """The explanation of the pair of "q" and the document."""
        read = read or Span(0, len(document))
        course = steps(
            Question(
                pair=("q", document),
                read=Read(query=Span(0, 1), document=read),
                units=units,
                max_pairs=max_pairs,
                max_round=max_round,
            )
        )
        asked = next(course)
        while True:
            self.rounds.append(asked.pairs)
            self.planned.append(asked.num_planned)
            try:
                asked = course.send(scores_of([self._logit(pair) for pair in asked.pairs]))
            except StopIteration as ended:
                explanation: Explanation = ended.value
                return explanation


def count_x(pair: Pair) -> float:
    """A model that counts a letter."""
    return float(pair[1].count("x"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \n\t ", []),
        ("one", ["one"]),
        ("Dr. Smith came. He left!", ["Dr. Smith came.", "He left!"]),
        ("A first line\nand a second\n", ["A first line", "and a second"]),
        ("你好。再见！", ["你好。", "再见！"]),
        ("... !!! ???", ["...", "!!!", "???"]),
        ("שלום עולם. מה שלומך?", ["שלום עולם.", "מה שלומך?"]),
        ("好。\u0301a", ["好。\u0301a"]),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    """They hold no white space at their ends, and never begin with a mark that belongs to what stands before."""
    assert texts(text, sentences(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("... !!! ???", []),
        ("It's 3,520,031, not $5.", ["It's", "3,520,031", "not", "$", "5"]),
        ("state-of-the-art", ["state", "of", "the", "art"]),
        ("人口は", ["人", "口", "は"]),
        ("ベルリン", ["ベルリン"]),
        ("한국어 문장", ["한국어", "문장"]),
        ("สวัสดีครับ ชาว", ["สวัสดีครับ", "ชาว"]),
        ("cafe\u0301 e\u0301te\u0301", ["cafe\u0301", "e\u0301te\u0301"]),
        ("👨\u200d👩\u200d👧 ok 👍🏽", ["👨\u200d👩\u200d👧", "ok", "👍🏽"]),
        ("🇩🇪🇫🇷!", ["🇩🇪", "🇫🇷"]),
        ("🇩🇪\u0301 a", ["🇩🇪\u0301", "a"]),
        ("1\ufe0f\u20e3 a", ["1\ufe0f\u20e3", "a"]),
        ('ארה"ב שלום', ['ארה"ב', "שלום"]),
        ("مرحبا، بالعالم", ["مرحبا", "بالعالم"]),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    """Unicode's boundaries; emoji, flags and accented letters stay whole, and punctuation is no word."""
    assert words_of(text) == expected


def test_words_of_a_part_have_their_places_in_the_whole() -> None:
    """The second sentence's."""
    text = "One two. Three four."

    assert list(words(text, Span(9, 20))) == [(9, 14), (15, 19)]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", ["🇩🇪" * 50_000, "a\u0301" * 50_000, "a'" * 50_000, "ส" * 100_000])
def test_odd_texts_take_no_longer_than_others(text: str) -> None:
    """A run of a hundred thousand characters of a kind."""
    assert words_of(text)


@pytest.mark.parametrize(
    ("text", "part", "expected"),
    [
        ("one two three", "two", "one three"),
        ("one two three", "one", "two three"),
        ("one two three", "three", "one two"),
        ("one  two three", "two", "one  three"),
        ("one two\n\nthree", "two", "one\n\nthree"),
        ("one  two\nthree", "two", "one\nthree"),
        ("one\ntwo three", "two", "one\nthree"),
        ("(one, two)", "two", "(one, )"),
        ("a, b", "a", ", b"),
        ("人口は", "口", "人は"),
        (" one ", "one", ""),
        ("one", "one", ""),
    ],
)
def test_leaving_out(text: str, part: str, expected: str) -> None:
    """White space is not doubled, a line break stays, and nothing else changes."""
    start = text.index(part)

    assert without(text, Span(start, start + len(part))) == expected


def test_contributions_are_differences_of_logits() -> None:
    """Of the whole pair and the pair without the unit, for sentences and words, in one round."""
    driver = Driver(count_x)
    found = driver.explain("xx a. x b.")

    assert found.logit == 3
    assert [(unit.text, unit.contribution) for unit in found.sentences] == [
        ("xx a.", 2),
        ("x b.", 1),
    ]
    assert [(u.text, u.start, u.end, u.contribution) for u in found.words] == [
        ("xx", 0, 2, 2),
        ("a", 3, 4, 0),
        ("x", 6, 7, 1),
        ("b", 8, 9, 0),
    ]
    assert driver.rounds == [
        (
            ("q", "xx a. x b."),
            ("q", "x b."),
            ("q", "xx a."),
            ("q", "a. x b."),
            ("q", "xx . x b."),
            ("q", "xx a. b."),
            ("q", "xx a. x ."),
        )
    ]
    assert (found.cost.num_pairs, found.cost.num_tokens, found.limited) == (7, 49, False)


def test_one_sentence_is_held_against_nothing() -> None:
    """Its contribution is the logit less that of the pair with an empty document."""
    driver = Driver(lambda pair: 5.0 if pair[1] else -3.0)
    found = driver.explain("only this", units="sentences")

    assert ("q", "") in driver.rounds[0]
    assert [unit.contribution for unit in found.sentences] == [8]


@pytest.mark.parametrize("document", ["", "  \n "])
def test_an_empty_document_has_a_score_and_no_units(document: str) -> None:
    """One pair is scored."""
    found = Driver(count_x).explain(document)

    assert (found.sentences, found.words, found.cost.num_pairs) == ((), (), 1)
    assert not found.limited


def test_punctuation_alone_is_a_sentence_without_words() -> None:
    """So the whole of it can still be measured."""
    found = Driver(count_x).explain("?!")

    assert ([unit.text for unit in found.sentences], found.words) == (["?!"], ())


def test_the_same_pair_is_scored_once() -> None:
    """One word is its sentence; of equal neighbours it does not matter which is left out."""
    driver = Driver(count_x)
    found = driver.explain("x")

    assert driver.rounds == [(("q", "x"), ("q", ""))]
    assert found.sentences[0].contribution == found.words[0].contribution == 1
    repeated = Driver(count_x)
    assert len(repeated.explain("x x x", units="words").words) == 3
    assert len(repeated.rounds[0]) == 2


@pytest.mark.parametrize("units", ["sentences", "words"])
def test_only_what_is_wanted_is_measured(units: UnitKind) -> None:
    """The other list is empty, and its pairs are not scored."""
    found = Driver(count_x).explain("x a. b x.", units=units)

    assert bool(found.sentences) == (units == "sentences")
    assert bool(found.words) == (units == "words")
    assert found.cost.num_pairs == (3 if units == "sentences" else 5)


def test_with_little_room_the_words_of_the_strongest_sentences() -> None:
    """Sentences first; then words, those of a sentence that speaks against the pair as well."""
    driver = Driver(lambda pair: pair[1].count("x") - 2.0 * pair[1].count("z"))
    found = driver.explain("a a1 a2. x b. z c.", max_pairs=8)

    assert found.limited
    assert [unit.contribution for unit in found.sentences] == [0, 1, -2]
    assert [unit.text for unit in found.words] == ["x", "b", "z", "c"]
    assert [len(asked) for asked in driver.rounds] == [4, 4]
    assert found.cost.num_pairs == 8


def test_without_room_for_all_sentences_the_first_ones() -> None:
    """What was not measured is left out."""
    found = Driver(count_x).explain("x a. x b. x c. x d.", max_pairs=3)

    assert [unit.text for unit in found.sentences] == ["x a.", "x b."]
    assert (found.words, found.limited, found.cost.num_pairs) == ((), True, 3)


def test_sentences_without_words_and_without_room() -> None:
    """It is said that not all were measured, though no word is missing."""
    assert Driver(count_x).explain("?! !? ??", max_pairs=3).limited


def test_words_alone_with_little_room() -> None:
    """The sentences are measured to choose, and not told."""
    found = Driver(count_x).explain("a b. x c. d e.", units="words", max_pairs=6)

    assert found.sentences == ()
    assert [unit.text for unit in found.words] == ["x", "c"]
    assert (found.limited, found.cost.num_pairs) == (True, 6)


def test_ten_thousand_words_cost_what_is_allowed() -> None:
    """As many pairs, and no more units than those."""
    document = " ".join(f"a{number} b c d e f g h i j." for number in range(1_000))
    found = Driver(count_x).explain(document)

    assert found.cost.num_pairs == 512
    assert (len(found.sentences), len(found.words), found.limited) == (511, 0, True)


def test_a_document_of_one_huge_word_is_not_copied_for_ever() -> None:
    """Units of a text of two million characters: a few, because each costs a copy."""
    driver = Driver(lambda pair: float(len(pair[1])))
    found = driver.explain("👍" * 2_000_000)

    assert found.limited
    assert sum(len(document) for asked in driver.rounds for _, document in asked) < 40_000_000


def test_what_is_not_read_has_no_contribution() -> None:
    """Units are left out of what is read, so no later text moves up; a unit that is cut counts as far as it is read."""
    driver = Driver(count_x)
    document = "a x. xb xc. x d."
    found = driver.explain(document, read=Span(0, 7))

    assert [unit.contribution for unit in found.sentences] == [1, 1, None]
    assert [(unit.text, unit.contribution) for unit in found.words] == [
        ("a", 0),
        ("x", 1),
        ("xb", 1),
        ("xc", None),
        ("x", None),
        ("d", None),
    ]
    assert driver.rounds[0][:2] == (("q", document), ("q", "a x. xb"))
    assert ("q", "a x.") in driver.rounds[0]
    assert (found.logit, found.read, found.limited) == (4, (0, 7), False)


def test_what_is_not_read_at_the_beginning() -> None:
    """Where documents are cut on the left."""
    found = Driver(count_x).explain("a b. x c.", read=Span(5, 9))

    assert [unit.contribution for unit in found.sentences] == [None, 1]


def test_of_what_is_not_read_no_more_is_told_than_may_be_scored() -> None:
    """A long document makes no long answer."""
    found = Driver(count_x).explain("x a. " * 1_000, read=Span(0, 4), max_pairs=20)

    assert sum(unit.contribution is None for unit in found.sentences) == 20
    assert sum(unit.contribution is None for unit in found.words) == 20


def test_rounds_of_a_limited_size() -> None:
    """The same explanation, told in between."""
    driver = Driver(count_x)
    found = driver.explain("xx a. x b.", max_round=3)

    assert [len(asked) for asked in driver.rounds] == [3, 3, 1]
    assert driver.planned == [7, 7, 7]
    assert found.words == Driver(count_x).explain("xx a. x b.").words


def test_an_explanation_for_machines() -> None:
    """Keys and places as over HTTP."""
    told = Driver(count_x).explain("x").as_dict()

    assert told["sentences"] == [{"start": 0, "end": 1, "text": "x", "contribution": 1.0}]
    assert set(told["cost"]) == {"num_pairs", "num_tokens", "ms"}
    assert (told["logit"], told["scale"], told["read"]) == (1.0, "logit", [0, 1])


@pytest.mark.parametrize(
    ("units", "max_pairs", "said"),
    [
        ("letters", 9, "units is 'letters'"),
        ("both", 1, "at least 2"),
        ("both", True, "max_pairs is True"),
    ],
)
def test_what_cannot_be_asked_for(units: str, max_pairs: int, said: str) -> None:
    """The message gives the value and what would do."""
    with pytest.raises(SettingError, match=said):
        check_asked(units, max_pairs)
