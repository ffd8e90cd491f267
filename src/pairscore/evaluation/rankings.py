"""How good rankings and scores of pairs are, value by value, so that intervals and tests can be made of them.

Rankings are measured by ir-measures on pytrec_eval, which is trec_eval; labelled pairs by scipy and
scikit-learn. All come with the extra ``evaluate``.

**As trec_eval does it.** Ties are broken as `pairscore.evaluation.runs` says, for all measures alike. Averages are over
all judged queries (trec_eval's ``-c``): a query that the run ranks nothing for counts 0, and so does one
without a relevant document. Queries that are not judged do not count. A document without a judgement has the grade 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from pairscore.errors import EmptyInputError, MissingExtraError, SettingError
from pairscore.evaluation.datasets import ScoredPairs
from pairscore.evaluation.measures import pearson, spearman
from pairscore.evaluation.runs import Run
from pairscore.values import FloatArray

if TYPE_CHECKING:
    from ir_measures import Measure

__all__ = [
    "DEFAULT_MEASURES",
    "Measured",
    "PairQuality",
    "check_installed",
    "measure_pairs",
    "measure_run",
    "measures_named",
]

DoubleArray = npt.NDArray[np.float64]

DEFAULT_MEASURES: Final = ("nDCG@10", "RR@10", "AP", "R@10", "R@100", "P@10")
"""What is measured where nothing else is asked for."""

# Other spellings of what ir-measures calls by one name.
_ALIASES: Final = {
    "ndcg": "nDCG",
    "mrr": "RR",
    "rr": "RR",
    "map": "AP",
    "ap": "AP",
    "recall": "R",
    "r": "R",
    "precision": "P",
    "p": "P",
}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Measured:
    """One measure of one run, query by query.

    Attributes:
        measure: its name in ir-measures' syntax, such as ``nDCG@10``.
        query_ids: all judged queries.
        values: of these queries, shape (num_queries,), float64.
    """

    measure: str
    query_ids: tuple[str, ...]
    values: DoubleArray

    @property
    def mean(self) -> float:
        """The average over all judged queries."""
        return float(self.values.mean())


@dataclass(frozen=True, kw_only=True, slots=True)
class PairQuality:
    """How well scores agree with the grades of pairs.

    Attributes:
        values: by the measure's name: ``spearman`` and ``pearson`` of graded pairs; ``average_precision``,
            ``auc``, ``f1``, ``accuracy`` of binary ones.
        f1_threshold: the lowest score that counts as positive where F1 is best; None for graded pairs.
        accuracy_threshold: the same for the accuracy.
    """

    values: Mapping[str, float]
    f1_threshold: float | None = None
    accuracy_threshold: float | None = None


def check_installed() -> None:
    """Refuse to begin what could not be measured in the end.

    Raises:
        MissingExtraError: a library of the extra is not installed.
    """
    missing = [
        name for name in ("ir_measures", "pytrec_eval", "scipy", "sklearn") if not _found(name)
    ]
    if missing:
        raise MissingExtraError(feature=f"measuring (with {', '.join(missing)})", extra="evaluate")


def measures_named(
    names: Sequence[str] = DEFAULT_MEASURES, *, min_grade: int | None = None
) -> dict[str, Measure]:
    """The measures of some names, by the names that reports give them.

    Args:
        names: in ir-measures' syntax (``nDCG@10``, ``AP(rel=2)``, ``RR@10``, ``Success@5``); ``MRR``, ``MAP``,
            ``Recall`` and ``Precision`` are known too, whatever their case.
        min_grade: the lowest grade that is relevant, for measures that know relevant and not relevant and do
            not say it themselves (``AP``, ``RR``, ``P``, ``R``); None is 1. nDCG knows grades and is left alone.

    Raises:
        SettingError: a name is not known, or makes no sense.
        MissingExtraError: ir-measures is not installed.
    """
    import_measures = _ir_measures()
    if min_grade is not None and min_grade < 1:
        raise SettingError(f"the lowest relevant grade is {min_grade}; it must be at least 1")
    found: dict[str, Measure] = {}
    for name in names:
        measure = _parsed(name.strip(), import_measures)
        if (
            min_grade is not None
            and "rel" in measure.SUPPORTED_PARAMS
            and "rel" not in measure.params
        ):
            measure = measure(rel=min_grade)
        found.setdefault(str(measure), measure)
    if not found:
        raise SettingError("no measure is named; give at least one, such as nDCG@10")
    return found


def measure_run(
    run: Run,
    qrels: Mapping[str, Mapping[str, int]],
    measures: Mapping[str, Measure] | Sequence[str] = DEFAULT_MEASURES,
) -> dict[str, Measured]:
    """Measure one run.

    Args:
        run: what was found, best first.
        qrels: the grades of all judged documents by query; all these queries count.
        measures: what to measure: names, or what `measures_named` made of them.

    Returns:
        By the measure's name; each with a value for every query of `qrels`, in their order.

    Raises:
        EmptyInputError: nothing is judged.
        SettingError: a measure is not known, or cannot be computed here.
        MissingExtraError: ir-measures or pytrec_eval is not installed.
    """
    if not qrels:
        raise EmptyInputError("nothing is judged, and so nothing can be measured; give qrels")
    chosen = measures if isinstance(measures, Mapping) else measures_named(measures)
    places = {query_id: place for place, query_id in enumerate(qrels)}
    values = {name: np.zeros(len(places)) for name in chosen}
    grades = {query_id: dict(entries) for query_id, entries in qrels.items()}
    pipeline = _ir_measures().DefaultPipeline
    try:
        found = list(pipeline.iter_calc(list(chosen.values()), grades, _ordered(run, places)))
    except (ValueError, RuntimeError) as error:
        raise SettingError(
            f"{', '.join(chosen)}: one of these measures cannot be computed here: {error}"
        ) from error
    for metric in found:
        values[str(metric.measure)][places[metric.query_id]] = metric.value
    query_ids = tuple(places)
    return {
        name: Measured(measure=name, query_ids=query_ids, values=array)
        for name, array in values.items()
    }


def measure_pairs(pairs: ScoredPairs, scores: FloatArray) -> PairQuality:
    """Measure scores of labelled pairs.

    F1 and accuracy are those of the best threshold on these very pairs, which flatters them: they are what the
    scores could do, not what a threshold that was chosen elsewhere does.

    Args:
        pairs: with their grades.
        scores: of these pairs, higher is nearer, shape (num_pairs,).

    Raises:
        MissingExtraError: a library of the extra is not installed.
    """
    numbers = np.asarray(scores, dtype=np.float64)
    check_installed()
    if pairs.kind == "graded":
        return PairQuality(
            values={
                "spearman": spearman(pairs.grades, numbers),
                "pearson": pearson(pairs.grades, numbers),
            }
        )
    # Here, because scikit-learn takes a second to import and belongs to an extra.
    from sklearn.metrics import average_precision_score, roc_auc_score

    positive = pairs.positive
    f1, accuracy = _best_thresholds(positive, numbers)
    return PairQuality(
        values={
            "average_precision": float(average_precision_score(positive, numbers)),
            "auc": float(roc_auc_score(positive, numbers)),
            "f1": f1.value,
            "accuracy": accuracy.value,
        },
        f1_threshold=f1.threshold,
        accuracy_threshold=accuracy.threshold,
    )


@dataclass(frozen=True, slots=True)
class _Best:
    value: float
    threshold: float


def _best_thresholds(positive: npt.NDArray[np.bool_], scores: DoubleArray) -> tuple[_Best, _Best]:
    """The best F1 and the best accuracy over all thresholds, pairs with the score itself being positive."""
    order = np.argsort(-scores, kind="stable")
    falling, hits = scores[order], positive[order]
    # A threshold takes all pairs of a score or none, so only the last of equal scores counts.
    last = np.append(np.flatnonzero(np.diff(falling)), len(falling) - 1)
    num_taken = last + 1
    num_right = np.cumsum(hits)[last]
    total = int(hits.sum())
    f1 = 2.0 * num_right / (num_taken + total)
    accuracy = (num_right + (len(hits) - total) - (num_taken - num_right)) / len(hits)
    return _at_best(f1, falling[last]), _at_best(accuracy, falling[last])


def _at_best(values: DoubleArray, thresholds: DoubleArray) -> _Best:
    best = int(np.argmax(values))
    return _Best(float(values[best]), float(thresholds[best]))


def _ordered(run: Run, query_ids: Mapping[str, int]) -> dict[str, dict[str, float]]:
    """The order of the run as falling whole numbers, so that no measure breaks a tie by a rule of its own."""
    return {
        query_id: {
            document_id: float(len(ranking) - place)
            for place, document_id in enumerate(ranking.document_ids)
        }
        for query_id, ranking in run.rankings.items()
        if query_id in query_ids
    }


def _parsed(name: str, library: Any) -> Measure:
    head = name.partition("@")[0].partition("(")[0]
    known = _ALIASES.get(head.casefold(), head)
    try:
        measure = library.parse_measure(known + name[len(head) :])
        cut = measure.SUPPORTED_PARAMS.get("cutoff")
        if cut is not None and cut.required and "cutoff" not in measure.params:
            raise ValueError(f"it needs a cut, such as {known}@10")  # noqa: TRY301 - said as the others are
        measure.validate_params()
        if measure.params.get("cutoff", 1) < 1:
            raise ValueError("its cut is below 1")  # noqa: TRY301 - said as the others are
    # Also what the library asserts of its parameters.
    except (ValueError, NameError, TypeError, AttributeError, KeyError, AssertionError) as error:
        raise SettingError(
            f"{name!r} is no measure: {error}; known are such as {', '.join(DEFAULT_MEASURES)}, AP(rel=2), Success@5 "
            "(see https://ir-measur.es)"
        ) from error
    checked: Measure = measure
    return checked


def _found(name: str) -> bool:
    """Whether a library is there, without loading it."""
    return find_spec(name) is not None


def _ir_measures() -> Any:
    check_installed()
    # Here, because it belongs to an extra and takes a while to import.
    import ir_measures

    return ir_measures
