"""The sentences and words of a text with their places, and the text without one of them; pure.

Sentences are parted as windows of long documents are. Words are parted by Unicode's default word boundaries (UAX #29):
"3,520,031" and "don't" are one word, each Chinese character is one, and no emoji or accented letter is taken apart. Of
scripts that put no space between words and need a dictionary (Thai, Khmer ...), what stands between spaces is one word.
What holds punctuation alone is a part of its sentence and no word.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import cache
from itertools import chain, islice, pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from pairscore.road.borders import sentence_starts

if TYPE_CHECKING:
    from regex import Pattern

__all__ = ["Span", "clipped", "sentences", "without", "words"]

# Categories of what belongs to the character before it: marks, joiners and selectors of a variant.
_ATTACHED: Final = frozenset({"Mn", "Mc", "Me", "Cf"})
_FLAG_CHARS: Final = 2


class Span(NamedTuple):
    """A part of a text: text[start:end], in characters (Python's, so code points)."""

    start: int
    end: int


def sentences(text: str) -> Iterator[Span]:
    """The sentences of a text in their order, without the white space around them."""
    inner = (start for start in sentence_starts(text) if not _is_attached(text, start))
    for start, end in pairwise(chain((0,), inner, (len(text),))):
        part = text[start:end]
        begin = start + len(part) - len(part.lstrip())
        if begin < end:
            yield Span(begin, start + len(part.rstrip()))


def words(text: str, within: Span, *, before: int | None = None) -> Iterator[Span]:
    """The words of a part of a text in their order; with `before` only those that begin before that place."""
    part = text[within.start : within.end]
    last = len(part) if before is None else before - within.start
    wordlike = _patterns().wordlike
    start = 0
    for cut in chain(_boundaries(part), (len(part),)):
        if start >= last:
            return
        if cut < len(part) and _is_attached(part, cut):
            continue
        if cut > start and wordlike.search(part, start, cut):
            yield Span(within.start + start, within.start + cut)
        start = cut


def clipped(span: Span, to: Span) -> Span | None:
    """What of a part lies within another one; None if nothing does."""
    start, end = max(span.start, to.start), min(span.end, to.end)
    return Span(start, end) if start < end else None


def without(text: str, span: Span) -> str:
    """The text without a part, and without the white space that would then stand doubled or at an end.

    Of the white space on both sides that with more line breaks stays, else the longer, else that before.
    """
    before, behind = text[: span.start], text[span.end :]
    left, right = before.rstrip(), behind.lstrip()
    space_before, space_behind = before[len(left) :], behind[: len(behind) - len(right)]
    if (before and not space_before) or (behind and not space_behind):
        return before + behind
    if not left or not right:
        return left + right
    return left + max(space_before, space_behind, key=lambda s: (s.count("\n"), len(s))) + right


class _Patterns(NamedTuple):
    """What is looked for in texts.

    Attributes:
        runs: flags, which are pairs of letters; text of scripts that need a dictionary; all else.
        boundary: a word boundary by Unicode's default rules.
        wordlike: what makes a word: letters, marks, numbers, symbols, and what Unicode does not know.
    """

    runs: Pattern[str]
    boundary: Pattern[str]
    wordlike: Pattern[str]


@cache
def _patterns() -> _Patterns:
    # Here, because scoring needs none of it.
    import regex

    return _Patterns(
        runs=regex.compile(
            r"(?P<flags>(?:\p{RI}[\p{M}\p{Cf}]*+)++)|(?P<whole>(?:\p{LB=SA}[\p{M}\p{Cf}]*+)++)"
            r"|[^\p{RI}\p{LB=SA}]++"
        ),
        boundary=regex.compile(r"(?w)\b"),
        wordlike=regex.compile(r"[\p{L}\p{M}\p{N}\p{S}\p{Co}\p{Cn}]"),
    )


def _boundaries(text: str) -> Iterator[int]:
    """Where a word may begin, the beginning of the text among them."""
    patterns = _patterns()
    for run in patterns.runs.finditer(text):
        start, end = run.span()
        if run["flags"]:
            # The library counts the letters before each boundary, so a long run of them would take for ever.
            letters = (place for place in range(start, end) if not _is_attached(text, place))
            yield from islice(letters, 0, None, _FLAG_CHARS)
        elif run["whole"]:
            yield start
        else:
            part = run[0]
            yield from (start + b.start() for b in patterns.boundary.finditer(part))


def _is_attached(text: str, place: int) -> bool:
    """Whether the character there belongs to the one before it."""
    return place < len(text) and unicodedata.category(text[place]) in _ATTACHED
