"""`Explaining`: how a scorer of pairs explains its scores; mixed into `CrossEncoder`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias

from pairscore.explaining.measuring import Question, Steps, steps
from pairscore.explaining.reading import read_of
from pairscore.explaining.records import DEFAULT_MAX_PAIRS, Explanation, UnitKind, check_asked
from pairscore.road.ranking import check_one_number
from pairscore.road.road import Road
from pairscore.road.tokenization import check_pairs
from pairscore.values import Scores

__all__ = ["Explaining", "OnProgress"]

OnProgress: TypeAlias = Callable[[int, int], None]
"""Called with the number of pairs that are scored, and how many there will be at most."""

# Enough to sort neighbours of like length, few enough to see something move.
_MAX_ROUND: Final = 64


class Explaining(ABC):
    """Something that scores pairs on a road, and can say why a pair has its score."""

    _road: Road

    @abstractmethod
    def score(self, pairs: Iterable[Any]) -> Scores:
        """Score pairs; documents that are too long are cut."""

    def explain(
        self,
        a: str,
        b: str,
        *,
        units: UnitKind = "both",
        max_pairs: int = DEFAULT_MAX_PAIRS,
        on_progress: OnProgress | None = None,
    ) -> Explanation:
        """Say what each sentence and each word of the document contributes to the pair's logit.

        Each is left out, one at a time, and the pair is scored again: its contribution is the logit with it minus the
        logit without it. Contributions do not add up to the logit. Of a document that is too long only what the
        model reads is looked at.

        Args:
            a: the query.
            b: the document.
            units: what is left out: ``sentences``, ``words`` or ``both``.
            max_pairs: pairs that may be scored. If there are more units, sentences are measured first, then the
                words of those sentences that count most.
            on_progress: is told how far it is.

        Returns:
            The units with their places and contributions, the score of the pair, and what it cost.

        Raises:
            InputError: the pair cannot be scored.
            SettingError: an option makes no sense, or the model has several labels and none was chosen.
            BackendError: the model failed.
        """
        check_asked(units, max_pairs)
        check_one_number(self._road.card.name, self._road.card.labels)
        (pair,) = check_pairs([(a, b)])
        question = Question(
            pair=pair,
            read=read_of(self._road.tokenizer, pair),
            units=units,
            max_pairs=max_pairs,
            max_round=None if on_progress is None else _MAX_ROUND,
        )
        return _driven(steps(question), self.score, on_progress or (lambda _done, _planned: None))


def _driven(
    course: Steps, score: Callable[[Iterable[Any]], Scores], on_progress: OnProgress
) -> Explanation:
    num_done = 0
    asked = next(course)
    while True:
        scores = score(asked.pairs)
        num_done += len(asked.pairs)
        on_progress(num_done, asked.num_planned)
        try:
            asked = course.send(scores)
        except StopIteration as ended:
            explanation: Explanation = ended.value
            return explanation
