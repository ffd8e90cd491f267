"""Which loss a model learns by: chosen from what the data knows and what a score shall say, with the reason.

What each loss does to the model's logits, and where it comes from:

===================== ==================================================================================
bce                   cross entropy of the sigmoid with a label in 0 to 1
mse                   squared difference: of the logit to a teacher's, or of the sigmoid to a label in 0 to 1
cross_entropy         cross entropy of the softmax over classes
multiple_negatives    the positive among other rows' documents (Henderson et al., 2017, section 4.4)
margin_mse            squared difference of two logits' margin to the teacher's (Hofstätter et al., 2020)
lambda_loss           nDCG's gain of each swap in a list, NDCG-Loss2++ (Wang et al., 2018)
list_net              cross entropy of a list's softmax with the labels' softmax (Cao et al., 2007)
===================== ==================================================================================

The losses themselves are sentence-transformers'. This module imports it late, because it brings torch.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from pairscore.errors import SettingError
from pairscore.training.data import DataKind, LabelKind, RankedList, TrainingData
from pairscore.training.recipe import Task

__all__ = ["LOSSES", "Activation", "ChosenLoss", "Rows", "build_loss", "choose_loss", "task_of"]

Activation: TypeAlias = Literal["identity", "sigmoid"]
Rows: TypeAlias = Literal["pairs", "positives", "classes", "triplets", "lists", "ranked"]
"""How the rows go into the loss: ``pairs`` with a number each (a triplet is two, a list many); ``positives`` without
one; ``classes``; ``triplets`` with or without a margin; ``lists`` of any length; ``ranked`` lists of one length, the
best document first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Loss:
    """What a loss is called in words, and for which data it is there."""

    words: str
    takes: dict[tuple[DataKind, LabelKind], Rows]


_NUMBERS: Final[tuple[LabelKind, ...]] = ("binary", "graded")
LOSSES: Final[dict[str, _Loss]] = {
    "bce": _Loss(
        words="binary cross entropy",
        takes={
            **{(kind, labels): "pairs" for kind in ("pairs", "lists") for labels in _NUMBERS},
            ("triplets", "none"): "pairs",
        },
    ),
    "mse": _Loss(
        words="mean squared error",
        takes={
            (kind, labels): "pairs"
            for kind in ("pairs", "lists")
            for labels in (*_NUMBERS, "teacher")
        },
    ),
    "cross_entropy": _Loss(words="cross entropy", takes={("pairs", "classes"): "classes"}),
    "multiple_negatives": _Loss(
        words="multiple negatives ranking",
        takes={("pairs", "none"): "positives", ("triplets", "none"): "triplets"},
    ),
    "margin_mse": _Loss(
        words="mean squared error of margins",
        takes={("triplets", "teacher"): "triplets", ("lists", "teacher"): "ranked"},
    ),
    "lambda_loss": _Loss(words="LambdaLoss", takes={("lists", item): "lists" for item in _NUMBERS}),
    "list_net": _Loss(
        words="ListNet", takes={("lists", item): "lists" for item in (*_NUMBERS, "teacher")}
    ),
}
"""The losses by the names that a recipe uses."""

_CHOICES: Final[dict[tuple[DataKind, LabelKind], tuple[str, str]]] = {
    ("pairs", "binary"): (
        "bce",
        "each pair has a label of 0 or 1, and this loss teaches the model how probable a 1 is",
    ),
    ("pairs", "graded"): (
        "bce",
        "each pair has a grade, and this loss draws the sigmoid of the logit to the grade in 0 to 1",
    ),
    ("pairs", "classes"): (
        "cross_entropy",
        "each pair belongs to one class, and this loss makes that class the most probable one",
    ),
    ("pairs", "teacher"): (
        "mse",
        "each pair has a teacher's logit, and this loss draws the model's own logit to it",
    ),
    ("pairs", "none"): (
        "multiple_negatives",
        "there are only pairs that belong together, so other rows' documents serve as the wrong ones",
    ),
    ("triplets", "none"): (
        "multiple_negatives",
        "each query has a right document, to be told from its wrong one and from other rows' documents",
    ),
    ("triplets", "teacher"): (
        "margin_mse",
        "a teacher said by how much the right document is better, and this loss learns that margin",
    ),
    ("lists", "binary"): (
        "lambda_loss",
        "each query has a list of documents with labels, and this loss raises the order's nDCG",
    ),
    ("lists", "graded"): (
        "lambda_loss",
        "each query has a list of documents with grades, and this loss raises the order's nDCG",
    ),
    ("lists", "teacher"): (
        "margin_mse",
        "a teacher scored lists of one length, and this loss learns how far the others are behind the best",
    ),
}
_UNEVEN: Final = (
    "list_net",
    "a teacher scored lists of different lengths, and this loss learns how it shares its preference out",
)
_TASKS: Final[dict[LabelKind, Task]] = {"classes": "nli", "graded": "similarity"}


@dataclass(frozen=True, kw_only=True, slots=True)
class ChosenLoss:
    """A loss, and what follows from it for the model and the data.

    Attributes:
        name: one of `LOSSES`.
        reason: one sentence for the user: why this one.
        task: what a score shall say.
        rows: how the rows go into the loss.
        num_labels: outputs of the model's head.
        label_names: of several outputs, their names.
        activation: from logit to score, as the trained model's config will say.
        unit: whether the loss compares the sigmoid of the logit with a label in 0 to 1.
    """

    name: str
    reason: str
    task: Task
    rows: Rows
    num_labels: int = 1
    label_names: tuple[str, ...] = ()
    activation: Activation = "identity"
    unit: bool = False


def task_of(data: TrainingData) -> Task:
    """What a score shall say, where the recipe does not: classes are NLI, graded pairs are similarity, else relevance."""
    return _TASKS.get(data.labels, "relevance") if data.kind == "pairs" else "relevance"


def choose_loss(
    data: TrainingData, task: Task | None, *, asked: str | None = None, symmetric: bool = False
) -> ChosenLoss:
    """Choose the loss that the data can feed, or check the one that was asked for.

    Args:
        data: what will be trained on.
        task: what a score shall say; None reads it off the data (`task_of`).
        asked: a name of `LOSSES`; None chooses.
        symmetric: each pair is to be read in both orders, which only pairs can.

    Raises:
        SettingError: no such loss; or the data has not what it needs, with those that it can feed; or the task
            and the data contradict each other.
    """
    task = task or task_of(data)
    _check_task(data, task)
    name, reason = _default(data) if asked is None else (asked, "the recipe asks for it")
    if name not in LOSSES:
        raise SettingError(_unknown(name))
    rows = LOSSES[name].takes.get((data.kind, data.labels))
    if rows is None:
        raise SettingError(_unfit(name, data))
    if rows == "ranked" and not _even(data):
        raise SettingError(
            "margin_mse needs lists of one length, and these differ; cut them to one length, or ask for list_net"
        )
    if symmetric and data.kind != "pairs":
        raise SettingError(
            f"symmetric reads each pair in both orders, and the data holds {data.kind}, whose first text is a query; "
            "leave symmetric out"
        )
    return ChosenLoss(
        name=name,
        reason=f"{LOSSES[name].words}, because {reason}",
        task=task,
        rows=rows,
        num_labels=len(data.label_names) if data.labels == "classes" else 1,
        label_names=data.label_names if data.labels == "classes" else (),
        activation="sigmoid" if task in ("similarity", "duplicate") else "identity",
        unit=name == "mse" and data.labels != "teacher",
    )


def build_loss(chosen: ChosenLoss, model: Any) -> Any:
    """sentence-transformers' loss module for a model, of whose head it checks the outputs."""
    from sentence_transformers.cross_encoder import losses
    from torch import nn

    makers: dict[str, Any] = {
        "bce": losses.BinaryCrossEntropyLoss,
        "mse": losses.MSELoss,
        "cross_entropy": losses.CrossEntropyLoss,
        "multiple_negatives": losses.MultipleNegativesRankingLoss,
        "margin_mse": losses.MarginMSELoss,
        "lambda_loss": losses.LambdaLoss,
        "list_net": losses.ListNetLoss,
    }
    if chosen.unit:
        return makers[chosen.name](model, activation_fn=nn.Sigmoid())
    return makers[chosen.name](model)


def _default(data: TrainingData) -> tuple[str, str]:
    found = _CHOICES.get((data.kind, data.labels))
    if found is None:
        raise SettingError(f"no loss is known for {_described(data)}; {_REMEDY}")
    return found if found[0] != "margin_mse" or data.kind != "lists" or _even(data) else _UNEVEN


_REMEDY: Final = "give labels of 0 and 1, grades, classes or a teacher's scores"


def _even(data: TrainingData) -> bool:
    return len({len(row.documents) for row in data.rows if isinstance(row, RankedList)}) == 1


def _check_task(data: TrainingData, task: Task) -> None:
    if (task == "nli") != (data.labels == "classes"):
        raise SettingError(
            f"the task {task!r} does not go with {_described(data)}: classes go with the task 'nli', and everything "
            "else with relevance, similarity or duplicate; change task, or data.labels"
        )


def _described(data: TrainingData) -> str:
    with_ = "no labels" if data.labels == "none" else f"{data.labels} labels"
    return f"{data.kind} with {with_}"


def _fitting(data: TrainingData) -> list[str]:
    return [name for name, loss in LOSSES.items() if (data.kind, data.labels) in loss.takes]


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, LOSSES, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"no loss is called {name!r}{hint} Known are {', '.join(LOSSES)}"


def _unfit(name: str, data: TrainingData) -> str:
    fitting = _fitting(data)
    remedy = f"it can feed {', '.join(fitting)}" if fitting else _REMEDY
    return f"the loss {name!r} cannot learn from {_described(data)}; {remedy}"
