"""From vectors of tokens to the vector of a text: the arithmetic, which output of a graph, and each backend that pools."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.vector_models import vector_graph, words_of

from pairscore.errors import ModelUnsupportedError
from pairscore.road.backends.base import Backend
from pairscore.road.backends.onnx import OnnxBackend
from pairscore.road.backends.openvino import OpenVinoBackend
from pairscore.road.backends.pooling import (
    POOLED,
    VectorOutput,
    chosen_vectors,
    pooled,
    unit_length,
)
from pairscore.values import Batch

STATES = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
MASK = np.array([[1, 1, 1], [1, 1, 0]])
WORDS = words_of(50)
BACKENDS = {"onnx": OnnxBackend, "openvino": OpenVinoBackend}


def test_the_mean_is_that_of_the_tokens_and_not_of_the_padding() -> None:
    """The second row has two tokens."""
    expected = [STATES[0].mean(axis=0), STATES[1, :2].mean(axis=0)]

    assert pooled(STATES, MASK, mode="mean") == pytest.approx(np.stack(expected))


@pytest.mark.parametrize(
    ("mask", "first"), [(MASK, [0, 0]), (np.array([[0, 1, 1], [0, 0, 1]]), [1, 2])]
)
def test_cls_is_the_first_token_wherever_the_padding_is(mask: Any, first: list[int]) -> None:
    """As sentence-transformers looks for it."""
    expected = STATES[[0, 1], first]

    assert pooled(STATES, mask, mode="cls") == pytest.approx(expected)


def test_a_row_of_padding_alone_gives_zeros() -> None:
    """Not NaN."""
    assert not pooled(STATES, np.zeros_like(MASK), mode="mean").any()


def test_half_precision_is_summed_in_float32() -> None:
    """In float16 the sum of 4,096 ones of 60,000 would be infinite, and small parts would be lost."""
    states = np.full((1, 4096, 2), 60_000.0, dtype=np.float16)
    output = VectorOutput(0, "mean").vectors(
        states, Batch(*(np.ones((1, 4096), dtype=np.int64) for _ in range(3)))
    )

    assert output.dtype == np.float32
    assert output == pytest.approx(np.full((1, 2), np.float32(np.float16(60_000.0))))


def test_a_vector_of_zeros_has_no_direction_and_stays() -> None:
    """Dividing by its length would give NaN."""
    made = unit_length(np.array([[3.0, 4.0], [0.0, 0.0]], dtype=np.float32))

    assert made.dtype == np.float32
    assert made == pytest.approx(np.array([[0.6, 0.8], [0.0, 0.0]]))


@pytest.mark.parametrize(
    ("outputs", "position", "pooling"),
    [
        ([("token_embeddings", 3), ("sentence_embedding", 2)], 1, None),
        ([("last_hidden_state", 3), ("pooler_output", 2)], 0, "cls"),
        ([("pooler_output", 2), ("token_embeddings", None)], 1, "cls"),
        ([("anything", 3)], 0, "cls"),
    ],
)
def test_the_texts_own_vectors_are_taken_before_the_tokens(
    outputs: list[tuple[str, int | None]], position: int, pooling: str | None
) -> None:
    """By name, or by the axes of the only output."""
    found = chosen_vectors(outputs, mode="cls", weights=Path("model.onnx"))

    assert (found.position, found.pooling) == (position, pooling)


@pytest.mark.parametrize(
    "outputs", [[("logits", 2)], [("a", 3), ("b", 3)], [("last_hidden_state", 2)], []]
)
def test_a_graph_without_vectors_is_refused(outputs: list[tuple[str, int | None]]) -> None:
    """What it puts out may be logits."""
    with pytest.raises(ModelUnsupportedError, match="feature extraction"):
        chosen_vectors(outputs, mode="mean", weights=Path("model.onnx"))


def _batch() -> Batch:
    ids = np.array([[3, 4, 5], [6, 7, 0]])
    mask = np.array([[1, 1, 1], [1, 1, 0]])
    return Batch(ids=ids, attention_mask=mask, type_ids=np.zeros_like(ids))


@pytest.mark.parametrize("make", BACKENDS.values(), ids=list(BACKENDS))
def test_a_backend_pools_what_its_graph_leaves_to_it(
    tmp_path: Path, make: Callable[..., Backend]
) -> None:
    """The mean over each row's own tokens, or the first one's vector."""
    weights = vector_graph(tmp_path / "model.onnx", words=WORDS)
    means = np.stack([WORDS[[3, 4, 5]].mean(axis=0), WORDS[[6, 7]].mean(axis=0)]) - 1
    mean, first = make(weights, pooling="mean"), make(weights, pooling="cls")

    assert mean.run(_batch()) == pytest.approx(means, abs=1e-6)
    assert mean.run(_batch(), num_threads=2) == pytest.approx(means, abs=1e-6)
    assert first.run(_batch()) == pytest.approx(WORDS[[3, 6]] - 1, abs=1e-6)
    mean.close()
    first.close()


@pytest.mark.parametrize("make", BACKENDS.values(), ids=list(BACKENDS))
def test_a_backend_takes_the_vectors_of_a_graph_that_pools_by_itself(
    tmp_path: Path, make: Callable[..., Backend]
) -> None:
    """Whatever the card says of pooling: it was done."""
    weights = vector_graph(tmp_path / "model.onnx", words=WORDS, output=POOLED)
    backend = make(weights, pooling="mean")

    assert backend.run(_batch()) == pytest.approx(2 * (WORDS[[3, 6]] - 1), abs=1e-6)
    backend.close()


@pytest.mark.parametrize("make", BACKENDS.values(), ids=list(BACKENDS))
def test_a_graph_of_vectors_is_no_cross_encoder(
    tmp_path: Path, make: Callable[..., Backend]
) -> None:
    """And the other way round."""
    weights = vector_graph(tmp_path / "model.onnx", words=WORDS)
    with pytest.raises(ModelUnsupportedError, match="cross-encoder"):
        make(weights)
    logits = vector_graph(tmp_path / "other.onnx", words=WORDS, output="logits")
    with pytest.raises(ModelUnsupportedError, match="CrossEncoder"):
        make(logits, pooling="mean")
    own = vector_graph(tmp_path / "pools.onnx", words=WORDS, output=POOLED)
    with pytest.raises(ModelUnsupportedError, match="BiEncoder"):
        make(own)
