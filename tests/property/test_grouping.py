"""Whatever the links: groups are the connected components, and neighbours those of all pairs."""

from __future__ import annotations

import random
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairscore.retrieval import neighbours as module
from pairscore.retrieval.grouping import Link, group_links
from pairscore.retrieval.neighbours import nearest, similarities, unordered_pairs

NUM_ITEMS = 9
PAIRS = list(combinations(range(NUM_ITEMS), 2))
SCORES = st.sampled_from((0.25, 0.5, 0.75, 1.0))
LINKS = st.dictionaries(st.sampled_from(PAIRS), SCORES).map(
    lambda found: [Link(first=a, second=b, score=score) for (a, b), score in found.items()]
)


def _components(links: list[Link]) -> set[frozenset[int]]:
    """By painting: slow, and surely right."""
    colour = list(range(NUM_ITEMS))
    for _ in range(NUM_ITEMS):
        for link in links:
            colour[link.first] = colour[link.second] = min(colour[link.first], colour[link.second])
    groups = {frozenset(i for i in range(NUM_ITEMS) if colour[i] == one) for one in colour}
    return {group for group in groups if len(group) > 1}


@given(LINKS)
def test_groups_are_the_connected_components(links: list[Link]) -> None:
    """No more, no less, each item in one group at most."""
    groups = group_links(NUM_ITEMS, links)

    assert {frozenset(group.members) for group in groups} == _components(links)
    assert [group.members for group in groups] == sorted(group.members for group in groups)


@given(LINKS, st.randoms(use_true_random=False))
def test_the_order_of_the_links_changes_nothing(links: list[Link], chance: random.Random) -> None:
    """Neither the groups, nor which links joined them."""
    shuffled = links[:]
    chance.shuffle(shuffled)

    for linkage in ("single", "complete"):
        assert group_links(NUM_ITEMS, links, linkage=linkage) == group_links(
            NUM_ITEMS, shuffled, linkage=linkage
        )


@given(LINKS)
def test_the_links_that_joined_are_a_spanning_tree_of_the_strongest(links: list[Link]) -> None:
    """One less than members, and each member's strongest link is as strong as one of them."""
    for group in group_links(NUM_ITEMS, links):
        assert len(group.joined) == len(group.members) - 1
        for member in group.members:
            own = [link.score for link in links if member in (link.first, link.second)]
            of_tree = [link.score for link in group.joined if member in (link.first, link.second)]
            assert max(own) == max(of_tree)


@given(LINKS)
def test_complete_linkage_makes_no_chain(links: list[Link]) -> None:
    """All members of a group are linked with all others, and every group lies inside a component."""
    linked = {(link.first, link.second) for link in links}
    components = _components(links)

    for group in group_links(NUM_ITEMS, links, linkage="complete"):
        assert set(combinations(group.members, 2)) <= linked
        assert not group.is_chain
        assert any(component.issuperset(group.members) for component in components)


@given(
    st.integers(0, 40),
    st.integers(1, 5),
    st.sampled_from((-1.0, 0.0, 0.3, 0.9)),
    st.integers(0, 2**32 - 1),
    st.sampled_from((1, 7)),
)
def test_neighbours_in_blocks_are_those_of_all_pairs(
    num_vectors: int, num_neighbours: int, min_similarity: float, seed: int, num_copies: int
) -> None:
    """As near as the nearest of all, never oneself, and each pair once; with copies too, where many are as near."""
    vectors = np.random.default_rng(seed).standard_normal((num_vectors, 6)).astype(np.float32)
    vectors = vectors[np.arange(num_vectors) // num_copies]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-9
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -np.inf)

    found = _in_small_blocks(vectors, num_neighbours, min_similarity)

    for row, some in enumerate(found):
        others = some[some >= 0]
        best = np.sort(cosines[row][cosines[row] >= min_similarity - 1e-6])[::-1][:num_neighbours]
        assert row not in others
        assert len(set(others.tolist())) == len(others)
        # One at the very border may be in or out: the last bit of a cosine depends on its block.
        sure = best[best > min_similarity + 1e-6]
        assert len(sure) <= len(others) <= len(best)
        np.testing.assert_allclose(cosines[row][others], best[: len(others)], atol=1e-6)
    pairs = unordered_pairs(found)
    assert {tuple(pair) for pair in pairs.tolist()} == {
        (min(row, other), max(row, other))
        for row, some in enumerate(found.tolist())
        for other in some
        if other >= 0
    }
    assert len(np.unique(pairs, axis=0)) == len(pairs)
    np.testing.assert_allclose(
        similarities(vectors, pairs), cosines[pairs[:, 0], pairs[:, 1]], atol=1e-6
    )


def _in_small_blocks(vectors: np.ndarray, num_neighbours: int, min_similarity: float) -> np.ndarray:
    """With blocks so small that there are several of each kind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK_ROWS", 7)
        patch.setattr(module, "_BLOCK_COLUMNS", 10)
        blocks = list(
            nearest(vectors, num_neighbours=num_neighbours, min_similarity=min_similarity)
        )
    return np.concatenate([np.empty((0, num_neighbours), dtype=np.int32), *blocks])
