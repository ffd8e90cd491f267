"""`SearchPipeline`: what it finds, in which order, on which scale, and what it does when time runs out."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.clock import Clock
from tests.unit.retrievers import ANIMALS, HashEncoder, MemoryRetriever, SlowReranker

from pairscore import CrossEncoder
from pairscore.errors import (
    ClosedError,
    EmptyInputError,
    FilterError,
    ScaleError,
    SettingError,
    TextError,
)
from pairscore.retrieval.base import Candidate, Document
from pairscore.retrieval.conditions import parse_conditions
from pairscore.retrieval.pipeline import SearchPipeline
from pairscore.values import Threshold


def pipeline(
    reranker: Any = None, *, retriever: MemoryRetriever | None = None, **options: Any
) -> SearchPipeline:
    """Over the animals, with vectors and words."""
    options.setdefault("encoder", HashEncoder())
    return SearchPipeline(retriever or MemoryRetriever(), reranker=reranker, **options)


def ids(result: Any) -> list[str]:
    """Of the hits."""
    return [hit.document.id for hit in result.hits]


def many(count: int) -> MemoryRetriever:
    """Documents with ever fewer of the query's words in common."""
    return MemoryRetriever(
        Document(id=f"d{place:03}", text="fox " + "other " * place) for place in range(count)
    )


def test_hybrid_joins_both_sources_and_reranks() -> None:
    """Both are asked, documents are joined by their ids, the cross-encoder has the last word."""
    retriever = MemoryRetriever()
    with pipeline(SlowReranker(), retriever=retriever) as search:
        result = search.search("red fox", top_k=3)

    assert sorted(retriever.calls) == [("bm25", 100), ("dense", 100)]
    assert (result.mode, result.num_candidates, result.num_reranked) == ("hybrid", 5, 5)
    assert (result.partial, result.model, len(result)) == (False, "common-words", 3)
    assert ids(result)[0] == "fox"
    best = result.hits[0]
    assert (best.score, best.scale, best.reranked) == (0.0, "logit", True)
    assert best.probability == 0.5
    assert set(best.sources) == {"dense", "bm25"}
    assert best.retrieval_score == pytest.approx(
        sum(1 / (60 + place.rank) for place in best.sources.values())
    )


@pytest.mark.parametrize(("mode", "scale"), [("dense", "cosine"), ("bm25", "bm25")])
def test_one_source_alone(mode: Any, scale: str) -> None:
    """Only that one is asked, and a hit has its score and its scale."""
    retriever = MemoryRetriever()
    with pipeline(retriever=retriever) as search:
        result = search.search("red fox", mode=mode)

    assert retriever.calls == [(mode, 100)]
    assert {hit.scale for hit in result.hits} == {scale}
    assert [hit.score for hit in result.hits] == [hit.sources[mode].score for hit in result.hits]
    assert [hit.rank_before for hit in result.hits] == list(range(1, len(result) + 1))
    assert not any(hit.reranked for hit in result.hits)
    assert (result.model, result.partial, result.hits[0].probability) == (None, False, None)


def test_equal_scores_keep_the_first_stages_order() -> None:
    """The cross-encoder moves only what it tells apart."""
    retriever = MemoryRetriever(
        Document(id=f"d{place}", text=f"fox {'hen ' * (place % 3 % 2)}{'other ' * place}")
        for place in range(90)
    )
    with pipeline(SlowReranker(), retriever=retriever) as search:
        hits = search.search("fox hen", mode="dense", top_k=90).hits

    before = {
        score: [hit.rank_before for hit in hits if hit.score == score] for score in (0.0, -1.0)
    }
    assert [len(ranks) for ranks in before.values()] == [30, 60]
    assert all(ranks == sorted(ranks) for ranks in before.values())


def test_the_cross_encoder_reads_title_and_text_behind_the_query() -> None:
    """What was encoded and indexed, and that it was cut is told."""
    reranker = SlowReranker()
    with pipeline(reranker) as search:
        result = search.search("red wine", top_k=1)

    assert ("red wine", "Red wine grapes from the south") in reranker.calls[0]
    assert (ids(result), result.hits[0].truncated, result.num_truncated) == (["wine"], True, 1)


def test_only_the_best_candidates_are_reranked() -> None:
    """With a larger top_k the rest follows unread, in the first stage's order and on its scale; that is not partial."""
    reranker = SlowReranker()
    with pipeline(reranker, retriever=many(20)) as search:
        result = search.search("fox", mode="dense", top_k=8, num_candidates=3)

    assert len(reranker.calls[0]) == 3
    assert [hit.reranked for hit in result.hits] == [True] * 3 + [False] * 5
    assert [hit.rank_before for hit in result.hits] == list(range(1, 9))
    assert [hit.scale for hit in result.hits] == ["logit"] * 3 + ["cosine"] * 5
    assert (result.num_candidates, result.num_reranked, result.partial) == (8, 3, False)


def test_what_there_is_no_time_for_stands_behind_and_is_marked() -> None:
    """10 ms a pair and 300 ms: some are read, the best first; the first stage's order holds behind them."""
    clock = Clock()
    reranker = SlowReranker(clock=clock, seconds=0.01)
    with pipeline(reranker, retriever=many(100), clock=clock) as search:
        result = search.search("fox", mode="dense", top_k=100, deadline_ms=300)

    num = result.num_reranked
    assert result.partial
    assert 15 <= num <= 30
    assert sum(map(len, reranker.calls)) == num
    assert [hit.reranked for hit in result.hits] == [True] * num + [False] * (100 - num)
    assert ids(result) == [f"d{place:03}" for place in range(100)]
    assert {hit.scale for hit in result.hits[num:]} == {"cosine"}
    assert result.timings.total <= 300


def test_a_pair_that_would_come_too_late_is_not_begun() -> None:
    """Once the pace is known; and a slow moment is not believed for ever."""
    clock = Clock()
    reranker = SlowReranker(clock=clock, seconds=1.0)
    with pipeline(reranker, retriever=many(10), clock=clock) as search:
        slow = search.search("fox", mode="dense", deadline_ms=500)
        reranker.seconds = 0.001
        counts = [search.search("fox", deadline_ms=500).num_reranked for _ in range(12)]

    assert (slow.num_reranked, slow.partial) == (4, True)
    assert counts[0] == 0
    assert counts[-1] == 10


def test_enough_time_is_as_none() -> None:
    """Everything is read, and nothing is marked."""
    clock = Clock()
    with pipeline(
        SlowReranker(clock=clock, seconds=0.001), retriever=many(50), clock=clock
    ) as search:
        unlimited = search.search("fox 7", top_k=50)
        limited = search.search("fox 7", top_k=50, deadline_ms=60_000)

    assert limited.hits == unlimited.hits
    assert (limited.num_reranked, limited.partial) == (50, False)


def test_a_deadline_that_is_over_after_the_first_stage_gives_its_order() -> None:
    """The order is there, so it is no error; nothing is read any more."""
    clock = Clock()
    reranker = SlowReranker()
    retriever = MemoryRetriever(before=lambda _: setattr(clock, "now", clock.now + 1.0))
    with pipeline(reranker, retriever=retriever, clock=clock) as search:
        result = search.search("red fox", deadline_ms=500)

    assert (result.num_reranked, result.partial, len(result)) == (0, True, 5)
    assert reranker.calls == []
    assert {hit.scale for hit in result.hits} == {"rrf"}
    assert result.model == "common-words"


def test_the_time_of_every_stage_is_told() -> None:
    """In milliseconds; of what was not done it is 0."""
    clock = Clock()
    seconds = {"dense": 0.02, "bm25": 0.03}
    retriever = MemoryRetriever(before=lambda k: setattr(clock, "now", clock.now + seconds[k]))
    reranker = SlowReranker(clock=clock, seconds=0.1)
    with pipeline(reranker, retriever=retriever, clock=clock) as search:
        words = search.search("red fox", mode="bm25").timings
        dense = search.search("red fox", mode="dense", rerank=False).timings

    assert words.words == pytest.approx(30)
    assert words.rerank == pytest.approx(300)
    assert words.total == pytest.approx(330)
    assert (words.encode, words.dense, words.retrieve) == (0, 0, words.words)
    assert dense.dense == dense.retrieve == pytest.approx(20)
    assert (dense.words, dense.rerank, dense.total) == (0, 0, pytest.approx(20))


def test_vectors_and_words_are_looked_up_at_once() -> None:
    """Neither ends before the other has begun."""
    both = threading.Barrier(2, timeout=20)
    retriever = MemoryRetriever(before=lambda _: both.wait() and None)
    with pipeline(retriever=retriever) as search:
        assert len(search.search("red fox")) == 5


def test_conditions_reach_the_retriever() -> None:
    """Both sources, before anything is ranked."""
    with pipeline(SlowReranker()) as search:
        found = search.search("fox", where=parse_conditions(["lang=en", "year>=2021"]))
        with pytest.raises(FilterError, match="'colour'"):
            search.search("fox", where=parse_conditions(["colour=red"]))

    assert sorted(ids(found)) == ["hen", "sky"]


def test_nothing_found_is_an_empty_answer() -> None:
    """It is no error, with a cross-encoder neither."""
    reranker = SlowReranker()
    with pipeline(reranker, retriever=MemoryRetriever([])) as search:
        result = search.search("fox")
        late = search.search("fox", deadline_ms=1)
    with pipeline(reranker) as search:
        no_word = search.search("zebra", mode="bm25")

    for empty in (result, late, no_word):
        assert (empty.hits, empty.num_candidates, empty.partial) == ((), 0, False)
    assert reranker.calls == []


def test_the_least_score_is_on_the_scale_of_the_answer() -> None:
    """Of the cross-encoder where there is one; what it did not read is left out, because nobody knows its score."""
    with pipeline(SlowReranker()) as search:
        assert ids(search.search("red fox", min_score=0.0)) == ["fox"]
        assert ids(search.search("red fox", min_score=Threshold(0.0, "logit"))) == ["fox"]
        assert ids(search.search("red fox", min_score=-99.0, num_candidates=1)) == ["fox"]
        first = search.search("red fox", mode="dense", min_score=0.1, rerank=False)
        with pytest.raises(ScaleError, match="'unit'"):
            search.search("red fox", min_score=Threshold(0.5, "unit"))
        with pytest.raises(ScaleError, match="'rrf'"):
            search.search("red fox", min_score=Threshold(0.5, "unit"), rerank=False)
    assert first.hits
    assert all(hit.score >= 0.1 for hit in first.hits)


@pytest.mark.parametrize(
    ("query", "error"),
    [("", EmptyInputError), (" \n", EmptyInputError), (None, TextError), ("a\ud800", TextError)],
)
def test_a_query_that_is_none(query: Any, error: type[Exception]) -> None:
    """It is refused before anything is asked."""
    retriever = MemoryRetriever()
    with pipeline(retriever=retriever) as search, pytest.raises(error, match="the query"):
        search.search(query)
    assert retriever.calls == []


@pytest.mark.parametrize(
    "wrong",
    [
        *({"top_k": 0}, {"top_k": True}, {"num_candidates": 0}, {"num_candidates": 1.5}),
        *({"deadline_ms": 0}, {"deadline_ms": float("nan")}, {"mode": "sparse"}),
    ],
)
def test_options_that_make_no_sense(wrong: dict[str, Any]) -> None:
    """They are named with their value."""
    (name,) = wrong
    with pipeline() as search, pytest.raises(SettingError, match=f"{name} is {wrong[name]!r}"):
        search.search("fox", **wrong)


def test_modes_that_the_retriever_does_not_have() -> None:
    """The best that there is is taken if none was named; one that is not there is refused with what is."""
    words = MemoryRetriever(modes=["bm25"])
    vectors = MemoryRetriever(modes=["dense"])
    with pipeline(retriever=words, encoder=None) as search:
        assert search.modes == ("bm25",)
        assert search.search("fox").mode == "bm25"
        for mode in ("hybrid", "dense"):
            with pytest.raises(SettingError, match="memory has no vectors; the search can be bm25"):
                search.search("fox", mode=mode)  # type: ignore[arg-type]
    with pipeline(retriever=vectors) as search:
        assert search.search("fox").mode == "dense"
        with pytest.raises(SettingError, match="no words"):
            search.search("fox", mode="hybrid")
    with pipeline(encoder=None) as search, pytest.raises(SettingError, match="encoder="):
        search.search("fox", mode="dense")
    with pytest.raises(SettingError, match="no encoder"):
        pipeline(retriever=vectors, encoder=None)


def test_a_cross_encoder_with_several_labels_is_refused() -> None:
    """An order needs one number."""
    with pytest.raises(SettingError, match="2 labels"):
        pipeline(SlowReranker(labels=("no", "yes")))


def test_the_parts_stay_open_and_a_closed_search_says_so() -> None:
    """Who opened them closes them; a second close does nothing."""
    retriever = MemoryRetriever()
    search = pipeline(retriever=retriever)
    search.close()
    search.close()

    assert retriever.num_closed == 0
    with pytest.raises(ClosedError, match="make a new one"):
        search.search("fox")


def test_the_real_cross_encoder_in_slices_gives_the_same_order(fake_encoder: CrossEncoder) -> None:
    """Its scores do not depend on how the candidates were sliced."""
    retriever = many(60)
    with pipeline(fake_encoder, retriever=retriever) as search:
        whole = search.search("fox other", top_k=60)
        sliced = search.search("fox other", top_k=60, deadline_ms=60_000)

    assert (sliced.hits, sliced.num_reranked) == (whole.hits, 60)


def test_many_threads_get_their_own_answers(fake_encoder: CrossEncoder) -> None:
    """One pipeline for all of them."""
    queries = [document.full_text for document in ANIMALS] * 8
    with pipeline(fake_encoder) as search, ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda query: search.search(query, top_k=1), queries))

    assert [ids(result) for result in results] == [[document.id] for document in ANIMALS] * 8


def test_an_error_of_either_source_comes_out() -> None:
    """Nobody waits for ever for the other one."""

    def fail(kind: str) -> Any:
        def before(asked: str) -> None:
            if asked == kind:
                raise FilterError(kind)

        return before

    for kind in ("dense", "bm25"):
        with (
            pipeline(retriever=MemoryRetriever(before=fail(kind))) as search,
            pytest.raises(FilterError, match=kind),
        ):
            search.search("fox")


def test_a_retriever_may_give_any_sequence() -> None:
    """A tuple of candidates is as good as a list."""

    class Tuples(MemoryRetriever):
        def by_words(self, query: str, **options: Any) -> tuple[Candidate, ...]:
            return tuple(super().by_words(query, **options))

    with pipeline(retriever=Tuples()) as search:
        assert ids(search.search("fox", mode="bm25")) == ["den", "fox"]


def test_the_first_stage_can_keep_a_say() -> None:
    """With a blend the order is of both; scores stay the cross-encoder's, and what was not read stays behind."""
    retriever = MemoryRetriever(
        Document(id=f"d{place}", text=f"fox {'hen ' * (place % 3 % 2)}{'other ' * place}")
        for place in range(9)
    )
    options: dict[str, Any] = {"top_k": 9, "num_candidates": 6, "mode": "dense"}
    with pipeline(SlowReranker(), retriever=retriever) as search:
        alone = search.search("fox hen", **options, rerank=False)
        reranked = search.search("fox hen", **options)
        blended = search.search("fox hen", **options, blend=0.5)
        first = search.search("fox hen", **options, blend=1.0)

    assert (reranked.blend, blended.blend) == (0.0, 0.5)
    assert ids(first) == ids(alone)
    assert ids(reranked) != ids(first)
    assert {hit.document.id: hit.score for hit in blended.hits} == {
        hit.document.id: hit.score for hit in reranked.hits
    }
    assert [hit.reranked for hit in blended.hits] == [True] * 6 + [False] * 3
    assert ids(blended)[6:] == ids(alone)[6:]


def test_a_blend_without_a_cross_encoder_is_none() -> None:
    """Nothing is blended, and the result says so; a weight that is none is refused."""
    with pipeline() as search:
        assert search.search("fox", blend=0.5).blend == 0.0
        with pytest.raises(SettingError, match="blend is 2"):
            search.search("fox", blend=2)
