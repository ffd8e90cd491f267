"""Our own graphs of the BERT family compute what the papers write, in float32 and nearly so in int8."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from tests.unit.convert_sources import (
    CONFIGS,
    architecture,
    feed,
    reference_logits,
    weights_of,
)

from pairscore.convert.families import architecture_of
from pairscore.convert.graph import float32_graph, int8_graph

KINDS = tuple(CONFIGS)


def _run(model: onnx.ModelProto, given: dict[str, Any]) -> Any:
    onnx.checker.check_model(model, full_check=False)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(["logits"], given)[0]


@pytest.mark.parametrize("kind", KINDS)
def test_the_float32_graph_is_the_model(kind: str) -> None:
    """Within rounding, with padding and several lengths, for one label and several."""
    weights, given = weights_of(kind), feed(kind)
    logits = _run(float32_graph(weights, architecture(kind)), given)

    assert logits.dtype == np.float32
    assert logits.shape == (30, architecture(kind).num_labels)
    np.testing.assert_allclose(logits, reference_logits(kind, weights, given), atol=1e-5)


@pytest.mark.parametrize("reduced_range", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_the_int8_graph_is_near(kind: str, *, reduced_range: bool) -> None:
    """Nearer than what tells the pairs apart; these models are far smaller and noisier than real ones."""
    weights, given = weights_of(kind), feed(kind)
    wanted = reference_logits(kind, weights, given)
    logits = _run(int8_graph(weights, architecture(kind), reduced_range=reduced_range), given)

    errors = logits - wanted
    assert errors.std(axis=0).max() < 0.4 * wanted.std(axis=0).min()
    assert np.abs(errors).max() < 0.4


def test_eight_bits_are_nearer_than_seven() -> None:
    """The full range has twice the steps."""
    weights, given = weights_of("roberta"), feed("roberta")
    wanted = reference_logits("roberta", weights, given)
    seven, eight = (
        _run(int8_graph(weights, architecture("roberta"), reduced_range=reduced), given) - wanted
        for reduced in (True, False)
    )

    assert eight.std() < 0.75 * seven.std()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow
def test_int8_by_rows_is_the_same_alone_and_in_a_batch(kind: str) -> None:
    """Each token has its own scale, so no neighbour and no padding is seen: to the bit."""
    given = feed(kind)
    model = int8_graph(weights_of(kind), architecture(kind), reduced_range=True)
    together = _run(model, given)

    for row, mask in enumerate(given["attention_mask"]):
        length = int(mask.sum())
        alone = _run(model, {name: value[row : row + 1, :length] for name, value in given.items()})
        np.testing.assert_array_equal(alone, together[row : row + 1])


def test_a_model_of_one_token_type_has_no_input_for_it() -> None:
    """And one of two types has it, because without it every score would be wrong in silence."""
    names = {
        kind: [
            item.name for item in float32_graph(weights_of(kind), architecture(kind)).graph.input
        ]
        for kind in ("bert", "roberta")
    }

    assert names["bert"] == ["input_ids", "attention_mask", "token_type_ids"]
    assert names["roberta"] == ["input_ids", "attention_mask"]


def test_padding_inside_a_text_moves_no_position() -> None:
    """RoBERTa counts real tokens only, wherever the padding token stands."""
    weights, given = weights_of("roberta"), feed("roberta")
    graph = float32_graph(weights, architecture("roberta"))
    inside = given["input_ids"].copy()
    inside[0, 3] = 1
    moved = {**given, "input_ids": inside}

    ids = np.delete(inside[0], 3)[None]
    wanted = _run(graph, {"input_ids": ids, "attention_mask": np.ones_like(ids)})
    masked = given["attention_mask"].copy()
    masked[0, 3] = 0
    found = _run(graph, {**moved, "attention_mask": masked})[:1]
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize(
    "entries",
    [
        {"model_type": "deberta-v2"},
        {"hidden_act": "gelu_new"},
        {"position_embedding_type": "relative_key"},
        {"embedding_size": 8},
        {"is_decoder": True},
        {"num_attention_heads": 5},
        {"intermediate_size": None},
    ],
)
def test_a_variant_that_the_graph_does_not_write_is_left_to_the_exporter(
    entries: dict[str, Any],
) -> None:
    """It would run, and score wrongly."""
    assert architecture_of(CONFIGS["bert"]) is not None
    assert architecture_of({**CONFIGS["bert"], **entries}) is None
