"""Labels of training data as files write them (numbers, truth values, names of classes) turned into numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final

from pairscore.errors import DataFileError, SettingError
from pairscore.evaluation.lines import shown
from pairscore.training.data import LabelKind

__all__ = ["NLI_NAMES", "LabelReader"]

NLI_NAMES: Final = (
    ("contradiction", "entailment", "neutral"),
    ("entailment", "not_entailment"),
)
"""The two sets of NLI classes, each in sorted order, which is the order of their numbers."""

_THREE, _TWO = NLI_NAMES
# Whether "entailment" is one of two or of three is known when all is read.
_WHILE_READING: Final = {
    **{name: float(_THREE.index(name)) for name in _THREE},
    "not_entailment": 3.0,
}
_TRUTHS: Final = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0}
# SNLI's rows on which its judges did not agree, as its files and as Parquet copies of them write it.
_UNDECIDED: Final = frozenset({"-", "-1"})
_MOST_SHARED: Final = 4096


class LabelReader:
    """Reads the labels of one file and tells in the end what they are.

    Args:
        asked: what the labels are, if the caller said so; None finds it out.
        names: of classes, their names in the order of their numbers; empty knows the names of NLI.
        column: the column that holds the labels, for messages.

    Attributes:
        num_undecided: labels of classes that say "no label" (``-`` or -1), for which `number` gives None.
    """

    def __init__(
        self, *, asked: LabelKind | None, names: Sequence[str] = (), column: str = "label"
    ) -> None:
        if len(set(map(_spelled, names))) < len(names):
            raise SettingError(f"label_names has a name twice: {', '.join(map(repr, names))}")
        if names and asked not in {None, "classes"}:
            raise SettingError(
                f"label_names are for classes, and the labels are said to be {asked}; leave one of the two out"
            )
        self.num_undecided = 0
        self._asked: LabelKind | None = "classes" if names else asked
        self._names = tuple(names)
        self._column = column
        self._spelling = {_spelled(name): float(index) for index, name in enumerate(names)}
        self._seen: dict[str, str] = {}
        self._numbers: dict[Any, float | None] = {}
        self._words: bool | None = None
        self._truths_as_words = False
        self._only_truths = True
        self._highest = 0.0

    def number(self, value: Any, place: str) -> float | None:
        """One label as a number; None if it says that there is no label.

        Raises:
            DataFileError: it is empty, no label of this kind, or does not fit those before; the message names
                the place.
        """
        try:
            return self._numbers[value]
        except (KeyError, TypeError):  # a label that was not there before, or a list
            pass
        found = self._read(value, place)
        if found is None:
            self.num_undecided += 1
        elif isinstance(value, str | int | float) and len(self._numbers) < _MOST_SHARED:
            # One object for each distinct label, and each is understood once.
            self._numbers[value] = found
        return found

    def finished(self) -> tuple[LabelKind, tuple[str, ...], Mapping[float, float]]:
        """What the labels are, the names of classes, and by which number each is to be replaced (if any)."""
        if self._asked == "classes" or (self._words and not self._only_truths):
            return self._classes()
        if self._asked is not None:
            return self._asked, (), {}
        return ("binary" if self._only_truths else "graded"), (), {}

    def _read(self, value: Any, place: str) -> float | None:
        if value is None or (isinstance(value, str) and not value.strip()):
            raise DataFileError(
                f"{place}: {self._column!r} is empty; write a label, or leave the row out"
            )
        number = _number(value)
        if self._asked == "classes" and str(value).strip() in _UNDECIDED:
            return None
        if number is None:
            return self._word(value, place)
        if self._asked == "classes":
            return self._class_number(number, value, place)
        self._no_mixture(value, words=False, place=place)
        return self._checked(number, value, place)

    def _checked(self, number: float, value: Any, place: str) -> float:
        where = f"{place}: {self._column!r} is {_brief(value)}"
        if not math.isfinite(number):
            raise DataFileError(f"{where}, which is no finite number; correct it")
        if self._asked == "binary" and number not in (0.0, 1.0):
            raise DataFileError(
                f"{where}; a binary label is 0 or 1 (other grades: labels = graded)"
            )
        if self._asked != "teacher" and number < 0.0:
            raise DataFileError(
                f"{where}; a grade is 0 or more (logits of a model, which may be below 0: labels = teacher; classes "
                "with -1 for none: labels = classes)"
            )
        self._only_truths = self._only_truths and number in (0.0, 1.0)
        return number

    def _word(self, value: Any, place: str) -> float | None:
        where = f"{place}: {self._column!r} is {_brief(value)}"
        if not isinstance(value, str):
            raise DataFileError(f"{where}; write a number, or the name of a class")
        word = _spelled(value)
        if word in _TRUTHS and self._asked in {None, "binary"} and not self._seen:
            self._no_mixture(value, words=True, place=place)
            self._truths_as_words = True
            return _TRUTHS[word]
        if self._asked not in {None, "classes"}:
            raise DataFileError(f"{where}, which is no number; {self._asked} labels are numbers")
        if value.strip() in _UNDECIDED:
            return None
        self._no_mixture(value, words=True, place=place)
        self._only_truths = False
        return self._class_of(word, value, place)

    def _class_of(self, word: str, value: str, place: str) -> float:
        known = tuple(self._spelling or (_TRUTHS if self._truths_as_words else _WHILE_READING))
        if word not in known:
            close = get_close_matches(word, known, n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            raise DataFileError(
                f"{place}: {self._column!r} is {_brief(value)}, which is no known label{hint}; known are "
                f"{', '.join(known)}: correct it, or declare the names of your classes as label_names"
            )
        if self._spelling:
            return self._spelling[word]
        self._seen.setdefault(word, place)
        self._one_set(word, place)
        return _WHILE_READING[word]

    def _one_set(self, word: str, place: str) -> None:
        if any(set(self._seen) <= set(names) for names in NLI_NAMES):
            return
        other = next(name for name in self._seen if name not in {"entailment", word})
        raise DataFileError(
            f"{place}: the label {word!r} beside {other!r} ({self._seen[other]}); NLI has either "
            f"{' or '.join(', '.join(names) for names in NLI_NAMES)}: use one of the two sets"
        )

    def _class_number(self, number: float, value: Any, place: str) -> float:
        self._no_mixture(value, words=False, place=place)
        last = len(self._names) - 1 if self._names else math.inf
        if not (number.is_integer() and 0.0 <= number <= last):
            upto = f"0 to {last}" if self._names else "0, 1, 2 and so on"
            raise DataFileError(
                f"{place}: {self._column!r} is {_brief(value)}; the number of a class is one of {upto}"
            )
        self._highest = max(self._highest, number)
        return number

    def _no_mixture(self, value: Any, *, words: bool, place: str) -> None:
        if self._words is None:
            self._words = words
        elif self._words is not words:
            now, before = ("a word", "numbers") if words else ("a number", "words")
            raise DataFileError(
                f"{place}: {self._column!r} is {_brief(value)}, {now}, and the labels before are {before}; use one of the two"
            )

    def _classes(self) -> tuple[LabelKind, tuple[str, ...], Mapping[float, float]]:
        if self._names:
            return "classes", self._names, {}
        if not self._words:
            return "classes", tuple(str(number) for number in range(int(self._highest) + 1)), {}
        if "not_entailment" not in self._seen:
            return "classes", _THREE, {}
        return "classes", _TWO, {_WHILE_READING[name]: float(_TWO.index(name)) for name in _TWO}


def _number(value: Any) -> float | None:
    try:
        return float(value) if isinstance(value, str | int | float) else None
    except (ValueError, OverflowError):
        return None


def _spelled(name: str) -> str:
    return name.strip().casefold().replace(" ", "_").replace("-", "_")


def _brief(value: Any) -> str:
    """Short, because a wrong column may hold a text, which belongs into no message."""
    if isinstance(value, str):
        return shown(value)
    return str(value) if isinstance(value, int | float) else f"of the type {type(value).__name__}"
