"""Where a text may be parted: before sentences, before words, between characters; by rules, for many languages.

A sentence begins behind a line break, behind a terminator and white space, and behind a terminator of Chinese,
Japanese and other scripts that put no space there; behind common abbreviations, initials and numbers of lists
it does not. A border that is missed or one too many costs little here: windows overlap.

A word begins behind white space, or beside a character of a script that is written without spaces, but not with
punctuation or a mark that belongs to what stands before it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from pairscore.values import IntArray

__all__ = ["Borders", "parts_of", "sentence_starts"]

Flags: TypeAlias = npt.NDArray[np.bool_]
Codes: TypeAlias = npt.NDArray[np.uint32]

_CLOSERS: Final = "\"'”’»)\\]}」』）】〉》"  # noqa: RUF001 - they are meant
_TERMINATORS: Final = "。！？｡．؟۔।॥։።។៕"  # noqa: RUF001 - they are meant
# Each run of terminators is met once, at its beginning, so that a million of them take no longer than a million
# other characters.
_BORDER: Final = re.compile(
    rf"(?<![.!?…])(?P<end>[.!?…]++)[{_CLOSERS}]*+\s++"
    rf"|[{_TERMINATORS}]++[{_CLOSERS}]*+\s*+"
    r"|\n\s*+"
)
_LAST_WORD: Final = re.compile(r"[^\s(\[{\"'“‘]*\Z")  # noqa: RUF001 - as above
_LAST_WORD_CHARS: Final = 12
_ABBREVIATIONS: Final = frozenset(
    word
    for line in (
        "mr mrs ms dr prof rev st jr sr gen col sgt capt lt hon gov sen rep inc ltd co corp vs cf al etc e.g i.e",
        "approx ca fig figs eq eqs no nos nr vol vols pp ed eds resp dept est jan feb mar apr jun jul aug sep sept",
        "oct nov dec z.b d.h u.a bzw usw str mme mlle",
    )
    for word in line.split()
)
_LIST_NUMBER_CHARS: Final = 3

# Scripts without spaces whose characters are words or nearly so: Han with its extensions, kana, and their width
# variants. The scripts of South East Asia need a dictionary; their phrases, which spaces part, stay whole.
_UNSPACED: Final = (
    (0x2E80, 0x2FDF),
    (0x3005, 0x3007),
    (0x3021, 0x30FF),
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0xFF66, 0xFF9F),
    (0x20000, 0x3FFFF),
)
_SPACES: Final = np.asarray(
    [code for code in range(0x3001) if chr(code).isspace()], dtype=np.uint32
)
# Unicode's categories: marks, and punctuation that belongs to what stands before it.
_MARKS: Final = frozenset({"Mn", "Mc", "Me"})
_ATTACHED: Final = frozenset({"Pe", "Pf", "Po", "Pd", "Pc"})
_PART_CHARS: Final = 1 << 16
_PARTABLE_CHARS: Final = 1 << 10
_PARTABLE: Final = re.compile(r"[\s!-/:-@\[-`{-~\u3001-\u30ff\u3400-\u9fff]")


def sentence_starts(text: str) -> Iterator[int]:
    """Where sentences begin, in order; the beginning of the text itself is left out."""
    for match in _BORDER.finditer(text):
        if match["end"] != "." or not _is_abbreviation(text, match.start()):
            yield match.end()


def _is_abbreviation(text: str, period: int) -> bool:
    """Whether the period ends an abbreviation, an initial ("J. Smith") or the number of a list ("12. Item")."""
    before = text[max(0, period - _LAST_WORD_CHARS) : period]
    found = _LAST_WORD.search(before)
    word = found[0] if found else ""
    if word.isdecimal():
        line = text[max(0, period - _LIST_NUMBER_CHARS) : period]
        return len(word) < _LIST_NUMBER_CHARS and (len(line) == len(word) or "\n" in line)
    initial = len(word) == 1 and word.isupper()
    return initial or word.lower() in _ABBREVIATIONS


@dataclass(frozen=True, slots=True)
class Borders:
    """Before which tokens a text may be parted; token numbers, in order, the first token left out.

    Attributes:
        sentences: tokens that begin a sentence, shape (n,), int64.
        words: tokens that begin a word, those that begin a sentence among them, shape (n,), int64.
        characters: tokens that begin a character, those that begin a word among them, shape (n,), int64.
        starts: where each token's characters begin, white space left out, shape (num_tokens,), int64.
        ends: where they end, shape (num_tokens,), int64.
    """

    sentences: IntArray
    words: IntArray
    characters: IntArray
    starts: IntArray
    ends: IntArray

    @classmethod
    def of(cls, text: str, starts: IntArray, ends: IntArray) -> Borders:
        """Find them.

        Args:
            text: the text.
            starts: where the characters of its tokens begin, as the tokenizer has it, shape (num_tokens,), int64.
            ends: where they end, likewise.
        """
        codes = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
        visible = np.flatnonzero(~np.isin(codes, _SPACES))
        ends = np.maximum.accumulate(ends)
        starts = np.maximum.accumulate(_skip(starts, visible, len(text)))
        # A token of white space alone, and one that stands for nothing, has an end before its start.
        whole = np.flatnonzero(
            (starts[1:] >= ends[:-1]) & (starts[1:] > starts[:-1]) & (starts[1:] < len(text))
        )
        whole += 1
        characters = whole[~_of_category(codes[starts[whole]], _MARKS)]
        words = characters[_begins_word(codes, starts[characters])]
        sentence_chars = _skip(np.fromiter(sentence_starts(text), np.int64), visible, len(text))
        sentences = words[np.isin(starts[words], sentence_chars)]
        return cls(sentences, words, characters, starts, ends)


def _skip(places: IntArray, visible: IntArray, length: int) -> IntArray:
    """The first character at or behind each place that is no white space; the length where there is none."""
    found = np.searchsorted(visible, places)
    return np.append(visible, length)[found].astype(np.int64)


def _begins_word(codes: Codes, places: IntArray) -> Flags:
    before, at = codes[places - 1], codes[places]
    beside = (_unspaced(before) | _unspaced(at)) & ~_of_category(at, _ATTACHED)
    return beside | np.isin(before, _SPACES)


def _unspaced(codes: Codes) -> Flags:
    found = np.zeros(len(codes), dtype=np.bool_)
    for first, last in _UNSPACED:
        found |= (codes >= first) & (codes <= last)
    return found


def _of_category(codes: Codes, categories: frozenset[str]) -> Flags:
    distinct, place = np.unique(codes, return_inverse=True)
    flags = [unicodedata.category(chr(code)) in categories for code in distinct.tolist()]
    return np.asarray(flags, dtype=np.bool_)[place]


def parts_of(text: str) -> list[tuple[int, int]]:
    """A text in parts of about 65,000 characters that can be tokenized one by one, as (start, end).

    They are parted at white space, where no word's tokens change; a text that has none there, behind punctuation
    or a Chinese or Japanese character; and one that has neither is not parted.
    """
    cuts = [0]
    while len(text) - cuts[-1] > _PART_CHARS:
        cuts.append(_cut(text, cuts[-1] + 1, cuts[-1] + _PART_CHARS))
    if cuts[-1] < len(text) or not text:
        cuts.append(len(text))
    return list(pairwise(cuts))


def _cut(text: str, start: int, end: int) -> int:
    cut = max(text.rfind(" ", start, end), text.rfind("\n", start, end))
    if cut > 0:
        return cut
    inside = [match.end() for match in _PARTABLE.finditer(text, end - _PARTABLE_CHARS, end)]
    if inside:
        return inside[-1]
    ahead = _PARTABLE.search(text, end)
    return ahead.end() if ahead else len(text)
