"""Which loss is chosen for which data, why, and what is refused; and the columns that it then reads."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pairscore.errors import EmptyInputError, SettingError
from pairscore.training.data import (
    DataKind,
    LabelKind,
    LabelledPair,
    RankedList,
    TrainingData,
    Triplet,
    training_data,
)
from pairscore.training.datasets import columns_of
from pairscore.training.losses import LOSSES, choose_loss, task_of

NAMES = ("contradiction", "entailment", "neutral")


def _data(kind: DataKind, labels: LabelKind, *, lengths: tuple[int, ...] = (3, 3)) -> TrainingData:
    """Two rows of that kind."""
    margin = 1.5 if labels == "teacher" else None
    rows: list[Any] = {
        "pairs": [
            LabelledPair(query="a", document="b", label=1.0, place="line 1"),
            LabelledPair(query="c", document="d", label=0.0, place="line 2"),
        ],
        "triplets": [
            Triplet(query="a", positive="b", negative="n", margin=margin, place="line 1"),
            Triplet(query="c", positive="d", negative="m", margin=margin, place="line 2"),
        ],
        "lists": [
            RankedList(
                query=f"q{number}",
                documents=tuple(f"d{number}{place}" for place in range(length)),
                labels=(0.0, 2.0, 1.0, 0.0)[:length],
                place=f"line {number}",
            )
            for number, length in enumerate(lengths)
        ],
    }[kind]
    names = NAMES if labels == "classes" else ()
    return training_data(rows, name="made", kind=kind, labels=labels, label_names=names)


@pytest.mark.parametrize(
    ("kind", "labels", "loss", "reason"),
    [
        ("pairs", "binary", "bce", "a label of 0 or 1"),
        ("pairs", "graded", "bce", "a grade"),
        ("pairs", "classes", "cross_entropy", "one class"),
        ("pairs", "teacher", "mse", "a teacher's logit"),
        ("pairs", "none", "multiple_negatives", "other rows' documents"),
        ("triplets", "none", "multiple_negatives", "its wrong one"),
        ("triplets", "teacher", "margin_mse", "that margin"),
        ("lists", "binary", "lambda_loss", "nDCG"),
        ("lists", "graded", "lambda_loss", "nDCG"),
        ("lists", "teacher", "margin_mse", "behind the best"),
    ],
)
def test_each_kind_of_data_has_its_loss_and_a_reason(
    kind: Any, labels: Any, loss: str, reason: str
) -> None:
    """The reason is one sentence that names what the data has."""
    chosen = choose_loss(_data(kind, labels), None)

    assert chosen.name == loss
    assert reason in chosen.reason
    assert chosen.reason.startswith(LOSSES[loss].words)
    assert "\n" not in chosen.reason


def test_lists_of_different_lengths_have_another_loss() -> None:
    """Margins need a column for each place, so uneven lists are learnt as distributions."""
    chosen = choose_loss(_data("lists", "teacher", lengths=(3, 2)), None)

    assert (chosen.name, chosen.rows) == ("list_net", "lists")
    assert "different lengths" in chosen.reason


@pytest.mark.parametrize(
    ("task", "activation"),
    [("relevance", "identity"), ("similarity", "sigmoid"), ("duplicate", "sigmoid")],
)
def test_the_task_decides_the_activation(task: Any, activation: str) -> None:
    """Similarity is a score in 0 to 1, relevance a logit."""
    assert choose_loss(_data("pairs", "binary"), task).activation == activation


@pytest.mark.parametrize(
    ("kind", "labels", "task"),
    [
        ("pairs", "graded", "similarity"),
        ("pairs", "binary", "relevance"),
        ("pairs", "classes", "nli"),
        ("lists", "graded", "relevance"),
        ("triplets", "none", "relevance"),
    ],
)
def test_the_task_is_read_off_the_data(kind: Any, labels: Any, task: str) -> None:
    """Classes are NLI, graded pairs similarity, and everything else relevance."""
    data = _data(kind, labels)

    assert task_of(data) == task
    assert choose_loss(data, None).task == task


def test_classes_give_the_head_its_labels() -> None:
    """As many outputs as names, in their order; their scores are logits."""
    chosen = choose_loss(_data("pairs", "classes"), "nli")

    assert (chosen.num_labels, chosen.label_names, chosen.activation) == (3, NAMES, "identity")


@pytest.mark.parametrize(
    ("labels", "unit"), [("binary", True), ("graded", True), ("teacher", False)]
)
def test_mse_compares_the_sigmoid_with_labels_and_the_logit_with_a_teacher(
    labels: Any, unit: Any
) -> None:
    """A grade in 0 to 1 is no logit."""
    assert choose_loss(_data("pairs", labels), "relevance", asked="mse").unit is unit


def test_a_loss_that_was_asked_for_is_taken() -> None:
    """The reason then says who chose it."""
    chosen = choose_loss(_data("triplets", "none"), None, asked="bce")

    assert (chosen.name, chosen.rows) == ("bce", "pairs")
    assert chosen.reason == "binary cross entropy, because the recipe asks for it"


@pytest.mark.parametrize(
    ("kind", "labels", "asked", "message"),
    [
        ("pairs", "binary", "margin_mse", r"'margin_mse' cannot learn from pairs with binary labels.*bce, mse"),
        ("pairs", "classes", "bce", r"pairs with classes labels; it can feed cross_entropy"),
        ("triplets", "none", "mse", r"triplets with no labels; it can feed bce, multiple_negatives"),
        ("lists", "none", None, r"no loss is known for lists with no labels"),
        ("pairs", "binary", "bec", r"'bec'; did you mean 'bce'"),
        ("pairs", "binary", "hinge", r"'hinge'.*Known are bce, mse"),
    ],
)  # fmt: skip
def test_a_loss_that_the_data_cannot_feed_is_refused(
    kind: Any, labels: Any, asked: str | None, message: str
) -> None:
    """The message says what the data has and which losses it can feed."""
    with pytest.raises(SettingError, match=message):
        choose_loss(_data(kind, labels), None, asked=asked)


def test_margins_of_uneven_lists_are_refused() -> None:
    """The remedy is another length or another loss."""
    with pytest.raises(SettingError, match=r"lists of one length.*list_net"):
        choose_loss(_data("lists", "teacher", lengths=(3, 2)), None, asked="margin_mse")


@pytest.mark.parametrize(
    ("labels", "task"), [("classes", "similarity"), ("binary", "nli"), ("graded", "nli")]
)
def test_a_task_that_contradicts_the_labels_is_refused(labels: Any, task: Any) -> None:
    """Classes and NLI go together, and neither goes with anything else."""
    with pytest.raises(SettingError, match=f"{task!r} does not go with pairs with {labels}"):
        choose_loss(_data("pairs", labels), task)


def test_only_pairs_are_read_in_both_orders() -> None:
    """The first text of a triplet is a query, which is never a document."""
    with pytest.raises(SettingError, match="the data holds triplets"):
        choose_loss(_data("triplets", "none"), None, symmetric=True)


def _columns(kind: Any, labels: Any, *, asked: str | None = None, **how: Any) -> dict[str, Any]:
    data = _data(kind, labels)
    return columns_of(data, choose_loss(data, None, asked=asked), **how)


def test_pairs_are_two_columns_and_a_label() -> None:
    """Numbers stay numbers, and classes are whole ones."""
    assert _columns("pairs", "binary") == {
        "query": ["a", "c"],
        "document": ["b", "d"],
        "label": [1.0, 0.0],
    }
    assert [type(label) for label in _columns("pairs", "classes")["label"]] == [int, int]


def test_symmetric_puts_each_pair_in_twice() -> None:
    """The second time its texts are changed round; the label is the same."""
    assert _columns("pairs", "graded", symmetric=True) == {
        "query": ["a", "b", "c", "d"],
        "document": ["b", "a", "d", "c"],
        "label": [1.0, 1.0, 0.0, 0.0],
    }


def test_positives_have_no_label() -> None:
    """The loss finds the wrong documents in the other rows."""
    assert list(_columns("pairs", "none")) == ["query", "document"]


def test_triplets_keep_their_order_and_margin() -> None:
    """Query, positive, negative, and what the teacher said."""
    assert list(_columns("triplets", "none")) == ["query", "positive", "negative"]
    assert _columns("triplets", "teacher")["label"] == [1.5, 1.5]


def test_a_triplet_is_two_pairs_for_a_loss_of_pairs() -> None:
    """The positive has the label 1, the negative 0."""
    assert _columns("triplets", "none", asked="bce") == {
        "query": ["a", "a", "c", "c"],
        "document": ["b", "n", "d", "m"],
        "label": [1.0, 0.0, 1.0, 0.0],
    }


def test_lists_stay_lists_for_a_loss_of_lists() -> None:
    """One row a query."""
    assert _columns("lists", "graded") == {
        "query": ["q0", "q1"],
        "documents": [["d00", "d01", "d02"], ["d10", "d11", "d12"]],
        "label": [[0.0, 2.0, 1.0], [0.0, 2.0, 1.0]],
    }


def test_a_teachers_lists_are_put_in_the_teachers_order() -> None:
    """The best document is the positive, and all others are behind it."""
    columns = _columns("lists", "teacher")

    assert columns["document_0"] == ["d01", "d11"]
    assert columns["document_2"] == ["d00", "d10"]
    assert columns["label"] == [[2.0, 1.0, 0.0], [2.0, 1.0, 0.0]]


def test_no_rows_are_refused() -> None:
    """An empty split is said before anything is loaded."""
    data = _data("pairs", "binary")
    with pytest.raises(EmptyInputError, match="made holds no rows"):
        columns_of(replace(data, rows=()), choose_loss(data, None))
