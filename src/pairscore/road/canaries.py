"""Load-time checks that score a few pairs: finite numbers, the right order, and no influence of a neighbour.

A model may know one language only, and a wrong refusal is worse than none. So each canary is in one of several
scripts, and its good document repeats the words of the query, which is nearer to it in any language for whatever reads
both texts; pairs with tokens that the tokenizer does not know are left out; and the majority decides. The good document
is now the longer and now the shorter one, so that a model that only measures length does not pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from pairscore.errors import BackendError, OutOfMemoryError
from pairscore.models.card import Card
from pairscore.road.tokenization import Pair, PairTokenizer
from pairscore.values import Encoded, FloatArray, IntArray

__all__ = ["CANARIES", "Canaries", "Canary", "CanaryRoad", "run_canaries"]


class CanaryRoad(Protocol):
    """Of a road what the canaries need."""

    card: Card

    @property
    def tokenizer(self) -> PairTokenizer: ...  # noqa: D102

    def encode(self, pairs: Sequence[Pair]) -> list[Encoded]: ...  # noqa: D102

    def run(self, encoded: Sequence[Encoded], positions: IntArray) -> FloatArray: ...  # noqa: D102


@dataclass(frozen=True, kw_only=True, slots=True)
class Canary:
    """A query, a document that has to do with it, and one that has not."""

    query: str
    good: str
    bad: str


CANARIES: Final = (
    Canary(
        query="How many people live in Berlin?",
        good="Berlin: how many people live there? About 3.7 million people live in Berlin.",
        bad="The recipe asks for two eggs and some butter.",
    ),
    Canary(
        query="who wrote the novel Moby Dick",
        good="Herman Melville wrote the novel Moby Dick.",
        bad="Wash the wool by hand in cold water and let it dry in the shade for two days.",
    ),
    Canary(
        query="Wie heißt die Hauptstadt von Österreich?",
        good="Die Hauptstadt von Österreich heißt Wien.",
        bad="Der Zug nach Hamburg fährt heute leider erst zwanzig Minuten später vom Gleis sieben.",
    ),
    Canary(
        query="¿Cuál es la capital de España?",
        good="La capital de España es Madrid, y Madrid es también la ciudad más grande de España.",
        bad="El gato duerme en la silla.",
    ),
    Canary(
        query="столица России",
        good="Москва — столица России и самый большой город России.",
        bad="Вчера мы варили суп из овощей.",
    ),
    Canary(
        query="中国的首都是哪里",
        good="中国的首都是北京。",
        bad="这道菜需要两个鸡蛋和一点黄油。先用小火煮十分钟。",
    ),
    Canary(
        query="日本の首都はどこですか",
        good="日本の首都は東京です。日本の首都である東京は大きな都市です。",
        bad="猫が椅子で寝ています。",
    ),
)
_LONG: Final = " ".join(canary.bad for canary in CANARIES[:4])
# Of a canary's tokens; a tokenizer that knows less of a text than this does not know its language.
_MAX_UNKNOWN: Final = 0.1
_UNKNOWN: Final = ("[UNK]", "<unk>", "<|unk|>")
# Rounding of half precision and of quantized weights is far below, a mask that is not seen far above.
_SHARE_OF_SPREAD: Final = 0.02
_SMALLEST_TOLERANCE: Final = 0.02


@dataclass(frozen=True, kw_only=True, slots=True)
class Canaries:
    """What came of the canary pairs.

    Attributes:
        broken: what the road says of a number that is not finite, or of another failure; None for neither.
        num_right, num_wrong: canaries whose good document got the higher, or the lower, logit; ties are neither.
        difference: the largest difference of a pair's logit alone and beside a longer pair.
        tolerance: the largest that is taken for rounding.
    """

    broken: str | None = None
    num_right: int = 0
    num_wrong: int = 0
    difference: float = 0.0
    tolerance: float = 0.0

    def not_finite(self) -> str | None:
        """What the check `finite` says."""
        return self.broken

    def wrong_order(self, card: Card) -> str | None:
        """What the check `order` says; only a relevance or a similarity model has an order."""
        if card.task == "classification" or self.num_wrong <= self.num_right:
            return None
        return (
            f"{card.name} scores the unrelated text higher in {self.num_wrong} of "
            f"{self.num_wrong + self.num_right} canary pairs: its weights, its tokenizer or its head are not what "
            "they should be, or it scores unlikeness"
        )

    def seen_neighbour(self, card: Card) -> str | None:
        """What the check `batch` says."""
        if self.difference <= self.tolerance:
            return None
        return (
            f"a pair scored by {card.name} beside a longer one differs by {self.difference:.3g} from the same pair "
            f"alone; up to {self.tolerance:.3g} would be rounding: padding is read as text, or the quantization "
            "takes one scale for a whole batch; export or convert the model again"
        )


def run_canaries(road: CanaryRoad) -> Canaries:
    """Score the canary pairs: together, and one of them alone and beside a longer pair.

    Raises:
        OutOfMemoryError: there is no memory for a few short pairs.
    """
    canaries = [canary for canary in CANARIES if _is_known(road.tokenizer, canary)]
    short = (CANARIES[1].query, CANARIES[1].good)
    pairs = [(canary.query, text) for canary in canaries for text in (canary.good, canary.bad)]
    try:
        neighbour = (CANARIES[0].query, _LONG)
        ordered = _logits(road, pairs) if pairs else np.zeros(0, dtype=np.float32)
        alone, beside = _logits(road, [short]), _logits(road, [short, neighbour])
    except OutOfMemoryError:
        raise
    except BackendError as error:
        return Canaries(broken=f"{road.card.name} fails on a canary pair: {error}")
    everything = np.concatenate((ordered.ravel(), beside.ravel()))
    differences = ordered[0::2] - ordered[1::2]
    has_order = ordered.ndim == 1
    return Canaries(
        num_right=int((differences > 0).sum()) if has_order else 0,
        num_wrong=int((differences < 0).sum()) if has_order else 0,
        difference=float(np.abs(alone[0] - beside[0]).max()),
        tolerance=max(_SMALLEST_TOLERANCE, _SHARE_OF_SPREAD * float(np.ptp(everything))),
    )


def _logits(road: CanaryRoad, pairs: Sequence[Pair]) -> FloatArray:
    return road.run(road.encode(pairs), np.arange(len(pairs), dtype=np.int64))


def _is_known(tokenizer: PairTokenizer, canary: Canary) -> bool:
    unknown = [number for token in _UNKNOWN if (number := tokenizer.id_of(token)) is not None]
    texts = tokenizer.encode_texts([canary.query, canary.good, canary.bad]).values()
    return all(np.isin(ids, unknown).mean() <= _MAX_UNKNOWN for ids in texts if len(ids))
