"""Groups of what is alike: what joins them, what a chain is, and what complete linkage refuses."""

from __future__ import annotations

import pytest

from pairscore.errors import SettingError
from pairscore.retrieval.grouping import Group, Link, group_links


def _links(*given: tuple[int, int, float]) -> list[Link]:
    return [Link(first=first, second=second, score=score) for first, second, score in given]


def test_what_is_alike_becomes_a_group_and_the_rest_none() -> None:
    """Two pairs with nothing in common are two groups, in the order of their first members."""
    groups = group_links(6, _links((3, 5, 0.9), (0, 1, 0.8)))

    assert [group.members for group in groups] == [(0, 1), (3, 5)]


def test_a_chain_is_one_group_and_says_so() -> None:
    """0 is like 1 and 1 like 2, and nobody said that 0 is like 2."""
    (chain,) = group_links(3, _links((0, 1, 0.9), (1, 2, 0.8)))
    (whole,) = group_links(3, _links((0, 1, 0.9), (1, 2, 0.8), (0, 2, 0.7)))

    assert chain.members == whole.members == (0, 1, 2)
    assert chain.is_chain
    assert not whole.is_chain


def test_the_strongest_links_join() -> None:
    """Of three links in a triangle the two strongest joined it, strongest first."""
    (group,) = group_links(3, _links((0, 1, 0.5), (1, 2, 0.9), (0, 2, 0.7)))

    assert [link.score for link in group.joined] == [0.9, 0.7]
    assert group.num_links == 3


def test_complete_linkage_splits_a_chain_at_its_weakest_link() -> None:
    """Only what is alike directly stays together; a triangle is left whole."""
    chain = group_links(3, _links((0, 1, 0.8), (1, 2, 0.9)), linkage="complete")
    whole = group_links(3, _links((0, 1, 0.8), (1, 2, 0.9), (0, 2, 0.1)), linkage="complete")

    assert [group.members for group in chain] == [(1, 2)]
    assert [group.members for group in whole] == [(0, 1, 2)]


def test_links_that_joined_nothing_in_complete_linkage_count_nowhere() -> None:
    """A link between two groups that stayed apart is in neither."""
    groups = group_links(4, _links((0, 1, 0.9), (2, 3, 0.9), (1, 2, 0.5)), linkage="complete")

    assert groups == [
        Group(members=(0, 1), joined=tuple(_links((0, 1, 0.9))), num_links=1),
        Group(members=(2, 3), joined=tuple(_links((2, 3, 0.9))), num_links=1),
    ]


def test_no_link_makes_no_group() -> None:
    """Also where there is no item at all."""
    assert group_links(0, []) == []
    assert group_links(3, []) == []


def test_an_unknown_linkage_is_refused() -> None:
    """By its name, with those that are known."""
    with pytest.raises(SettingError, match="single, complete"):
        group_links(2, [], linkage="average")  # type: ignore[arg-type]


def test_large_groups_are_made_quickly() -> None:
    """20,000 items in a chain, or around one: no recursion, and no walk over the group for each link."""
    (chain,) = group_links(20_000, _links(*((i, i + 1, 0.5) for i in range(19_999))))
    (star,) = group_links(20_000, _links(*((0, i, 0.5) for i in range(1, 20_000))))

    assert chain.members == star.members == tuple(range(20_000))
    assert chain.is_chain
