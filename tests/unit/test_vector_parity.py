"""How close two bi-encoders' vectors are: the measures, which texts are read, and what the report says of it."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest

from pairscore.bi_encoder import BiEncoder
from pairscore.convert import report
from pairscore.convert.in_turn import encode_in_turn
from pairscore.convert.machine import this_machine
from pairscore.convert.parity import parity_of
from pairscore.convert.parity_texts import ParityTexts, default_texts, grouped_texts
from pairscore.convert.thresholds import (
    FLOAT32_VECTORS,
    INT8_VECTORS,
    Thresholds,
    checks_of,
    default_thresholds,
)
from pairscore.convert.vectors import distinct_texts, pair_similarities, vector_parity
from pairscore.errors import SettingError
from pairscore.values import Embeddings, FloatArray

PAIRS = [("what is a", "a is b"), ("what is a", "c is d"), ("what is c", "c is d")]


def _vectors(num_texts: int, *, seed: int = 5) -> FloatArray:
    return np.random.default_rng(seed).standard_normal((num_texts, 24)).astype(np.float32)


def _texts() -> ParityTexts:
    return grouped_texts(
        [(f"question {one}", f"answer {other}") for one in range(6) for other in range(8)],
        name="made",
    )


class _Stub:
    """Makes a vector of a text's length, and keeps who was asked."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self.log = name, log

    def embed(self, texts: Sequence[str], *, prompt: str | None = None) -> Embeddings:
        assert prompt == "", "the texts carry their prompts themselves"
        self.log.append(self.name)
        vectors = np.asarray([[float(text), 1.0] for text in texts], dtype=np.float32)
        tokens = np.full(len(texts), 7)
        return Embeddings(vectors, tokens, np.arange(len(texts)) == 0, self.name)


def _report(converted: FloatArray) -> report.Report:
    texts = _texts()
    read = distinct_texts(texts)
    reference = _vectors(len(read.texts))
    found = vector_parity(reference, converted)
    parity = parity_of(
        texts,
        *(pair_similarities(read, some, similarity="cosine") for some in (reference, converted)),
    )
    side = report.Side(
        name="float32", backend="onnx", sha256="a" * 64, num_bytes=10, peak_rss_bytes=None
    )
    log: list[str] = []
    speed = encode_in_turn(["1", "2"], reference=_Stub("r", log), converted=_Stub("c", log))
    return report.Report(
        model="made",
        revision=None,
        conversion={"to": "int8"},
        reference=side,
        converted=side,
        numbers="int8",
        texts=texts,
        parity=parity,
        vectors=found,
        speed=speed,
        machine=this_machine(),
        measured_at="2026-01-01T00:00:00+00:00",
        checks=checks_of(parity, INT8_VECTORS, vectors=found),
    )


# ---------------------------------------------------------------------------------------- measures


def test_equal_vectors_are_at_parity_whatever_their_length() -> None:
    """Similarity is a matter of direction: twice as long is the same."""
    vectors = _vectors(40)
    same = vector_parity(vectors, vectors * 2)

    assert same.cosine == pytest.approx(1.0)
    assert same.worst_cosine == pytest.approx(1.0)
    assert (same.neighbours, same.worst_neighbours) == (1.0, 1.0)
    assert same.spearman == pytest.approx(1.0)
    assert same.largest_difference == pytest.approx(0.0, abs=1e-12)
    assert (same.num_texts, same.dimension, same.num_compared) == (40, 24, 40)


def test_one_ruined_text_is_the_worst_one() -> None:
    """The mean hides it, the worst and its neighbours do not."""
    vectors = _vectors(200)
    other = vectors.copy()
    other[7] = -vectors[7]
    found = vector_parity(vectors, other)

    assert found.cosine == pytest.approx(1 - 2 / 200)
    assert found.worst_cosine == pytest.approx(-1.0)
    assert found.p1_cosine > 0.9
    assert found.worst_neighbours == 0.0
    assert found.neighbours is not None
    assert 0.9 < found.neighbours < 1.0


def test_cosines_of_known_vectors() -> None:
    """Of a text's two vectors, and the difference of the similarities between texts."""
    first = np.array([[1, 0], [0, 1], [1, 1]], dtype=np.float32)
    second = np.array([[1, 0], [1, 1], [1, 1]], dtype=np.float32)
    found = vector_parity(first, second)

    assert found.cosine == pytest.approx((1 + 0.5**0.5 + 1) / 3)
    # 0, 0.707, 0.707 became 0.707, 0.707, 1.
    assert found.mean_difference == pytest.approx((0.5**0.5 + 0 + 1 - 0.5**0.5) / 3)
    assert found.largest_difference == pytest.approx(0.5**0.5)


def test_a_vector_of_zeros_is_like_nothing() -> None:
    """It has no direction: its cosine is 0, and not NaN."""
    vectors = _vectors(5)
    other = vectors.copy()
    other[0] = 0

    assert vector_parity(vectors, other).worst_cosine == 0.0


def test_few_texts_show_little_and_say_so() -> None:
    """Of one text there are no neighbours; what is not measured neither passes nor fails."""
    one = vector_parity(_vectors(1), _vectors(1))

    assert (one.neighbours, one.spearman, one.mean_difference) == (None, None, None)
    assert vector_parity(_vectors(4), _vectors(4)).neighbours == 1.0
    parity = parity_of(
        grouped_texts([("a", "b")], name="one"), np.ones(1, np.float32), np.ones(1, np.float32)
    )
    passed = {check.name: check.passed for check in checks_of(parity, INT8_VECTORS, vectors=one)}
    assert passed["min_neighbours"] is None
    assert passed["min_cosine"] is True


def test_of_many_texts_some_are_compared_with_each_other() -> None:
    """All have their own cosine; the table of all with all would not fit."""
    vectors = _vectors(2100)
    found = vector_parity(vectors, vectors)

    assert (found.num_texts, found.num_compared) == (2100, 2000)


def test_other_shapes_are_refused() -> None:
    """A bug, never a report."""
    with pytest.raises(ValueError, match="shapes"):
        vector_parity(_vectors(3), _vectors(4))
    with pytest.raises(ValueError, match="shapes"):
        vector_parity(_vectors(0), _vectors(0))


# ------------------------------------------------------------------------------------------- texts


def test_each_text_is_read_once_with_its_own_prompt() -> None:
    """Pairs keep their two places; a prompt makes another text of the same words."""
    read = distinct_texts(
        grouped_texts(PAIRS, name="made"), query_prompt="query: ", document_prompt="passage: "
    )

    assert read.texts == (
        *("query: what is a", "passage: a is b", "passage: c is d"),
        "query: what is c",
    )
    assert read.queries.tolist() == [0, 0, 3]
    assert read.documents.tolist() == [1, 2, 2]


def test_pairs_are_as_similar_as_the_model_says() -> None:
    """Cosine looks at directions, dot at lengths too."""
    read = distinct_texts(grouped_texts(PAIRS[:1], name="made"))
    vectors = np.array([[2, 0], [3, 3]], dtype=np.float32)

    assert pair_similarities(read, vectors, similarity="dot").tolist() == [6.0]
    cosine = pair_similarities(read, vectors, similarity="cosine")
    assert cosine.tolist() == pytest.approx([0.5**0.5])
    assert cosine.dtype == np.float32


def test_both_read_the_same_texts_in_turn() -> None:
    """Vectors come back in the texts' order, after a warm-up, and every other round the other one begins."""
    log: list[str] = []
    seen: list[int] = []
    found = encode_in_turn(
        [str(number) for number in range(51)],
        reference=_Stub("reference", log),
        converted=_Stub("converted", log),
        advance=seen.append,
    )

    assert found.reference[:, 0].tolist() == list(range(51))
    assert found.converted.shape == (51, 2)
    assert seen == [17, 34, 51]
    assert log[2:] == ["reference", "converted", "converted", "reference", "reference", "converted"]
    assert (found.mean_tokens, found.num_truncated) == (7.0, 3)


def test_a_bi_encoder_is_what_is_measured() -> None:
    """What users call is an `Encoding`."""
    texts = distinct_texts(default_texts(limit=40)).texts
    with BiEncoder(backend="fake") as model:
        found = encode_in_turn(texts, reference=model, converted=model)

    assert vector_parity(found.reference, found.converted).worst_cosine == pytest.approx(1.0)


# -------------------------------------------------------------------------------------- thresholds


def test_bi_encoders_have_thresholds_of_their_own() -> None:
    """And float32 is held to more than int8."""
    assert default_thresholds("int8", vectors=True) is INT8_VECTORS
    assert default_thresholds("float32", vectors=True) is FLOAT32_VECTORS
    for name in ("min_cosine", "min_worst_cosine", "min_spearman", "min_neighbours"):
        assert getattr(FLOAT32_VECTORS, name) > getattr(INT8_VECTORS, name)


@pytest.mark.parametrize("name", ["min_cosine", "min_worst_cosine", "min_neighbours"])
def test_a_threshold_that_makes_no_sense_is_refused(name: str) -> None:
    """Nothing could fail it, or nothing pass."""
    for value in (1.5, -1.5):
        with pytest.raises(SettingError, match=name):
            Thresholds(**{name: value})


def test_noise_fails_by_its_name() -> None:
    """The verdict says what is too far, and by how much."""
    made = _report(_vectors(14, seed=6))

    assert {check.name for check in made.failed} >= {"min_cosine", "min_worst_cosine"}
    assert "cosine of a text's two vectors, mean is" in made.verdict


# ------------------------------------------------------------------------------------------ report


def test_the_report_speaks_of_vectors_and_texts() -> None:
    """Both forms have the same tables; NaN is never written."""
    made = _report(_vectors(14))
    titles = [section.title for section in report.sections(made)]
    value = report.record(made)

    assert titles[1:3] == [
        "Converted vectors against the reference's",
        "Similarities of query and document",
    ]
    json.dumps(value, allow_nan=False)
    assert value["vectors"]["worst_cosine"] == pytest.approx(1.0)
    assert value["speed"]["rounds"][0]["num_texts"] == 2
    assert "texts_per_s" in value["converted"]
    page = report.page(made)
    assert "14 texts of 48 pairs" in page
    assert "mean difference of the similarity" in page
    assert "logit" not in page
