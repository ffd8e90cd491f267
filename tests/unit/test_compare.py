"""Comparisons without weights: what is measured, that all systems see the same, and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score
from tests.comparisons import (
    NUM_DOCUMENTS,
    fake_models,
    judged_folder,
    no_progress,
    of_folder,
    of_pairs,
    pairs_of,
)

from pairscore.errors import EmptyInputError, InputError, SettingError
from pairscore.evaluation.bm25 import BM25
from pairscore.evaluation.calibration import reliability
from pairscore.evaluation.compare import compare_examples
from pairscore.evaluation.compare_labels import best_threshold, gap_of, most_apart, reliability_of
from pairscore.evaluation.compare_parts import CompareOptions
from pairscore.evaluation.compare_rankings import candidates_to_compare, compare_rankings
from pairscore.evaluation.datasets import Judged, read_beir
from pairscore.evaluation.rankings import measure_run


@pytest.fixture(autouse=True)
def few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """How sure a number is has tests of its own; here a few samples will do."""
    monkeypatch.setattr("pairscore.evaluation.significance._NUM_RESAMPLES", 500)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty-four judged queries with a run."""
    return judged_folder(tmp_path / "data")


def _named(comparison, name):
    found = comparison.system(name)
    assert found is not None
    return found


# -------------------------------------------------------------------------------------------------- pairs


def test_binary_pairs_are_measured_by_auc() -> None:
    """Each system's AUC is that of its own scores; the tests are between each two."""
    data = pairs_of()

    found = of_pairs(data)

    assert [system.name for system in found.systems] == ["cross-encoder", "bi-encoder", "BM25"]
    for system in found.systems:
        assert system.measures["AUC"].value == pytest.approx(
            roc_auc_score(data.positive, system.scores)
        )
        assert system.measures["AUC"].value in system.measures["AUC"].interval
        assert system.speed is not None
        assert system.speed.p95_ms >= system.speed.p50_ms > 0.0
    assert [(test.first, test.second) for test in found.pairwise] == [
        ("cross-encoder", "bi-encoder"),
        ("cross-encoder", "BM25"),
        ("bi-encoder", "BM25"),
    ]
    assert found.pairwise[0].difference.value == pytest.approx(
        found.systems[0].measures["AUC"].value - found.systems[1].measures["AUC"].value
    )


def test_scores_are_those_of_the_models_themselves() -> None:
    """The comparison scores as the library does: nothing is lost, nothing swapped."""
    data, models = pairs_of(20), fake_models()
    found = of_pairs(data)

    cosines = np.einsum(
        "ij,ij->i",
        models.bi.encode_queries([first for first, _ in data.pairs]),
        models.bi.encode_documents([second for _, second in data.pairs]),
    )
    assert _named(found, "cross-encoder").scores == pytest.approx(models.cross.predict(data.pairs))
    assert _named(found, "bi-encoder").scores == pytest.approx(cosines, abs=1e-6)
    assert found.main_measure == "AUC"


def test_graded_pairs_are_measured_by_correlations() -> None:
    """Spearman first; related is the upper fifth of the scale, unless it is said."""
    data = pairs_of(graded=True)

    found, other = of_pairs(data), of_pairs(data, positive_from=2.0)

    scores = _named(found, "cross-encoder").scores
    measures = _named(found, "cross-encoder").measures
    assert measures["Spearman"].value == pytest.approx(
        stats.spearmanr(scores, data.grades).statistic
    )
    assert measures["Pearson"].value == pytest.approx(np.corrcoef(scores, data.grades)[0, 1])
    assert found.related.tolist() == (data.grades >= 4.0).tolist()
    assert other.related.tolist() == (data.grades >= 2.0).tolist()
    assert "grade 4 and up" in found.related_means


def test_the_same_data_gives_the_same_numbers() -> None:
    """Everything but the times."""
    one, other = of_pairs(pairs_of()), of_pairs(pairs_of())

    assert one.pairwise == other.pairwise
    assert [system.measures for system in one.systems] == [
        system.measures for system in other.systems
    ]
    assert one.reliability == other.reliability


def test_examples_show_the_point_and_recommend_nothing() -> None:
    """All nine side by side, with a gap; too few to say more, and the report says so."""
    found = compare_examples(fake_models(), options=CompareOptions(), progress=no_progress)

    assert len(found.rows) == found.num_pairs == 9
    assert _named(found, "cross-encoder").gap is not None
    assert (found.advice.system, found.advice.threshold) == (None, None)
    assert "Not enough data" in found.advice.sentences[0]


def test_a_system_can_be_left_out() -> None:
    """Without a bi-encoder and BM25 the cross-encoder stands alone, without a test."""
    models = replace(fake_models(bm25=False), bi=None)

    found = compare_examples(models, options=CompareOptions(), progress=no_progress)

    assert [system.name for system in found.systems] == ["cross-encoder"]
    assert found.pairwise == ()


def test_a_grade_that_separates_nothing_is_refused() -> None:
    """With the grades that there are."""
    with pytest.raises(InputError, match="go from 0 to 5"):
        of_pairs(pairs_of(graded=True), positive_from=6.0)


@pytest.mark.parametrize(
    "settings",
    [{"num_candidates": 0}, {"price_per_hour": -1.0}, {"price_per_hour": math.nan}],
    ids=["candidates", "price", "NaN"],
)
def test_settings_that_make_no_sense(settings) -> None:
    """Refused when they are made."""
    with pytest.raises(SettingError):
        CompareOptions(**settings)


# ----------------------------------------------------------------------------------------------- rankings


def test_a_runs_candidates_are_scored_by_all(folder: Path) -> None:
    """The run's own order, and each system's of the same candidates, measured as trec_eval does."""
    found = of_folder(folder)

    judged = read_beir(folder)
    own = measure_run(judged.runs["first"], judged.qrels, ["nDCG@10"])["nDCG@10"]
    assert [system.name for system in found.systems] == [
        "cross-encoder",
        "bi-encoder",
        "BM25",
        "run first",
    ]
    assert _named(found, "run first").measures["nDCG@10"].value == pytest.approx(own.mean)
    assert _named(found, "run first").speed is None
    assert found.num_pairs == 24 * NUM_DOCUMENTS
    assert {len(system.scores) for system in found.systems} == {24 * NUM_DOCUMENTS}
    # Only the relevant documents have the query's words.
    assert _named(found, "BM25").measures["nDCG@10"].value > 0.9


def test_every_candidate_gets_its_own_score(folder: Path) -> None:
    """Query by query and in parts, the scores are those of the library for the same pairs."""
    found, models = of_folder(folder), fake_models()

    first = candidates_to_compare(read_beir(folder), options=CompareOptions()).first
    query = first.queries[-1]
    pairs = [(query.query, text) for text in query.texts]
    cosines = models.bi.encode_documents(query.texts) @ models.bi.encode_queries([query.query])[0]
    of_last = {system.name: system.scores[-NUM_DOCUMENTS:] for system in found.systems}
    assert of_last["cross-encoder"] == pytest.approx(models.cross.predict(pairs))
    assert of_last["bi-encoder"] == pytest.approx(cosines, abs=1e-6)
    assert of_last["run first"] == pytest.approx(query.scores)


def test_fewer_candidates_leave_the_others_behind(folder: Path) -> None:
    """Of 7 candidates one relevant document comes up, of more both; the others keep their order."""
    few, many = of_folder(folder, num_candidates=7), of_folder(folder)

    assert [depth.num_candidates for depth in many.depths] == [0, 10, NUM_DOCUMENTS]
    assert many.depths[0].quality.value == _named(many, "run first").measures["nDCG@10"].value
    assert many.depths[-1].quality.value == pytest.approx(
        _named(many, "cross-encoder").measures["nDCG@10"].value
    )
    assert many.depths[1].quality.value > few.depths[1].quality.value
    assert few.depths[1].quality.value > few.depths[0].quality.value
    assert [depth.num_candidates for depth in few.depths] == [0, 7]
    assert few.num_pairs == 24 * 7


def test_times_grow_with_the_candidates(folder: Path) -> None:
    """They are sums, so they never fall, whatever the machine does."""
    found = of_folder(folder, price_per_hour=3.6)

    times = [depth.speed.p50_ms for depth in found.depths if depth.speed is not None]
    assert times == sorted(times)
    speed = _named(found, "cross-encoder").speed
    assert speed is not None
    assert speed.num_timed == 24
    # 3.6 an hour is a thousandth a second: a query of so many ms costs, by the thousand, as many thousandths.
    assert speed.price_per_1000 is not None
    assert speed.price_per_1000 > 0.0


def test_without_a_run_bm25_finds_the_candidates(tmp_path: Path) -> None:
    """Of the whole corpus; it is then the first stage, and no second BM25 stands beside it."""
    folder = judged_folder(tmp_path / "data", with_run=False)

    found = of_folder(folder, whole_corpus=True, num_candidates=8)

    judged = read_beir(folder, whole_corpus=True)
    texts = [document.full_text for document in judged.documents.values()]
    first = BM25(texts).best(judged.queries["q0"], limit=8)
    assert [system.name for system in found.systems] == ["cross-encoder", "bi-encoder", "BM25"]
    assert len(first) == 8
    assert found.num_pairs == 24 * 8
    assert found.depths[0].quality.value == pytest.approx(
        _named(found, "BM25").measures["nDCG@10"].value
    )


def test_unjudged_candidates_count_where_nothing_else_is_judged(folder: Path) -> None:
    """They are left out of gaps where a collection judges documents not relevant; else they are unrelated."""
    judged = read_beir(folder)
    only = {
        query: {document: grade for document, grade in grades.items() if grade}
        for query, grades in judged.qrels.items()
    }

    both = _labels(judged)
    relevant_alone = _labels(replace(judged, qrels=only))

    assert (int(both.known.sum()), int(both.related.sum())) == (24 * 3, 24 * 2)
    assert relevant_alone.known.all()


def _labels(judged: Judged):
    return candidates_to_compare(judged, options=CompareOptions()).labels


def test_a_higher_grade_can_be_asked_for(folder: Path) -> None:
    """Then one document of each query is relevant, for the measures too."""
    found = of_folder(folder, positive_from=2)

    assert int(found.related.sum()) == 24
    assert "AP(rel=2)" in _named(found, "cross-encoder").measures


@pytest.mark.parametrize("grade", [0.0, 1.5], ids=["zero", "no whole number"])
def test_grades_of_rankings_are_whole_numbers(folder: Path, grade: float) -> None:
    """As trec_eval has it."""
    with pytest.raises(SettingError, match="whole numbers"):
        of_folder(folder, positive_from=grade)


def test_what_cannot_be_compared_is_refused_before_a_model_is_needed(folder: Path) -> None:
    """No relevant candidate, no such run, no candidate with a text."""
    judged = read_beir(folder)

    with pytest.raises(InputError, match="nothing to find"):
        candidates_to_compare(judged, options=CompareOptions(num_candidates=3))
    with pytest.raises(SettingError, match="there are: first"):
        candidates_to_compare(judged, run="other", options=CompareOptions())
    with pytest.raises(EmptyInputError):
        candidates_to_compare(replace(judged, documents={}), options=CompareOptions())


def test_a_query_without_candidates_counts_zero(folder: Path) -> None:
    """Averages are over all judged queries."""
    judged = read_beir(folder)
    run = judged.runs["first"].only([query for query in judged.queries if query != "q0"])
    options = CompareOptions()

    whole = of_folder(folder)
    lacking = compare_rankings(
        candidates_to_compare(replace(judged, runs={"first": run}), options=options),
        fake_models(bm25=False),
        options=options,
        progress=no_progress,
    )

    one, other = (
        _named(found, "run first").measures["nDCG@10"].value for found in (whole, lacking)
    )
    assert other == pytest.approx(one * 23 / 24, rel=0.02)
    assert lacking.num_queries == 24


# ------------------------------------------------------------------------------------------------- labels


def test_gap_as_computed_by_hand() -> None:
    """Means, their distance, and the distance in pooled standard deviations."""
    found = gap_of(np.array([1.0, 3.0, -1.0, 1.0]), np.array([True, True, False, False]))

    assert found is not None
    assert (found.mean_related, found.mean_unrelated, found.value) == (2.0, 0.0, 2.0)
    assert found.standardised == pytest.approx(2.0 / math.sqrt(2.0))
    assert found.auc == 7 / 8
    assert gap_of(np.array([1.0, 2.0]), np.array([True, True])) is None


def test_best_threshold_stands_between_the_two_kinds() -> None:
    """Half-way, so that rounding decides nothing; held-out pairs agree where the kinds are far apart."""
    scores = np.concatenate([np.linspace(2.0, 3.0, 20), np.linspace(-3.0, -2.0, 20)])
    related = np.arange(40) < 20

    found = best_threshold(scores, related, np.arange(40), scale="logit")

    assert found is not None
    assert found.value == pytest.approx(0.0)
    assert (found.f1, found.held_out_f1, found.precision, found.recall) == (1.0, 1.0, 1.0, 1.0)
    assert found.scale == "logit"


def test_held_out_says_what_a_threshold_is_worth() -> None:
    """On noise the best threshold flatters itself."""
    draw = np.random.default_rng(1)
    scores, related = draw.normal(size=60), draw.random(60) < 0.3

    found = best_threshold(scores, related, np.arange(60), scale="cosine")

    assert found is not None
    assert found.held_out_f1 < found.f1


def test_too_few_labels_give_no_threshold() -> None:
    """Nine related pairs are not ten."""
    related = np.arange(40) < 9

    assert best_threshold(np.arange(40.0), related, np.arange(40), scale="logit") is None
    assert reliability_of(np.linspace(0, 1, 40), related) is None


def test_reliability_is_that_of_calibrate() -> None:
    """The same bins, the same ECE."""
    draw = np.random.default_rng(2)
    probabilities = np.round(draw.random(200), 2)
    related = draw.random(200) < probabilities

    found = reliability_of(probabilities, related)

    expected = reliability(probabilities, related)
    assert found is not None
    assert [(part.probability, part.frequency, part.num_pairs) for part in found.bins] == [
        (part.probability, part.frequency, part.num_pairs) for part in expected
    ]


def test_shown_are_all_pairs_or_those_most_apart() -> None:
    """Of many, the ten that two systems rank most differently."""
    ranks = np.arange(30.0)
    swapped = ranks.copy()
    swapped[[4, 25]] = swapped[[25, 4]]

    assert most_apart(ranks, swapped, count=20) == list(range(20))
    assert set(most_apart(ranks, swapped, count=30)[:2]) == {4, 25}
    assert len(most_apart(ranks, swapped, count=30)) == 10
