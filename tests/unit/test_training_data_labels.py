"""Labels as files write them: what they turn out to be, and which ones are refused, by their place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from pairscore.errors import DataFileError, SettingError
from pairscore.training.data import LabelKind
from pairscore.training.data_labels import LabelReader


def read(
    values: Sequence[Any], *, asked: LabelKind | None = None, names: Sequence[str] = ()
) -> tuple[LabelKind, tuple[str, ...], list[float | None]]:
    """The labels of lines 2, 3 and so on: their kind, the names of classes, the numbers."""
    reader = LabelReader(asked=asked, names=names)
    numbers = [reader.number(value, f"x.csv, line {line}") for line, value in enumerate(values, 2)]
    kind, found, renumbered = reader.finished()
    return kind, found, [renumbered.get(number, number) for number in numbers]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "kind", "numbers"),
    [
        (["0", "1"], "binary", [0.0, 1.0]),
        ([True, False, 1], "binary", [1.0, 0.0, 1.0]),
        (["Yes", "no", "TRUE"], "binary", [1.0, 0.0, 1.0]),
        (["0", "1", " 2.5 "], "graded", [0.0, 1.0, 2.5]),
        ([0.25, 0.75], "graded", [0.25, 0.75]),
        (["neutral", "Entailment", "contradiction"], "classes", [2.0, 1.0, 0.0]),
        (["entailment", "entailment", "not_entailment"], "classes", [0.0, 0.0, 1.0]),
        (["not entailment", "entailment"], "classes", [1.0, 0.0]),
    ],
)
def test_labels_tell_what_they_are(values: list[Any], kind: str, numbers: list[float]) -> None:
    """Numbers, truth values and the names of NLI classes, in any case and spelling."""
    found, _, read_numbers = read(values)

    assert (found, read_numbers) == (kind, numbers)


def test_classes_of_nli_have_all_their_names_in_sorted_order() -> None:
    """So that a dev file without one of the classes numbers them as the training file does."""
    three = ("contradiction", "entailment", "neutral")

    assert read(["entailment", "neutral"])[1] == three
    assert read(["contradiction", "contradiction"])[1] == three
    assert read(["not_entailment"])[1:] == (("entailment", "not_entailment"), [1.0])


def test_declared_names_are_numbered_in_their_order_and_numbers_mean_them_too() -> None:
    """Case makes no difference."""
    names = ("spam", "Ham")

    assert read(["ham", "spam"], names=names) == ("classes", names, [1.0, 0.0])
    assert read(["1", 0], names=names) == ("classes", names, [1.0, 0.0])


def test_numbered_classes_without_names_are_called_by_their_numbers() -> None:
    """Up to the highest that was seen."""
    assert read(["0", "2"], asked="classes") == ("classes", ("0", "1", "2"), [0.0, 2.0])


def test_rows_that_nobody_agreed_on_have_no_label() -> None:
    """SNLI writes a dash for them, its copies -1; they are counted."""
    reader = LabelReader(asked=None)

    assert reader.number("neutral", "x, line 2") == 2.0
    assert reader.number("-", "x, line 3") is None
    assert reader.number("-", "x, line 4") is None
    assert reader.num_undecided == 2
    assert read([-1, 0, 1], asked="classes")[2] == [None, 0.0, 1.0]


def test_a_teachers_logits_may_be_any_finite_number() -> None:
    """Also below 0."""
    assert read(["-11.3", 8, 0.0], asked="teacher") == ("teacher", (), [-11.3, 8.0, 0.0])


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        (["0", ""], {}, "line 3: 'label' is empty"),
        (["0", None], {}, "line 3: 'label' is empty"),
        (["0", "nan"], {}, "line 3: 'label' is 'nan', which is no finite number"),
        (["0", float("inf")], {"asked": "teacher"}, "line 3: .* no finite number"),
        (["0", "2"], {"asked": "binary"}, "line 3: 'label' is '2'; a binary label is 0 or 1"),
        (["1", "-0.5"], {}, "line 3: 'label' is '-0.5'; a grade is 0 or more .*labels = teacher"),
        (["0", "high"], {"asked": "graded"}, "line 3: 'label' is 'high', which is no number"),
        (["neutral", "neutrl"], {}, "line 3: .* no known label .did you mean 'neutral'"),
        (["spam"], {}, "line 2: 'label' is 'spam', .* label_names"),
        (
            ["0", "entailment"],
            {},
            "line 3: .* is 'entailment', a word, and the labels before are numbers",
        ),
        (
            ["entailment", "1"],
            {},
            "line 3: 'label' is '1', a number, and the labels before are words",
        ),
        (["yes", "neutral"], {}, "line 3: .* no known label.*true, false"),
        (["neutral", "yes"], {}, "line 3: .* no known label"),
        (
            ["neutral", "not_entailment"],
            {},
            r"line 3: the label 'not_entailment' beside 'neutral' \(x.csv, line 2\)",
        ),
        (["0", "1.5"], {"asked": "classes"}, "line 3: .* number of a class is one of 0, 1, 2"),
        (["0", "2"], {"names": ("a", "b")}, "line 3: .* one of 0 to 1"),
        ([[1]], {}, "line 2: 'label' is of the type list; write a number"),
    ],
)
def test_a_wrong_label_is_refused_with_its_line(
    values: list[Any], options: dict[str, Any], message: str
) -> None:
    """And with what would be right."""
    with pytest.raises(DataFileError, match=message):
        read(values, **options)


def test_a_label_that_is_a_text_is_not_shown() -> None:
    """A wrong column may hold texts, which belong into no message."""
    text = "a secret sentence that belongs into no message"

    with pytest.raises(DataFileError, match="a text of 46 characters") as refusal:
        read([text])

    assert "secret" not in str(refusal.value)


def test_names_and_other_labels_do_not_go_together() -> None:
    """Nor does a name that is there twice."""
    with pytest.raises(SettingError, match="label_names are for classes"):
        LabelReader(asked="graded", names=("a", "b"))
    with pytest.raises(SettingError, match="a name twice"):
        LabelReader(asked=None, names=("a", "A"))
