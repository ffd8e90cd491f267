"""Two models score the same pairs in turn, round by round: their logits, and how fast each was.

In turn, because a machine is never equally quick for two minutes: whatever slows it slows both, and the ratio of
each round is free of it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

import numpy as np

from pairscore.convert.parity_texts import ParityTexts
from pairscore.values import FloatArray, Scores

__all__ = ["InTurn", "Round", "Scored", "Scorer", "score_in_turn"]

Scored: TypeAlias = Callable[[int], None]
"""Called with the number of pairs that both have scored."""

_MAX_ROUNDS: Final = 8
_MIN_PAIRS: Final = 16
_NUM_WARMING: Final = 8


class Scorer(Protocol):
    """What scores pairs; a `CrossEncoder` does."""

    def score(self, pairs: Sequence[tuple[str, str]]) -> Scores:
        """The scores of some pairs, in their order."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Round:
    """The same pairs through both.

    Attributes:
        num_pairs: how many.
        reference_s: seconds that the reference took.
        converted_s: seconds that the converted model took.
    """

    num_pairs: int
    reference_s: float
    converted_s: float

    @property
    def ratio(self) -> float:
        """How many times as fast the converted model was."""
        return self.reference_s / self.converted_s


@dataclass(frozen=True, kw_only=True, slots=True)
class InTurn:
    """What both models said, and how fast.

    Attributes:
        reference: its logits, in the order of the texts' pairs.
        converted: the converted model's logits, likewise.
        num_truncated: pairs of which a text was cut, the same for both.
        mean_tokens: tokens of a pair, mean.
        rounds: the times, round by round.
    """

    reference: FloatArray
    converted: FloatArray
    num_truncated: int
    mean_tokens: float
    rounds: tuple[Round, ...]

    @property
    def reference_rate(self) -> float:
        """Pairs a second of the reference."""
        return self._num_pairs / sum(item.reference_s for item in self.rounds)

    @property
    def converted_rate(self) -> float:
        """Pairs a second of the converted model."""
        return self._num_pairs / sum(item.converted_s for item in self.rounds)

    @property
    def ratio(self) -> float:
        """How many times as fast the converted model is, median over the rounds."""
        return statistics.median(item.ratio for item in self.rounds)

    @property
    def ratio_range(self) -> tuple[float, float]:
        """The slowest and the fastest round's ratio."""
        ratios = [item.ratio for item in self.rounds]
        return min(ratios), max(ratios)

    @property
    def _num_pairs(self) -> int:
        return sum(item.num_pairs for item in self.rounds)


def score_in_turn(
    texts: ParityTexts,
    *,
    reference: Scorer,
    converted: Scorer,
    advance: Scored = lambda _num_pairs: None,
) -> InTurn:
    """Score all pairs with both models.

    Args:
        texts: what to score.
        reference: the one to compare with.
        converted: the one that is compared.
        advance: told after each round how many pairs are done.

    Raises:
        BackendError: one of them failed; `NonFiniteScoreError` where it put out NaN.
    """
    pairs = texts.pairs
    num_rounds = max(1, min(_MAX_ROUNDS, len(pairs) // _MIN_PAIRS))
    for model in (reference, converted):
        model.score(pairs[:_NUM_WARMING])
    rounds: list[Round] = []
    parts: list[tuple[Scores, Scores]] = []
    for number in range(num_rounds):
        # Every so-manieth pair, so that all rounds have the same mixture of lengths.
        chosen = pairs[number::num_rounds]
        one, other, measured = _one_round(chosen, reference, converted, swapped=number % 2 == 1)
        rounds.append(measured)
        parts.append((one, other))
        advance(sum(item.num_pairs for item in rounds))
    lengths = np.concatenate([one.num_tokens for one, _ in parts])
    return InTurn(
        reference=_woven([one.logits for one, _ in parts]),
        converted=_woven([other.logits for _, other in parts]),
        num_truncated=sum(one.num_truncated for one, _ in parts),
        mean_tokens=float(lengths.mean()),
        rounds=tuple(rounds),
    )


def _one_round(
    pairs: Sequence[tuple[str, str]], reference: Scorer, converted: Scorer, *, swapped: bool
) -> tuple[Scores, Scores, Round]:
    """The same pairs through both; every other round the other one begins."""
    if swapped:
        other, converted_s = _timed(converted, pairs)
        one, reference_s = _timed(reference, pairs)
    else:
        one, reference_s = _timed(reference, pairs)
        other, converted_s = _timed(converted, pairs)
    measured = Round(num_pairs=len(pairs), reference_s=reference_s, converted_s=converted_s)
    return one, other, measured


def _timed(model: Scorer, pairs: Sequence[tuple[str, str]]) -> tuple[Scores, float]:
    begun = time.perf_counter()
    scores = model.score(pairs)
    # A clock may be coarser than a fake model is quick.
    return scores, max(time.perf_counter() - begun, 1e-9)


def _woven(parts: Sequence[FloatArray]) -> FloatArray:
    """The rounds' logits in the order of the pairs again."""
    num_pairs = sum(len(part) for part in parts)
    whole = np.empty((num_pairs, *parts[0].shape[1:]), dtype=np.float32)
    for number, part in enumerate(parts):
        whole[number :: len(parts)] = part
    return whole
