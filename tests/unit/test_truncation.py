"""What a caller may say of the cut: its side, limits for either text, and that nothing may be cut."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pairscore.config import RoadConfig, Truncation
from pairscore.errors import SettingError, TooLongError
from pairscore.road.road import Road, open_road

WORDS = " ".join(f"w{number}" for number in range(400))


@pytest.fixture(scope="module")
def road() -> Iterator[Road]:
    """The bundled tokenizer, 64 tokens a pair, without weights."""
    opened = open_road(backend="fake", config=RoadConfig(max_length=64))
    yield opened
    opened.close()


def _ids(road: Road, query: str, document: str, **options: Any) -> list[int]:
    (encoded,) = road.encode([(query, document)], truncation=Truncation(**options))
    ids: list[int] = encoded.ids.tolist()
    return ids


def test_the_default_is_the_roads_own_way(road: Road) -> None:
    """No word of the caller's changes nothing."""
    pairs = [("a", "b"), ("a query", WORDS), (WORDS, "b"), (WORDS, WORDS)]

    plain = road.encode(pairs)
    told = road.encode(pairs, truncation=Truncation())

    assert [one.ids.tolist() for one in plain] == [one.ids.tolist() for one in told]
    assert [one.truncated for one in told] == [False, True, True, True]


def test_the_side_is_the_callers(road: Road) -> None:
    """Left keeps the document's end, right its beginning."""
    left = _ids(road, "a query", WORDS, side="left")
    right = _ids(road, "a query", WORDS, side="right")

    end = road.encode([("x", "w399")])[0].ids.tolist()[3:-1]
    begin = road.encode([("x", "w0")])[0].ids.tolist()[3:-1]
    assert left[-1 - len(end) : -1] == end
    assert right[4 : 4 + len(begin)] == begin
    assert len(left) == len(right) == 64


@pytest.mark.parametrize("side", ["left", "right"])
def test_limits_for_either_text(road: Road, side: str) -> None:
    """Query and document keep so many tokens each, and the cut is told."""
    (encoded,) = road.encode(
        [(WORDS, WORDS)],
        truncation=Truncation(side=side, max_query_tokens=5, max_document_tokens=7),  # type: ignore[arg-type]
    )

    assert encoded.num_tokens == 5 + 7 + 3
    assert encoded.truncated
    assert int(encoded.type_ids.sum()) == 7 + 1


def test_a_limit_that_is_not_reached_cuts_nothing(road: Road) -> None:
    """A short text is whole, and nothing is told."""
    (encoded,) = road.encode(
        [("a b", "c d")], truncation=Truncation(max_query_tokens=2, max_document_tokens=2)
    )

    assert not encoded.truncated
    assert encoded.num_tokens == 7


@pytest.mark.parametrize(("wanted", "expected"), [(8, 8), (30, 30), (64, 64), (1000, 64)])
def test_a_limit_for_the_pair(road: Road, wanted: int, expected: int) -> None:
    """Special tokens count; more than the model reads is as much as that; the query is protected as ever."""
    truncation = Truncation(max_pair_tokens=wanted)
    long, short = road.encode([("a", WORDS), ("a", "b")], truncation=truncation)

    assert (long.num_tokens, long.truncated) == (expected, True)
    assert (short.num_tokens, short.truncated) == (5, False)
    assert long.ids[1] == short.ids[1]


def test_strict_lets_a_shorter_limit_for_the_pair_cut(road: Road) -> None:
    """Below the model's own length the cut was asked for; at it, it is the model that is too short."""
    (encoded,) = road.encode([("a", WORDS)], truncation=Truncation(strict=True, max_pair_tokens=20))

    assert encoded.num_tokens == 20
    with pytest.raises(TooLongError):
        road.encode([("a", WORDS)], truncation=Truncation(strict=True, max_pair_tokens=64))


def test_strict_refuses_what_the_model_cannot_read(road: Road) -> None:
    """The error names the pair, its true length and the limit, also for very long texts."""
    long = "word " * 20_000

    with pytest.raises(TooLongError, match=r"pair 1 .* 20,004 tokens, the limit is 64") as error:
        road.encode([("a", "b"), ("a", long)], truncation=Truncation(strict=True))

    assert (error.value.position, error.value.num_tokens, error.value.max_tokens) == (1, 20_004, 64)


def test_strict_lets_the_callers_own_limits_cut(road: Road) -> None:
    """Who limits a text wants it cut; only what is then still too long is refused."""
    (encoded,) = road.encode(
        [("a", WORDS)], truncation=Truncation(strict=True, max_document_tokens=10)
    )

    assert encoded.truncated
    with pytest.raises(TooLongError):
        road.encode([("a", WORDS)], truncation=Truncation(strict=True, max_document_tokens=100))


@pytest.mark.parametrize(
    "options",
    [
        {"side": "middle"},
        {"max_query_tokens": 0},
        {"max_document_tokens": -1},
        {"max_document_tokens": True},
        {"max_pair_tokens": 7},
    ],
)
def test_nonsense_is_refused(options: dict[str, Any]) -> None:
    """When it is made, not when it is used."""
    with pytest.raises(SettingError):
        Truncation(**options)


def test_a_reading_names_what_decides_the_tokens() -> None:
    """Equal names for equal cuts; strictness decides no token."""
    readings = {
        Truncation().reading("right"),
        Truncation(side="right").reading("left"),
        Truncation(strict=True).reading("right"),
    }

    assert readings == {"right"}
    assert Truncation(max_query_tokens=3).reading("right") != "right"
    assert Truncation(max_query_tokens=3).reading("right") != Truncation(
        max_document_tokens=3
    ).reading("right")
