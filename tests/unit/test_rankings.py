"""Measures of rankings and pairs: trec_eval's own numbers, its ties, its averages; and one truth with `measures`."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from pairscore.errors import DataFileError, EmptyInputError, OutputFileError, SettingError
from pairscore.evaluation.datasets import scored_pairs
from pairscore.evaluation.measures import ndcg, pearson, spearman
from pairscore.evaluation.rankings import (
    DEFAULT_MEASURES,
    measure_pairs,
    measure_run,
    measures_named,
)
from pairscore.evaluation.runs import Ranking, Run, ranking_of, write_run
from pairscore.evaluation.trec_files import read_run


def _run(**rankings: dict[str, float]) -> Run:
    return Run(
        name="made",
        rankings={
            query: ranking_of(tuple(entries), list(entries.values()))
            for query, entries in rankings.items()
        },
    )


def _random_case(seed: int) -> tuple[Run, dict[str, dict[str, int]]]:
    """Forty queries with sixty candidates, many ties and unjudged documents."""
    dice = np.random.default_rng(seed)
    qrels, rankings = {}, {}
    for number in range(40):
        ids = [f"d{i}" for i in dice.permutation(80)]
        qrels[f"q{number}"] = {
            name: int(grade) for name, grade in zip(ids[:50], dice.integers(-1, 4, 50), strict=True)
        }
        rankings[f"q{number}"] = {
            name: float(score)
            for name, score in zip(ids[20:], dice.integers(0, 25, 60) / 4, strict=True)
        }
    return _run(**rankings), qrels


@pytest.fixture(scope="module")
def pytrec_eval():
    """trec_eval itself."""
    return pytest.importorskip("pytrec_eval")


def test_the_numbers_are_trec_evals(pytrec_eval) -> None:
    """Query by query, on runs with ties, whatever trec_eval's own way of breaking them."""
    run, qrels = _random_case(1)
    given = {
        query: dict(zip(ranking.document_ids, ranking.scores.tolist(), strict=True))
        for query, ranking in run.rankings.items()
    }
    names = {
        "nDCG@10": "ndcg_cut_10",
        "AP": "map",
        "R@10": "recall_10",
        "P@10": "P_10",
        "RR": "recip_rank",
    }
    wanted = pytrec_eval.RelevanceEvaluator(qrels, list(names.values())).evaluate(given)

    found = measure_run(run, qrels, list(names))
    for ours, theirs in names.items():
        assert found[ours].query_ids == tuple(qrels)
        assert found[ours].values.tolist() == pytest.approx(
            [wanted[query][theirs] for query in qrels], abs=1e-12
        )


def test_our_own_ndcg_agrees() -> None:
    """What parity reports use is the same measure."""
    run, qrels = _random_case(2)
    found = measure_run(run, qrels, ["nDCG@10"])["nDCG@10"]
    ours = [
        ndcg(
            [qrels[query].get(name, 0) for name in run.rankings[query].document_ids],
            list(qrels[query].values()),
        )
        for query in qrels
    ]

    assert found.values.tolist() == pytest.approx(ours, abs=1e-12)


def test_a_cut_reciprocal_rank_breaks_ties_as_the_others_do() -> None:
    """ir-measures would take it from another library, which puts the lower id first."""
    run, qrels = _run(q={"a": 1.0, "b": 1.0}), {"q": {"a": 1}}

    found = measure_run(run, qrels, ["RR", "RR@10", "nDCG@1"])
    assert run.rankings["q"].document_ids == ("b", "a")
    assert {name: measured.mean for name, measured in found.items()} == {
        "RR": 0.5,
        "RR@10": 0.5,
        "nDCG@1": 0.0,
    }


def test_scores_tie_where_float32_cannot_tell_them_apart() -> None:
    """trec_eval holds scores so."""
    assert ranking_of(("a", "b"), [1.00000001, 1.0]).document_ids == ("b", "a")
    assert ranking_of(("a", "b"), [1.0001, 1.0]).document_ids == ("a", "b")


def test_every_judged_query_counts() -> None:
    """One that is not ranked, and one without a relevant document, are 0; one that is not judged does not count."""
    run = _run(q1={"a": 1.0}, q2={"a": 1.0}, q9={"a": 1.0})
    qrels = {"q1": {"a": 1}, "q2": {"a": 0}, "q3": {"a": 1}}

    found = measure_run(run, qrels, DEFAULT_MEASURES)
    for measured in found.values():
        assert measured.query_ids == ("q1", "q2", "q3")
        assert measured.values[0] > 0
        assert measured.values[1:].tolist() == [0.0, 0.0]
    assert found["AP"].mean == pytest.approx(1 / 3)
    with pytest.raises(EmptyInputError):
        measure_run(run, {}, ["AP"])


def test_the_ideal_knows_documents_that_were_not_found() -> None:
    """All judgements count, whether their documents are ranked or not."""
    found = measure_run(_run(q={"a": 1.0}), {"q": {"a": 1, "b": 1}}, ["nDCG@10", "R@10"])

    assert found["nDCG@10"].mean == pytest.approx(1 / (1 + 1 / math.log2(3)))
    assert found["R@10"].mean == 0.5


def test_measures_have_many_spellings() -> None:
    """ir-measures' own, and what papers call them; each counts once."""
    names = ["MRR@10", "rr@10", "MAP", "ndcg@10", "Recall@100", "AP(rel=2)", "Success@5"]

    assert list(measures_named(names)) == [
        "RR@10",
        "AP",
        "nDCG@10",
        "R@100",
        "AP(rel=2)",
        "Success@5",
    ]


def test_the_lowest_relevant_grade_can_be_said() -> None:
    """For measures that know relevant and not, and say nothing themselves."""
    named = measures_named(["nDCG@10", "AP", "AP(rel=3)", "R@10"], min_grade=2)
    found = measure_run(_run(q={"a": 1.0}), {"q": {"a": 1}}, measures_named(["AP"], min_grade=2))

    assert list(named) == ["nDCG@10", "AP(rel=2)", "AP(rel=3)", "R(rel=2)@10"]
    assert found["AP(rel=2)"].mean == 0.0
    with pytest.raises(SettingError, match="at least 1"):
        measures_named(["AP"], min_grade=0)


@pytest.mark.parametrize(
    "name", ["", "good", "nDCG@", "nDCG@x", "nDCG@0", "AP(of=2)", "P", "AP(", "1+1"]
)
def test_what_is_no_measure_is_refused(name: str) -> None:
    """With some that are."""
    with pytest.raises(SettingError, match="is no measure"):
        measures_named([name])


def test_no_measure_at_all_is_refused() -> None:
    """Nothing would be said."""
    with pytest.raises(SettingError, match="no measure"):
        measures_named([])


def test_a_run_is_written_as_it_is_read(tmp_path: Path) -> None:
    """Nine digits give every float32 back, and so the order."""
    scores = np.nextafter(np.float32(7.1), np.float32([8, 0, 7.1])).astype(np.float32)
    run = Run(name="my run", rankings={"q": ranking_of(("a", "b", "c"), scores)})
    write_run(tmp_path / "run.txt", run)
    found = read_run(tmp_path / "run.txt", name="run")

    assert found.rankings["q"].document_ids == ("a", "c", "b")
    assert found.rankings["q"].scores.tolist() == run.rankings["q"].scores.tolist()
    assert (tmp_path / "run.txt").read_text().splitlines()[0].split() == [
        *("q", "Q0", "a", "1"),
        f"{float(scores[0]):.9g}",
        "my_run",
    ]


def test_a_run_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    """An existing file is not replaced unasked, and an id with a blank leaves nothing behind."""
    good = _run(q={"a": 1.0})
    bad = Run(name="x", rankings={"q": Ranking(("a", "b c"), np.zeros(2, np.float32))})
    path = tmp_path / "run.txt"
    write_run(path, good)
    before = path.read_bytes()

    with pytest.raises(OutputFileError, match="exists already"):
        write_run(path, good)
    with pytest.raises(DataFileError, match="'b c'"):
        write_run(path, bad, overwrite=True)
    with pytest.raises(OutputFileError, match="cannot be written"):
        write_run(tmp_path / "nowhere" / "run.txt", good)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.txt"]


def test_graded_pairs_have_correlations() -> None:
    """Those of `measures`, which everything else uses."""
    dice = np.random.default_rng(3)
    grades, scores = dice.integers(0, 6, 50).astype(float), dice.normal(size=50).astype(np.float32)
    pairs = scored_pairs([(f"a{i}", f"b{i}") for i in range(50)], grades)
    found = measure_pairs(pairs, scores)

    assert found.values == {
        "spearman": spearman(grades, scores.astype(float)),
        "pearson": pearson(grades, scores.astype(float)),
    }
    assert found.f1_threshold is None


def test_binary_pairs_have_thresholds() -> None:
    """The best of all that the scores allow; equal scores are on one side together."""
    pairs = scored_pairs([("a", str(i)) for i in range(5)], [1, 1, 0, 1, 0])
    found = measure_pairs(pairs, np.float32([0.9, 0.5, 0.5, 0.4, 0.1]))

    assert found.values["f1"] == pytest.approx(6 / 7)
    assert found.f1_threshold == pytest.approx(0.4)
    assert found.values["accuracy"] == pytest.approx(4 / 5)
    assert found.values["auc"] == pytest.approx(4.5 / 6)
    assert found.values["average_precision"] == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)


def test_perfect_scores_are_perfect() -> None:
    """Every measure is 1, and the thresholds are the lowest positive score."""
    pairs = scored_pairs([("a", str(i)) for i in range(4)], [0, 1, 0, 1])
    found = measure_pairs(pairs, np.float32([-1, 2, -3, 4]))

    assert set(found.values.values()) == {1.0}
    assert found.f1_threshold == found.accuracy_threshold == 2.0


def test_a_cut_run_and_some_queries() -> None:
    """Runs can be made shallower and narrower."""
    run = _run(q1={"a": 2.0, "b": 1.0}, q2={"a": 1.0})

    assert run.cut(1).rankings["q1"].document_ids == ("a",)
    assert list(run.only({"q2"}).rankings) == ["q2"]
    assert (run.deepest, run.num_entries) == (2, 3)
    with pytest.raises(SettingError):
        run.cut(0)
