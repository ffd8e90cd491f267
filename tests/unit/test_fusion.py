"""Reciprocal rank fusion: the formula, ties, duplicates, and what each source said."""

from __future__ import annotations

import pytest

from pairscore.errors import SettingError
from pairscore.retrieval.base import Candidate, Document
from pairscore.retrieval.fusion import RRF_K, Place, reciprocal_rank_fusion


def ranking(*ids: str, title: str = "") -> list[Candidate]:
    """Documents in this order, with scores that fall."""
    return [
        Candidate(document=Document(id=key, text=f"text of {key}", title=title), score=10.0 - rank)
        for rank, key in enumerate(ids)
    ]


def test_the_formula_is_the_papers() -> None:
    """The sum of 1 / (60 + rank), ranks from 1, over the rankings that have the document."""
    fused = reciprocal_rank_fusion({"dense": ranking("a", "b", "c"), "bm25": ranking("c", "b")})

    assert RRF_K == 60
    assert {one.document.id: one.score for one in fused} == {
        "a": 1 / 61,
        "b": pytest.approx(2 / 62),
        "c": pytest.approx(1 / 61 + 1 / 63),
    }
    assert [one.document.id for one in fused] == ["c", "b", "a"]


def test_each_source_keeps_its_rank_and_score() -> None:
    """So that a user sees why a document is where it is."""
    fused = reciprocal_rank_fusion({"dense": ranking("a", "b"), "bm25": ranking("b")})

    by_id = {one.document.id: one.sources for one in fused}
    assert by_id == {
        "a": {"dense": Place(rank=1, score=10.0)},
        "b": {"dense": Place(rank=2, score=9.0), "bm25": Place(rank=1, score=10.0)},
    }


def test_equal_scores_go_by_the_better_rank_and_then_by_the_first_ranking() -> None:
    """No order is left to chance."""
    crossed = reciprocal_rank_fusion({"x": ranking("a", "b"), "y": ranking("b", "a")})
    apart = reciprocal_rank_fusion({"x": ranking("a", "b"), "y": ranking("c", "d")})
    # 1/1, 1/2 + 1/2 and 1/1.
    better = reciprocal_rank_fusion({"x": ranking("c", "a"), "y": ranking("b", "a")}, k=0)

    assert [one.document.id for one in crossed] == ["a", "b"]
    assert [one.document.id for one in apart] == ["a", "c", "b", "d"]
    assert [one.document.id for one in better] == ["c", "b", "a"]


def test_a_document_that_one_ranking_has_twice_counts_once() -> None:
    """Where it stands first; what comes behind it moves up."""
    fused = reciprocal_rank_fusion({"x": ranking("a", "a", "b")})

    assert [(one.document.id, one.sources["x"].rank) for one in fused] == [("a", 1), ("b", 2)]


def test_documents_are_joined_by_their_ids() -> None:
    """Two retrievers may know more or less of one; the first one's is kept."""
    fused = reciprocal_rank_fusion({"x": ranking("a", title="long"), "y": ranking("a")})

    assert [one.document.title for one in fused] == ["long"]


def test_a_limit_keeps_the_best() -> None:
    """As many as were asked for, of all together."""
    rankings = {"x": ranking("a", "b"), "y": ranking("c", "b")}

    assert [one.document.id for one in reciprocal_rank_fusion(rankings, limit=2)] == ["b", "a"]
    assert reciprocal_rank_fusion({}) == reciprocal_rank_fusion({"x": []}) == ()


@pytest.mark.parametrize("wrong", [{"k": -1}, {"limit": 0}])
def test_settings_that_make_no_sense(wrong: dict[str, int]) -> None:
    """They are named with their value."""
    with pytest.raises(SettingError, match=f"{next(iter(wrong))} is {next(iter(wrong.values()))}"):
        reciprocal_rank_fusion({"x": ranking("a")}, **wrong)
