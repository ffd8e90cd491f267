"""Runs that are made, reranked and measured in the library, with a model that is a rule."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.judged import DOCUMENTS, beir_folder, flat_folder, write_files

from pairscore import CrossEncoder
from pairscore.errors import DataFileError, EmptyInputError, SettingError
from pairscore.evaluation import dense
from pairscore.evaluation.cached import CachedCrossEncoder, CachedVectors
from pairscore.evaluation.datasets import read_beir
from pairscore.evaluation.dense import dense_run, fused_run, with_run
from pairscore.evaluation.evaluate import (
    RankingOptions,
    evaluate_runs,
    num_pairs_to_score,
    rerank,
)
from pairscore.evaluation.runs import Run, ranking_of
from pairscore.values import FloatArray


class Words:
    """An encoder of eight words: near are the texts that share them."""

    name, dimension, fingerprint = "words", 8, "words-1"

    def encode_queries(self, texts: Sequence[str]) -> FloatArray:
        known = ("berlin", "people", "wine", "grapes", "red", "museums", "river", "vines")
        found = np.float32([[word in text.lower() for word in known] for text in texts]) + 0.01
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    encode_documents = encode_queries


def test_a_corpus_is_searched_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The best of all parts, with their own ids, whatever the parts' size; as brute force finds them."""
    judged = read_beir(beir_folder(tmp_path))
    encoder = Words()
    texts = [f"{title} {text}" for title, text in DOCUMENTS.values()]
    cosines = (
        encoder.encode_queries(list(judged.queries.values())) @ encoder.encode_documents(texts).T
    )
    wanted = [ranking_of(list(DOCUMENTS), row).document_ids[:3] for row in cosines]
    for chunk in (1, 2, 100):
        monkeypatch.setattr(dense, "_CHUNK", chunk)
        run = dense_run(judged, CachedVectors(encoder), name="words", top_k=3)
        assert [ranking.document_ids for ranking in run.rankings.values()] == wanted
    assert wanted[1][0] == "d3"


def test_a_corpus_that_cannot_be_searched_is_refused(tmp_path: Path) -> None:
    """An id twice, and nothing to ask for."""
    folder = beir_folder(tmp_path)
    judged = read_beir(folder)
    line = (folder / "corpus.jsonl").read_text().splitlines()[4]
    write_files(folder, {"corpus.jsonl": f"{line}\n{line}\n"})

    with pytest.raises(DataFileError, match="1 ids a second time"):
        dense_run(judged, CachedVectors(Words()), name="words", top_k=3)
    with pytest.raises(SettingError, match="top_k is 0"):
        dense_run(judged, CachedVectors(Words()), name="words", top_k=0)


def test_a_run_that_joins_brings_its_texts(tmp_path: Path) -> None:
    """Those within the depth; a second one of the same name is refused."""
    judged = read_beir(flat_folder(tmp_path), depth=1, limit=1)
    run = Run(name="new", rankings={"q1": ranking_of(("d3", "d4"), [2, 1])})
    found = with_run(judged, run, depth=1)

    assert "d3" in found.documents
    assert "d4" not in found.documents
    assert list(found.runs) == ["bm25", "new"]
    with pytest.raises(SettingError, match="a run 'new' already"):
        with_run(found, run, depth=1)


def test_runs_are_fused_by_their_ranks() -> None:
    """What both have comes first; a query that one lacks is the other's."""
    first = Run(
        name="a", rankings={"q1": ranking_of(("x", "y"), [9, 8]), "q2": ranking_of(("x",), [1])}
    )
    second = Run(name="b", rankings={"q1": ranking_of(("y", "z"), [0.2, 0.1])})
    found = fused_run([first, second])

    assert found.rankings["q1"].document_ids == ("y", "x", "z")
    assert found.rankings["q2"].document_ids == ("x",)
    with pytest.raises(SettingError, match="at least two"):
        fused_run([first])


def test_reranking_is_what_the_model_says(tmp_path: Path, fake_encoder: CrossEncoder) -> None:
    """The best within the depth by their logits; the rest behind, with falling scores."""
    judged = read_beir(flat_folder(tmp_path), depth=2)
    run = rerank(judged, judged.runs["bm25"], CachedCrossEncoder(fake_encoder), depth=2)
    query = judged.queries["q2"]
    logits = dict(
        zip(
            ("d5", "d4"),
            fake_encoder.predict(
                [(query, judged.documents[name].full_text) for name in ("d5", "d4")]
            ).tolist(),
            strict=True,
        )
    )

    ranking = run.rankings["q2"]
    assert ranking.document_ids == (*sorted(logits, key=logits.__getitem__, reverse=True), "d3")
    assert ranking.scores[:2].tolist() == sorted(logits.values(), reverse=True)
    assert (np.diff(ranking.scores) <= 0).all()
    assert ranking.scores[2] < ranking.scores[1]


def test_candidates_that_runs_share_are_scored_once(
    tmp_path: Path, fake_encoder: CrossEncoder
) -> None:
    """And the progress is told of pairs that are different."""
    judged = read_beir(flat_folder(tmp_path))
    judged = with_run(judged, Run(name="again", rankings=judged.runs["bm25"].rankings), depth=100)
    scorer = CachedCrossEncoder(fake_encoder)
    told: list[int] = []
    found = evaluate_runs(judged, scorer, advance=told.append)

    assert (scorer.counts.num_asked, sum(told), num_pairs_to_score(judged, depth=100)) == (6, 6, 6)
    assert [report.num_reranked for report in found.runs] == [6, 6]
    first, second = (report.quality_after["AP"].values.tolist() for report in found.runs)
    assert first == second


def test_without_a_cross_encoder_nothing_is_reranked(tmp_path: Path) -> None:
    """The runs are measured as they are."""
    found = evaluate_runs(read_beir(flat_folder(tmp_path)), None, RankingOptions(measures=["AP"]))

    assert (found.model, found.measures, found.runs[0].after) == (None, ("AP",), None)


def test_what_cannot_be_evaluated_is_refused(tmp_path: Path, fake_encoder: CrossEncoder) -> None:
    """No run; no candidate with a text; no depth."""
    scorer = CachedCrossEncoder(fake_encoder)
    with pytest.raises(EmptyInputError, match="no run"):
        evaluate_runs(read_beir(beir_folder(tmp_path / "a")), scorer)
    gone = read_beir(flat_folder(tmp_path / "b", **{"run.bm25.tsv": "q1 gone\n"}))
    with pytest.raises(EmptyInputError, match="no candidate"):
        evaluate_runs(gone, scorer)
    with pytest.raises(SettingError, match="depth is 0"):
        RankingOptions(depth=0)


def test_a_ranking_can_keep_a_say(tmp_path: Path, fake_encoder: CrossEncoder) -> None:
    """With all the weight the order is the ranking's own; with none the cross-encoder's."""
    judged = read_beir(flat_folder(tmp_path))
    scorer = CachedCrossEncoder(fake_encoder)
    reports = {
        blend: evaluate_runs(judged, scorer, RankingOptions(blend=blend)) for blend in (0.0, 1.0)
    }
    own = judged.runs["bm25"].rankings
    after = {blend: found.runs[0].after for blend, found in reports.items()}

    assert (reports[0.0].blend, reports[1.0].blend) == (0.0, 1.0)
    for query_id, ranking in own.items():
        known = [name for name in ranking.document_ids if name in judged.documents]
        assert after[1.0] is not None
        assert list(after[1.0].rankings[query_id].document_ids[: len(known)]) == known
    assert after[0.0] is not None
    assert any(
        after[0.0].rankings[query_id].document_ids != ranking.document_ids
        for query_id, ranking in own.items()
    )
    with pytest.raises(SettingError, match="blend is -1"):
        RankingOptions(blend=-1)
