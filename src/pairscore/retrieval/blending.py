"""The first stage keeps a say: its scores and the cross-encoder's make one order, weighted.

A cross-encoder that was trained on web questions may know less of a field than the first stage does, and its order alone
then loses what was found well. Both scores are standardized over the candidates of the query (less their mean, by their
standard deviation), because a cosine, a BM25 and a logit have no common scale, and are added with a weight.

Sources: M. Montague, J. A. Aslam, "Relevance score normalization for metasearch", CIKM 2001,
https://doi.org/10.1145/502585.502657, for the standardization; S. Wang, S. Zhuang, G. Zuccon, "BERT-based dense retrievers
require interpolation with BM25 for effective passage retrieval", ICTIR 2021, https://doi.org/10.1145/3471158.3472233, for
what the weighted sum is worth.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pairscore.errors import SettingError

__all__ = ["blended", "check_blend"]

DoubleArray = npt.NDArray[np.float64]


def check_blend(blend: float, *, name: str = "blend") -> float:
    """The weight, if it is one.

    Args:
        blend: of the first stage.
        name: what the caller knows it as, for the message.

    Raises:
        SettingError: it is not between 0 and 1.
    """
    # Written so that NaN is refused too.
    if isinstance(blend, bool) or not 0.0 <= blend <= 1.0:
        raise SettingError(
            f"{name} is {blend!r}; it must be between 0, the cross-encoder's order, and 1, the first stage's"
        )
    return float(blend)


def blended(first: npt.ArrayLike, second: npt.ArrayLike, *, blend: float) -> DoubleArray:
    """Scores to order candidates by; they mean nothing beyond this one query.

    Args:
        first: the first stage's scores, higher is better, shape (num_candidates,).
        second: the cross-encoder's logits of the same candidates, the same shape.
        blend: how much the first stage counts; 0 gives the order of `second`, 1 that of `first`.

    Returns:
        Shape (num_candidates,), float64.
    """
    return blend * _standardized(first) + (1.0 - blend) * _standardized(second)


def _standardized(scores: npt.ArrayLike) -> DoubleArray:
    """Mean 0 and standard deviation 1; zeros where all scores are equal and so say nothing."""
    numbers = np.asarray(scores, dtype=np.float64)
    if not len(numbers):
        return numbers
    centred: DoubleArray = numbers - numbers.mean()
    spread = float(centred.std())
    return centred / spread if spread > 0.0 else np.zeros_like(centred)
