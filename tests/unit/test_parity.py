"""How close two models are: the measures, the texts, the thresholds and the report, without weights."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pairscore.convert import parity_texts, report, thresholds
from pairscore.convert.footprint import peak_rss_bytes
from pairscore.convert.in_turn import InTurn, Round, score_in_turn
from pairscore.convert.machine import this_machine
from pairscore.convert.parity import parity_of
from pairscore.convert.parity_texts import Candidates, ParityTexts, default_texts, grouped_texts
from pairscore.convert.subject import Subject
from pairscore.convert.thresholds import FLOAT32, INT8, Thresholds, checks_of
from pairscore.cross_encoder import CrossEncoder
from pairscore.errors import EmptyInputError, SettingError
from pairscore.evaluation.measures import flipped_neighbours, ndcg, pearson, spearman, top_overlap
from pairscore.values import Scores

_DICE = np.random.default_rng(7)


def _texts(num_queries: int = 4, depth: int = 24, *, judged: bool = False) -> ParityTexts:
    grades = tuple(int(place < 3) for place in range(depth)) if judged else ()
    return ParityTexts(
        name="made",
        queries=tuple(
            Candidates(
                query=f"query {number}",
                documents=tuple(f"document {number} {place}" for place in range(depth)),
                grades=grades,
                judged=grades,
            )
            for number in range(num_queries)
        ),
        num_available=num_queries * depth,
    )


def _logits(num_pairs: int) -> np.ndarray:
    return _DICE.normal(0, 5, num_pairs).astype(np.float32)


class _Stub:
    """Scores a pair by a table, and keeps who was asked what."""

    def __init__(self, name: str, logits: dict[tuple[str, str], float], log: list[str]) -> None:
        self.name, self.logits, self.log = name, logits, log

    def score(self, pairs: Sequence[tuple[str, str]]) -> Scores:
        self.log.append(self.name)
        values = np.asarray([self.logits[pair] for pair in pairs], dtype=np.float32)
        return Scores(
            logits=values,
            scores=values,
            probabilities=values,
            scale="logit",
            num_tokens=np.full(len(pairs), 12),
            truncated=np.zeros(len(pairs), dtype=bool),
            model=self.name,
        )


def _in_turn(reference: np.ndarray, converted: np.ndarray) -> InTurn:
    rounds = tuple(Round(num_items=10, reference_s=s, converted_s=1.0) for s in (1.0, 3.0, 2.0))
    return InTurn(
        reference=reference, converted=converted, num_truncated=1, mean_tokens=9.0, rounds=rounds
    )


def _report(converted: np.ndarray | None = None, limits: Thresholds = INT8) -> report.Report:
    texts = _texts(judged=True)
    reference = _logits(texts.num_pairs)
    other = reference if converted is None else converted
    parity = parity_of(texts, reference, other)
    side = report.Side(
        name="float32", backend="onnx", sha256="a" * 64, num_bytes=10, peak_rss_bytes=None
    )
    return report.Report(
        model="made",
        revision=None,
        conversion={"to": "int8", "reduced_range": True},
        reference=side,
        converted=side,
        numbers="int8",
        texts=texts,
        parity=parity,
        speed=_in_turn(reference, other),
        machine=this_machine(),
        measured_at="2026-01-01T00:00:00+00:00",
        checks=checks_of(parity, limits),
    )


# ---------------------------------------------------------------------------------------- measures


def test_correlations_of_known_lists() -> None:
    """A rising curve keeps the order and not the line; a constant has neither."""
    x = np.arange(1.0, 6.0)

    assert spearman(x, x**3) == pytest.approx(1.0)
    assert pearson(x, x**3) < 0.96
    assert spearman(x, -x) == pytest.approx(-1.0)
    assert spearman(
        np.array([1.0, 2.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0, 4.0])
    ) == pytest.approx(0.9486833)
    assert math.isnan(spearman(x, np.ones(5)))
    assert math.isnan(pearson(x[:1], x[:1]))


def test_overlap_and_flips_of_known_lists() -> None:
    """Only neighbours that are clearly apart count as flipped, and a tie counts as a flip."""
    reference = np.array([9.0, 8.9, 5.0, 1.0])

    assert top_overlap(reference, np.array([9.0, 1.0, 5.0, 2.0]), cut=2) == 0.5
    swapped = flipped_neighbours(reference, np.array([8.0, 9.0, 5.0, 1.0]), margin=0.5)
    assert (swapped.num_flipped, swapped.num_neighbours) == (0, 2)
    assert flipped_neighbours(reference, np.ones(4), margin=0.5).num_flipped == 2
    assert flipped_neighbours(reference, np.ones(4), margin=0.5, cut=2).num_neighbours == 1


def test_ndcg_is_trec_evals() -> None:
    """The grade is the gain, and the ideal knows documents that were not ranked."""
    assert ndcg([3, 2, 1], [3, 2, 1]) == 1.0
    assert ndcg([0, 1], [1]) == pytest.approx(1 / math.log2(3))
    assert ndcg([1], [1, 1]) == pytest.approx(1 / (1 + 1 / math.log2(3)))
    assert ndcg([0], []) == 0.0


def test_equal_logits_are_at_parity_and_noise_is_measured() -> None:
    """The differences are those that were put in, and judged queries give nDCG of both."""
    texts = _texts(judged=True)
    first = _logits(texts.num_pairs)
    same, far = parity_of(texts, first, first), parity_of(texts, first, first + np.float32(0.25))

    assert (same.spearman, same.top_overlap, same.flipped, same.ndcg_loss) == (1.0, 1.0, 0.0, 0.0)
    assert far.largest_difference == pytest.approx(0.25, abs=1e-6)
    assert far.mean_difference == pytest.approx(0.25, abs=1e-6)
    assert far.spearman == 1.0

    backwards = parity_of(texts, first, -first)
    assert backwards.spearman == pytest.approx(-1.0)
    assert backwards.top_overlap is not None
    assert backwards.top_overlap < 0.1
    assert backwards.flipped == 1.0


def test_ndcg_follows_each_sides_own_order() -> None:
    """A converted model that puts the relevant documents last loses what that costs."""
    texts = _texts(num_queries=3, depth=24, judged=True)
    falling = np.tile(np.arange(24, 0, -1, dtype=np.float32), 3)
    parity = parity_of(texts, falling, -falling)

    assert parity.reference_ndcg == 1.0
    assert parity.converted_ndcg == 0.0
    assert parity.ndcg_loss == 1.0
    assert parity.num_judged == 3


def test_lists_too_short_to_rank_say_so() -> None:
    """Of two candidates there are no best ten: the overlap is not measured instead of being perfect."""
    texts = _texts(num_queries=5, depth=2)
    first = _logits(10)
    parity = parity_of(texts, first, -first)

    assert parity.top_overlap is None
    assert {check.name: check.passed for check in checks_of(parity, INT8)}[
        "min_top_overlap"
    ] is None


def test_labels_are_compared_label_by_label() -> None:
    """The worst label's correlation counts, and the share of pairs that keep their label."""
    texts = _texts(num_queries=1, depth=40)
    first = np.stack([_logits(40), _logits(40), _logits(40)], axis=1)
    second = first.copy()
    second[:, 2] = -second[:, 2]
    parity = parity_of(texts, first, second)

    assert parity.spearman == pytest.approx(-1.0)
    assert parity.label_agreement is not None
    assert parity.label_agreement < 1.0
    assert [check.name for check in checks_of(parity, INT8)] == [
        "min_spearman",
        "min_label_agreement",
    ]


def test_logits_of_other_pairs_are_refused() -> None:
    """A shape that does not fit is a bug, never a report."""
    with pytest.raises(ValueError, match="shapes"):
        parity_of(_texts(), _logits(96), _logits(95))


# ------------------------------------------------------------------------------------------- texts


def test_the_packages_own_texts_are_judged_and_of_all_lengths() -> None:
    """Forty queries, each with enough candidates to rank, an answer, and two long documents."""
    texts = default_texts()

    assert len(texts.queries) == 40
    assert texts.is_judged
    for item in texts.queries:
        assert len(item.documents) >= 20
        assert len(set(item.documents)) == len(item.documents)
        assert max(item.grades) == 2
        words = [len(document.split()) for document in item.documents]
        assert min(words) < 12
        assert sum(count > 250 for count in words) == 2
    answers = [item.grades.index(2) for item in texts.queries]
    assert len(set(answers)) > 5, "the place of the answer gives the ranking away"


def test_the_texts_are_named_by_their_sha256() -> None:
    """The same texts have the same name in every report; others have another."""
    assert default_texts().sha256 == default_texts().sha256
    assert default_texts().sha256 != default_texts(limit=100).sha256


def test_a_limit_shortens_lists_before_it_leaves_out_queries() -> None:
    """Every query stays while each keeps twenty candidates; short lists give their room to long ones."""
    sizes = {"a": 100, "b": 100, "c": 10}

    assert parity_texts.cut_to(None, sizes) == sizes
    assert parity_texts.cut_to(110, sizes) == {"a": 50, "b": 50, "c": 10}
    assert parity_texts.cut_to(30, sizes) == {"a": 20, "b": 10}
    with pytest.raises(SettingError, match="at least 1"):
        parity_texts.cut_to(0, sizes)


def test_pairs_are_grouped_by_query_and_the_report_says_what_was_left_out() -> None:
    """Pairs in any order; the same pair twice is one."""
    pairs = [("a", "1"), ("b", "1"), ("a", "2"), ("a", "1")]
    texts = grouped_texts(pairs, name="mine.csv", limit=2)

    assert [(item.query, item.documents) for item in texts.queries] == [("a", ("1", "2"))]
    assert (texts.num_pairs, texts.num_available, texts.is_judged) == (2, 3, False)
    with pytest.raises(EmptyInputError, match=r"mine\.csv"):
        grouped_texts([], name="mine.csv")


# ----------------------------------------------------------------------------------------- in turn


def test_both_score_the_same_pairs_in_turn() -> None:
    """Logits come back in the pairs' order, after a warm-up, and every other round the other one begins."""
    texts = _texts(num_queries=3, depth=17)
    table = {pair: float(value) for pair, value in zip(texts.pairs, range(51), strict=True)}
    log: list[str] = []
    seen: list[int] = []
    found = score_in_turn(
        texts,
        reference=_Stub("reference", table, log),
        converted=_Stub("converted", {pair: value + 100 for pair, value in table.items()}, log),
        advance=seen.append,
    )

    assert found.reference.tolist() == list(range(51))
    assert found.converted.tolist() == list(range(100, 151))
    assert seen == [17, 34, 51]
    warming, rounds = log[:2], log[2:]
    assert warming == ["reference", "converted"]
    assert rounds == ["reference", "converted", "converted", "reference", "reference", "converted"]
    assert found.mean_tokens == 12.0


def test_speed_is_the_median_ratio_and_its_range() -> None:
    """One slow round of a busy machine does not decide."""
    found = _in_turn(_logits(3), _logits(3))

    assert (found.ratio, found.ratio_range) == (2.0, (1.0, 3.0))
    assert found.reference_rate == pytest.approx(5.0)
    assert found.converted_rate == pytest.approx(10.0)


def test_a_cross_encoder_is_a_scorer() -> None:
    """What users call is what is measured."""
    texts = default_texts(limit=40)
    with CrossEncoder(backend="fake") as model:
        found = score_in_turn(texts, reference=model, converted=model)

    assert parity_of(texts, found.reference, found.converted).largest_difference == 0.0


def test_the_memory_of_a_process_that_cannot_score_is_not_known() -> None:
    """A model that is not there gives no number, and no error at the end of a long measurement."""
    subject = Subject(model="/nowhere/at/all", backend="onnx")

    assert peak_rss_bytes(subject, [("a", "b")]) is None


# -------------------------------------------------------------------------------------- thresholds


def test_thresholds_hold_or_fail_and_the_undefined_fails() -> None:
    """NaN never passes; what these texts cannot show neither passes nor fails."""
    texts = _texts(judged=True)
    first = _logits(texts.num_pairs)
    constant = np.zeros_like(first)

    assert all(check.passed for check in checks_of(parity_of(texts, first, first), FLOAT32))
    failed = {c.name for c in checks_of(parity_of(texts, first, constant), INT8) if not c.passed}
    assert "min_spearman" in failed
    near = first + np.float32(0.01)
    assert {c.name for c in checks_of(parity_of(texts, first, near), FLOAT32) if not c.passed} == {
        "max_difference"
    }


@pytest.mark.parametrize(
    "field", ["min_spearman", "min_top_overlap", "max_flipped", "max_ndcg_loss", "max_difference"]
)
@pytest.mark.parametrize("value", [-2.0, math.nan])
def test_a_threshold_that_makes_no_sense_is_refused(field: str, value: float) -> None:
    """A threshold nothing can fail, or nothing can pass, is a slip of the keyboard."""
    with pytest.raises(SettingError, match=field):
        Thresholds(**{field: value})


def test_float32_is_held_to_more_than_int8() -> None:
    """Nothing that passes as float32 could fail as int8."""
    assert thresholds.default_thresholds("float32") is FLOAT32
    assert thresholds.default_thresholds("int8") is INT8
    assert FLOAT32.min_spearman is not None
    assert INT8.min_spearman is not None
    assert FLOAT32.min_spearman > INT8.min_spearman
    assert FLOAT32.max_difference is not None


# ------------------------------------------------------------------------------------------ report


def test_the_report_is_written_for_people_and_for_machines(tmp_path: Path) -> None:
    """Both files hold the verdict, the thresholds, the speed, the machine; neither holds a text."""
    made = _report()
    report.write(made, tmp_path)
    page = (tmp_path / "PARITY.md").read_text(encoding="utf-8")
    record = json.loads((tmp_path / "parity.json").read_text(encoding="utf-8"))

    assert "Passed" in page
    assert "Spearman" in page
    assert "reduced range" in page
    assert record["passed"] is True
    assert record["accepted"] is False
    assert record["speed"]["ratio"] == 2.0
    assert record["texts"]["sha256"] == made.texts.sha256
    assert record["machine"]["versions"]["pairscore"]
    for text in ("query 1", "document 1 1"):
        assert text not in page
        assert text not in json.dumps(record)


def test_a_failed_threshold_is_named_with_its_value_and_its_limit() -> None:
    """Also where the value is not defined, which JSON has no number for."""
    made = _report(np.zeros(96, dtype=np.float32))
    record = report.record(made)

    assert made.failed
    assert made.verdict.startswith("Failed: Spearman correlation is not defined, at least 0.99")
    assert "FAILED" in report.page(made)
    assert record["passed"] is False
    assert record["parity"]["spearman"] is None
    assert "Accepted" in replace(made, accepted=True).verdict
    json.dumps(record, allow_nan=False)
