"""Two models read the same pairs or texts in turn, round by round: what they say, and how fast each was.

In turn, because a machine is never equally quick for two minutes: whatever slows it slows both, and the ratio of
each round is free of it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias, TypeVar

import numpy as np

from pairscore.convert.parity_texts import ParityTexts
from pairscore.values import Embeddings, FloatArray, IntArray, Scores

__all__ = ["Encoding", "InTurn", "Round", "Scored", "Scorer", "encode_in_turn", "score_in_turn"]

Scored: TypeAlias = Callable[[int], None]
"""Called with the number of pairs that both have scored, or of texts that both have read."""

_MAX_ROUNDS: Final = 8
_MIN_ITEMS: Final = 16
_NUM_WARMING: Final = 8
_Item = TypeVar("_Item")


class Scorer(Protocol):
    """What scores pairs; a `CrossEncoder` does."""

    def score(self, pairs: Sequence[tuple[str, str]]) -> Scores:
        """The scores of some pairs, in their order."""
        ...


class Encoding(Protocol):
    """What makes vectors of texts; a `BiEncoder` does."""

    def embed(self, texts: Sequence[str], *, prompt: str | None = None) -> Embeddings:
        """The vectors of some texts, in their order."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Round:
    """The same pairs or texts through both.

    Attributes:
        num_items: how many.
        reference_s: seconds that the reference took.
        converted_s: seconds that the converted model took.
    """

    num_items: int
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
        reference: its logits, or its vectors, in the order of the pairs or texts.
        converted: the converted model's, likewise.
        num_truncated: pairs or texts of which something was cut, the same for both.
        mean_tokens: tokens of a pair or a text, mean.
        rounds: the times, round by round.
    """

    reference: FloatArray
    converted: FloatArray
    num_truncated: int
    mean_tokens: float
    rounds: tuple[Round, ...]

    @property
    def reference_rate(self) -> float:
        """Pairs or texts a second of the reference."""
        return self._num_items / sum(item.reference_s for item in self.rounds)

    @property
    def converted_rate(self) -> float:
        """Pairs or texts a second of the converted model."""
        return self._num_items / sum(item.converted_s for item in self.rounds)

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
    def _num_items(self) -> int:
        return sum(item.num_items for item in self.rounds)


@dataclass(frozen=True, slots=True)
class _Said:
    """What one model says of some items: logits or vectors, and what it read."""

    values: FloatArray
    num_tokens: IntArray
    num_truncated: int


_Asking: TypeAlias = Callable[[Sequence[_Item]], _Said]


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

    def asked(model: Scorer) -> _Asking[tuple[str, str]]:
        def ask(pairs: Sequence[tuple[str, str]]) -> _Said:
            scores = model.score(pairs)
            return _Said(scores.logits, scores.num_tokens, scores.num_truncated)

        return ask

    return _in_turn(texts.pairs, asked(reference), asked(converted), advance)


def encode_in_turn(
    texts: Sequence[str],
    *,
    reference: Encoding,
    converted: Encoding,
    advance: Scored = lambda _num_texts: None,
) -> InTurn:
    """Make vectors of all texts with both models, without a prompt.

    Args:
        texts: what to read.
        reference: the one to compare with.
        converted: the one that is compared.
        advance: told after each round how many texts are done.

    Raises:
        BackendError: one of them failed; `NonFiniteScoreError` where it put out NaN.
    """

    def asked(model: Encoding) -> _Asking[str]:
        def ask(some: Sequence[str]) -> _Said:
            found = model.embed(some, prompt="")
            return _Said(found.vectors, found.num_tokens, found.num_truncated)

        return ask

    return _in_turn(texts, asked(reference), asked(converted), advance)


def _in_turn(
    items: Sequence[_Item],
    reference: _Asking[_Item],
    converted: _Asking[_Item],
    advance: Scored,
) -> InTurn:
    num_rounds = max(1, min(_MAX_ROUNDS, len(items) // _MIN_ITEMS))
    for ask in (reference, converted):
        ask(items[:_NUM_WARMING])
    rounds: list[Round] = []
    parts: list[tuple[_Said, _Said]] = []
    for number in range(num_rounds):
        # Every so-manieth item, so that all rounds have the same mixture of lengths.
        chosen = items[number::num_rounds]
        one, other, measured = _one_round(chosen, reference, converted, swapped=number % 2 == 1)
        rounds.append(measured)
        parts.append((one, other))
        advance(sum(item.num_items for item in rounds))
    lengths = np.concatenate([one.num_tokens for one, _ in parts])
    return InTurn(
        reference=_woven([one.values for one, _ in parts]),
        converted=_woven([other.values for _, other in parts]),
        num_truncated=sum(one.num_truncated for one, _ in parts),
        mean_tokens=float(lengths.mean()),
        rounds=tuple(rounds),
    )


def _one_round(
    items: Sequence[_Item], reference: _Asking[_Item], converted: _Asking[_Item], *, swapped: bool
) -> tuple[_Said, _Said, Round]:
    """The same items through both; every other round the other one begins."""
    if swapped:
        other, converted_s = _timed(converted, items)
        one, reference_s = _timed(reference, items)
    else:
        one, reference_s = _timed(reference, items)
        other, converted_s = _timed(converted, items)
    measured = Round(num_items=len(items), reference_s=reference_s, converted_s=converted_s)
    return one, other, measured


def _timed(ask: _Asking[_Item], items: Sequence[_Item]) -> tuple[_Said, float]:
    begun = time.perf_counter()
    said = ask(items)
    # A clock may be coarser than a fake model is quick.
    return said, max(time.perf_counter() - begun, 1e-9)


def _woven(parts: Sequence[FloatArray]) -> FloatArray:
    """What the rounds said in the order of the items again."""
    num_items = sum(len(part) for part in parts)
    whole = np.empty((num_items, *parts[0].shape[1:]), dtype=np.float32)
    for number, part in enumerate(parts):
        whole[number :: len(parts)] = part
    return whole
