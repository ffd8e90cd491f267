"""Evaluators of a training: the right measures for the data, and values that others compute too."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from pairscore.errors import BackendError, NonFiniteScoreError, SettingError
from pairscore.evaluation.calibration import expected_calibration_error, fit_curve
from pairscore.evaluation.rankings import measure_run
from pairscore.evaluation.runs import Run, ranking_of
from pairscore.training.data import LabelledPair, RankedList, Triplet, training_data
from pairscore.training.evaluator_calibration import calibration_measures, fit_platt
from pairscore.training.evaluator_labels import class_measures, folds_of, two_class_measures
from pairscore.training.evaluator_ranking import Rankable, ranking_measures, ranks_before
from pairscore.training.evaluator_rows import NUM_OTHERS, judged
from pairscore.training.evaluators import evaluator_for


def pairs_data(labels, *, kind="binary", per_query=1, names=()):
    """Pairs with these labels, so many of each query."""
    rows = [
        LabelledPair(
            query=f"q{i // per_query}", document=f"d{i}", label=float(y), place=f"line {i}"
        )
        for i, y in enumerate(labels)
    ]
    return training_data(rows, name="dev", kind="pairs", labels=kind, label_names=names)


def lists_data(*lists, kind="binary"):
    """One list of labels for each query."""
    rows = [
        RankedList(
            query=f"q{i}",
            documents=tuple(f"d{i}-{j}" for j in range(len(labels))),
            labels=tuple(map(float, labels)),
            place=f"line {i}",
        )
        for i, labels in enumerate(lists)
    ]
    return training_data(rows, name="dev", kind="lists", labels=kind)


def giving(logits):
    """A scorer that puts these out, whatever it is asked."""
    return lambda pairs: np.asarray(logits, dtype=np.float32)[: len(pairs)]


# ------------------------------------------------------------------------------------ which measures


@pytest.mark.parametrize(
    ("data", "task", "name", "primary"),
    [
        (lists_data([1, 0]), None, "reranking", "ndcg@10"),
        (lists_data([2.5, -1.0], kind="teacher"), "relevance", "correlation", "spearman"),
        (pairs_data([1, 0] * 6, per_query=2), None, "reranking", "ndcg@10"),
        (pairs_data([1, 0] * 6), None, "classification", "average_precision"),
        (pairs_data([1, 0] * 6, per_query=2), "duplicate", "classification", "average_precision"),
        (pairs_data([0, 2, 5, 3], kind="graded"), "similarity", "correlation", "spearman"),
        (pairs_data([0, 2, 1, 3], kind="graded", per_query=2), "relevance", "reranking", "ndcg@10"),
        (pairs_data([-3.1, 7.0, 1.0], kind="teacher"), "relevance", "correlation", "spearman"),
        (pairs_data([0, 1, 2], kind="classes", names=("a", "b", "c")), "nli", "nli", "accuracy"),
        (pairs_data([1, 1, 1], kind="none"), None, "reranking", "ndcg@10"),
    ],
)
def test_data_and_task_choose_the_measures(data, task, name, primary):
    """Each kind of data is judged by what fits it, and the primary measure is among the values."""
    evaluator = evaluator_for(data, task)
    shape = (len(evaluator.pairs), evaluator.num_labels)
    logits = np.random.default_rng(0).normal(size=shape).astype(np.float32)

    values = evaluator.evaluate(giving(logits if evaluator.num_labels > 1 else logits[:, 0]))

    assert (name, primary) == (evaluator.name, evaluator.primary)
    assert primary in values
    assert all(np.isfinite(list(values.values())))


@pytest.mark.parametrize(
    ("data", "task", "said"),
    [
        (pairs_data([]), None, "holds no row"),
        (pairs_data([1, 1, 1]), "duplicate", "every label of dev is 1"),
        (pairs_data([0, 1], kind="classes", names=("a", "b")), "similarity", "needs classes"),
        (pairs_data([0, 1]), "nli", "needs classes"),
        (lists_data([1, 1], [0, 0]), None, "nothing can be ranked"),
    ],
)
def test_data_that_cannot_tell_models_apart_is_refused(data, task, said):
    """Labels that are all the same, or of the wrong kind, are said before anything is trained."""
    with pytest.raises(SettingError, match=said):
        evaluator_for(data, task)


def test_logits_of_a_wrong_shape_and_nan_are_refused():
    """A model with other labels than the data, and one that has burst, are told apart and never measured."""
    evaluator = evaluator_for(pairs_data([1, 0, 1, 0]), "duplicate")

    with pytest.raises(BackendError, match=r"shape \(4, 3\)"):
        evaluator.evaluate(giving(np.zeros((4, 3))))
    with pytest.raises(NonFiniteScoreError, match="1 of 4 logits"):
        evaluator.evaluate(giving([0.0, np.nan, 1.0, 2.0]))


def test_a_column_of_logits_is_a_list_of_them():
    """Models with one label may give (num_pairs, 1)."""
    evaluator = evaluator_for(pairs_data([1, 0, 1, 0]), "duplicate")
    logits = np.array([2.0, -1.0, 1.0, 0.0])

    assert evaluator.evaluate(giving(logits[:, np.newaxis])) == evaluator.evaluate(giving(logits))


# ---------------------------------------------------------------------------------------- reranking


def test_rankings_are_measured_as_trec_eval_does():
    """nDCG@10 and MRR@10 of distinct scores are those of ir-measures, query by query."""
    rng = np.random.default_rng(3)
    labels = [rng.integers(0, 4, size=15) for _ in range(20)]
    evaluator = evaluator_for(lists_data(*labels, kind="graded"), "relevance")
    logits = rng.normal(size=300)
    names = [f"d{j:02}" for j in range(15)]
    run = {f"q{i}": ranking_of(names, logits[15 * i : 15 * i + 15]) for i in range(len(labels))}
    qrels = {f"q{i}": dict(zip(names, map(int, row), strict=True)) for i, row in enumerate(labels)}
    wanted = measure_run(Run(name="x", rankings=run), qrels, ("nDCG@10", "RR@10"))

    values = evaluator.measures(logits)

    assert values["ndcg@10"].items == pytest.approx(wanted["nDCG@10"].values)
    assert values["mrr@10"].items == pytest.approx(wanted["RR@10"].values)


def test_ties_count_what_they_are_worth_on_average():
    """The value of equal scores is the mean over all orders in which they could stand."""
    labels, scores = np.array([1.0, 0.0, 2.0, 0.0, 1.0]), np.array([1.0, 1.0, 0.0, 1.0, 0.0])
    found = ranking_measures(scores, Rankable.of(np.zeros(5, np.int64), labels))
    each = {"ndcg@10": [], "mrr@10": []}
    for order in permutations(range(5)):
        apart = scores + np.argsort(order) * 1e-3
        one = ranking_measures(apart, Rankable.of(np.zeros(5, np.int64), labels))
        for name, values in each.items():
            values.append(one[name].value)

    assert {name: measure.value for name, measure in found.items()} == {
        name: pytest.approx(np.mean(values)) for name, values in each.items()
    }


def test_a_model_that_scores_all_pairs_alike_does_not_look_good():
    """Files have the right document first; a broken model must not profit from that."""
    evaluator = evaluator_for(lists_data(*[[1] + [0] * 9] * 5))

    values = evaluator.evaluate(giving(np.zeros(50)))

    assert values["mrr@10"] == pytest.approx(np.mean(1.0 / np.arange(1, 11)))


def test_what_stands_below_rank_ten_counts_nothing():
    """Neither for nDCG@10 nor for MRR@10, also where it is tied."""
    evaluator = evaluator_for(lists_data([1] + [0] * 11))
    last, tied = -np.arange(12.0)[::-1], np.r_[0.0, np.ones(10), 0.0]

    assert evaluator.evaluate(giving(last)) == {"ndcg@10": 0.0, "mrr@10": 0.0}
    assert evaluator.evaluate(giving(tied))["mrr@10"] == 0.0


def test_a_query_with_one_label_is_left_out_of_rankings():
    """Nothing can be ranked wrongly for it, so it would only lift the mean."""
    rankable = Rankable.of(np.array([0, 1, 0, 1]), np.array([1.0, 1.0, 0.0, 1.0]))

    assert [part.tolist() for part in rankable.places] == [[0, 2]]
    assert rankable.num_left_out == 1


def test_the_order_of_the_file_is_a_ranking_unless_it_is_sorted_by_label():
    """A first stage's order is measured; one that is sorted by label is nobody's ranking."""
    ranked = evaluator_for(lists_data([0, 1, 0], [1, 0, 0])).order_before
    by_label = evaluator_for(lists_data([1, 0, 0], [1, 1, 0])).order_before

    assert ranked["mrr@10"].value == pytest.approx(0.75)
    assert by_label == {}
    assert ranks_before(Rankable.of(np.zeros(2, np.int64), np.array([0.0, 1.0]))) is None


def test_triplets_are_ranked_and_counted():
    """A pair that stands in several triplets is scored once; a tie is half a success."""
    rows = [
        Triplet(query="q", positive="good", negative=bad, margin=None, place="x")
        for bad in ("one", "two")
    ]
    evaluator = evaluator_for(training_data(rows, name="t", kind="triplets", labels="none"))

    values = evaluator.evaluate(giving([1.0, 1.0, 0.0]))

    assert evaluator.pairs == (("q", "good"), ("q", "one"), ("q", "two"))
    assert values["triplet_accuracy"] == 0.75


def test_pairs_without_labels_stand_against_documents_of_others():
    """A positive must beat 19 documents that belong to other queries, always the same ones."""
    data = pairs_data([1.0] * 40, kind="none")
    found = judged(data)

    assert len(found.pairs) == 40 * (1 + NUM_OTHERS)
    assert found.pairs == judged(data).pairs
    assert found.labels.sum() == 40
    assert len(set(found.pairs)) == len(found.pairs)


# --------------------------------------------------------------------------------- labels and grades


def test_two_classes_are_measured_as_scikit_learn_does():
    """Average precision, AUC, and F1 at a threshold, with ties among the scores."""
    rng = np.random.default_rng(4)
    scores, positive = rng.integers(0, 20, size=200).astype(float), rng.random(200) < 0.4
    found = two_class_measures(scores, positive, np.arange(200))

    assert found["average_precision"].value == pytest.approx(
        average_precision_score(positive, scores)
    )
    assert found["auc"].value == pytest.approx(roc_auc_score(positive, scores))


def test_thresholds_are_chosen_on_other_queries():
    """Scores that say nothing are right half of the time, however well a threshold could be fitted to these pairs."""
    rng = np.random.default_rng(5)
    positive = np.arange(40) % 2 == 0
    held_out, flattered = [], []
    for _ in range(20):
        scores = rng.normal(size=40)
        found = two_class_measures(scores, positive, np.arange(40))
        held_out.append(found["accuracy"].value)
        flattered.append(max(np.mean((scores >= cut) == positive) for cut in scores))

    assert np.mean(flattered) > 0.58
    assert np.mean(held_out) < 0.52


def test_the_threshold_lies_between_the_classes():
    """It is told on the logits' scale, half-way between two scores."""
    evaluator = evaluator_for(pairs_data([0, 0, 1, 1]), "similarity")

    assert evaluator.evaluate(giving([-3.0, -1.0, 2.0, 4.0]))["f1_threshold"] == 0.5


def test_pearson_is_of_the_score_and_spearman_of_its_order():
    """A similarity model's score is the sigmoid; of a teacher's logits both are taken as they are."""
    grades = [0.1, 0.4, 0.5, 0.9]
    logits = np.log(np.array(grades) / (1.0 - np.array(grades)))
    similar = evaluator_for(pairs_data(grades, kind="graded"), "similarity")
    taught = evaluator_for(pairs_data([-3.0, 1.0, 2.0, 9.0], kind="teacher"), "similarity")

    assert similar.evaluate(giving(logits))["pearson"] == pytest.approx(1.0, abs=1e-6)
    assert taught.evaluate(giving([-3.0, 1.0, 2.0, 9.0]))["pearson"] == pytest.approx(1.0)


def test_scores_without_any_order_correlate_with_nothing():
    """A model that collapsed gets 0 and no NaN, so that early stopping can compare it."""
    evaluator = evaluator_for(pairs_data([0, 2, 5, 3], kind="graded"), "similarity")

    assert evaluator.evaluate(giving(np.zeros(4)))["spearman"] == 0.0


def test_macro_f1_gives_each_class_the_same_weight():
    """A model that always says the common class has a good accuracy and a bad macro F1."""
    classes = np.array([0] * 9 + [1])
    found = class_measures(np.tile([1.0, 0.0], (10, 1)), classes, np.arange(10))

    assert found["accuracy"].value == pytest.approx(0.9)
    assert found["macro_f1"].value == pytest.approx(
        f1_score(classes, np.zeros(10), average="macro")
    )


# ---------------------------------------------------------------------------------------- calibration


def test_calibration_is_measured_as_pairscore_calibrate_does():
    """The same error of the same bins, and for labels 0 and 1 the same curve."""
    rng = np.random.default_rng(6)
    logits = rng.normal(size=300) * 3.0
    positive = rng.random(300) < 1.0 / (1.0 + np.exp(-0.5 * logits + 1.0))
    truth = positive.astype(float)
    wanted = fit_curve(logits, positive, method="platt")
    found = fit_platt(logits, truth)

    assert (found.slope, found.intercept) == pytest.approx(
        (wanted.slope, wanted.intercept), abs=1e-5
    )
    assert calibration_measures(logits, truth, np.arange(300))["ece"].value == pytest.approx(
        expected_calibration_error(1.0 / (1.0 + np.exp(-logits)), positive)
    )


def test_a_curve_is_measured_on_queries_that_it_never_saw():
    """Logits that are off by a factor are put right, and each fifth is measured by the curve of the others."""
    rng = np.random.default_rng(7)
    logits = 5.0 * rng.normal(size=1000)
    truth = (rng.random(1000) < 1.0 / (1.0 + np.exp(-logits / 5.0))).astype(float)
    groups = np.arange(1000) // 2
    folds = folds_of(groups)
    found = calibration_measures(logits, truth, groups)
    errors = [
        (fit_platt(logits[folds != fold], truth[folds != fold])(logits[folds == fold])
         - truth[folds == fold]) ** 2
        for fold in range(5)
    ]  # fmt: skip

    assert found["ece_calibrated"].value < 0.05 < found["ece"].value
    assert found["brier_calibrated"].value == pytest.approx(np.concatenate(errors).mean())
    assert found["brier_calibrated"].value < found["brier"].value


def test_whole_queries_are_held_out():
    """No query has pairs in two parts."""
    groups = np.repeat(np.arange(20), 3)
    folds = folds_of(groups)

    assert folds is not None
    assert all(len(set(folds[groups == group])) == 1 for group in range(20))
    assert len(set(folds)) == 5
    assert folds_of(np.zeros(4, np.int64)) is None
