"""The laws of fusion, for any rankings."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pairscore.retrieval.base import Candidate, Document
from pairscore.retrieval.fusion import reciprocal_rank_fusion

IDS = st.lists(st.integers(0, 30).map(str), max_size=20)
RANKINGS = st.dictionaries(st.sampled_from("wxyz"), IDS, max_size=4)


def _candidates(ids: list[str]) -> list[Candidate]:
    return [Candidate(document=Document(id=key, text=key), score=0.5) for key in ids]


@given(rankings=RANKINGS, k=st.integers(0, 100))
def test_every_document_once_and_in_order(rankings: dict[str, list[str]], k: int) -> None:
    """Nothing is lost, nothing comes twice, scores never rise."""
    fused = reciprocal_rank_fusion({n: _candidates(ids) for n, ids in rankings.items()}, k=k)

    assert sorted(one.document.id for one in fused) == sorted(
        {key for ids in rankings.values() for key in ids}
    )
    scores = [one.score for one in fused]
    assert scores == sorted(scores, reverse=True)
    assert all(set(one.sources) <= set(rankings) and one.sources for one in fused)


@given(ids=st.lists(st.integers(0, 30).map(str), max_size=20, unique=True), k=st.integers(0, 100))
def test_one_ranking_keeps_its_order(ids: list[str], k: int) -> None:
    """Fusion with nothing changes nothing, and with itself neither."""
    alone = reciprocal_rank_fusion({"x": _candidates(ids)}, k=k)
    twice = reciprocal_rank_fusion({"x": _candidates(ids), "y": _candidates(ids)}, k=k)

    assert [one.document.id for one in alone] == ids
    assert [one.document.id for one in twice] == ids


@given(rankings=RANKINGS, limit=st.integers(1, 10))
def test_a_limit_cuts_the_end_off(rankings: dict[str, list[str]], limit: int) -> None:
    """The best of a shorter answer are those of the longer one."""
    given_ = {name: _candidates(ids) for name, ids in rankings.items()}

    assert reciprocal_rank_fusion(given_, limit=limit) == reciprocal_rank_fusion(given_)[:limit]


@given(rankings=RANKINGS)
def test_scores_do_not_depend_on_the_order_of_the_rankings(rankings: dict[str, list[str]]) -> None:
    """Who is named first decides ties, and no score."""
    given_ = {name: _candidates(ids) for name, ids in rankings.items()}
    turned = dict(reversed(given_.items()))

    assert {one.document.id: one.score for one in reciprocal_rank_fusion(given_)} == {
        one.document.id: one.score for one in reciprocal_rank_fusion(turned)
    }
