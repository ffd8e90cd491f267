"""From the vectors of tokens to the vector of a text, for graphs that leave this to their callers.

The rules are those of sentence-transformers' `Pooling`: the average over the tokens that are no padding, or the vector
of the first of them. Everything is computed in float32, whatever the graph puts out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pairscore.errors import ModelUnsupportedError
from pairscore.models.encoder_card import PoolingMode
from pairscore.values import Batch, FloatArray, IntArray

__all__ = ["POOLED", "VectorOutput", "chosen_vectors", "is_known_output", "pooled", "unit_length"]

POOLED: Final = "sentence_embedding"
"""What a graph calls the vectors of texts, if it pools by itself."""

_TOKENS: Final = ("token_embeddings", "last_hidden_state")
_RANK_OF_TOKENS: Final = 3
# As torch.nn.functional.normalize: a vector of zeros stays one.
_SMALLEST: Final = 1e-12


@dataclass(frozen=True, slots=True)
class VectorOutput:
    """Which of a graph's outputs is wanted, and what is left to do with it.

    Attributes:
        position: among the outputs.
        pooling: how the tokens' vectors become one; None if the graph did it.
    """

    position: int
    pooling: PoolingMode | None

    def vectors(self, output: npt.NDArray[Any], batch: Batch) -> FloatArray:
        """The vectors of the texts, shape (num_texts, num_outputs), float32."""
        if self.pooling is None:
            return np.asarray(output, dtype=np.float32).reshape(batch.num_pairs, -1)
        states = np.asarray(output, dtype=np.float32).reshape(*batch.ids.shape, -1)
        return pooled(states, batch.attention_mask, mode=self.pooling)


def chosen_vectors(
    outputs: Sequence[tuple[str, int | None]], *, mode: PoolingMode, weights: Path
) -> VectorOutput:
    """The output that holds vectors: the texts' own, else the tokens'.

    Args:
        outputs: name and rank of each; None where the graph does not say the rank.
        mode: how tokens are pooled, if the graph does not.
        weights: for the message.

    Raises:
        ModelUnsupportedError: none does; a cross-encoder's graph puts out logits.
    """
    names = [name for name, _ in outputs]
    if POOLED in names:
        return VectorOutput(names.index(POOLED), None)
    known = [name for name in _TOKENS if name in names]
    # A graph with one output may call it anything, if only it has the axes of vectors of tokens.
    one = names if len(outputs) == 1 and outputs[0][1] == _RANK_OF_TOKENS else []
    for name in [*known, *one]:
        rank = outputs[names.index(name)][1]
        if rank in (None, _RANK_OF_TOKENS):
            return VectorOutput(names.index(name), mode)
    shown = ", ".join(names) or "nothing"
    raise ModelUnsupportedError(
        f"{weights} puts out {shown}; a bi-encoder's graph puts out {POOLED} (texts, numbers) or "
        f"{' or '.join(_TOKENS)} (texts, tokens, numbers): load a cross-encoder with CrossEncoder, or export the model "
        "for feature extraction"
    )


def is_known_output(name: str) -> bool:
    """Whether an output of that name holds vectors."""
    return name == POOLED or name in _TOKENS


def pooled(states: FloatArray, mask: IntArray, *, mode: PoolingMode) -> FloatArray:
    """One vector of each row's.

    Args:
        states: vectors of tokens, shape (num_texts, longest, width), float32.
        mask: 1 for a token, 0 for padding, shape (num_texts, longest).
        mode: ``mean`` over the tokens, or ``cls`` for the first of them.

    Returns:
        float32, shape (num_texts, width).
    """
    if mode == "cls":
        return np.asarray(states[np.arange(len(states)), mask.argmax(axis=1)])
    weights = mask.astype(np.float32)
    sums = np.matmul(weights[:, None, :], states)[:, 0]
    return np.asarray(sums / np.maximum(weights.sum(axis=1, keepdims=True), 1e-9), dtype=np.float32)


def unit_length(vectors: FloatArray) -> FloatArray:
    """The same directions with length 1, float32; a vector of zeros stays as it is."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, _SMALLEST), dtype=np.float32)
