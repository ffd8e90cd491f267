"""What the simulator is fed with: each request asked is one micro-batch, and answers become the right seconds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairscore.road.planning import plan
from scale.check import predict
from scale.fleet_front import _CONFIG, _adapted
from scale.fleet_probe import Answered, Shape, _timing, lone_factor, service_times, shapes
from scale.fleet_times import ServiceTimes
from scale.fleet_traffic import Traffic, open_loop
from scale.measure import _counts
from workers import PeerError

_TRUE = ServiceTimes(batch_s=0.002, token_s=1e-4, slowdown=(1.0, 1.5))
_EACH_S, _BETWEEN_S, _OUTSIDE_S = 0.0005, 0.0002, 0.002
_TOKENIZE_S = 3e-6


def _shape(*lengths: int) -> Shape:
    return Shape(tuple(("query", f"document {n}") for n in range(len(lengths))), lengths)


def _answered(shape: Shape, num_busy: int, *, outside_s: float = _OUTSIDE_S) -> Answered:
    tokenize_s = _EACH_S + _TOKENIZE_S * sum(shape.lengths)
    slow = _TRUE.slowdown[num_busy - 1]
    inference_s = slow * _TRUE.run_s(shape.num_padded_tokens, max(shape.lengths))
    total_s = tokenize_s + inference_s + _BETWEEN_S
    return Answered(shape, num_busy, total_s + outside_s, tokenize_s, inference_s, total_s)


_SHAPES = [_shape(40), _shape(40, 40, 40), _shape(90), _shape(90, 90, 90, 90, 90), _shape(180, 180)]


@given(st.lists(st.integers(3, 512), min_size=1, max_size=60), st.sampled_from([256, 512, 1024]))
def test_each_request_is_one_micro_batch(lengths: list[int], budget: int) -> None:
    """However the texts are, the service plans it as one; so what it tells is the time of one."""
    pairs = [("query", f"document {n}") for n in range(len(lengths))]

    found = shapes(pairs, lengths, budget=budget)

    for shape in found:
        assert len(plan(shape.lengths, budget=budget).batches) == 1
        places = [pairs.index(pair) for pair in shape.pairs]
        assert [lengths[place] for place in places] == list(shape.lengths)
    assert len({shape.pairs for shape in found}) == len(found)


def test_answers_become_service_times() -> None:
    """The model's seconds, how much slower several are, tokenization, and the rest as HTTP."""
    answers = [_answered(shape, busy) for shape in _SHAPES for busy in (1, 2)]

    found = service_times(answers)

    assert found.run_s(450, 90) == pytest.approx(_TRUE.run_s(450, 90), rel=1e-3)
    assert found.slowdown == pytest.approx((1.0, 1.5), rel=1e-3)
    assert found.tokenize_s == pytest.approx(_TOKENIZE_S, rel=1e-3)
    assert found.request_s == pytest.approx(_OUTSIDE_S + _BETWEEN_S + _EACH_S, rel=1e-3)


def test_the_load_balancer_is_part_of_http() -> None:
    """Answers that came through it say what it adds."""
    answers = [_answered(shape, 1) for shape in _SHAPES]
    front = [_answered(shape, 1, outside_s=0.005) for shape in _SHAPES]

    both = service_times(answers, front=front), service_times(answers)

    assert both[0].request_s - both[1].request_s == pytest.approx(0.005 - _OUTSIDE_S, rel=1e-3)


def test_all_threads_beside_one() -> None:
    """Shape by shape, at the median."""
    one = [_answered(shape, 1) for shape in _SHAPES]
    quick = [replace(answer, inference_s=0.6 * answer.inference_s) for answer in one]

    assert lone_factor(one, quick) == pytest.approx(0.6)


def test_an_answer_says_where_its_time_went() -> None:
    """In milliseconds, as the service writes it; one that does not is refused."""
    header = b"tokenize;dur=1.2, queue;dur=0.3, inference;dur=40.0, total;dur=42.1"

    assert _timing({b"server-timing": header}) == pytest.approx((0.0012, 0.04, 0.0421))
    with pytest.raises(PeerError, match="Server-Timing"):
        _timing({})


def test_the_load_balancer_is_the_compose_files(tmp_path: Path) -> None:
    """Put its addresses back, and it is the same to the letter."""
    text = _adapted(tmp_path, port=8003, replicas=[8001, 8002])

    back = text.replace(f"{tmp_path}/access.log", "/dev/stdout").replace(f"{tmp_path}/", "/tmp/")
    back = back.replace("listen 127.0.0.1:8003", "listen 8080")
    for number in (1, 2):
        back = back.replace(f"127.0.0.1:800{number}", f"pairscore-{number}:8000 resolve")

    assert back == _CONFIG.read_text(encoding="utf-8")


def test_a_prediction_is_of_the_arrivals_alone() -> None:
    """The same arrivals, the same percentiles, in one piece or twice; a replica at work on an idle machine takes what it takes."""
    times = replace(_TRUE, request_s=0.001)
    arrivals = open_loop(Traffic(pairs=[5], tokens=[90]), rate=2, seconds=20, seed=0)

    found, utilisation = predict(times, [arrivals, arrivals])

    assert (found, utilisation) == predict(times, [arrivals])
    assert found["p50"] == pytest.approx(times.run_s(450, 90) + times.request_s, rel=1e-6)
    assert 0 < utilisation < 0.2


@pytest.mark.parametrize(
    ("num_lanes", "counts"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8])]
)
def test_a_few_counts_stand_for_all(num_lanes: int, counts: list[int]) -> None:
    """One busy core, and all of them, are always among them."""
    assert _counts(num_lanes) == counts
