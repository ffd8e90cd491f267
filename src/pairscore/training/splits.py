"""Splitting training data by query, and finding what a held-out part shares with the part that is trained on.

**Splits.** Each query gets a number from a hash of its text and the seed, and those with the lowest are held out. So a
split depends on neither the order of the rows nor the version of a random generator, and rows that are added later
move few of the others.

**Leaks.** Texts are compared after Unicode NFKC, case folding and folding of white space, and a pair counts in either
order. Of the held-out part 16 bytes a text and pair are kept in memory, of the other part one row at a time.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, Literal, TypeAlias

from pairscore.errors import DataFileError, PairscoreError, SettingError
from pairscore.training.data import TrainingData, TrainingRow, pairs_of, with_rows
from pairscore.training.data_checks import check_data

__all__ = [
    "Leak",
    "Leaks",
    "Split",
    "Together",
    "find_leaks",
    "folded",
    "split_by_query",
    "without_leaks",
]

Together: TypeAlias = Literal["query", "texts"]
"""What stays on one side of a split: rows of the same query, or also all rows that share any text, directly or
through others (for tasks whose two texts have the same part, such as similarity and duplicates)."""

_DIGEST_BYTES: Final = 16
_MOST_SHOWN: Final = 3


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Split:
    """Two parts of training data.

    Attributes:
        train: what is trained on.
        held_out: what is measured on.
    """

    train: TrainingData
    held_out: TrainingData


@dataclass(frozen=True, kw_only=True, slots=True)
class Leak:
    """A row of the held-out part that shares something with the training part.

    Attributes:
        kind: ``pair`` if one of its pairs is also there, ``text`` if its query stands in another pair there.
        place: where the row was read.
        train_place: where its pair, or its query, stands first in the training part.
    """

    kind: Literal["pair", "text"]
    place: str
    train_place: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Leaks:
    """What a held-out part shares with a training part.

    Attributes:
        num_pairs: different pairs of the held-out part that are also in the training part, in either order.
        num_texts: different queries of the held-out part that are texts of the training part too, those of such
            pairs included.
        places: one for each row of the held-out part that has such a pair or query, in its order.
    """

    num_pairs: int
    num_texts: int
    places: tuple[Leak, ...]

    def __bool__(self) -> bool:
        return bool(self.num_pairs or self.num_texts)

    @property
    def sentences(self) -> tuple[str, ...]:
        """What there is to tell, a sentence each, with the first places."""
        told = []
        for kind, count, what in (
            ("pair", self.num_pairs, "held-out pairs are also in the training part"),
            ("text", self.num_texts, "held-out queries are also texts of the training part"),
        ):
            if count:
                some = [leak for leak in self.places if leak.kind == kind][:_MOST_SHOWN]
                first = "; ".join(f"{leak.place} is {leak.train_place}" for leak in some)
                told.append(f"{count:,} {what}" + (f" ({first})" if first else ""))
        return tuple(told)


def folded(text: str) -> str:
    """A text without what makes no difference to a leak: Unicode's spelling (NFKC), case, and white space."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def split_by_query(
    data: TrainingData, *, fraction: float, seed: int, together: Together = "query"
) -> Split:
    """Hold out a part of the queries, with all their rows; each part keeps the order of its rows.

    Args:
        data: what to split.
        fraction: the part of the queries to hold out, rounded to whole ones, at least one.
        seed: another one holds out others.
        together: what stays on one side; with ``texts`` the fraction is of groups of rows that share texts.

    Raises:
        SettingError: the fraction is not between 0 and 1.
        DataFileError: a part would be empty, or have labels of one kind only.
    """
    if not (math.isfinite(fraction) and 0.0 < fraction < 1.0):
        raise SettingError(
            f"fraction is {fraction}; it must lie between 0 and 1, such as 0.1 for a tenth"
        )
    groups = _groups(data, together)
    different = sorted(set(groups), key=lambda group: _ticket(group, seed))
    num_held_out = max(1, round(fraction * len(different)))
    if num_held_out >= len(different):
        raise DataFileError(
            f"{data.name} has {len(different):,} different "
            f"{'queries' if together == 'query' else 'groups of texts'}, of which {fraction:g} cannot be held out "
            "without leaving a part empty; add queries, or give a held-out file of its own"
        )
    chosen = set(different[:num_held_out])
    train: list[TrainingRow] = []
    held_out: list[TrainingRow] = []
    for row, group in zip(data.rows, groups, strict=True):
        (held_out if group in chosen else train).append(row)
    split = Split(
        train=with_rows(data, train, name=f"{data.name} (train)"),
        held_out=with_rows(data, held_out, name=f"{data.name} (held out)"),
    )
    _check_parts(split, fraction=fraction, seed=seed)
    return split


def find_leaks(train: TrainingData, held_out: TrainingData) -> Leaks:
    """What of the held-out part is also in the training part.

    Pairs are those of `pairscore.training.data.pairs_of`: of triplets and lists each document with its query.
    Labels are not compared.
    """
    seen = _Seen.of(train, held_out)
    leaks: list[Leak] = []
    pairs: set[bytes] = set()
    texts: set[bytes] = set()
    for row in held_out.rows:
        query = _digest(row.query)
        shared = [pair for pair in _pair_digests(row) if pair in seen.pairs]
        pairs.update(shared)
        if query in seen.texts:
            texts.add(query)
        if shared:
            place = seen.pairs[shared[0]]
            leaks.append(Leak(kind="pair", place=row.place, train_place=place))
        elif query in seen.texts:
            leaks.append(Leak(kind="text", place=row.place, train_place=seen.texts[query]))
    return Leaks(num_pairs=len(pairs), num_texts=len(texts), places=tuple(leaks))


def without_leaks(
    train: TrainingData,
    held_out: TrainingData,
    *,
    drop_from: Literal["train", "held_out"] = "train",
    what: Literal["pairs", "texts"] = "pairs",
) -> Split:
    """Both parts without the rows that leak.

    Args:
        train: what is trained on.
        held_out: what is measured on.
        drop_from: the part that loses rows; ``train`` keeps a held-out part that others measure on too.
        what: ``pairs`` drops rows with a pair of the other part, ``texts`` also those that hold a query of the other
            part.

    Raises:
        DataFileError: nothing, or nothing but one label, would be left of the part.
    """
    losing, other = (train, held_out) if drop_from == "train" else (held_out, train)
    shared = _Shared.of(other, what)
    rows = [row for row in losing.rows if not shared.leaks(row)]
    if len(rows) == len(losing):
        return Split(train=train, held_out=held_out)
    if not rows:
        raise DataFileError(
            f"every row of {losing.name} is also in {other.name}; give other data, or hold out a part of one file"
        )
    kept = with_rows(losing, rows)
    _check_part(kept, f"without the {len(losing) - len(rows):,} rows that are also in {other.name}")
    if drop_from == "train":
        return Split(train=kept, held_out=held_out)
    return Split(train=train, held_out=kept)


@dataclass(frozen=True, slots=True)
class _Seen:
    """Where pairs and queries of the held-out part stand first in the training part."""

    pairs: dict[bytes, str]
    texts: dict[bytes, str]

    @classmethod
    def of(cls, train: TrainingData, held_out: TrainingData) -> _Seen:
        wanted_pairs = {pair for row in held_out.rows for pair in _pair_digests(row)}
        wanted_texts = {_digest(row.query) for row in held_out.rows}
        pairs: dict[bytes, str] = {}
        texts: dict[bytes, str] = {}
        for row in train.rows:
            for one in _text_digests(row):
                if one in wanted_texts:
                    texts.setdefault(one, row.place)
            for pair in _pair_digests(row):
                if pair in wanted_pairs:
                    pairs.setdefault(pair, row.place)
        return cls(pairs, texts)


@dataclass(frozen=True, slots=True)
class _Shared:
    """What of the other part no row may hold."""

    pairs: frozenset[bytes]
    texts: frozenset[bytes]

    @classmethod
    def of(cls, other: TrainingData, what: Literal["pairs", "texts"]) -> _Shared:
        pairs = frozenset(pair for row in other.rows for pair in _pair_digests(row))
        if what == "pairs":
            return cls(pairs, frozenset())
        return cls(pairs, frozenset(_digest(row.query) for row in other.rows))

    def leaks(self, row: TrainingRow) -> bool:
        return not (
            self.pairs.isdisjoint(_pair_digests(row)) and self.texts.isdisjoint(_text_digests(row))
        )


def _groups(data: TrainingData, together: Together) -> list[bytes]:
    """What each row belongs to: its query's digest, or the least digest of all texts that hang together."""
    if together == "query":
        return [_digest(row.query) for row in data.rows]
    parents: dict[bytes, bytes] = {}
    for row in data.rows:
        first, *others = (_root(parents, one) for one in _text_digests(row))
        for other in others:
            low, high = sorted((_root(parents, first), other))
            parents[high] = low
    return [_root(parents, _digest(row.query)) for row in data.rows]


def _root(parents: dict[bytes, bytes], text: bytes) -> bytes:
    """The end of the chain; what was passed is hung up nearer to it, so that chains stay short."""
    while parents.setdefault(text, text) != text:
        parents[text] = parents[parents[text]]
        text = parents[text]
    return text


def _check_parts(split: Split, *, fraction: float, seed: int) -> None:
    for part in (split.train, split.held_out):
        _check_part(
            part,
            f"split with the fraction {fraction:g} and the seed {seed}; take others, or add rows",
        )


def _check_part(part: TrainingData, because: str) -> None:
    try:
        check_data(part)
    except PairscoreError as error:
        raise DataFileError(f"{error} ({because})") from error


def _ticket(group: bytes, seed: int) -> bytes:
    return blake2b(group, digest_size=_DIGEST_BYTES, salt=_salt(seed)).digest()


def _salt(seed: int) -> bytes:
    return blake2b(str(seed).encode(), digest_size=blake2b.SALT_SIZE).digest()


def _digest(text: str) -> bytes:
    # A lone surrogate, which only a program can bring here, must not end a comparison.
    content = folded(text).encode("utf-8", "surrogatepass")
    return blake2b(content, digest_size=_DIGEST_BYTES).digest()


def _text_digests(row: TrainingRow) -> Iterator[bytes]:
    """The query's, then the documents'."""
    yield _digest(row.query)
    for _, document in pairs_of(row):
        yield _digest(document)


def _pair_digests(row: TrainingRow) -> Iterator[bytes]:
    """Each pair's, the same in either order."""
    query, *documents = _text_digests(row)
    for document in documents:
        yield min(query, document) + max(query, document)
